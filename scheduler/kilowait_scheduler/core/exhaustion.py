"""When a budget will be used up, from the pace of its last days."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_Z90 = 1.2816  # the band is the 10 % and the 90 % quantile
_LEAST_DAYS = 3  # fewer whole days make no pace


@dataclass(frozen=True)
class Exhaustion:
    """`at`, in the middle, and between `earliest` and `latest` four times in five; None where it does not come to that.

    On the assumption that the days to come are like the last ones (`pace_g_per_day` on average over `days`) and do not
    depend on each other.
    """

    pace_g_per_day: float
    days: int
    at: datetime | None
    earliest: datetime | None
    latest: datetime | None


def exhaustion(daily_g: Sequence[float], *, left_g: float, now: datetime) -> Exhaustion | None:
    """When `left_g` grams will have been emitted; None where there are too few days to tell.

    `daily_g`: grams emitted on each of the last whole days, days without any included. Solves mean x t +- z x deviation
    x sqrt(t) = left for t, in days.
    """
    if len(daily_g) < _LEAST_DAYS:
        return None
    mean, deviation = statistics.fmean(daily_g), statistics.stdev(daily_g)
    at, earliest, latest = (_when(left_g, mean=mean, spread=z * deviation, now=now) for z in (0.0, _Z90, -_Z90))
    return Exhaustion(mean, len(daily_g), at, earliest, latest)


def rolling_exhaustion(
    daily_g: Sequence[float], *, window_g: Sequence[float], allowed_g: float, now: datetime
) -> Exhaustion | None:
    """When a window of the last days will hold `allowed_g` grams; None where there are too few days to tell.

    `window_g`: grams on each day that the window holds now, oldest first, today last; each midnight the oldest leaves.
    """
    if len(daily_g) < _LEAST_DAYS:
        return None
    mean, deviation = statistics.fmean(daily_g), statistics.stdev(daily_g)
    found = []
    for z in (0.0, _Z90, -_Z90):
        found.append(now if sum(window_g) >= allowed_g else None)
        kept_g = sum(window_g)
        for day, leaves_g in enumerate(window_g if found[-1] is None else ()):
            kept_g -= leaves_g
            days = _days(allowed_g - kept_g, mean=mean, spread=z * deviation)
            if days is not None and days < day + 1:
                found[-1] = now + timedelta(days=max(days, day))
                break
    return Exhaustion(mean, len(daily_g), *found)


def _when(left_g: float, *, mean: float, spread: float, now: datetime) -> datetime | None:
    days = _days(left_g, mean=mean, spread=spread)
    return now + timedelta(days=days) if days is not None and days < 3650 else None


def _days(left_g: float, *, mean: float, spread: float) -> float | None:
    """Days until so many grams have been emitted; None where that never comes."""
    if left_g <= 0:
        return 0.0
    if mean <= 0:
        return None
    root = (-spread + math.sqrt(spread * spread + 4 * mean * left_g)) / (2 * mean)
    return root * root
