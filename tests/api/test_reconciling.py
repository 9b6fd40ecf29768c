"""An export of ours in any time zone, read back by the route that compares it with our books."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from world import HOUR

from .conftest import Door
from .test_documents import Running

CUTS = {
    "Europe/Berlin": [datetime(2026, 3, 31, 22, tzinfo=UTC), datetime(2026, 10, 31, 23, tzinfo=UTC)],
    "America/New_York": [datetime(2026, 4, 1, 4, tzinfo=UTC), datetime(2026, 11, 1, 4, tzinfo=UTC)],
}


@pytest.mark.parametrize("form", ["aws", "google", "google-csv"])
@pytest.mark.parametrize(("timezone", "cut"), [(zone, cut) for zone, cuts in CUTS.items() for cut in cuts])
def test_an_export_in_another_time_zone_is_read_back_across_its_change_of_clocks(
    open_door: Callable[..., Door], form: str, timezone: str, cut: datetime
) -> None:
    """A job draws energy in both months, on either side of local midnight; clocks changed in the days before, or do
    on the day after."""
    door = open_door(start=cut - 3 * HOUR, zones={"AA": [300.0, 100.0]})
    job = door.world.submit(name="a", duration="6h", within="6h30m", resources={"gpus": 4})
    door.world.finish(job.id)
    with door.client:
        told = door.call("GET", "/reports/savings", params={"format": form, "timezone": timezone})
        assert told.status_code == 200, told.text
        found = _compared(door, told.content, timezone=timezone)
        assert found["timezone"] == timezone
        assert found["exceeding"] == 0
        months = [one["month"] for one in found["comparisons"]]
        assert months == sorted({f"{cut - timedelta(days=2):%Y-%m}", f"{cut + timedelta(days=2):%Y-%m}"})
        assert all(one["parts"] == [] and one["ours_g"] > 0 for one in found["comparisons"])
        if form == "aws":
            refused = door.call("POST", "/reports/reconciliation", content=told.content)
            assert refused.status_code == 400
            assert "no span within one month of UTC" in refused.text and "timezone" in refused.text


def test_months_of_a_file_are_those_of_utc_unless_told_and_a_zone_that_is_none_is_refused(door: Door) -> None:
    with Running(door).door.client:
        content = b"usage_account_id,usage_period_start,usage_period_end\nx,2026-11-01,2026-12-01\n"
        assert _compared(door, content)["timezone"] == "UTC"
        assert _compared(door, content, timezone="Europe/Berlin")["timezone"] == "Europe/Berlin"
        refused = door.call("POST", "/reports/reconciliation", content=content, params={"timezone": "Mars/Olympus"})
        assert refused.status_code == 400 and "'Mars/Olympus' is no time zone" in refused.text


def _compared(door: Door, content: bytes, **params: str) -> Any:
    answer = door.call("POST", "/reports/reconciliation", content=content, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()
