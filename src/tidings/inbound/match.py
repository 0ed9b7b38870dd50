"""Which clues a mail carries to what it answers, in the order in which they are believed. Forged ones are none: ours are signed."""

from collections.abc import Iterable, Iterator

from tidings.domain import threads
from tidings.domain.threads import Clue
from tidings.message.incoming import Incoming
from tidings.signing import Signer


def clues(signer: Signer, tenant_id: int, mail: Incoming, reached: Iterable[str], *, speaks_of: str | None = None) -> tuple[Clue, ...]:
    """First the signed address it was written to (`reached` are those of the envelope), then what it says it answers (In-Reply-To, then
    References from the last on), then the thread it has in Microsoft's mail. `speaks_of` is the Message-ID in a report about our mail.

    Only clues of this tenant: what another tenant's mail is called leads nowhere.
    """
    found = [*_by_address(signer, tenant_id, (*reached, *mail.recipients))]
    named = [speaks_of, mail.in_reply_to, *reversed(mail.references)]
    found += [clue for name in named if name and (clue := _by_name(signer, tenant_id, name)) is not None]
    if mail.graph_conversation_id and threads.is_name(mail.graph_conversation_id):
        found.append(Clue(key=mail.graph_conversation_id))
    return tuple(dict.fromkeys(found))


def addressed(signer: Signer, address: str) -> tuple[int, int] | None:
    """(tenant id, communication id) that a reply address names by its tag: `anything+<token>@anywhere`; None when it names none."""
    local = address.rpartition("@")[0]
    _, tagged, token = local.rpartition("+")
    return signer.parse_reply(token) if tagged else None


def _by_address(signer: Signer, tenant_id: int, addresses: Iterable[str]) -> Iterator[Clue]:
    for address in addresses:
        named = addressed(signer, address)
        if named is not None and named[0] == tenant_id:
            yield Clue(communication_id=named[1])


def _by_name(signer: Signer, tenant_id: int, message_id: str) -> Clue | None:
    """Our own Message-IDs begin with the signed spelling of the communication; others are looked up among what came in."""
    token = message_id.strip("<>").partition("@")[0].rpartition(".")[0]
    ours = signer.parse_communication(token)
    if ours is None:
        return Clue(message_id=message_id)
    return Clue(communication_id=ours[1]) if ours[0] == tenant_id else None
