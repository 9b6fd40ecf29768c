"""How good the forecasts in use have been of late: those issued, against what came, beside yesterday repeated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from .intensity import IntensitySeries
from .providers.base import HOUR, hours

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Skill:
    """Mean absolute percentage error over `hours` forecast hours, each less than a day ahead when it was forecast.

    `persistence_pct` is the error of repeating the last day known at issue, on the same hours.
    """

    hours: int
    error_pct: float
    persistence_pct: float


def skill_of(issued: Iterable[tuple[datetime, IntensitySeries]], realised: IntensitySeries) -> Skill | None:
    """The skill of forecasts, given with their issue times, on the hours `realised` holds; None where on none.

    Hours whose value is 0 do not count, nor those without a value the day before.
    """
    errors, naive = [], []
    for at, series in issued:
        for start, end in hours(at + HOUR, at + _DAY):
            before = start - _DAY, end - _DAY
            if not (series.covers(start, end) and realised.covers(start, end) and realised.covers(*before)):
                continue
            truth = realised.mean(start, end)
            if truth > 0:
                errors.append(abs(series.mean(start, end) - truth) / truth)
                naive.append(abs(realised.mean(*before) - truth) / truth)
    if not errors:
        return None
    return Skill(len(errors), 100 * sum(errors) / len(errors), 100 * sum(naive) / len(naive))
