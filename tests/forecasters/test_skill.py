"""Live skill: forecasts as issued against what came, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.skill import skill_of
from kilowait_forecasters.zone import Zone

START = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def series(values: Sequence[float], *, start: datetime = START, step: timedelta = HOUR) -> IntensitySeries:
    slots = [Slot(start + i * step, start + (i + 1) * step, value) for i, value in enumerate(values)]
    return IntensitySeries(zone=Zone("DE"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


def test_errors_are_relative_to_what_came_and_to_yesterday_repeated() -> None:
    came = series([200.0] * 24 + [250.0] * 24)
    issued = START + 24 * HOUR
    found = skill_of([(issued, series([300.0] * 72, start=issued))], came)
    assert found is not None
    assert found.hours == 23, "the hour it was issued in was known in part"
    assert found.error_pct == pytest.approx(20)
    assert found.persistence_pct == pytest.approx(20)


def test_hours_more_than_a_day_ahead_or_without_truth_do_not_count() -> None:
    came = series([100.0] * 60)
    issued = START + 24 * HOUR
    wrong_later = series([100.0] * 24 + [900.0] * 24, start=issued)
    found = skill_of([(issued, wrong_later)], came)
    assert found is not None
    assert (found.hours, found.error_pct) == (23, 0)
    assert skill_of([(START, wrong_later)], came) is None, "nothing is known of the day before"
    assert skill_of([(issued, wrong_later)], series([0.0] * 60)) is None
    assert skill_of([], came) is None


def test_slots_of_other_lengths_are_compared_by_the_hour() -> None:
    came = series([100.0, 300.0] * 48, step=HOUR / 2)
    issued = START + 24 * HOUR
    found = skill_of([(issued, series([200.0] * 24, start=issued))], came)
    assert found is not None
    assert found.error_pct == pytest.approx(0)
