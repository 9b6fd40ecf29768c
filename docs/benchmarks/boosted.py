"""A yardstick for our own model: gradient boosting fitted once, on all that was known before the first forecast.

What is usual in the field, and what the goals for the mean error were set against: 160 trees of 31 leaves on log
intensity relative to the same hour of the last day, by absolute error, from 32,000 rows; no other candidate, no record,
nothing learned later. It sees the same columns as the trees of our own model.
"""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from kilowait_forecasters import scores
from kilowait_forecasters.models.features import DAY, LOOKBACK, Features, Whole, layout_of
from kilowait_forecasters.models.hours import Hours
from kilowait_forecasters.models.own import HORIZON_H

ROWS, EVERY_H = 32_000, 6
LEADS = np.arange(HORIZON_H)


def mape_pct(hours: Hours, issued: list[int]) -> list[float]:
    """Its mean absolute percentage error by day ahead, at the hours of `issued` (hours since 1970, ascending)."""
    cut = issued[0]
    past = hours.before(cut).trimmed()
    weather = past.has_weather(issued[-1] + HORIZON_H)
    layout = layout_of(past, weather=weather)
    known = Features(past, layout)
    begin = LOOKBACK + (cut - past.first - LOOKBACK) % DAY
    origins = np.arange(begin, cut - past.first - DAY + 1, EVERY_H)
    wanted = known.truth(origins, LEADS) - _yesterday(known, origins)
    there = np.flatnonzero(np.isfinite(wanted.ravel()))
    rows = np.random.default_rng(0).permutation(there)[:ROWS]
    columns = known.tree(origins, LEADS).reshape(wanted.size, -1)[rows]
    trees = HistGradientBoostingRegressor(
        loss="absolute_error", max_iter=160, max_leaf_nodes=31, early_stopping=False, random_state=0
    ).fit(columns, wanted.ravel()[rows])
    later = Features(hours.before(issued[-1]).trimmed(), layout)
    at = np.array(issued) - past.first
    x = later.tree(at, LEADS)
    said = np.exp(trees.predict(x.reshape(-1, x.shape[-1])).reshape(x.shape[:2]) + _yesterday(later, at))
    ahead = at[:, None] + LEADS
    all_of = hours.trimmed().g_per_kwh
    truth = np.where(ahead < len(all_of), all_of[np.minimum(ahead, len(all_of) - 1)], np.nan)
    return scores.mape_pct_by_day(said, truth)


def _yesterday(features: Features, origins: Whole) -> np.ndarray:
    return features.log[origins[:, None] + LEADS - DAY * (LEADS // DAY + 1)]
