"""Hours and days of time zones: the clocks go forward and back, and by other steps than an hour."""

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidings.analytics.reports import calendar
from tidings.analytics.reports.calendar import Interval, Range
from tidings.clock import DAY, HOUR, MINUTE
from tidings.errors import Malformed

ZONES = ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]
ODD = ["Pacific/Apia", "America/Sao_Paulo", "Africa/Casablanca", "Asia/Gaza", "Pacific/Chatham"]


def shown(zone: str, since: str, until: str, interval: Interval) -> list[str]:
    """Where each interval begins, and how long it is in minutes."""
    there = ZoneInfo(zone)
    asked = calendar.ordered(calendar.begin(since, there, "since"), calendar.end(until, there, "until"))
    found = calendar.slices(asked, there, interval)
    assert [each.until for each in found[:-1]] == [each.since for each in found[1:]]
    return [f"{calendar.spelled(each.since, each.offset)} {(each.until - each.since) // MINUTE}" for each in found]


def test_days_of_the_change_have_an_hour_more_or_less():
    assert shown("Europe/Zurich", "2026-03-28", "2026-03-30", "day") == [
        "2026-03-28T00:00:00+01:00 1440",
        "2026-03-29T00:00:00+01:00 1380",
        "2026-03-30T00:00:00+02:00 1440",
    ]
    assert shown("America/New_York", "2026-11-01", "2026-11-01", "day") == ["2026-11-01T00:00:00-04:00 1500"]
    assert shown("Australia/Lord_Howe", "2026-04-05", "2026-04-05", "day") == ["2026-04-05T00:00:00+11:00 1470"]


def test_an_hour_that_comes_twice_is_told_apart_and_one_left_out_is_not_there():
    assert shown("Europe/Zurich", "2026-10-25T01:00", "2026-10-25T04:00", "hour") == [
        "2026-10-25T01:00:00+02:00 60",
        "2026-10-25T02:00:00+02:00 60",
        "2026-10-25T02:00:00+01:00 60",
        "2026-10-25T03:00:00+01:00 60",
    ]
    assert shown("Europe/Zurich", "2026-03-29T01:00", "2026-03-29T04:00", "hour") == [
        "2026-03-29T01:00:00+01:00 60",
        "2026-03-29T03:00:00+02:00 60",
    ]
    assert shown("Australia/Lord_Howe", "2026-04-05T01:00", "2026-04-05T02:00", "hour") == [
        "2026-04-05T01:00:00+11:00 60",
        "2026-04-05T01:30:00+10:30 30",
    ]


def test_hours_of_zones_that_are_not_whole_hours_ahead_begin_on_their_own_hour():
    assert shown("Asia/Kathmandu", "2026-01-01T10:15Z", "2026-01-01T11:15Z", "hour") == ["2026-01-01T16:00:00+05:45 60"]
    assert shown("Asia/Kolkata", "2026-01-01T10:00Z", "2026-01-01T10:31Z", "hour") == [
        "2026-01-01T15:00:00+05:30 60",
        "2026-01-01T16:00:00+05:30 60",
    ]


def test_a_day_that_never_was_is_left_out_and_one_without_a_midnight_begins_later():
    assert shown("Pacific/Apia", "2011-12-29", "2011-12-31", "day") == ["2011-12-29T00:00:00-10:00 1440", "2011-12-31T00:00:00+14:00 1440"]
    assert shown("America/Sao_Paulo", "2018-11-04", "2018-11-04", "day") == ["2018-11-04T01:00:00-02:00 1380"]


@settings(max_examples=150, deadline=None)
@given(
    zone=st.sampled_from(ZONES + ODD),
    since=st.integers(1_293_840_000_000, 1_900_000_000_000),
    length=st.integers(1, 20 * DAY),
    interval=st.sampled_from(["hour", "day"]),
)
def test_intervals_cover_the_range_without_gaps_and_begin_where_the_clocks_say(zone: str, since: int, length: int, interval: Interval):
    there = ZoneInfo(zone)
    found = calendar.slices(Range(since, since + length), there, interval)
    assert found[0].since <= since < found[0].until
    assert found[-1].since < since + length <= found[-1].until
    for one, following in pairwise(found):
        # St. John's and Gaza changed their clocks a minute past midnight: there a day comes back for an hour
        assert one.until == following.since or (interval == "day" and one.until > following.since)
    for each in found:
        local = datetime.fromtimestamp(each.since / 1000, UTC).astimezone(there)
        assert calendar.spelled(each.since, each.offset) == local.replace(microsecond=0).isoformat()
        before = datetime.fromtimestamp(each.since / 1000 - 1, UTC).astimezone(there)
        number = [
            (at.hour if interval == "hour" else 0, at.date(), at.utcoffset() if interval == "hour" else None) for at in (local, before)
        ]
        assert number[0] != number[1]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-03-29T12:00:00Z", "2026-03-29T12:00:00+00:00"),
        ("2026-03-29T12:00:00 02:00", "2026-03-29T10:00:00+00:00"),
        ("2026-03-29T12:00", "2026-03-29T10:00:00+00:00"),
        ("2026-03-29", "2026-03-28T23:00:00+00:00"),
    ],
)
def test_instants_and_dates_are_read_in_the_zone(text: str, at: str):
    assert calendar.spelled(calendar.begin(text, ZoneInfo("Europe/Zurich"), "since"), 0) == at


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "2026-02-30", "2026-13-01", "1999-12-31", "9999-12-31", "2026-01-01T25:00Z", "2026-01-01T00:00+99:99", "٢٠٢٦-01-01"],
)
def test_what_is_no_instant_is_refused_in_a_sentence(text: str):
    with pytest.raises(Malformed, match=r"^since "):
        calendar.begin(text, ZoneInfo("UTC"), "since")


@pytest.mark.parametrize("name", ["Mars/Olympus", "../../etc/passwd", "Europe", "europe/zurich", "x" * 5000, "/etc/localtime"])
def test_a_zone_that_is_none_is_refused(name: str):
    with pytest.raises(Malformed, match=r"^time_zone is not a name in the IANA time zone database"):
        calendar.zone_of(name)


def test_a_report_has_a_bounded_number_of_intervals():
    zone = ZoneInfo("Europe/Zurich")
    assert (
        len(calendar.slices(Range(1_700_000_000_000 // HOUR * HOUR, 1_700_000_000_000 // HOUR * HOUR + 1000 * HOUR), zone, "hour")) == 1000
    )
    refused: list[tuple[Interval, int]] = [("hour", 1001 * HOUR), ("day", 1102 * DAY), ("hour", 99 * 365 * DAY)]
    for interval, length in refused:
        with pytest.raises(
            Malformed, match=rf"^until is [\d,]+ {interval}s after since, and a report has at most 1,[01]00: narrow the range"
        ):
            calendar.slices(Range(1_700_000_000_000, 1_700_000_000_000 + length), zone, interval)
    with pytest.raises(Malformed, match="until must come after since"):
        calendar.ordered(5, 5)
