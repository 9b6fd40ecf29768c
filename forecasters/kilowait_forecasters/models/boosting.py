"""Gradient boosting over all leads at once: the candidate that finds bends and thresholds, best from the second day."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from .hours import Floats

# Hours of one day are much alike: more rows cost time and hardly add.
_MOST_ROWS = 20_000


class Boosting:
    """scikit-learn's histogram gradient boosting on a fixed sample of rows, on one core; the same rows every time."""

    def __init__(self) -> None:
        # Takes a second to import; a server that never learns, or a client, should not pay for it.
        from sklearn.ensemble import HistGradientBoostingRegressor

        self._trees = HistGradientBoostingRegressor(
            max_iter=120,
            learning_rate=0.05,
            max_leaf_nodes=12,
            min_samples_leaf=200,
            l2_regularization=1.0,
            max_features=0.3,
            early_stopping=False,
            random_state=0,
        )

    def fit(self, x: Floats, y: Floats) -> Boosting:
        """Fit on `x` (origins, leads, columns) and `y` (origins, leads); rows with NaN in `y` are left out."""
        rows, truth = x.reshape(-1, x.shape[-1]), y.ravel()
        there = np.flatnonzero(np.isfinite(truth))
        chosen = np.random.default_rng(0).permutation(there)[:_MOST_ROWS]
        # More threads than free cores make it slower by far, and a forecast is never worth a job's core.
        with threadpool_limits(1):
            self._trees.fit(rows[chosen], truth[chosen])
        return self

    def predict(self, x: Floats) -> Floats:
        """Shape (origins, leads)."""
        with threadpool_limits(1):
            return np.asarray(self._trees.predict(x.reshape(-1, x.shape[-1]))).reshape(x.shape[:2])
