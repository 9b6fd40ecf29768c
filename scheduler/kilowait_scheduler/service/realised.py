"""Realised intensity of several regions, as far as it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.store.repository import Store

from .grid import Grid

# How often a span that is not known as a whole is halved, down to which length, to find the parts that are.
_HALVINGS = 5
_SHORTEST = timedelta(hours=2)


async def realised_by_region(
    grid: Grid,
    store: Store,
    regions: Sequence[Region],
    *,
    start: datetime,
    end: datetime,
    now: datetime,
    notes: list[str],
) -> dict[str, IntensitySeries]:
    """Realised, by region name; what is to be said of it is added to `notes`."""
    found: dict[str, IntensitySeries] = {}
    for region in regions if end > start else []:
        try:
            found[region.name] = await grid.realised(region.zone, start=start, end=end, now=now)
        except ForecastersError as error:
            # One hour that nobody knows must not take the figures of all others with it.
            notes.append(f"{region.name}: {error}")
            parts = await _parts(grid, store, region.zone, start=start, end=end, now=now)
            if parts is not None:
                found[region.name] = parts
            continue
        share = found[region.name].estimated_share(start, end)
        if share > 0:
            source = found[region.name].source
            notes.append(
                f"{region.name}: {100 * share:.0f} % of the intensity of {region.zone} is estimated ({source})."
            )
    return found


async def _parts(
    grid: Grid, store: Store, zone: str, *, start: datetime, end: datetime, now: datetime
) -> IntensitySeries | None:
    """Of a span that is not known as a whole, what was recorded, and what sources know of halves of the rest, of
    theirs, and so on."""
    known = await asyncio.to_thread(store.realised, zone, signal=grid.signal_of(zone), start=start, end=end)
    rest = [(start, end)] if known is None else list(known.gaps(start, end))
    for _ in range(_HALVINGS):
        refused = []
        for begin, stop in rest:
            middle = begin + (stop - begin) // 2
            for first, last in ((begin, middle), (middle, stop)):
                try:
                    answer = await grid.realised(zone, start=first, end=last, now=now)
                except ForecastersError:
                    refused.append((first, last))
                    continue
                known = answer if known is None else known.extended(answer)
        rest = [(begin, stop) for begin, stop in refused if stop - begin > _SHORTEST]
    return known
