"""The configured mean: a constant that says it is one."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from kilowait_forecasters.errors import Permanent, Refused
from kilowait_forecasters.providers.static import Static
from kilowait_forecasters.signal import AVERAGE_OPERATIONAL
from kilowait_forecasters.zone import Zone

HOUR = timedelta(hours=1)


async def test_every_hour_has_the_same_estimated_value_and_the_label_says_why(now: datetime) -> None:
    static = Static({"GB": 180}, signal=AVERAGE_OPERATIONAL)
    forecast = await static.forecast(Zone("GB"), now=now, until=now + 30 * HOUR)

    assert {(slot.g_per_kwh, slot.estimated) for slot in forecast.series.slots} == {(180, True)}
    assert {slot.end - slot.start for slot in forecast.series.slots} == {HOUR}
    assert forecast.series.covers(now, now + 30 * HOUR)
    assert forecast.signal == AVERAGE_OPERATIONAL
    assert forecast.parts[0].note == "configured mean of the year, the same at every hour"


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 3001])
def test_a_mean_that_cannot_be_one_is_refused_by_zone(value: float) -> None:
    with pytest.raises(Refused, match="mean intensity of zone DE is"):
        Static({"DE": value})


async def test_a_zone_without_a_mean_names_those_that_have_one(now: datetime) -> None:
    with pytest.raises(Permanent, match="no zone SG; it has DE, FR"):
        await Static({"FR": 50, "DE": 380}).forecast(Zone("SG"), now=now, until=now + HOUR)
    with pytest.raises(Permanent, match="it has none"):
        await Static({}).forecast(Zone("SG"), now=now, until=now + HOUR)
