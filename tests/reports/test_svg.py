from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.reports import bars, svg, timeline
from kilowait_scheduler.reports.slots import Slot, thinned

START = datetime(2026, 11, 23, 6, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
NS = "{http://www.w3.org/2000/svg}"


def sheets(drawn: str) -> list[ElementTree.Element]:
    """The picture for broad screens and the one for narrow ones."""
    return list(ElementTree.fromstring(f"<page>{drawn}</page>"))


@given(
    st.floats(-1e12, 1e12, allow_nan=False),
    st.floats(1e-6, 1e12, allow_nan=False),
    st.integers(min_value=2, max_value=9),
)
def test_ticks_are_round_and_reach_around_the_values(low: float, span: float, about: int) -> None:
    high = low + span
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    ticks = svg.nice_ticks(low, high, about=about)
    step = ticks[1] - ticks[0]
    slack = 1e-6 * step
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert len(ticks) <= about + 2
    assert all(before < after for before, after in pairwise(ticks))


def test_equal_values_still_get_an_axis() -> None:
    assert svg.nice_ticks(0.0, 0.0)[0] == 0.0
    assert len(svg.nice_ticks(7.0, 7.0)) >= 2


@given(st.integers(min_value=1, max_value=60 * 24 * 900))
def test_time_ticks_lie_inside_at_equal_distances_and_are_few(minutes: int) -> None:
    end = START + timedelta(minutes=minutes)
    ticks = svg.time_ticks(START, end, about=10)
    assert len(ticks) <= 11
    assert all(START <= tick.at <= end for tick in ticks)
    assert len({after.at - before.at for before, after in pairwise(ticks)}) <= 1


def test_time_ticks_fall_on_round_hours_and_date_each_day_once() -> None:
    ticks = svg.time_ticks(START, START + 36 * HOUR)
    assert {tick.at.minute for tick in ticks} == {0}
    assert [tick.date for tick in ticks if tick.date] == ["Mon 23 Nov", "Tue 24 Nov"]
    assert [tick.label for tick in ticks if tick.day] == ["00:00"]


@given(st.text(max_size=80))
def test_whatever_a_job_is_called_the_picture_is_well_formed_xml(name: str) -> None:
    drawn = svg.picture(
        svg.text(0, 0, name),
        svg.rect(0, 0, 1, 1, class_="ran", title=name),
        id_="x",
        sheet=svg.BROAD,
        height=9,
        title=name,
        desc=name,
    )
    root = ElementTree.fromstring(str(drawn))
    assert [child.tag for child in root] == [f"{NS}title", f"{NS}desc", f"{NS}text", f"{NS}rect"]


def test_names_are_cut_in_the_middle_because_they_differ_at_the_ends() -> None:
    cut = svg.shortened("bert-base-pretraining-seed-0042", characters=20)
    assert len(cut) == 20
    assert cut.startswith("bert")
    assert cut.endswith("0042")
    assert svg.shortened("short", characters=20) == "short"


values = st.lists(st.tuples(st.floats(0, 900), st.booleans(), st.integers(1, 3)), min_size=1, max_size=400)


@given(values, st.integers(5, 60))
def test_thinning_keeps_the_area_and_the_estimated_time(parts: list[tuple[float, bool, int]], most: int) -> None:
    slots, at = [], START
    for value, estimated, quarters in parts:
        end = at + quarters * HOUR / 4
        slots.append(Slot(at, end, value, estimated))
        at = end
    thin = thinned(slots, most=most)
    assert sum(map(_area, thin)) == pytest.approx(sum(map(_area, slots)))
    assert _estimated(thin) == _estimated(slots)
    assert (thin[0].start, thin[-1].end) == (slots[0].start, slots[-1].end)
    assert all(before.end == after.start for before, after in pairwise(thin))


def _area(slot: Slot) -> float:
    return slot.g_per_kwh * (slot.end - slot.start).total_seconds()


def _estimated(slots: list[Slot]) -> timedelta:
    return sum((slot.end - slot.start for slot in slots if slot.estimated), timedelta(0))


def test_a_year_of_quarter_hours_stays_a_small_picture() -> None:
    slots = [
        Slot(START + i * HOUR / 4, START + (i + 1) * HOUR / 4, 300 + 100 * math.sin(i / 40))
        for i in range(4 * 24 * 365)
    ]
    panel = timeline.Panel("r", "", slots)
    drawn = timeline.draw(timeline.Timeline("t", "title", "desc", START, slots[-1].end, [panel]))
    assert len(drawn) < 60_000


def test_a_step_line_breaks_where_values_are_missing() -> None:
    x, y = svg.TimeScale(START, START + 4 * HOUR, 0, 400), svg.Scale(0, 100, 100, 0)
    steps = [
        (START, START + HOUR, 50.0),
        (START + HOUR, START + 2 * HOUR, 80.0),
        (START + 3 * HOUR, START + 4 * HOUR, 10.0),
    ]
    assert svg.step_path(steps, x=x, y=y) == "M0,50V50H100V20H200M300,90V90H400"
    assert svg.area_path(steps, x=x, y=y) == "M0,100V50H100V20H200V100ZM300,100V90H400V100Z"


spans = st.lists(st.tuples(st.floats(0, 46), st.floats(0.2, 20), st.text(min_size=1, max_size=20)), max_size=25)


@given(spans)
def test_windows_of_one_lane_never_touch_each_other(drawn: list[tuple[float, float, str]]) -> None:
    found = [timeline.Span(name, START + a * HOUR, START + (a + b) * HOUR) for a, b, name in drawn]
    slots = [Slot(START, START + 48 * HOUR, 200.0)]
    panel = timeline.Panel("r", "", slots, found)
    picture = timeline.draw(timeline.Timeline("t", "t", "d", START, START + 48 * HOUR, [panel]))
    for sheet in sheets(picture):
        lanes: dict[str, list[tuple[float, float]]] = {}
        for bar in sheet.iter(f"{NS}rect"):
            if bar.find(f"{NS}title") is not None:
                left = float(bar.get("x", 0))
                lanes.setdefault(bar.get("y", ""), []).append((left, left + float(bar.get("width", 0))))
        for bars_ in lanes.values():
            assert all(before[1] <= after[0] + 0.02 for before, after in pairwise(sorted(bars_)))
        shown = sum(len(bars_) for bars_ in lanes.values())
        left_out = [f"and {len(found) - shown} more windows, not drawn: see the table"]
        left_out += [f"{len(found)} windows, too many to draw each: see the table"]
        said = [text.text for text in sheet.iter(f"{NS}text")]
        assert shown == len(found) or any(words in said for words in left_out)


def test_where_most_windows_would_find_no_room_none_is_drawn_and_they_are_counted() -> None:
    slots = [Slot(START, START + 48 * HOUR, 200.0)]
    found = [timeline.Span(f"job {n}", START + n * HOUR / 14, START + (n / 14 + 1) * HOUR) for n in range(600)]
    panel = timeline.Panel("r", "", slots, found)
    picture = str(timeline.draw(timeline.Timeline("t", "t", "d", START, START + 48 * HOUR, [panel])))
    assert "600 windows, too many to draw each: see the table" in picture
    assert "job 1<" not in picture
    assert 'class="under-ran"' in picture, "when any of them ran is still to be seen"


def test_estimated_slots_are_hatched_and_explained_and_measured_ones_are_not() -> None:
    slots = [Slot(START, START + HOUR, 200.0), Slot(START + HOUR, START + 2 * HOUR, 210.0, True)]
    drawn = str(
        timeline.draw(timeline.Timeline("t", "t", "d", START, START + 2 * HOUR, [timeline.Panel("r", "", slots)]))
    )
    for root, pattern in zip(sheets(drawn), ("t-estimated", "t-slim-estimated"), strict=True):
        hatched = [e for e in root.iter(f"{NS}rect") if e.get("class") == "estimated"]
        assert len(hatched) == 1
        assert hatched[0].get("fill") == f"url(#{pattern})"
        assert pattern in [defined.get("id") for defined in root.iter(f"{NS}pattern")]
        assert "estimated" in [text.text for text in root.iter(f"{NS}text")]


def test_a_region_without_intensity_says_so_and_draws_no_scale() -> None:
    panel = timeline.Panel("r", "zone Z", ())
    drawn = str(timeline.draw(timeline.Timeline("t", "t", "d", START, START + 2 * HOUR, [panel])))
    assert "no intensity is known here" in drawn
    assert "tspan" in drawn


KIND = bars.Kind("kind", "time")


def _bars(parts: list[float], **more: object) -> list[ElementTree.Element]:
    row = bars.Row("job", tuple((KIND, part) for part in parts), "words", **more)
    return sheets(str(bars.draw(bars.Bars("b", "t", "d", [row], "kg", lambda value: f"{value:g}"))))


def test_negative_parts_lie_to_the_left_of_zero_and_positive_ones_to_the_right() -> None:
    for root in _bars([3.0, -1.0], net=2.0):
        zero = next(float(e.get("x1", 0)) for e in root.iter(f"{NS}line") if e.get("class") == "base")
        right, left = [e for e in root.iter(f"{NS}rect") if e.find(f"{NS}title") is not None]
        assert float(right.get("x", 0)) == pytest.approx(zero, abs=0.02)
        assert float(left.get("x", 0)) + float(left.get("width", 0)) == pytest.approx(zero, abs=0.02)
        assert float(right.get("width", 0)) == pytest.approx(3 * float(left.get("width", 0)), rel=0.01)


def test_rows_of_nothing_but_zeros_can_be_drawn() -> None:
    assert len(_bars([0.0], net=0.0, error=0.0)) == 2


@given(st.lists(st.floats(1, 400), min_size=1, max_size=9), st.floats(0, 80))
def test_what_flows_stays_in_order_within_its_lines_and_touches_nothing(widths: list[float], first: float) -> None:
    places = svg.flowed(widths, first=first, last=360)
    assert [line for _, line in places] == sorted(line for _, line in places)
    for (x, line), (following, below), width in zip(places, places[1:], widths, strict=False):
        assert following == x + width if below == line else following == first
    assert all(x + width <= 360 or x == first for (x, _), width in zip(places, widths, strict=True))
