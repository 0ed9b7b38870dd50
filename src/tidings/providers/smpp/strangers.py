"""Which receipts speak of a message that is none of ours."""

from collections import OrderedDict

MOST = 10_000
_STRANGE = 60.0


class Strangers:
    """Names in receipts that nobody knows, and since when."""

    def __init__(self) -> None:
        self._since: OrderedDict[str, float] = OrderedDict()

    def is_strange(self, name: str, loop_time: float) -> bool:
        """Whether it has been unknown for so long that it will be: it belongs to another user of the account, or to what is deleted."""
        since = self._since.setdefault(name, loop_time)
        if len(self._since) > MOST:
            self._since.popitem(last=False)
        if loop_time - since < _STRANGE:
            return False
        self.forget(name)
        return True

    def forget(self, name: str) -> None:
        """It is known, or done with."""
        self._since.pop(name, None)
