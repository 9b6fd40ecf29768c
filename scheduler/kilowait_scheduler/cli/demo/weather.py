"""Invented days for a demonstration without recordings: typical days of the month, with weather in them.

A typical day is a mean and smoother than any real one. Here its values swing between the 10th and 90th percentile of
their month and hour as fronts pass, each grid with its own rhythm. The zones' names say that they are invented.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from pathlib import Path

from kilowait_forecasters.profiles import typical_day

NOTE = "Intensity is invented: typical days of the month with weather swings inside their p10 to p90 band."

# Zone with a typical day, and the hours between two fronts: short enough to show in a night, and not in step.
_GRIDS = {"DE": 13.0, "US-CAL-CISO": 17.0, "US-TEX-ERCO": 11.0}
_DAYS = 4


def invent(folder: Path, *, around: datetime) -> Path:
    """Write `_DAYS` days of hourly values per grid, from a day before `around` (midnight UTC), as replay files."""
    folder.mkdir(parents=True, exist_ok=True)
    for zone, period_h in _GRIDS.items():
        day = typical_day(zone)
        lines = ["datetime,carbon_intensity_lifecycle"]
        for hour in range(24 * _DAYS):
            moment = around + timedelta(hours=hour - 24)
            typical = day.at(moment)
            swing = math.sin(2 * math.pi * hour / period_h)
            reach = (
                typical.p90_g_per_kwh - typical.mean_g_per_kwh
                if swing > 0
                else typical.mean_g_per_kwh - typical.p10_g_per_kwh
            )
            lines.append(f"{moment.isoformat()},{typical.mean_g_per_kwh + swing * reach:.1f}")
        (folder / f"{zone}-invented.csv").write_text("\n".join(lines) + "\n")
    return folder
