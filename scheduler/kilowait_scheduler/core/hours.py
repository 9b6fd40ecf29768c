"""Energy and carbon by full hours of UTC, pro rata to time, in columns: many readings are cut in one pass."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from .carbon import MJ_PER_KWH
from .course import Course, Ints, from_us
from .integral import Integral
from .stack import Stack, offsets

HOUR_US = 3_600_000_000


def by_hour(stack: Stack, *, intensity: Integral, pue: float) -> list[list[tuple[datetime, float, float]]]:
    """Of each course, all of one region, in order: (hour, facility kWh, location-based grams).

    Raises the series' Gap or OutOfRange where realised values are missing.
    """
    rows = stack.rows
    row, hour, start_us, end_us = _cut(rows.start_us, rows.end_us)
    grams_us, _ = intensity.over(start_us, end_us)
    unknown = np.flatnonzero(np.isnan(grams_us))
    if len(unknown):
        raise intensity.missing(int(start_us[unknown[0]]), int(end_us[unknown[0]]))
    per_us = (rows.energy_mj / MJ_PER_KWH * pue / (rows.end_us - rows.start_us))[row]
    course = stack.number[row]
    order = np.lexsort((hour, course))
    course, hour = course[order], hour[order]
    firsts = np.flatnonzero(np.r_[True, (course[1:] != course[:-1]) | (hour[1:] != hour[:-1])][: len(order)])
    found: list[list[tuple[datetime, float, float]]] = [[] for _ in range(len(stack))]
    if len(firsts):
        kwh = np.add.reduceat((per_us * (end_us - start_us))[order], firsts).tolist()
        grams = np.add.reduceat((per_us * grams_us)[order], firsts).tolist()
        for number, at, energy, carbon in zip(course[firsts].tolist(), hour[firsts].tolist(), kwh, grams, strict=True):
            found[number].append((from_us(at), energy, carbon))
    return found


def load_by_hour(course: Course, *, pue: float) -> dict[datetime, float]:
    """Facility kWh of a course by hour."""
    row, hour, start_us, end_us = _cut(course.start_us, course.end_us)
    hours, place = np.unique(hour, return_inverse=True)
    per_us = (course.energy_mj / MJ_PER_KWH * pue / (course.end_us - course.start_us))[row]
    load = np.bincount(place, per_us * (end_us - start_us), minlength=len(hours))
    return {from_us(at): kwh for at, kwh in zip(hours.tolist(), load.tolist(), strict=True)}


def _cut(start_us: Ints, end_us: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """Spans cut at full hours: of each piece its span's number, its hour, its start and its end."""
    first, last = start_us // HOUR_US, (end_us - 1) // HOUR_US
    at = offsets(last - first + 1)
    row = np.repeat(np.arange(len(start_us), dtype=np.int64), np.diff(at))
    hour = (first[row] + np.arange(len(row)) - at[row]) * HOUR_US
    return row, hour, np.maximum(start_us[row], hour), np.minimum(end_us[row], hour + HOUR_US)
