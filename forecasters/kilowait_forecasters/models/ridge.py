"""Ridge regression, one per lead hour: the candidates that follow what is going on now, hour by hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .hours import Floats

# A row counts half when it is this old: plants are built and closed.
_HALF_LIFE_DAYS = 730.0


@dataclass(frozen=True)
class Ridge:
    """Linear in its features, per lead: `slope`, `centre`, `scale` have shape (leads, columns), `level` (leads)."""

    slope: Floats
    level: Floats
    centre: Floats
    scale: Floats

    def predict(self, x: Floats) -> Floats:
        """Shape (origins, leads), from `x` (origins, leads, columns)."""
        z = (x.astype(np.float64) - self.centre) / self.scale
        return np.asarray(np.einsum("olc,lc->ol", z, self.slope) + self.level)


def fit_ridges(x: Floats, y: Floats, age_days: Floats, *, penalties: Mapping[str, float]) -> dict[str, Ridge]:
    """A Ridge per penalty, on `x` (origins, leads, columns) and `y` (origins, leads; rows with NaN are left out).

    Each lead is fitted on its own rows and, at half weight, those of its two neighbours; older rows (`age_days`, one
    per origin) count less. A penalty is in rows: with few of them, the forecast stays near the mean of `y`.
    """
    leads, columns = x.shape[1:]
    centre, scale, level = np.zeros((leads, columns)), np.ones((leads, columns)), np.zeros(leads)
    slopes = {name: np.zeros((leads, columns)) for name in penalties}
    fade = 0.5 ** (age_days / _HALF_LIFE_DAYS)
    for lead in range(leads):
        near = [k for k in (lead - 1, lead, lead + 1) if 0 <= k < leads]
        truth = y[:, near].ravel()
        keep = np.isfinite(truth)
        rows = x[:, near].reshape(-1, columns)[keep].astype(np.float64)
        truth = truth[keep]
        weight = np.outer(fade, [1.0 if k == lead else 0.5 for k in near]).ravel()[keep]
        centre[lead] = rows.mean(axis=0)
        spread = rows.std(axis=0)
        scale[lead] = np.where(spread < 1e-6, np.inf, spread)  # a column that never moves says nothing
        z = (rows - centre[lead]) / scale[lead]
        level[lead] = weight @ truth / weight.sum()
        weighted = z * weight[:, None]
        gram, reach = weighted.T @ z, weighted.T @ (truth - level[lead])
        for name, penalty in penalties.items():
            slopes[name][lead] = np.linalg.solve(gram + penalty * np.eye(columns), reach)
    return {name: Ridge(slope, level, centre, scale) for name, slope in slopes.items()}
