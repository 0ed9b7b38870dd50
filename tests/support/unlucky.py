"""A campaign that many were to get and few have: one contact for each reason there is."""

from tests.support.walk import House
from tidings.clock import DAY, HOUR
from tidings.database import Tx
from tidings.domain import communications, contacts, counters, enrollments, lists, suppressions
from tidings.domain.communications import Receipt
from tidings.domain.counters import Tally
from tidings.message.outgoing import Outcome, Sealed, accepted, deferred, refused, unknown

WHO = {
    "refused": "failed",
    "given": "given_up",
    "phone": "no_address",
    "blocked": "suppressed",
    "denied": "denied",
    "bounced": "bounced",
    "returned": "failed",
    "canceled": "canceled",
    "left": "stopped",
    "deleted": "stopped",
    "held": "unknown",
    "later": "waiting",
    "absent": "not_enrolled",
}
"""Contact → why it has not got the first message. `lucky` has it, and `absent` is the only one of the list `Fair` who was not enrolled."""


def answer(sealed: Sealed) -> Outcome:
    """The carrier's: by the address."""
    name = sealed.recipients[0].partition("@")[0]
    match name:
        case "refused":
            return refused("no such user", "5.1.1")
        case "given" | "later":
            return deferred("mailbox full", "4.2.2")
        case "held":
            return unknown("the line broke")
        case _:
            return accepted(name)


class Unlucky:
    """The house, its campaign of two messages (the second 60 days after), and its contacts by name."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.people: dict[str, int] = {}

    async def happen(self) -> "Unlucky":
        house = self.house
        await house.db.write(lambda tx: tx.run("UPDATE tenants SET unknown_rule = 'hold' WHERE id = :tenant_id", tenant_id=house.tenant_id))
        house.carrying.answer = answer
        for name in ("lucky", *WHO):
            where = {"phone": "+31612345678"} if name == "phone" else {"email": f"{name}@example.com"}
            self.people[name] = await house.contact(**where, **({"email_consent": "denied"} if name == "denied" else {}))
        await house.db.write(suppressions.add, house.tenant_id, "email", "blocked@example.com", "manual", now=house.now)
        self.list_id = (await house.db.write(lists.create, house.tenant_id, "Fair", now=house.now)).id
        await house.db.write(lists.add, house.tenant_id, self.list_id, list(self.people.values()), now=house.now)
        self.campaign = await house.campaign(("email", 0), ("email", 60 * DAY))
        walks = dict(
            zip(
                self.people,
                await house.enroll(self.campaign, *(v for k, v in self.people.items() if k not in {"absent", "later"})),
                strict=False,
            )
        )
        await house.planner.turn()
        await house.db.write(self._leave, walks)
        for _ in range(12):
            await house.dispatch()
            house.later(17 * HOUR)
        await house.db.write(self._bounce)
        await house.enroll(self.campaign, self.people["later"])
        await house.dispatch()
        return self

    def _leave(self, tx: Tx, walks: dict[str, int]) -> None:
        house, tally = self.house, Tally()
        ending = communications.cancel(tx, house.tenant_id, self.message(tx, "canceled"), tally, author="ann", now=house.now)
        enrollments.complete(tx, house.tenant_id, [], ending, tally, now=house.now)
        counters.fold(tx, tally)
        enrollments.stop(tx, house.tenant_id, walks["left"], "unsubscribe", now=house.now)
        enrollments.delete(tx, house.tenant_id, walks["deleted"], now=house.now)

    def _bounce(self, tx: Tx) -> None:
        tally = Tally()
        for name, kind in (("bounced", "bounced"), ("returned", "failed")):
            receipt = Receipt(kind=kind, at=self.house.now, hard=False, detail="mailbox full", code="5.2.2")
            communications.receive(tx, self.house.tenant_id, self.message(tx, name), receipt, tally, now=self.house.now)
        counters.fold(tx, tally)

    def message(self, tx: Tx, name: str) -> int:
        """The first communication of somebody."""
        return tx.value(
            "SELECT MIN(id) FROM communications WHERE tenant_id = :tenant_id AND contact_id = :contact_id",
            tenant_id=self.house.tenant_id,
            contact_id=self.people[name],
        )

    def name(self, contact_id: int) -> str:
        """Who it is."""
        return next(name for name, known in self.people.items() if known == contact_id)

    async def lift(self) -> None:
        """What stood against two of them is gone."""
        house = self.house
        await house.db.write(lambda tx: tx.run("DELETE FROM suppressions WHERE tenant_id = :tenant_id", tenant_id=house.tenant_id))
        await house.db.write(
            contacts.update, house.tenant_id, self.people["denied"], contacts.Fields(email_consent="granted"), now=house.now
        )
