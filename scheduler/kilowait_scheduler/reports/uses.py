"""A job's energy and carbon by region and month: what books that are kept per account, region and month ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.carbon import Emission, EnergyInterval, emission
from kilowait_scheduler.core.money import Tariff
from kilowait_scheduler.core.ranges import Range

from .model import Use

Place = tuple[str, str]
"""Region and month of UTC, `2026-11`."""


def months_of(start: datetime, end: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    """The months of UTC that [start, end) touches, each with its part of it; none where it has no length."""
    while start < end:
        following = month_after(start)
        yield f"{start:%Y-%m}", start, min(following, end)
        start = following


def month_after(moment: datetime) -> datetime:
    """The first moment of the month that follows."""
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    return datetime(year, month, 1, tzinfo=UTC)


def uses_of(
    intervals: Sequence[EnergyInterval],
    *,
    made: Mapping[Place, Range | None],
    intensity: Mapping[str, IntensitySeries],
    pue: Mapping[str, float],
    tariffs: Mapping[str, Tariff | None],
) -> tuple[Use, ...]:
    """By region and month, in order. `made` is the embodied carbon by place, and names the places where GPUs were held.

    Raises the series' Gap or OutOfRange where realised values are missing.
    """
    total: dict[Place, Emission] = {}
    for interval in intervals:
        for month, start, end in months_of(interval.start, interval.end):
            part = interval.cut(start, end)
            if part is not None:
                where = interval.region, month
                found = emission(part, intensity=intensity[part.region], pue=pue[part.region])
                total[where] = total.get(where, Emission()) + found
    return tuple(
        _use(where, total.get(where), made=made.get(where), tariff=tariffs.get(where[0]))
        for where in sorted({*total, *made}, key=lambda place: (place[1], place[0]))
    )


def _use(where: Place, used: Emission | None, *, made: Range | None, tariff: Tariff | None) -> Use:
    region, month = where
    if used is None:
        return Use(region, month, None, None, made)
    cost = tariff.of(used.energy_kwh) if tariff is not None else None
    return Use(region, month, used.energy_kwh, used.carbon_g, made, cost)
