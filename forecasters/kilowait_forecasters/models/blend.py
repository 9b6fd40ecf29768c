"""How much each candidate counts: by what it was worth on forecasts it did not learn from, per day ahead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .features import DAY
from .hours import Floats

# A record this many days old counts half: which candidate is good changes with the weather and the season.
_HALF_LIFE_DAYS = 20.0
# A candidate with twice the error counts 2 to this power less: next to nothing. One with a tenth more, two fifths.
_SHARPNESS = 10.0
# Relative errors below this are all the same: where every candidate hits, the prior stands.
_NO_ERROR = 1e-9
# A single hour that was forecast at a multiple of what came counts as no more than this.
_MOST_ERROR = 3.0


def weights(
    errors: Mapping[str, Floats], prior: Mapping[str, float], age_days: Floats, leads: Sequence[int]
) -> dict[str, Floats]:
    """Weights by candidate, shape (leads), at least 0 and adding up to 1; the same for all leads of a day ahead.

    `errors` (records, leads) are log forecast minus log truth, NaN where the truth is not known, made `age_days` ago.
    A weight is the prior one by a power of the mean error on that day ahead, relative to what came: not squared,
    because one strange week must not outweigh a month, and of each candidate alone, because weights fitted to how
    candidates err together do not last. Without a record the prior stands.
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
        table = np.minimum(np.abs(np.expm1(table)), _MOST_ERROR)
        counts = np.broadcast_to(fade[:, None], table.shape[:2])
        keep = np.isfinite(table).all(axis=-1)
        if keep.sum() < DAY:
            continue
        missed = counts[keep] @ table[keep] / counts[keep].sum() + _NO_ERROR
        worth = start * (missed.min() / missed) ** _SHARPNESS
        for name, share in zip(names, worth / worth.sum(), strict=True):
            result[name][here] = share
    return result
