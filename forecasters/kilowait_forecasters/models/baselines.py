"""The candidates that learn nothing: yesterday again, the mean day, the mean week. A model must beat all three."""

from __future__ import annotations

import numpy as np

from .features import DAY, WEEK, Whole
from .hours import Floats

NAMES = ("persistence", "hour-of-day", "hour-of-week")


def baselines(values: Floats, origins: Whole, leads: Whole) -> dict[str, Floats]:
    """Forecasts of shape (origins, leads) by name, from `values` (g/kWh, no NaN) before each origin.

    `persistence`: the same hour of the last day; `hour-of-day`: its mean over the last 7 days; `hour-of-week`: over the
    last 4 weeks. Where the past is shorter, over the days or weeks there are; without a whole one of them it is absent.
    """
    at = origins[:, None] + leads
    yesterday = at - DAY * (leads // DAY + 1)
    first = int(origins.min())
    found = {}
    if (days := min(first // DAY, 7)) > 0:
        found["persistence"] = values[yesterday]
        found["hour-of-day"] = np.asarray(np.mean([values[yesterday - DAY * k] for k in range(days)], axis=0))
    if (weeks := min(first // WEEK, 4)) > 0:
        ago = at - WEEK * (leads // WEEK + 1)
        found["hour-of-week"] = np.asarray(np.mean([values[ago - WEEK * k] for k in range(weeks)], axis=0))
    return found
