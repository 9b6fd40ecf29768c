"""Gathers the contracts for clean energy and the load that they are shared among."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kilowait_scheduler.core.clean import HOUR, hour_of, load_by_hour
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.reports.contracted import Contracted
from kilowait_scheduler.store.repository import Store


def contracted(store: Store, regions: Iterable[Region], *, start: datetime, end: datetime, now: datetime) -> Contracted:
    """What figures on energy of [start, end) rest on: volumes are shared over all of their span that is past."""
    supplies, residual = store.clean_supplies(), store.residual_mixes()
    concerned = {one.region for one in (*supplies, *residual)}
    load = {}
    for region in regions:
        if region.name not in concerned:
            continue
        spans = [
            (supply.start, supply.end)
            for supply in supplies
            if supply.region == region.name and not supply.hourly and supply.start < end and supply.end > start
        ]
        first = hour_of(min([start, *(begin for begin, _ in spans)]))
        last = max([hour_of(end) + HOUR, *(until for _, until in spans)])
        found = store.region_load(region.name, start=first, end=min(last, now))
        load[region.name] = load_by_hour([span for span in found if span[1] <= now], pue=region.pue)
    return Contracted(supplies, residual, load)
