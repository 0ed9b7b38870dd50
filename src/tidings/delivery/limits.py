"""How much of a queue may be under way at once: no more than its provider sends soon, so that pausing takes hold at once."""

LEAST = 100
MOST = 3000
SPAN = 0.25
"""Seconds of work to hold, where what a provider takes is measured."""


class Line:
    """One queue's traffic. `window` is how many messages may be under way: what the provider says, else a quarter of a second's worth as measured.

    `served_by` names the configuration of the provider that this holds for, None before there was any.
    """

    def __init__(self) -> None:
        self.under_way = 0
        self.window = LEAST
        self.served_by: tuple[int, int] | None = None
        self._given = False
        self._begin = 0.0
        self._done = 0.0

    def serve(self, served_by: tuple[int, int], window: int | None) -> None:
        """From now on it is this provider, which has use for `window` messages at once; None: that is to be measured."""
        self.served_by = served_by
        self._given = window is not None
        self.window = LEAST if window is None else min(max(window, 1), MOST)

    def room(self) -> int:
        """How many more may be claimed; 0 while the room is not worth a claim."""
        room = self.window - self.under_way
        if self._given:
            # in halves: of two batches one waits while the other lands, and the pace is kept
            half = (self.window + 1) // 2
            return min(room, half) if room >= half else 0
        return room if room >= self.window // 4 or not self.under_way else 0

    def started(self, count: int, at: float) -> None:
        """`count` messages are under way from `at` (seconds of the event loop)."""
        if not self.under_way:
            self._begin, self._done = at, 0.0
        self.under_way += count

    def finished(self, count: int, at: float) -> None:
        """`count` messages are settled; a window that is measured follows the rate of the last seconds."""
        self.under_way -= count
        if self._given:
            return
        self._done += count
        elapsed = max(at - self._begin, 0.001)
        self.window = min(max(int(self._done / elapsed * SPAN), LEAST), MOST)
        if elapsed > 4.0:
            # let the old rate fade: keep its half as the history of two seconds
            self._begin, self._done = at - elapsed / 2, self._done / 2
