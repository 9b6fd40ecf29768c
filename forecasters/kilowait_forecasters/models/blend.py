"""How much each candidate counts: by what it was worth on forecasts it did not learn from, per day ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .features import DAY
from .hours import Floats

# Strength of the preference for the prior weights, as a share of the best candidate's errors; keeps near-equals from
# flipping.
_PRIOR_STRENGTH = 0.1
# How hard weights must add up to one, relative to the errors.
_SUM_STRENGTH = 1e3
# Least absolute errors are found by weighing squared ones anew by the size of the last residuals; four rounds do.
_ROUNDS = 4


def weights(
    errors: Mapping[str, Floats], prior: Mapping[str, float], record_weight: Floats, leads: Sequence[int]
) -> dict[str, Floats]:
    """Weights by candidate, shape (leads), at least 0 and adding up to 1; the same for all leads of a day ahead.

    `errors` (records, leads) are log forecast minus log truth, NaN where the truth is not known. The weights are those
    with about the least absolute error of the blend, near `prior`: absolute, because one strange week must not outweigh
    a month. Without a record the prior stands.
    """
    names = list(errors)
    start = np.array([prior[name] for name in names])
    start /= start.sum()
    result = {name: np.full(len(leads), share) for name, share in zip(names, start, strict=True)}
    days = np.asarray(leads) // DAY
    for day in np.unique(days):
        here = days == day
        table = np.stack([errors[name][:, here] for name in names], axis=-1)
        scale = np.sqrt(np.broadcast_to(record_weight[:, None], table.shape[:2]))
        keep = np.isfinite(table).all(axis=-1)
        if keep.sum() < DAY:
            continue
        for name, share in zip(names, _least_absolute(table[keep], scale[keep], start), strict=True):
            result[name][here] = share
    return result


def _least_absolute(table: Floats, scale: Floats, prior: Floats) -> Floats:
    """The weights for `table` (rows, candidates), rows counting by the square of `scale`."""
    from scipy.optimize import nnls  # half a second to import, for those who forecast alone

    count = table.shape[1]
    evened, found = np.ones(len(table)), prior
    for _ in range(_ROUNDS):
        rows = table * (scale * evened)[:, None]
        squares = (rows**2).sum(axis=0)
        pull = np.sqrt(_PRIOR_STRENGTH * squares.min())
        tie = _SUM_STRENGTH * (np.sqrt(squares.mean()) or 1.0)
        system = np.vstack([rows, pull * np.eye(count), np.full((1, count), tie)])
        found, _ = nnls(system, np.concatenate([np.zeros(len(rows)), pull * prior, [tie]]))
        found = found / found.sum()
        left = np.abs(table @ found)
        evened = 1 / np.sqrt(np.maximum(left, 0.1 * np.median(left) + 1e-9))
    return found
