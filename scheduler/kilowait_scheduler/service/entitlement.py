"""What our keys and accounts may ask for, as the services themselves say: plans' descriptions go out of date."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.providers.base import Access
from kilowait_forecasters.zone import Zone


@dataclass(frozen=True)
class Probe:
    """How to ask `provider` what it grants; `called` is what it calls a zone of ours."""

    provider: str
    ask: Callable[[datetime], Awaitable[list[Access]]]
    called: Callable[[Zone], str]


@dataclass(frozen=True)
class Grant:
    """What one provider grants for one zone; `problem` where that is not known, or what it means."""

    provider: str
    zone: str
    signal: str | None
    forecast: bool | None
    history: bool | None
    problem: str | None = None


async def grants(probes: Sequence[Probe], zones: Sequence[str], *, now: datetime) -> list[Grant]:
    """What each provider says it grants for each of `zones`; asks all of them, and fails for none."""
    found = await asyncio.gather(*(_of(probe, zones, now=now) for probe in probes))
    return [grant for one in found for grant in one]


async def _of(probe: Probe, zones: Sequence[str], *, now: datetime) -> list[Grant]:
    try:
        granted = {access.zone: access for access in await probe.ask(now)}
    except ForecastersError as error:
        return [Grant(probe.provider, zone, None, None, None, str(error)) for zone in zones]
    return [_grant(probe, zone, granted) for zone in zones]


def _grant(probe: Probe, zone: str, granted: dict[str, Access]) -> Grant:
    try:
        access = granted.get(probe.called(Zone(zone)))
    except ForecastersError as error:
        return Grant(probe.provider, zone, None, None, None, str(error))
    if access is None:
        problem = f"the plan does not include zone {zone}"
        return Grant(probe.provider, zone, None, forecast=False, history=False, problem=problem)
    return Grant(probe.provider, zone, str(access.signal), access.forecast, access.history)
