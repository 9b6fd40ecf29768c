"""A grid made up for the forecaster's tests: solar days, wind that a weather forecast knows, weekends, and noise."""

from __future__ import annotations

import numpy as np

from kilowait_forecasters.models.hours import Hours

# 2024-01-01T00:00Z in hours since 1970; a Monday.
FIRST = 473_352


def made_up(
    days: int,
    *,
    seed: int = 1,
    ahead_h: int = 200,
    weather: bool = True,
    mix: bool = True,
    day_ahead: tuple[str, ...] = (),
) -> Hours:
    """`days` days of intensity and generation by source; weather and the columns of `day_ahead`, `ahead_h` h more."""
    rng = np.random.default_rng(seed)
    count = days * 24 + ahead_h
    hour = np.arange(count)
    gusts = np.zeros(count)
    for i in range(1, count):
        gusts[i] = 0.97 * gusts[i - 1] + 0.25 * rng.normal()
    wind_speed = 7 + 2.5 * gusts
    sun = np.maximum(np.sin((hour % 24 - 6) / 12 * np.pi), 0) * (1 + 0.3 * np.sin(hour / 8766 * 2 * np.pi))
    wind = 20 * np.clip(wind_speed / 12, 0, 1) ** 2
    solar = 15 * sun
    demand = 60 + 8 * np.sin((hour % 24 - 9) / 12 * np.pi) - 6 * ((hour // 24) % 7 >= 5)
    gas = np.maximum(demand - wind - solar, 3)
    intensity = 400 * gas / (gas + wind + solar) * np.exp(0.02 * rng.normal(size=count))
    past = days * 24
    announced = {"wind": 1000 * wind, "solar": 1000 * solar, "load": 1000 * demand}
    told = {name: announced[name] * np.exp(0.05 * rng.normal(size=count)) for name in day_ahead}
    return Hours(
        first=FIRST,
        g_per_kwh=intensity[:past],
        mix={"gas": gas[:past], "wind": wind[:past], "solar": solar[:past]} if mix else {},
        weather={"wf_wind_speed": wind_speed, "wf_dswrf": 800 * sun} if weather else {},
        day_ahead=told,
    )
