"""How much each candidate counts: by what it was worth on forecasts it did not learn from, per day ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .features import DAY
from .hours import Floats

# Strength of the preference for the prior weights, as a share of the errors' own size; keeps near-equals from flipping.
_PRIOR_STRENGTH = 0.02
# How hard weights must add up to one, relative to the errors.
_SUM_STRENGTH = 1e3


def weights(
    errors: Mapping[str, Floats], prior: Mapping[str, float], record_weight: Floats, leads: Sequence[int]
) -> dict[str, Floats]:
    """Weights by candidate, shape (leads), at least 0 and adding up to 1; the same for all leads of a day ahead.

    `errors` (records, leads) are log forecast minus log truth, NaN where the truth is not known. The weights are those
    with the least squared error of the blend, near `prior`; a candidate that helps nowhere gets none. Without a record
    the prior stands.
    """
    from scipy.optimize import nnls  # half a second to import, for those who forecast alone

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
        rows = table[keep] * scale[keep][:, None]
        if len(rows) < DAY:
            continue
        size = float(np.sqrt((rows**2).sum(axis=0).mean())) or 1.0
        pull = size * np.sqrt(_PRIOR_STRENGTH)
        system = np.vstack([rows, pull * np.eye(len(names)), size * _SUM_STRENGTH * np.ones((1, len(names)))])
        wanted = np.concatenate([np.zeros(len(rows)), pull * start, [size * _SUM_STRENGTH]])
        found, _ = nnls(system, wanted)
        for name, share in zip(names, found / found.sum(), strict=True):
            result[name][here] = share
    return result
