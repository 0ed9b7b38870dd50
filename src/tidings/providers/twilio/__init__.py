"""Text messages over Twilio's REST API: https://www.twilio.com/docs/messaging/api/message-resource#create-a-message-resource.

What comes back is told to the URL that goes with each message, and read in callbacks.py.
"""

import asyncio
from collections.abc import Callable, Sequence

import httpx2

from tidings.message import phone
from tidings.message.outgoing import Outcome, Sealed, Sms, deferred, paused, unknown, untried
from tidings.providers.base import Pace, Report, window
from tidings.providers.twilio.answers import judged
from tidings.providers.twilio.settings import TwilioSettings

_CLOSED = paused("the provider is closed")
_IDLE = 5.0
"""Seconds an idle connection is kept: well below what Twilio's side keeps it, so that no message goes out on one just being closed."""


class Twilio:
    """A Twilio account as a provider: so many requests at once, at the pace of the sender. There is no idempotency for messages.

    Of several sends under way each has one message waiting for the pace, so a single text never waits behind a batch.
    """

    kind = "twilio"

    def __init__(self, settings: TwilioSettings, callback: Callable[[int], str] | None = None) -> None:
        """`callback` makes the URL to tell what becomes of a communication (by its id), "" where Twilio could not call it."""
        self._settings = settings
        self._callback = callback
        self._path = f"{settings.base_url.rstrip('/')}/2010-04-01/Accounts/{settings.account}/Messages.json"
        self.window = window(settings.rate)
        self._pace = Pace(settings.rate)
        self._slots = asyncio.Semaphore(settings.connections)
        self._client: httpx2.AsyncClient | None = None
        self._closed = False

    async def send(self, batch: Sequence[Sealed], report: Report) -> None:
        """Hands over a batch of texts; see `Provider.send`. Once Twilio cannot be worked with, the rest is handed back untried."""
        work = _Work(batch, report)
        try:
            async with asyncio.TaskGroup() as tasks:
                for message in batch:
                    if not isinstance(message, Sms):
                        raise TypeError(f"Twilio carries Sms, not {type(message).__name__}")
                    await self._hand_over(message, work, tasks)
        except asyncio.CancelledError:
            for communication_id in list(work.waiting):
                work.tell(communication_id, untried())
            raise
        except BaseExceptionGroup as several:
            # what one message ran into is what the send ran into
            raise several.exceptions[0] from None

    async def close(self) -> None:
        """From now on everything is handed back; what is on its way ends without an answer."""
        self._closed = True
        if self._client is not None:
            await self._client.aclose()

    async def _hand_over(self, message: Sms, work: "_Work", tasks: asyncio.TaskGroup) -> None:
        text = phone.smart(message.text) if self._settings.smart_encoding else message.text
        await self._slots.acquire()
        held = self._slots.release
        try:
            if work.grounded is None and not self._closed:
                await self._pace.wait(max(phone.segments(text).count, 1))
            grounded = _CLOSED if self._closed else work.grounded
            if grounded is None:
                task = tasks.create_task(self._carry(message, text, work))
                # by the task's end and not in it: one that is cancelled before its first step never runs
                task.add_done_callback(lambda _: self._slots.release())
                held = None
            else:
                work.tell(message.communication_id, grounded)
        finally:
            if held is not None:
                held()

    async def _carry(self, message: Sms, text: str, work: "_Work") -> None:
        work.waiting.pop(message.communication_id)
        outcome = await self._post(message, text)
        if outcome.kind == "paused":
            work.grounded = outcome
        work.tell(message.communication_id, outcome)

    async def _post(self, message: Sms, text: str) -> Outcome:
        if self._closed:
            return _CLOSED
        try:
            answer = await self._opened().post(self._path, data=self._form(message, text))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.UnsupportedProtocol, httpx2.ProxyError) as error:
            return paused(f"Twilio cannot be reached at {self._settings.base_url}: {_said(error)}")
        except (httpx2.WriteError, httpx2.WriteTimeout) as error:
            return deferred(f"The connection to Twilio broke before the message had left: {_said(error)}", "4.4.2")
        except httpx2.RequestError as error:
            return unknown(f"The message left for Twilio and no answer came: {_said(error)}")
        return judged(answer.status_code, answer.headers, answer.content, message.to)

    def _form(self, message: Sms, text: str) -> dict[str, str]:
        settings = self._settings
        form = {"To": message.to, "Body": text}
        # the number a conversation goes on under outweighs the one that texts usually come from
        if message.sender or settings.sender:
            form["From"] = message.sender or settings.sender
        if settings.service:
            form["MessagingServiceSid"] = settings.service
        url = self._callback(message.communication_id) if self._callback is not None else ""
        if url:
            form["StatusCallback"] = url
        return form

    def _opened(self) -> httpx2.AsyncClient:
        if self._client is None:
            settings = self._settings
            self._client = httpx2.AsyncClient(
                auth=httpx2.BasicAuth(settings.username, settings.password),
                timeout=httpx2.Timeout(settings.timeout, pool=None),
                limits=httpx2.Limits(max_connections=settings.connections, keepalive_expiry=_IDLE),
                headers={"user-agent": "tidings", "accept": "application/json"},
                trust_env=False,
            )
        return self._client


class _Work:
    """One send: what was not handed over yet, where outcomes go, and why the rest of it is not tried any more."""

    def __init__(self, batch: Sequence[Sealed], report: Report) -> None:
        self.waiting = {message.communication_id: None for message in batch}
        self.grounded: Outcome | None = None
        self._report = report

    def tell(self, communication_id: int, outcome: Outcome) -> None:
        self.waiting.pop(communication_id, None)
        self._report(communication_id, outcome)


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
