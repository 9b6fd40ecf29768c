"""The band around a forecast, from how far such forecasts were off before: conformal, so it promises what it held."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from .features import DAY
from .hours import Floats

LEVELS = (0.05, 0.10, 0.50, 0.90, 0.95)
# Pairs of LEVELS that bound a band, and the share of hours that may fall outside.
_BANDS = ((0, 4, 0.10), (1, 3, 0.20))
# Errors of leads this near, in hours, are taken as one kind: same time of day, same distance.
_NEAR_H = 2
# A record this many days old counts half.
_HALF_LIFE_DAYS = 30.0
# With fewer records than this the zone's own spread stands in, the more the fewer there are.
_ENOUGH_RECORDS = 20
# How much a day that missed more than it may widens the band, in logs, and by what factor it may move at most.
_GAIN, _MOST_WIDER = 0.5, 4.0
# The share of misses aimed at, of those allowed: the weights were chosen on this very record, and news comes late.
_AIM = 0.75


def offsets(misses: Floats, age_days: Floats, *, spread: float) -> Floats:
    """What to add to the log forecast for each of LEVELS, shape (levels, leads).

    `misses` (records, leads) are log truth minus log forecast of `age_days` ago, oldest first, NaN where not known.
    Outer levels are moved outwards for the number of records, as split conformal prediction does, then widened or
    narrowed by what such a band held lately, as adaptive conformal inference does. `spread` is the standard deviation
    of the zone's log intensity: where records are few, a normal band of that width stands in. The middle level stays 0.
    """
    normal = spread * np.array([NormalDist().inv_cdf(level) for level in LEVELS])
    record_weight = 0.5 ** (age_days / _HALF_LIFE_DAYS)
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
        records = record_weight[known.any(axis=1)]
        if len(records):
            worth = float(records.sum() ** 2 / (records**2).sum())  # that many equal ones would say as much
            levels = [_outwards(level, worth) for level in LEVELS]
            result[:, lead] = _weighted_quantiles(values[known], weight[known], levels)
        trust = min(len(records) / _ENOUGH_RECORDS, 1.0)
        result[:, lead] = trust * result[:, lead] + (1 - trust) * normal
    result[LEVELS.index(0.5)] = 0.0
    for first in range(0, leads, DAY):
        day = slice(first, first + DAY)
        for low, high, allowed in _BANDS:
            result[[low, high], day] *= _widening(misses[:, day], result[[low, high], day], allowed)
    return np.sort(result, axis=0)


def _widening(misses: Floats, band: Floats, allowed: float) -> float:
    """The factor by which `band` (low and high, leads) has to be wider to have held of late what it should.

    Goes through the records (records, leads) from the oldest on: each that missed more than it may widens, each that
    missed less narrows.
    """
    logs, most = 0.0, np.log(_MOST_WIDER)
    for record in misses:
        known = np.isfinite(record)
        if known.any():
            low, high = np.exp(logs) * band
            missed = float(((record < low) | (record > high))[known].mean())
            logs = float(np.clip(logs + _GAIN * (missed - _AIM * allowed), -most, most))
    return float(np.exp(logs))


def _outwards(level: float, records: float) -> float:
    """`level` moved away from the middle by as much as `records` observations leave open."""
    tail = min(level, 1 - level)
    moved = max(tail - (1 - tail) / (records + 1), 0.0)
    return moved if level < 0.5 else 1 - moved if level > 0.5 else level


def _weighted_quantiles(values: Floats, weight: Floats, levels: list[float]) -> Floats:
    order = np.argsort(values)
    cumulated = np.cumsum(weight[order])
    position = (cumulated - 0.5 * weight[order]) / cumulated[-1]
    return np.asarray(np.interp(levels, position, values[order]))
