"""The band around a forecast, from how far such forecasts were off before: conformal, so it promises what it held."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from .features import DAY
from .hours import Floats

LEVELS = (0.05, 0.10, 0.50, 0.90, 0.95)
# Errors of leads this near, in hours, are taken as one kind: same time of day, same distance.
_NEAR_H = 2
# With fewer records than this the zone's own spread stands in, the more the fewer there are.
_ENOUGH_RECORDS = 20


def offsets(misses: Floats, record_weight: Floats, *, spread: float) -> Floats:
    """What to add to the log forecast for each of LEVELS, shape (levels, leads).

    `misses` (records, leads) are log truth minus log forecast, NaN where not known; records may weigh differently.
    Outer levels are moved outwards for the number of records, as split conformal prediction does. `spread` is the
    standard deviation of the zone's log intensity: where records are few, a normal band of that width stands in. The
    middle level stays 0.
    """
    normal = spread * np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    leads = misses.shape[1]
    result = np.zeros((len(LEVELS), leads))
    for lead in range(leads):
        near = [
            k
            for shift in ((-DAY, 0, DAY) if lead >= DAY else (0,))
            for k in range(lead + shift - _NEAR_H, lead + shift + _NEAR_H + 1)
            if 0 <= k < leads and (k >= DAY) == (lead >= DAY)
        ]
        values = misses[:, near]
        weight = np.broadcast_to(record_weight[:, None], values.shape)
        known = np.isfinite(values)
        records = int(known.any(axis=1).sum())
        if records:
            levels = [_outwards(level, records) for level in LEVELS]
            result[:, lead] = _weighted_quantiles(values[known], weight[known], levels)
        trust = min(records / _ENOUGH_RECORDS, 1.0)
        result[:, lead] = trust * result[:, lead] + (1 - trust) * normal
    result[LEVELS.index(0.5)] = 0.0
    return np.sort(result, axis=0)


def _outwards(level: float, records: int) -> float:
    """`level` moved away from the middle by as much as `records` observations leave open."""
    tail = min(level, 1 - level)
    moved = max(tail - (1 - tail) / (records + 1), 0.0)
    return moved if level < 0.5 else 1 - moved if level > 0.5 else level


def _weighted_quantiles(values: Floats, weight: Floats, levels: list[float]) -> Floats:
    order = np.argsort(values)
    cumulated = np.cumsum(weight[order])
    position = (cumulated - 0.5 * weight[order]) / cumulated[-1]
    return np.asarray(np.interp(levels, position, values[order]))
