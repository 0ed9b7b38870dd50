"""Whether two shares differ by chance: against values that textbooks and other programs give."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidings.analytics.reports.chance import p_value


@pytest.mark.parametrize(
    ("part", "whole", "other", "other_whole", "expected"),
    [
        # Fisher's lady who tastes tea, and R's fisher.test(matrix(c(8, 1, 2, 5), 2))
        (3, 4, 1, 4, 0.485714),
        (8, 10, 1, 6, 0.034965),
        (0, 3, 3, 3, 0.1),
        # by hand: 0.30 against 0.20 with a pooled rate of 0.25 is z = 2.3094; 0.05 against 0.04 of many is z = 3.4110
        (60, 200, 40, 200, 0.020921),
        (500, 10_000, 400, 10_000, 0.000647),
        (5, 100, 5, 100, 1.0),
        (0, 100, 0, 50, 1.0),
        (100, 100, 50, 50, 1.0),
    ],
)
def test_the_chance_of_a_difference_is_as_others_have_it(part: int, whole: int, other: int, other_whole: int, expected: float):
    assert p_value(part, whole, other, other_whole) == pytest.approx(expected, abs=2e-6)


def test_of_nothing_there_is_no_chance():
    assert p_value(0, 0, 3, 10) is None
    assert p_value(3, 10, 0, 0) is None


@given(st.integers(0, 400), st.integers(0, 400), st.integers(1, 400), st.integers(1, 400))
def test_it_is_a_probability_and_the_same_seen_from_either_side(part: int, other: int, whole: int, other_whole: int):
    part, other = min(part, whole), min(other, other_whole)
    found = p_value(part, whole, other, other_whole)
    assert found is not None
    assert 0 <= found <= 1
    assert found == pytest.approx(p_value(other, other_whole, part, whole), rel=1e-6, abs=1e-12)
    assert found == pytest.approx(p_value(whole - part, whole, other_whole - other, other_whole), rel=1e-6, abs=1e-12)


def test_ten_million_with_hardly_any_of_them_are_compared_at_once():
    assert p_value(3, 10_000_000, 0, 5_000_000) == pytest.approx(0.5556, abs=1e-3)
