"""Rolling-origin evaluation of our own model: every forecast is made of what was known when it was issued."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TextIO

import numpy as np

from . import scores
from .errors import Refused
from .models.band import LEVELS
from .models.baselines import baselines
from .models.features import DAY, Whole, causal_fill
from .models.hours import HOUR, Floats, Hours, hour_number, hour_start
from .models.own import HORIZON_H, Outlook, OwnModel

COLUMNS = ("issued_at", "datetime", *(f"p{round(100 * level):02d}" for level in LEVELS), "model")
_MEDIAN = LEVELS.index(0.5)


def origins(start: datetime, end: datetime, *, origin: timedelta) -> list[int]:
    """The issue hours in [start, end), one a day at `origin` after midnight UTC. Raises Refused where there is none."""
    if origin % HOUR or not timedelta() <= origin < timedelta(days=1):
        raise Refused("--origin: give a whole hour of the day, e.g. 00:00")
    first, last, at = hour_number(start), -(-(end - hour_start(0)) // HOUR), origin // HOUR
    found = [hour for hour in range(first, last) if hour % 24 == at and hour_start(hour) >= start]
    if not found:
        raise Refused(f"no {origin // HOUR:02d}:00 between {start.isoformat()} and {end.isoformat()}; widen the span")
    return found


def outlooks(hours: Hours, issued: list[int], *, lag_h: int = 0) -> Iterator[Outlook]:
    """A forecast at each hour of `issued`, made by one model as it would live.

    An hour's actual values are known `lag_h` hours after it ended; weather columns are forecasts and known ahead, and
    what is announced the day before is known up to the end of the day (UTC) of issue.
    """
    model = OwnModel()
    for hour in issued:
        today = (hour // DAY + 1) * DAY - hours.first
        announced = {name: values[:today] for name, values in hours.day_ahead.items()}
        yield model.outlook(replace(hours.before(hour - lag_h), day_ahead=announced), issued=hour)


def write(out: TextIO, outlook: Outlook, *, horizon_h: int) -> None:
    """Its first `horizon_h` hours as rows of COLUMNS."""
    rows = csv.writer(out, lineterminator="\n")
    issued = _stamp(outlook.first)
    for ahead in range(horizon_h):
        values = (f"{value:.3f}" for value in outlook.quantiles[:, ahead])
        rows.writerow([issued, _stamp(outlook.first + ahead), *values, f"own ({outlook.made_of})"])


@dataclass(frozen=True)
class Verdict:
    """Scores of forecasts against what came, beside the simple ones; lists are by day ahead."""

    origins: int
    mape_pct: list[float]
    simple_mape_pct: dict[str, list[float]]
    pinball_g_per_kwh: float
    coverage_90_pct: float
    coverage_80_pct: float
    skill_over_persistence_pct: list[float]
    decisions: scores.Decisions | None


def verdict(hours: Hours, given: list[Outlook], *, horizon_h: int = HORIZON_H) -> Verdict:
    """Compare `given` with `hours`, which may by now know more; what never came is not scored."""
    issued = np.array([outlook.first for outlook in given], dtype=np.int64)
    leads = np.arange(horizon_h)
    at = issued[:, None] + leads - hours.first
    reach = np.minimum(at, len(hours.g_per_kwh) - 1)
    truth = np.where(at < len(hours.g_per_kwh), hours.g_per_kwh[reach], np.nan)
    quantiles = np.stack([outlook.quantiles[:, :horizon_h] for outlook in given], axis=1)
    median = quantiles[_MEDIAN]
    mape = scores.mape_pct_by_day(median, truth)
    simple = {
        name: scores.mape_pct_by_day(values, truth) for name, values in simple_forecasts(hours, issued, leads).items()
    }
    return Verdict(
        origins=len(given),
        mape_pct=mape,
        simple_mape_pct=simple,
        pinball_g_per_kwh=scores.pinball_g_per_kwh(quantiles, truth, LEVELS),
        coverage_90_pct=scores.coverage_pct(quantiles[0], quantiles[-1], truth),
        coverage_80_pct=scores.coverage_pct(quantiles[1], quantiles[-2], truth),
        skill_over_persistence_pct=[
            100 * (1 - own / naive) if naive > 0 else float("nan")
            for own, naive in zip(mape, simple["persistence"], strict=True)
        ],
        decisions=scores.decisions(median, truth),
    )


def simple_forecasts(hours: Hours, issued: Whole, leads: Whole) -> dict[str, Floats]:
    """The simple forecasts at the same hours, each from what was before it."""
    each = []
    for hour in issued.tolist():
        past = hours.before(hour)
        each.append(baselines(causal_fill(past.g_per_kwh), np.array([hour - past.first]), leads))
    names = [name for name in each[-1] if all(name in one for one in each)]
    return {name: np.concatenate([one[name] for one in each]) for name in names}


def _stamp(hour: int) -> str:
    return hour_start(hour).strftime("%Y-%m-%dT%H:%M:%SZ")


def open_out(path: Path) -> TextIO:
    """`path` for writing, with the header in it. Raises Refused where it cannot be written."""
    try:
        out = path.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise Refused(f"--out {path}: {error.strerror}") from error
    out.write(",".join(COLUMNS) + "\n")
    return out
