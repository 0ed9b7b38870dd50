"""Whether two shares differ by more than chance would have it. Pure arithmetic."""

import math


def p_value(part: int, whole: int, other_part: int, other_whole: int) -> float | None:
    """How likely two shares of the same underlying rate differ at least this much (two-sided); None where there is nothing to compare.

    The two-proportion z-test with the pooled rate; Fisher's exact test where it would be wrong, because fewer than five of a cell are
    to be expected (Cochran's rule).
    """
    if not whole or not other_whole:
        return None
    together, total = part + other_part, whole + other_whole
    if together in (0, total):
        return 1.0
    least = min(together, total - together) * min(whole, other_whole) / total
    if least < 5:
        return _exact(part, whole, other_part, other_whole)
    pooled = together / total
    deviation = math.sqrt(pooled * (1 - pooled) * (1 / whole + 1 / other_whole))
    return math.erfc(abs(part / whole - other_part / other_whole) / deviation / math.sqrt(2))


def _exact(part: int, whole: int, other_part: int, other_whole: int) -> float:
    """Fisher's: of all tables with these sums, those no more likely than the one that is there.

    They are few where this is asked: the smaller two of the sums multiplied are below five times the total.
    """
    together = part + other_part
    here = _likelihood(part, whole, together, other_whole)
    found = [_likelihood(count, whole, together, other_whole) for count in range(max(0, together - other_whole), min(whole, together) + 1)]
    # as likely as this one, but for the rounding
    return min(1.0, math.fsum(math.exp(each) for each in found if each <= here + 1e-7))


def _likelihood(part: int, whole: int, together: int, other_whole: int) -> float:
    """The logarithm of the hypergeometric probability."""
    return _choose(whole, part) + _choose(other_whole, together - part) - _choose(whole + other_whole, together)


def _choose(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)
