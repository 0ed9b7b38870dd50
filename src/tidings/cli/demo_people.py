"""The few who write back: over HTTP they answer what the sandbox keeps for them, a machine among them, and one of them is answered."""

from collections.abc import Callable
from typing import Any

import httpx2
import msgspec

PATIENCE = 10.0


class Part(msgspec.Struct, frozen=True):
    """Who says what, once something has reached `address` (an email address or a number); `answer` is what we say to that, if anything."""

    name: str
    address: str
    says: str
    automatic: bool = False
    answer: str = ""


CAST = (
    Part(
        "Björn Müller-Lüdenscheidt",
        "b.mullerludenscheidt@shop.example.net",
        "Ich bin bis Montag nicht im Büro. In dringenden Fällen hilft meine Kollegin.",
        automatic=True,
    ),
    Part(
        "Zoey Underhill",
        "zoey.underhill@example.com",
        "Do broad beans mind a late frost?",
        answer="Not in the least, Zoey. It is the peas that want a fleece. Yours, Ada",
    ),
    Part("Chiara Pavarò", "chiara_pavaro@mail.example.com", "My seeds have come, thank you. No need to remind me."),
    Part("Amelia d'Arcy", "+12025550108", "It hangs in the shed already. Thank you!"),
    Part("Luís da Conceição", "+46701740610", "STOP"),
)
"""People of `examples/contacts.csv`, in the order in which they speak where several could. The second is the one whose conversation is told."""
TOLD = CAST[1]


class People:
    """Everybody of the cast. `url` is the server's, `token` the key they play with; what is said is handed to `say` as well."""

    def __init__(self, url: str, token: str, say: Callable[[str], None]) -> None:
        self._client = httpx2.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE)
        self._say = say
        self._left = list(CAST)
        self._looked = -1
        """What the mailbox held when nobody found anything to answer."""

    async def close(self) -> None:
        """Hangs up."""
        await self._client.aclose()

    async def turn(self) -> bool:
        """One of them speaks, of those who have something to answer; False when nobody does. What the server refuses, another turn tries again."""
        try:
            return bool(self._left) and await self._turn()
        except httpx2.HTTPError:
            return False

    async def _turn(self) -> bool:
        held = (await self._get("/api/v1/sandbox/messages", limit=1))["pagination"]["total"]
        if held == self._looked:
            return False
        for part in self._left:
            if await self._plays(part):
                self._left.remove(part)
                return True
        self._looked = held
        return False

    async def _plays(self, part: Part) -> bool:
        """Says what the part says, unless an earlier start of the demonstration did, and answers it; False while nothing has reached it."""
        conversation = await conversation_of(self._client, part)
        if conversation is None:
            reached = (await self._get("/api/v1/sandbox/messages", to=part.address, limit=1))["messages"]
            if not reached:
                return False
            said = {"message": reached[0]["id"], "text": part.says, "automatic": part.automatic}
            played = await self._post("/api/v1/sandbox/reply", said)
            conversation = played["conversation_id"]
            self._say(_told(part, played))
        if part.answer and (await self._get(f"/api/v1/conversations/{conversation}"))["messages"][-1]["direction"] == "inbound":
            await self._post(f"/api/v1/conversations/{conversation}/reply", {"text": part.answer})
            self._say(f"We answer: {part.answer}")
        return True

    async def _get(self, path: str, **query: str | int) -> dict[str, Any]:
        return (await self._client.get(path, params=query)).raise_for_status().json()

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return (await self._client.post(path, json=body)).raise_for_status().json()


async def conversation_of(client: httpx2.AsyncClient, part: Part) -> str | None:
    """The conversation that the part has spoken in; None while it has said nothing."""
    heard = await client.get("/api/v1/inbound_messages", params={"from": part.address, "limit": 1})
    messages = heard.raise_for_status().json()["inbound_messages"]
    return messages[0]["conversation_id"] if messages else None


def _told(part: Part, played: dict[str, Any]) -> str:
    how = "texts" if part.address.startswith("+") else "is away" if part.automatic else "answers"
    word = " Confirmed by a text." if played["answered"] else ""
    ends = " Nothing more of the campaign is sent there." if played["stopped"] else " This stops nothing." if part.automatic else ""
    return f"{part.name} {how}: {part.says}{'' if part.says[-1] in '.!?' else '.'}{ends}{word}"
