"""The best window: the earliest of the cleanest, in one piece, in time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.errors import OutOfRange
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.best_window import best_window

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)


def series(values: list[float]) -> IntensitySeries:
    slots = [Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), value) for i, value in enumerate(values)]
    return IntensitySeries(zone=Zone("XX"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


DAY = [300.0, 280, 260, 200, 100, 100, 120, 300, 100, 100, 300, 300]


def test_the_earliest_of_the_cleanest_windows_is_found() -> None:
    found = best_window(series(DAY), duration=2 * HOUR, now=T0, until=T0 + 12 * HOUR)
    assert found is not None
    assert (found.start, found.end) == (T0 + 4 * HOUR, T0 + 6 * HOUR)
    assert (found.g_per_kwh, found.now_g_per_kwh) == (100, 290)
    assert found.saved_pct == pytest.approx(100 * (1 - 100 / 290))


def test_what_does_not_end_in_time_has_no_window() -> None:
    assert best_window(series(DAY), duration=13 * HOUR, now=T0, until=T0 + 12 * HOUR) is None
    late = best_window(series(DAY), duration=2 * HOUR, now=T0, until=T0 + 5 * HOUR)
    assert late is not None and late.end == T0 + 5 * HOUR


def test_whole_days_of_a_typical_day_gain_nothing_and_start_now() -> None:
    found = best_window(series(DAY * 6), duration=24 * HOUR, now=T0 + HOUR / 3, until=T0 + 72 * HOUR)
    assert found is not None
    assert found.start == T0 + HOUR / 3
    assert found.saved_pct == 0


def test_nothing_is_saved_where_starting_now_emits_nothing() -> None:
    found = best_window(series([0.0, 5.0]), duration=HOUR, now=T0, until=T0 + 2 * HOUR)
    assert found is not None and (found.start, found.saved_pct) == (T0, None)


def test_hours_that_are_not_known_are_an_error() -> None:
    with pytest.raises(OutOfRange):
        best_window(series(DAY), duration=HOUR, now=T0, until=T0 + 13 * HOUR)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 900), min_size=24, max_size=24), st.integers(1, 600), st.integers(0, 59))
def test_no_start_at_a_full_hour_is_cleaner(values: list[float], minutes: int, past: int) -> None:
    grid, now, length = series(values), T0 + timedelta(minutes=past), timedelta(minutes=minutes)
    found = best_window(grid, duration=length, now=now, until=T0 + 24 * HOUR)
    assert found is not None
    starts = [now, *(T0 + HOUR * h for h in range(1, 24))]
    lowest = min(grid.mean(s, s + length) for s in starts if s + length <= T0 + 24 * HOUR)
    assert found.g_per_kwh == pytest.approx(lowest, rel=1e-6)
    assert found.g_per_kwh <= found.now_g_per_kwh
