"""Realised intensity of several regions, as far as it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.store.repository import Store

from .grid import Grid


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
            # One hour that nobody knows must not take the settled figures of all others with it.
            notes.append(f"{region.name}: {error}")
            signal = grid.signal_of(region.zone)
            kept = await asyncio.to_thread(store.realised, region.zone, signal=signal, start=start, end=end)
            if kept is not None:
                found[region.name] = kept
            continue
        share = found[region.name].estimated_share(start, end)
        if share > 0:
            source = found[region.name].source
            notes.append(
                f"{region.name}: {100 * share:.0f} % of the intensity of {region.zone} is estimated ({source})."
            )
    return found
