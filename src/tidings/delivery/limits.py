"""How much of a queue may be under way at once: about a quarter of a second's worth of what its provider takes, so that pausing takes hold at once."""

LEAST = 100
MOST = 3000
SPAN = 0.25
"""Seconds of work to hold."""


class Line:
    """One queue's traffic, measured. `window` is how many messages may be under way."""

    def __init__(self) -> None:
        self.under_way = 0
        self.window = LEAST
        self._begin = 0.0
        self._done = 0.0

    def room(self) -> int:
        """How many more may be claimed; 0 while the room is not worth a claim."""
        room = self.window - self.under_way
        return room if room >= self.window // 4 or not self.under_way else 0

    def started(self, count: int, at: float) -> None:
        """`count` messages are under way from `at` (seconds of the event loop)."""
        if not self.under_way:
            self._begin, self._done = at, 0.0
        self.under_way += count

    def finished(self, count: int, at: float) -> None:
        """`count` messages are settled; the window follows the rate of the last seconds."""
        self.under_way -= count
        self._done += count
        elapsed = max(at - self._begin, 0.001)
        self.window = min(max(int(self._done / elapsed * SPAN), LEAST), MOST)
        if elapsed > 4.0:
            # let the old rate fade: keep its half as the history of two seconds
            self._begin, self._done = at - elapsed / 2, self._done / 2
