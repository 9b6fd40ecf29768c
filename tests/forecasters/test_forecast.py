"""Forecasts: what each part is made of survives extension and the filling of gaps."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_forecasters.errors import Gap, OutOfRange, Refused, SignalMismatch
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Signal
from kilowait_forecasters.zone import Zone

START = datetime(2026, 9, 14, tzinfo=UTC)
HOUR = timedelta(hours=1)
DE = Zone("DE")


def at(hour: int) -> datetime:
    return START + hour * HOUR


def series(hours: list[int], value: float, *, source: str, signal: Signal = AVERAGE_LIFECYCLE) -> IntensitySeries:
    slots = [Slot(at(hour), at(hour + 1), value) for hour in hours]
    return IntensitySeries(zone=DE, signal=signal, source=source, slots=slots)


def forecast(
    hours: list[int], value: float, *, source: str = "ours", banded: bool = False, signal: Signal = AVERAGE_LIFECYCLE
) -> Forecast:
    middle = series(hours, value, source=source, signal=signal)
    return Forecast(
        zone=DE,
        signal=signal,
        issued_at=START,
        available_at=START,
        series=middle,
        parts=(Part(middle.start, source, "theirs" if source == "tail" else ""),),
        low=series(hours, value - 10, source=source, signal=signal) if banded else None,
        high=series(hours, value + 10, source=source, signal=signal) if banded else None,
    )


def test_the_tail_is_added_after_the_end_and_keeps_its_name() -> None:
    longer = forecast([0, 1, 2], 100).extended(forecast(list(range(12)), 300, source="tail"), until=at(5))

    assert longer.series.end == at(5)
    assert [slot.g_per_kwh for slot in longer.series.slots] == [100, 100, 100, 300, 300]
    assert [(part.start, part.source, part.note) for part in longer.parts] == [
        (at(0), "ours", ""),
        (at(3), "tail", "theirs"),
    ]
    assert longer.source == "ours+tail"
    assert longer.part_at(at(2)).source == "ours"
    assert longer.part_at(at(4)).source == "tail"


def test_a_gap_is_filled_and_our_own_part_resumes_after_it() -> None:
    filled = forecast([0, 1, 4, 5], 100).extended(forecast(list(range(12)), 300, source="tail"), until=at(7))

    assert [slot.g_per_kwh for slot in filled.series.slots] == [100, 100, 300, 300, 100, 100, 300]
    assert [(part.start, part.source) for part in filled.parts] == [
        (at(0), "ours"),
        (at(2), "tail"),
        (at(4), "ours"),
        (at(6), "tail"),
    ]


def test_a_forecast_that_reaches_far_enough_is_left_alone() -> None:
    ours = forecast([0, 1, 2], 100)

    assert ours.extended(forecast([0, 1, 2, 3], 300, source="tail"), until=at(3)) is ours


def test_a_band_given_by_one_side_only_is_continued_by_the_others_median() -> None:
    longer = forecast([0, 1], 100).extended(forecast([0, 1, 2], 300, source="tail", banded=True), until=at(3))

    assert longer.low is not None
    assert longer.high is not None
    assert (longer.low.at(at(1)), longer.high.at(at(1))) == (100, 100)
    assert (longer.low.at(at(2)), longer.high.at(at(2))) == (290, 310)
    assert forecast([0], 1).extended(forecast([0, 1], 2, source="tail"), until=at(2)).low is None


def test_a_tail_that_is_too_short_or_of_another_signal_is_refused() -> None:
    with pytest.raises(OutOfRange):
        forecast([0], 100).extended(forecast([0, 1], 300, source="tail"), until=at(4))
    with pytest.raises(Gap):
        forecast([0], 100).extended(forecast([0, 1, 3], 300, source="tail"), until=at(4))
    with pytest.raises(SignalMismatch):
        forecast([0], 100).extended(forecast([0, 1], 300, source="tail", signal=AVERAGE_DIRECT), until=at(2))


def test_a_forecast_cannot_be_known_before_it_is_issued_nor_come_from_nowhere() -> None:
    middle = series([0], 100, source="ours")
    with pytest.raises(Refused, match="cannot be known"):
        Forecast(
            zone=DE,
            signal=AVERAGE_LIFECYCLE,
            issued_at=at(1),
            available_at=at(0),
            series=middle,
            parts=(Part(at(0), "ours"),),
        )
    with pytest.raises(Refused, match="does not say where it comes from"):
        Forecast(zone=DE, signal=AVERAGE_LIFECYCLE, issued_at=at(0), available_at=at(0), series=middle, parts=())
    with pytest.raises(Refused, match="values of zone DE"):
        Forecast(
            zone=Zone("FR"),
            signal=AVERAGE_LIFECYCLE,
            issued_at=at(0),
            available_at=at(0),
            series=middle,
            parts=(Part(at(0), "ours"),),
        )


def test_age_counts_from_the_issue_time() -> None:
    assert forecast([0], 100).age(at(3)) == 3 * HOUR


@given(st.sets(st.integers(0, 12), min_size=1), st.integers(1, 16))
def test_the_part_named_for_an_hour_is_where_its_value_came_from(hours: set[int], until: int) -> None:
    longer = forecast(sorted(hours), 100).extended(forecast(list(range(16)), 300, source="tail"), until=at(until))

    for slot in longer.series.slots:
        assert longer.part_at(slot.start).source == ("ours" if slot.g_per_kwh == 100 else "tail")
    assert [part.start for part in longer.parts] == sorted(part.start for part in longer.parts)
    assert longer.parts[0].start == longer.series.start
    assert until <= min(hours) or longer.series.covers(at(min(hours)), at(until))
