"""Estimates: the pure core, given typical days and, where there is a server, its regions, forecasts and history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.profiles import TypicalDays
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.best_window import BestWindow, best_window
from kilowait_scheduler.core.estimate import Estimate, estimate
from kilowait_scheduler.core.estimate_json import write
from kilowait_scheduler.core.estimate_request import EstimateRequest
from kilowait_scheduler.core.measured_power import MeasuredPower
from kilowait_scheduler.core.money import CarbonPrice
from kilowait_scheduler.core.places import Place
from kilowait_scheduler.core.region import Region

_NO_FORECASTS: Mapping[str, Forecast] = {}


async def answer(
    request: EstimateRequest,
    *,
    now: datetime,
    regions: Sequence[Region] = (),
    forecasts: Mapping[str, Forecast] = _NO_FORECASTS,
    measured: MeasuredPower | None = None,
    carbon_price: CarbonPrice | None = None,
) -> dict[str, Any]:
    """An estimate as JSON, for every region that has a typical day, else for every zone that has one.

    The best window is looked for on the zone's forecast, continued by its typical day, else on the typical day alone.
    Raises BadInput where the request names what is not known.
    """
    days = TypicalDays()
    made = estimate(request, places=_places(days, regions), measured=measured, carbon_price=carbon_price)
    window, source = await _window(made, days, now=now, forecasts=forecasts)
    written = write(made, window=window, window_source=source)
    without = [f"{r.name} ({r.zone})" for r in regions if r.zone not in (days.zones() or ())]
    if without:
        written["notes"].append(f"no typical day, so not in the comparison: {', '.join(without)}")
    return written


def _places(days: TypicalDays, regions: Sequence[Region]) -> list[Place]:
    zones = {zone: days.day(Zone(zone)).hours for zone in sorted(days.zones() or ())}
    own = [Place(r.zone, zones[r.zone], region=r.name, pue=r.pue) for r in regions if r.zone in zones]
    return own + [Place(zone, hours) for zone, hours in zones.items()]


async def _window(
    made: Estimate, days: TypicalDays, *, now: datetime, forecasts: Mapping[str, Forecast]
) -> tuple[BestWindow | None, str]:
    """The best window and what it rests on, or None and why."""
    request = made.request
    if made.place is None:
        return None, "give `zone` to look for it there"
    if made.wall_h is None:
        return None, "give `gpus`, from which follows how long it takes"
    hours = request.within / timedelta(hours=1)
    if made.wall_h.mid > hours:
        return None, f"the job takes {made.wall_h.mid:.4g} h and does not end within {hours:.4g} h"
    until = now + request.within
    typical = await days.forecast(Zone(made.place.zone), now=now, until=until)
    forecast = forecasts.get(made.place.zone)
    if forecast is not None:
        with suppress(ForecastersError):  # another signal than that of typical days: the two are never mixed
            forecast = forecast.extended(typical, until=until)
    duration = timedelta(hours=made.wall_h.mid)
    for candidate in (forecast, typical):
        if candidate is not None and candidate.series.covers(now, until):
            window = best_window(candidate.series, duration=duration, now=now, until=until)
            return window, _described(candidate)
    return None, "no intensity is known for that time"


def _described(forecast: Forecast) -> str:
    """What its parts are, in order of time: sources of forecasts, and what is none."""
    parts = (f"{part.source}: {part.note}" if part.note else part.source for part in forecast.parts)
    return ", then ".join(dict.fromkeys(parts))
