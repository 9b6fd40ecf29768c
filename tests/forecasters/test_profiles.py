"""Typical days: whole, plausible, labelled as what they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kilowait_forecasters.errors import Permanent, Refused
from kilowait_forecasters.profiles import NOTE, TypicalDays, typical_day
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Scope
from kilowait_forecasters.zone import Zone

ZONES = frozenset({"DE", "NL", "PL", "SE", "US-CAL-CISO", "US-MIDA-PJM", "US-TEX-ERCO"})
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("scope", [Scope.LIFECYCLE, Scope.DIRECT])
def test_every_zone_has_every_hour_of_every_month_within_its_band(scope: Scope) -> None:
    days = TypicalDays(scope=scope)

    assert days.zones() == ZONES
    for zone_id in ZONES:
        hours = days.day(Zone(zone_id)).hours
        assert set(hours) == {(month, hour) for month in range(1, 13) for hour in range(24)}
        for hour in hours.values():
            assert 0 < hour.p10_g_per_kwh <= hour.mean_g_per_kwh <= hour.p90_g_per_kwh < 1100


def test_lifecycle_lies_above_direct_everywhere() -> None:
    for zone_id in ZONES:
        lifecycle, direct = typical_day(zone_id), typical_day(zone_id, scope=Scope.DIRECT)
        assert (lifecycle.signal, direct.signal) == (AVERAGE_LIFECYCLE, AVERAGE_DIRECT)
        assert all(lifecycle.hours[key].mean_g_per_kwh > direct.hours[key].mean_g_per_kwh for key in direct.hours)


def test_the_shapes_are_those_of_the_grids() -> None:
    california = typical_day("US-CAL-CISO")
    noon, evening = datetime(2026, 5, 1, 19, tzinfo=UTC), datetime(2026, 5, 1, 4, tzinfo=UTC)
    assert california.at(noon).mean_g_per_kwh < 0.7 * california.at(evening).mean_g_per_kwh

    means = {zone_id: [hour.mean_g_per_kwh for hour in typical_day(zone_id).hours.values()] for zone_id in ZONES}
    yearly = {zone_id: sum(values) / len(values) for zone_id, values in means.items()}
    assert min(yearly, key=lambda zone_id: yearly[zone_id]) == "SE"
    assert max(yearly, key=lambda zone_id: yearly[zone_id]) == "PL"


async def test_each_hour_takes_the_month_it_lies_in() -> None:
    days = TypicalDays()
    day = days.day(Zone("DE"))
    now = datetime(2026, 12, 31, 22, 30, tzinfo=UTC)

    forecast = await days.forecast(Zone("DE"), now=now, until=now + 4 * HOUR)
    assert [slot.g_per_kwh for slot in forecast.series.slots] == [
        day.hours[key].mean_g_per_kwh for key in [(12, 22), (12, 23), (1, 0), (1, 1), (1, 2)]
    ]
    leap = datetime(2028, 2, 29, 23, 0, tzinfo=UTC)
    crossing = await days.forecast(Zone("DE"), now=leap, until=leap + 2 * HOUR)
    assert [slot.g_per_kwh for slot in crossing.series.slots] == [
        day.hours[key].mean_g_per_kwh for key in [(2, 23), (3, 0)]
    ]


async def test_every_value_is_estimated_banded_and_labelled(now: datetime) -> None:
    forecast = await TypicalDays().forecast(Zone("SE"), now=now, until=now + 48 * HOUR)

    assert forecast.low is not None
    assert forecast.high is not None
    for low, middle, high in zip(forecast.low.slots, forecast.series.slots, forecast.high.slots, strict=True):
        assert low.estimated
        assert middle.estimated
        assert high.estimated
        assert low.g_per_kwh <= middle.g_per_kwh <= high.g_per_kwh
    assert [(part.source, part.note) for part in forecast.parts] == [("typical-day", NOTE)]
    assert NOTE == "typical day of that month, not a forecast"


@pytest.mark.parametrize("zone_id", ["SG", "", "no zone"])
def test_an_unknown_zone_is_permanent_and_names_those_there_are(zone_id: str) -> None:
    with pytest.raises(Permanent, match="US-CAL-CISO"):
        typical_day(zone_id)


def test_there_is_no_operational_typical_day() -> None:
    with pytest.raises(Refused, match="lifecycle or direct"):
        TypicalDays(scope=Scope.OPERATIONAL)
