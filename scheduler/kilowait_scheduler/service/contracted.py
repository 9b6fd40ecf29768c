"""Gathers the contracts for clean energy and the load that they are shared among."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from kilowait_scheduler.core.clean import HOUR, hour_of
from kilowait_scheduler.core.course import to_us
from kilowait_scheduler.core.hours import load_by_hour
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.reports.contracted import Contracted
from kilowait_scheduler.store.repository import Store


def contracted(store: Store, regions: Iterable[Region], *, start: datetime, end: datetime, now: datetime) -> Contracted:
    """What figures on energy of [start, end) rest on: volumes are shared over all of their span that is past,
    and so is each volume that overlaps one of them, and so on."""
    supplies, residual = store.clean_supplies(), store.residual_mixes()
    concerned = {one.region for one in (*supplies, *residual)}
    load = {}
    for region in regions:
        if region.name not in concerned:
            continue
        volumes = [(one.start, one.end) for one in supplies if one.region == region.name and not one.hourly]
        first, last = _with_all_that_overlaps(hour_of(start), hour_of(end) + HOUR, volumes)
        found = store.region_load(region.name, start=first, end=min(last, now))
        load[region.name] = load_by_hour(found.rows(found.end_us <= to_us(now)), pue=region.pue)
    return Contracted(supplies, residual, load)


def _with_all_that_overlaps(
    start: datetime, end: datetime, spans: Iterable[tuple[datetime, datetime]]
) -> tuple[datetime, datetime]:
    """[start, end) with every span that overlaps it, and what overlaps those: what one volume covers of an hour depends
    on what others had left of all of its span."""
    left = list(spans)
    while near := [span for span in left if span[0] < end and span[1] > start]:
        left = [span for span in left if span not in near]
        start, end = min(start, *(begin for begin, _ in near)), max(end, *(until for _, until in near))
    return start, end
