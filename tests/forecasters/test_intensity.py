"""Series of intensity: exact means, refused gaps, nothing extrapolated, extension that keeps our values."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_forecasters.errors import Gap, OutOfRange, Refused, SignalMismatch
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Signal
from kilowait_forecasters.zone import Zone

START = datetime(2026, 9, 14, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DE = Zone("DE")


def series(*pieces: tuple[int, int, float], signal: Signal = AVERAGE_LIFECYCLE, zone: Zone = DE) -> IntensitySeries:
    """Slots given as (first minute, last minute, g/kWh)."""
    slots = [Slot(START + a * MINUTE, START + b * MINUTE, value) for a, b, value in pieces]
    return IntensitySeries(zone=zone, signal=signal, source="test", slots=slots)


def minute(number: int) -> datetime:
    return START + number * MINUTE


values = st.floats(min_value=0, max_value=3000)


@st.composite
def whole(draw: st.DrawFn) -> IntensitySeries:
    """A series without gaps, of 1 to 12 slots of uneven length."""
    lengths = draw(st.lists(st.integers(1, 90), min_size=1, max_size=12))
    edges = [sum(lengths[:n]) for n in range(len(lengths) + 1)]
    return series(*((a, b, draw(values)) for a, b in itertools.pairwise(edges)))


@st.composite
def holed(draw: st.DrawFn) -> IntensitySeries:
    """A series of 1 to 8 slots with or without gaps."""
    edges = sorted(draw(st.sets(st.integers(0, 300), min_size=2, max_size=16)))
    pairs = list(zip(edges[::2], edges[1::2], strict=False))
    return series(*((a, b, draw(values)) for a, b in pairs))


def inside(data: st.DataObject, of: IntensitySeries, *, edges: int) -> list[datetime]:
    last = (of.end - START) // MINUTE
    picks = data.draw(st.sets(st.integers(0, last), min_size=min(edges, last + 1), max_size=edges))
    return [minute(pick) for pick in sorted(picks)]


@given(st.data())
def test_the_mean_over_a_span_is_the_weighted_mean_of_its_parts(data: st.DataObject) -> None:
    whole_series = data.draw(whole())
    edges = inside(data, whole_series, edges=5)
    if len(edges) < 2:
        return
    parts = [(b - a, whole_series.mean(a, b)) for a, b in itertools.pairwise(edges)]
    weighted = sum(length / MINUTE * mean for length, mean in parts) / ((edges[-1] - edges[0]) / MINUTE)

    assert whole_series.mean(edges[0], edges[-1]) == pytest.approx(weighted, rel=1e-9, abs=1e-6)
    assert whole_series.means(edges) == pytest.approx([mean for _, mean in parts], rel=1e-12)


@given(st.data())
def test_the_mean_is_what_summing_the_cut_slots_gives(data: st.DataObject) -> None:
    whole_series = data.draw(whole())
    edges = inside(data, whole_series, edges=2)
    if len(edges) < 2:
        return
    cut = list(whole_series.split(*edges))

    assert cut[0].start == edges[0]
    assert cut[-1].end == edges[1]
    assert all(a.end == b.start for a, b in itertools.pairwise(cut))
    summed = sum((slot.end - slot.start) / MINUTE * slot.g_per_kwh for slot in cut) / ((edges[1] - edges[0]) / MINUTE)
    assert whole_series.mean(*edges) == pytest.approx(summed, rel=1e-9, abs=1e-6)
    low, high = min(slot.g_per_kwh for slot in cut), max(slot.g_per_kwh for slot in cut)
    assert low - 1e-6 <= whole_series.mean(*edges) <= high + 1e-6


@given(st.data())
def test_a_question_that_touches_a_gap_or_leaves_the_series_is_refused(data: st.DataObject) -> None:
    holed_series = data.draw(holed())
    first, last = sorted(data.draw(st.sets(st.integers(-10, 310), min_size=2, max_size=2)))
    start, end = minute(first), minute(last)
    every_minute = all(
        any(slot.start <= minute(n) < slot.end for slot in holed_series.slots) for n in range(first, last)
    )

    assert holed_series.covers(start, end) == every_minute
    assert (list(holed_series.gaps(start, end)) == []) == every_minute
    if every_minute:
        assert holed_series.mean(start, end) >= 0
        return
    for question in (holed_series.mean, holed_series.between, lambda a, b: holed_series.means([a, b])):
        with pytest.raises((Gap, OutOfRange)):
            question(start, end)


@given(st.data())
def test_gaps_and_slots_together_make_the_span(data: st.DataObject) -> None:
    holed_series = data.draw(holed())
    first, last = sorted(data.draw(st.sets(st.integers(-10, 310), min_size=2, max_size=2)))
    gaps = list(holed_series.gaps(minute(first), minute(last)))

    for n in range(first, last):
        valued = any(slot.start <= minute(n) < slot.end for slot in holed_series.slots)
        assert valued != any(a <= minute(n) < b for a, b in gaps)


@given(holed(), holed())
def test_extending_keeps_our_values_and_takes_theirs_only_where_we_have_none(
    ours: IntensitySeries, theirs: IntensitySeries
) -> None:
    both = ours.extended(theirs)

    assert set(ours.slots) <= set(both.slots)
    for n in range(-5, 305):
        mine = [slot.g_per_kwh for slot in ours.slots if slot.start <= minute(n) < slot.end]
        other = [slot.g_per_kwh for slot in theirs.slots if slot.start <= minute(n) < slot.end]
        assert [slot.g_per_kwh for slot in both.slots if slot.start <= minute(n) < slot.end] == (mine or other)
    assert both.extended(theirs).slots == both.slots


@given(holed())
def test_a_value_is_found_at_its_first_instant_and_not_at_its_end(holed_series: IntensitySeries) -> None:
    starts = {slot.start for slot in holed_series.slots}
    for slot in holed_series.slots:
        assert holed_series.at(slot.start) == slot.g_per_kwh
        assert holed_series.slot_at(slot.end - timedelta(microseconds=1)) == slot
        if slot.end not in starts:
            with pytest.raises((Gap, OutOfRange)):
                holed_series.at(slot.end)


def test_a_long_series_keeps_means_exact_to_nine_digits() -> None:
    hours = series(*((60 * n, 60 * (n + 1), 300 + n % 7) for n in range(20_000)))

    assert hours.mean(minute(60 * 18_998), minute(60 * 19_005)) == pytest.approx(303, rel=1e-9)
    assert hours.mean(minute(60 * 18_998 + 10), minute(60 * 18_998 + 20)) == pytest.approx(300, rel=1e-9)


def test_an_empty_series_two_values_at_once_and_slots_without_length_are_refused() -> None:
    with pytest.raises(Refused, match="no intensity values for zone DE"):
        series()
    with pytest.raises(Refused, match="two values for zone DE at 2026-09-14T00:30"):
        series((0, 60, 1.0), (30, 90, 2.0))
    with pytest.raises(Refused, match="no length"):
        series((60, 60, 1.0))
    for value in (float("nan"), float("inf")):
        with pytest.raises(Refused, match="a missing value is not a number"):
            series((0, 60, value))


def test_local_and_naive_times_are_refused() -> None:
    an_hour = series((0, 60, 1.0))
    cet = timezone(timedelta(hours=1))
    for moment in (datetime(2026, 9, 14), datetime(2026, 9, 14, tzinfo=cet)):
        with pytest.raises(Refused, match="aware UTC"):
            an_hour.at(moment)
        with pytest.raises(Refused, match="aware UTC"):
            an_hour.mean(moment, minute(60))
        with pytest.raises(Refused, match="aware UTC"):
            an_hour.means([moment, minute(60)])
        with pytest.raises(Refused, match="aware UTC"):
            Slot(moment, minute(60), 1.0)


def test_spans_without_length_and_edges_that_do_not_ascend_are_refused() -> None:
    an_hour = series((0, 60, 1.0))
    assert not an_hour.covers(minute(5), minute(5))
    for question in (an_hour.mean, an_hour.between, an_hour.estimated_share):
        with pytest.raises(Refused, match="no length"):
            question(minute(5), minute(5))
    for edges in ([], [minute(1)]):
        with pytest.raises(Refused, match="at least two"):
            an_hour.means(edges)
    with pytest.raises(Refused, match="do not ascend"):
        an_hour.means([minute(0), minute(20), minute(20)])


def test_the_message_about_a_gap_names_the_first_one() -> None:
    with pytest.raises(Gap, match=r"zone DE has no value from 2026-09-14T01:00:00.* to 2026-09-14T02:00:00"):
        series((0, 60, 1.0), (120, 180, 2.0)).mean(minute(0), minute(180))


def test_series_of_other_signals_or_zones_do_not_fill_each_other() -> None:
    with pytest.raises(SignalMismatch):
        series((0, 60, 1.0)).extended(series((60, 120, 1.0), signal=AVERAGE_DIRECT))
    with pytest.raises(Refused, match="zone DE cannot be filled from zone FR"):
        series((0, 60, 1.0)).extended(series((60, 120, 1.0), zone=Zone("FR")))


def test_the_estimated_share_is_by_time() -> None:
    slots = [Slot(minute(0), minute(90), 1.0), Slot(minute(90), minute(120), 2.0, estimated=True)]
    mixed = IntensitySeries(zone=DE, signal=AVERAGE_LIFECYCLE, source="test", slots=slots)

    assert mixed.estimated_share(minute(0), minute(120)) == pytest.approx(0.25)
    assert mixed.estimated_share(minute(0), minute(90)) == 0
    assert [slot.estimated for slot in mixed.between(minute(60), minute(120)).slots] == [False, True]
