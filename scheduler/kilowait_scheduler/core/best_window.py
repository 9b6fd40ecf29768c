"""The best time to start work of known length: in one piece, on a forecast or typical days, whatever else runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from kilowait_forecasters.intensity import IntensitySeries


@dataclass(frozen=True)
class BestWindow:
    """[start, end) with the lowest mean intensity, beside starting at once (g/kWh)."""

    start: datetime
    end: datetime
    g_per_kwh: float
    now_g_per_kwh: float

    @property
    def saved_pct(self) -> float | None:
        """How much less than starting at once, in percent; None where that emits nothing."""
        return 100 * (1 - self.g_per_kwh / self.now_g_per_kwh) if self.now_g_per_kwh > 0 else None


def best_window(series: IntensitySeries, *, duration: timedelta, now: datetime, until: datetime) -> BestWindow | None:
    """The earliest of the cleanest windows that start now or with a slot and end by `until`; None where none fits.

    Raises OutOfRange or Gap where `series` does not cover [now, until).
    """
    if duration > until - now:
        return None
    starts = [now, *(slot.start for slot in series.split(now, until) if now < slot.start <= until - duration)]
    at_once = series.mean(now, now + duration)
    # Sums in another order differ in the last digits: a window counts as cleaner only by more than that.
    start, lowest = now, at_once
    for candidate in starts[1:]:
        value = series.mean(candidate, candidate + duration)
        if value < lowest - 1e-9 * abs(lowest):
            start, lowest = candidate, value
    return BestWindow(start, start + duration, lowest, at_once)
