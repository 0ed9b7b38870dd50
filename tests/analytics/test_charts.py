"""Charts are well-formed pictures that carry their figures as text and nothing that runs."""

from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from tidings.analytics import charts
from tidings.analytics.charts import Bar, Group, Line

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "</text><script>alert(1)</script> & \"'\x00\x08\x1b\ud800"


def drawn(text: str) -> ET.Element:
    return ET.fromstring(text.encode())


def words(picture: ET.Element) -> str:
    return " ".join("".join(element.itertext()) for element in picture.iter(f"{SVG}text"))


def test_lines_have_a_legend_axes_and_a_description_for_who_cannot_see_them():
    picture = drawn(
        charts.lines("What happened", "By day", ["2026-01-01", "2026-01-02"], [Line("sent", [3, 1200], 0), Line("opens", [1, 0], 1)])
    )
    assert picture.get("role") == "img"
    assert [picture.findtext(f"{SVG}{name}") for name in ("title", "desc")] == ["What happened", "By day. sent: 1,203; opens: 1."]
    for word in ("sent", "opens", "2026-01-01", "2026-01-02", "0", "1,000", "1,500"):
        assert word in words(picture)
    assert len(picture.findall(f"{SVG}polyline")) == 2
    assert [len(line.get("points", "").split()) for line in picture.findall(f"{SVG}polyline")] == [2, 2]


def test_labels_do_not_run_into_each_other_and_every_point_is_within_the_picture():
    labels = [f"{hour // 24:02d}-{hour % 24:02d} 00:00" for hour in range(1000)]
    picture = drawn(charts.lines("t", "s", labels, [Line("sent", list(range(1000)), 0)]))
    places = sorted(float(text.get("x", 0)) for text in picture.iter(f"{SVG}text") if (text.text or "") in labels)
    assert 4 <= len(places) <= 10
    assert min(b - a for a, b in pairwise(places)) > 11 * 7
    points = [tuple(map(float, point.split(","))) for line in picture.iter(f"{SVG}polyline") for point in line.get("points", "").split()]
    assert all(0 <= x <= charts.WIDTH and 0 <= y <= float(picture.get("height", 0)) for x, y in points)


def test_one_moment_is_a_dot_and_nothing_at_all_is_an_empty_chart():
    assert drawn(charts.lines("t", "s", ["now"], [Line("sent", [5], 0)])).find(f"{SVG}circle") is not None
    assert drawn(charts.lines("t", "s", [], [])).findtext(f"{SVG}desc") == "s. nothing happened."
    assert drawn(charts.bars("t", "s", [])) is not None


def test_bars_are_as_long_as_their_values_and_say_them():
    picture = drawn(
        charts.bars(
            "Spring", "Funnel", [Group("1. Hello", [Bar("sent", 400, 0), Bar("opened", 100, 1, "25.0% of sent"), Bar("none", 0, 2)])]
        )
    )
    lengths = [float(rect.get("width", 0)) for rect in picture.findall(f"{SVG}rect")[1:]]
    assert lengths[0] == pytest.approx(4 * lengths[1])
    assert lengths[2] == 1
    assert "400" in words(picture)
    assert "25.0% of sent" in words(picture)
    assert picture.findtext(f"{SVG}desc") == "Funnel. 1. Hello: sent 400, opened 100, none 0."


def test_what_somebody_wrote_is_text_and_nothing_else():
    for text in (
        charts.bars(HOSTILE, HOSTILE, [Group(HOSTILE, [Bar(HOSTILE, 1, 0, HOSTILE)])]),
        charts.lines(HOSTILE, HOSTILE, [HOSTILE], [Line(HOSTILE, [1], 0)]),
    ):
        picture = drawn(text)
        assert not [
            element for element in picture.iter() if element.tag in {f"{SVG}script", f"{SVG}a", f"{SVG}image", f"{SVG}foreignObject"}
        ]
        assert "<script>alert(1)</script>" in words(picture)


@pytest.mark.parametrize(
    ("most", "end", "step"),
    [(0, 1, 1), (1, 1, 1), (5, 5, 1), (7, 8, 2), (1200, 1500, 500), (11_999, 15_000, 5_000), (10**12, 10**12, 2 * 10**11)],
)
def test_axes_end_on_round_numbers(most: int, end: int, step: int):
    assert charts.scale(most) == (end, step)
