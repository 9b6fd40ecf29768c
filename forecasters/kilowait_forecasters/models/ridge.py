"""Ridge regression, one per lead hour: the candidates that follow what is going on now, hour by hour."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from .hours import Floats

# A row counts half when it is this old: plants are built and closed.
_HALF_LIFE_DAYS = 730.0
# How far beyond what it learned from a column is followed, in standard deviations. Light at four in the morning, which
# half a year did not know, is thousands of them.
_BEYOND = 1.0


@dataclass(frozen=True)
class Ridge:
    """Linear in its features, per lead: all have shape (leads, columns), but `level` (leads).

    Features are followed between `low` and `high`, in scales from the centre.
    """

    slope: Floats
    level: Floats
    centre: Floats
    scale: Floats
    low: Floats
    high: Floats

    def predict(self, x: Floats) -> Floats:
        """Shape (origins, leads), from `x` (origins, leads, columns)."""
        z = np.clip((x.astype(np.float64) - self.centre) / self.scale, self.low, self.high)
        return np.asarray(np.einsum("olc,lc->ol", z, self.slope) + self.level)


def fit_ridges(
    x: Floats, wanted: Mapping[str, tuple[Floats, float]], age_days: Floats, *, apart: Collection[int] = ()
) -> dict[str, Ridge]:
    """A Ridge per name on `x` (origins, leads, columns) and what is `wanted` of it: (origins, leads), and a penalty.

    Rows with NaN in what is wanted are left out; all have it at the same ones. Each lead is fitted on its own rows and,
    at half weight, those of its two neighbours; older rows (`age_days`, one per origin) count less. From each lead of
    `apart` on, columns are others than before it: leads across one are no neighbours. A penalty is in rows: with few of
    them, the forecast stays near the mean of what is wanted.
    """
    leads, columns = x.shape[1:]
    centre, low, high = (np.zeros((leads, columns)) for _ in range(3))
    scale = np.ones((leads, columns))
    levels = {name: np.zeros(leads) for name in wanted}
    slopes = {name: np.zeros((leads, columns)) for name in wanted}
    fade = 0.5 ** (age_days / _HALF_LIFE_DAYS)
    there = np.isfinite(next(iter(wanted.values()))[0])
    part = np.searchsorted(np.sort(list(apart)), np.arange(leads), side="right")
    for lead in range(leads):
        near = [k for k in (lead - 1, lead, lead + 1) if 0 <= k < leads and part[k] == part[lead]]
        keep = there[:, near].ravel()
        if not keep.any():  # a night without readings: nothing is learned, and nothing said but 0
            continue
        rows = x[:, near].reshape(-1, columns)[keep].astype(np.float64)
        weight = np.outer(fade, [1.0 if k == lead else 0.5 for k in near]).ravel()[keep]
        centre[lead] = rows.mean(axis=0)
        spread = rows.std(axis=0)
        scale[lead] = np.where(spread < 1e-6, np.inf, spread)  # a column that never moves says nothing
        z = (rows - centre[lead]) / scale[lead]
        low[lead], high[lead] = z.min(axis=0) - _BEYOND, z.max(axis=0) + _BEYOND
        weighted = z * weight[:, None]
        gram = weighted.T @ z
        for name, (y, penalty) in wanted.items():
            truth = y[:, near].ravel()[keep]
            level = levels[name][lead] = weight @ truth / weight.sum()
            slopes[name][lead] = np.linalg.solve(gram + penalty * np.eye(columns), weighted.T @ (truth - level))
    return {name: Ridge(slopes[name], levels[name], centre, scale, low, high) for name in wanted}
