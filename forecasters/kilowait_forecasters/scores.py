"""How good forecasts were: percentage error by day ahead, pinball loss, coverage, and what decisions on them saved.

All take arrays of shape (origins, hours ahead) in g/kWh; hours whose truth is NaN count nowhere. Each gives NaN where
there is nothing to score.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .models.hours import Floats

DAY = 24


def mape_pct_by_day(forecast: Floats, truth: Floats) -> list[float]:
    """Mean absolute percentage error of each day ahead. Hours whose truth is 0 have none and are left out."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.where(truth > 0, 100 * np.abs(forecast - truth) / truth, np.nan)
    return [_mean(off[:, first : first + DAY]) for first in range(0, off.shape[1], DAY)]


def pinball_g_per_kwh(quantiles: Floats, truth: Floats, levels: Sequence[float]) -> float:
    """Mean pinball loss over the quantiles, which have shape (levels, origins, hours ahead)."""
    level = np.asarray(levels)[:, None, None]
    short = truth[None] - quantiles
    return _mean(np.maximum(level * short, (level - 1) * short))


def coverage_pct(low: Floats, high: Floats, truth: Floats) -> float:
    """Share of hours with low <= truth <= high."""
    inside = np.where(np.isfinite(truth), 100.0 * ((low <= truth) & (truth <= high)), np.nan)
    return _mean(inside)


@dataclass(frozen=True)
class Decisions:
    """Mean intensity of jobs run at once, where the forecast said, and where it was best; g/kWh."""

    at_once_g_per_kwh: float
    decided_g_per_kwh: float
    best_g_per_kwh: float

    @property
    def possible_pct(self) -> float:
        """What perfect foresight saves of running at once."""
        return 100 * (self.at_once_g_per_kwh - self.best_g_per_kwh) / self.at_once_g_per_kwh

    @property
    def share_pct(self) -> float:
        """What the decisions saved, as a share of that; NaN where nothing could be saved."""
        possible = self.at_once_g_per_kwh - self.best_g_per_kwh
        return 100 * (self.at_once_g_per_kwh - self.decided_g_per_kwh) / possible if possible > 0 else float("nan")


def decisions(
    forecast: Floats, truth: Floats, *, job_h: int = 6, slack_h: int = 24, every_h: int = 6
) -> Decisions | None:
    """What running a job of `job_h` hours at the best start within `slack_h` comes to, by forecast, truth and at once.

    Jobs arrive every `every_h` hours of each forecast's first day and run in one piece. Those whose truth is not whole
    are left out; None where that leaves none.
    """
    rows = []
    for said, was in zip(forecast, truth, strict=True):
        for arrival in range(0, DAY, every_h):
            window = slice(arrival, arrival + job_h + slack_h)
            if len(was[window]) == job_h + slack_h and np.isfinite(was[window]).all():
                expected, came = (_running_mean(values[window], job_h) for values in (said, was))
                rows.append((came[0], came[int(expected.argmin())], came.min()))
    if not rows:
        return None
    at_once, decided, best = np.mean(rows, axis=0).tolist()
    return Decisions(at_once, decided, best)


def _running_mean(values: Floats, width: int) -> Floats:
    return np.convolve(values, np.full(width, 1 / width), mode="valid")


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
