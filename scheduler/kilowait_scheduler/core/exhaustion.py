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


def _when(left_g: float, *, mean: float, spread: float, now: datetime) -> datetime | None:
    if left_g <= 0:
        return now
    if mean <= 0:
        return None
    root = (-spread + math.sqrt(spread * spread + 4 * mean * left_g)) / (2 * mean)
    days = root * root
    return now + timedelta(days=days) if days < 3650 else None
