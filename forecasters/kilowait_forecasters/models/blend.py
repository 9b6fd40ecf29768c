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
# A day that even the best candidate missed by more than this many times what it missed the last few days by was another
# grid, or another feed: it counts no more than such a day would. Else a zone whose values begin to repeat themselves
# would be judged for weeks by the large errors from before, at which all are alike.
_ANOTHER_GRID, _LAST_DAYS = 4.0, 3


def weights(
    errors: Mapping[str, Floats], prior: Mapping[str, float], age_days: Floats, leads: Sequence[int]
) -> dict[str, Floats]:
    """Weights by candidate, shape (leads), at least 0 and adding up to 1; the same for all leads of a day ahead.

    `errors` (records, leads) are log forecast minus log truth, NaN where the truth is not known, made `age_days` ago.
    A weight is the prior one by a power of the mean error on that day ahead, relative to what came: not squared,
    because one strange week must not outweigh a month, and of each candidate alone, because weights fitted to how
    candidates err together do not last. Days much harder than the last few count less. Without a record the prior
    stands.
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
        keep = np.asarray(np.isfinite(table).all(axis=-1))
        if keep.sum() < DAY:
            continue
        known = keep.sum(axis=1)
        told = np.flatnonzero(known)
        by_day = np.where(keep[..., None], table, 0.0).sum(axis=1)[told] / known[told, None] + _NO_ERROR
        counts = (fade * known)[told] * _relevance(by_day.min(axis=1), age_days[told])
        missed = counts @ by_day / counts.sum()
        worth = start * (missed.min() / missed) ** _SHARPNESS
        for name, share in zip(names, worth / worth.sum(), strict=True):
            result[name][here] = share
    return result


def _relevance(least: Floats, age_days: Floats) -> Floats:
    """How much a day counts whose best candidate missed by `least`, beside the last ones: at most 1."""
    lately = np.median(least[np.argsort(age_days, kind="stable")[:_LAST_DAYS]])
    return np.asarray(np.minimum(_ANOTHER_GRID * lately / least, 1.0))
