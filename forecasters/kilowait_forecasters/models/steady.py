"""The candidates with few numbers: what is usual at that hour, and how much of a departure from it lasts.

Few numbers can be learned from few days and hardly go wrong. They are also what the candidates with many columns start
from: those learn departures from the steady forecast, so what they have not learned falls back on it.
"""

from __future__ import annotations

import numpy as np

from .baselines import baselines
from .features import DAY, WEEK, Whole
from .hours import Floats

# Days count half after so many, and half of what the weekday had of its own in the last four weeks is added.
_USUAL_HALF_LIFE_DAYS, _DAYS, _WEEKS, _WEEKDAY = 4.0, 28, 4, 0.5
# How much of the last day's departure from the usual the moved usual keeps.
_KEPT = 0.5
# What lasts of a departure is learned from past days that count half after so many; the penalty is in such days.
_HALF_LIFE_DAYS, _PENALTY_DAYS = 90.0, 10.0
# Leads that share their numbers.
_TOGETHER_H = 4
# In how many hours a departure of the last three hours may have shrunk to a third.
_FADING_H = (3.0, 12.0)


def usual(log: Floats, origins: Whole, leads: Whole) -> Floats:
    """What is usual at each hour, shape (origins, leads), from the four weeks of `log` (no NaN) before each origin."""
    at = origins[:, None] + leads
    days_ago, weeks_ago = at - DAY * (leads // DAY + 1), at - WEEK * (leads // WEEK + 1)
    fade = 0.5 ** (np.arange(_DAYS) / _USUAL_HALF_LIFE_DAYS)
    of_day = fade / fade.sum() - _WEEKDAY / _DAYS
    found = np.zeros(at.shape)
    for k in range(_DAYS):
        found += of_day[k] * log[days_ago - DAY * k]
    for k in range(_WEEKS):
        found += _WEEKDAY / _WEEKS * log[weeks_ago - WEEK * k]
    return found


def moved_usual(log: Floats, origins: Whole, leads: Whole) -> Floats:
    """The usual with a half of the last day's mean departure from it, shape (origins, leads): for levels that wander.

    `log` (no NaN) begins a month before the first origin.
    """
    lately = _departure(log, origins - DAY).mean(axis=1, keepdims=True)
    return np.asarray(usual(log, origins, leads) + _KEPT * lately)


def steady(log: Floats, truth: Floats, origins: Whole, leads: Whole) -> Floats:
    """Log forecasts of shape (origins, leads), for origins a day apart, each from what was known at it.

    `log` (no NaN) begins a month before the first origin; `truth` (origins, leads) is the log that came, NaN where it
    is not known. What lasts is learned anew at every origin from those before it whose truth was known by then.
    """
    ordinary = usual(log, origins, leads)
    x = _columns(log, origins, leads, ordinary)
    missed = truth - ordinary
    known = np.isfinite(missed)
    rows = np.where(known[..., None], x, 0.0)
    starts = np.arange(0, len(leads), _TOGETHER_H)
    # By origin and group of leads: what its columns had to do with each other, and with what came.
    gram = np.add.reduceat(rows[..., :, None] * rows[..., None, :], starts, axis=1)
    reach = np.add.reduceat(rows * np.where(known, missed, 0.0)[..., None], starts, axis=1)
    late = leads[np.minimum(starts + _TOGETHER_H, len(leads)) - 1] // DAY + 1  # days until all of a group is known
    grams, reaches, days = _faded(gram, late), _faded(reach, late), _faded(np.ones((len(origins), len(starts))), late)
    size = np.einsum("ogcc->ogc", grams) / np.maximum(days, 1.0)[..., None]
    penalty = _PENALTY_DAYS * np.einsum("ogc,cd->ogcd", size + 1e-9, np.eye(x.shape[-1]))
    lasts = np.linalg.solve(grams + penalty, reaches[..., None])[..., 0]
    group = np.searchsorted(starts, np.arange(len(leads)), side="right") - 1
    return np.asarray(ordinary + np.einsum("olc,olc->ol", x, lasts[:, group]))


def _faded(daily: Floats, late: Whole) -> Floats:
    """For every origin and group, the sum of `daily` (origins, groups, ...) known by then, older days faded."""
    sums = np.zeros_like(daily)
    for day in np.unique(late).tolist():
        here = late == day
        sums[day:, here] = daily[:-day, here]
    for origin in range(1, len(sums)):
        sums[origin] += 0.5 ** (1 / _HALF_LIFE_DAYS) * sums[origin - 1]
    return sums


def _columns(log: Floats, origins: Whole, leads: Whole, ordinary: Floats) -> Floats:
    """What may last, shape (origins, leads, columns): the simple forecasts and the last days, as departures."""
    lately, before = _departure(log, origins - DAY), _departure(log, origins - 2 * DAY)
    now = lately[:, -3:].mean(axis=1, keepdims=True)
    columns = [
        *(np.log(said) - ordinary for said in baselines(np.exp(log), origins, leads).values()),
        lately.mean(axis=1, keepdims=True),
        before.mean(axis=1, keepdims=True),
        *(now * np.exp(-leads / fading_h) for fading_h in _FADING_H),
    ]
    return np.stack([np.broadcast_to(column, ordinary.shape) for column in columns], axis=-1)


def _departure(log: Floats, start: Whole) -> Floats:
    """By how much each hour of the day from `start` on departed from what was usual then, shape (starts, DAY)."""
    day = np.arange(DAY)
    return np.asarray(log[start[:, None] + day] - usual(log, start, day))
