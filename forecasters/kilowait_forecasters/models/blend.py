"""How much each candidate counts: by what it was worth on forecasts it did not learn from, per day ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .features import DAY
from .hours import Floats

# A record this many days old counts half: which candidate is good changes with the weather and the season.
_HALF_LIFE_DAYS = 20.0
# Strength of the preference for the prior weights, as a share of the best candidate's errors; keeps near-equals from
# flipping, and chance from choosing.
_PRIOR_STRENGTH = 0.3
# How hard weights must add up to one, relative to the errors.
_SUM_STRENGTH = 1e4
# Least absolute errors are found by weighing squared ones anew by the size of the last residuals; four rounds do.
_ROUNDS = 4


def weights(
    errors: Mapping[str, Floats], prior: Mapping[str, float], age_days: Floats, leads: Sequence[int]
) -> dict[str, Floats]:
    """Weights by candidate, shape (leads), at least 0 and adding up to 1; the same for all leads of a day ahead.

    `errors` (records, leads) are log forecast minus log truth, NaN where the truth is not known, made `age_days` ago.
    The weights are those with about the least absolute error of the blend, near `prior`: absolute, because one strange
    week must not outweigh a month. Without a record the prior stands.
    """
    names = list(errors)
    start = np.array([prior[name] for name in names])
    start /= start.sum()
    result = {name: np.full(len(leads), share) for name, share in zip(names, start, strict=True)}
    fade = 0.5 ** (age_days / _HALF_LIFE_DAYS)
    days = np.asarray(leads) // DAY
    for day in np.unique(days):
        here = days == day
        table = np.stack([errors[name][:, here] for name in names], axis=-1)
        counts = np.broadcast_to(fade[:, None], table.shape[:2])
        keep = np.isfinite(table).all(axis=-1)
        if keep.sum() < DAY:
            continue
        for name, share in zip(names, _least_absolute(table[keep], counts[keep], start), strict=True):
            result[name][here] = share
    return result


def _least_absolute(table: Floats, counts: Floats, prior: Floats) -> Floats:
    """The weights for `table` (rows, candidates), whose rows count by `counts`."""
    from scipy.optimize import nnls  # half a second to import, for those who forecast alone

    evened, found = np.ones(len(table)), prior
    for _ in range(_ROUNDS):
        products = (table * (counts * evened)[:, None]).T @ table
        squares = products.diagonal()
        if not squares.any():
            break
        pull = max(_PRIOR_STRENGTH * squares.min(), 1e-6 * squares.mean())
        tie = _SUM_STRENGTH * squares.mean()
        root = np.linalg.cholesky(products + pull * np.eye(len(prior)) + tie)
        found, _ = nnls(root.T, np.linalg.solve(root, pull * prior + tie))
        found = found / found.sum()
        left = np.abs(table @ found)
        evened = 1 / np.maximum(left, 0.1 * np.median(left) + 1e-9)
    return found
