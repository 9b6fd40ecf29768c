"""Grids made of recorded ones: their load and their weather, met by other plants.

Wind, sun, water and nuclear of a recorded grid are made more or fewer; what they leave of its load is met by coal,
which follows slowly, oil at the highest peaks, and gas. Intensity is direct, from the factors of
kilowait_forecasters.mix. The result is as hard to foresee as the weather is, but its ways are its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from kilowait_forecasters.mix import FACTORS
from kilowait_forecasters.models.features import causal_fill
from kilowait_forecasters.models.hours import Floats, Hours


@dataclass(frozen=True)
class Plants:
    """Which plants the load of grid `of` is met by.

    `times` what it has of a clean source is there. At least `rest` of the load is left to fuels. Of that, `coal` is the
    share that coal has over some days, and oil meets what is above the quantile `peaks`.
    """

    of: str
    times: Mapping[str, float] = field(default_factory=dict)
    rest: float = 0.05
    coal: float = 0.0
    peaks: float = 1.0


GRIDS: Mapping[str, Plants] = {
    "gas, little sun": Plants("CC_CISO", {"solar": 0.25}),
    "gas, sun and nights without": Plants("CC_ERCO", {"solar": 2.5}),
    "coal and some wind": Plants("CC_ERCO", {"wind": 0.6, "nuclear": 1.0}, coal=0.65),
    "wind and coal": Plants("CC_ERCO", {"wind": 1.6, "nuclear": 1.0}, rest=0.08, coal=0.5),
    "gas, nuclear, oil at peaks": Plants(
        "CC_PJM", {"nuclear": 0.9, "hydro": 2.0, "wind": 1.2, "solar": 3.0}, peaks=0.93
    ),
    "nearly clean": Plants("CC_PJM", {"nuclear": 2.0, "hydro": 4.0, "wind": 2.0}, rest=0.01),
    "wind, sun and gas": Plants("CC_DE", {"nuclear": 1.5, "hydro": 1.0, "wind": 1.1, "solar": 1.2}, rest=0.06),
    "coal and much wind": Plants("CC_PL", {"wind": 3.0}, coal=0.8),
    "much sun and wind": Plants("CC_NL", {"solar": 3.0, "wind": 2.0}, rest=0.1, coal=0.3),
    "water, nuclear and gas": Plants("CC_SE", {"nuclear": 1.0, "hydro": 0.9, "wind": 0.8}, rest=0.02),
}
# Coal keeps to what was left to it over this many hours, and never meets all of it.
_SLOW_H, _MOST_COAL = 24.0, 0.9


def remade(hours: Hours, plants: Plants) -> Hours:
    """`hours` of the grid `plants.of`, with its load met by `plants`; the weather stays."""
    mix = {name: np.maximum(causal_fill(values), 0.0) for name, values in hours.mix.items()}
    load = np.sum(list(mix.values()), axis=0)
    made = {name: times * mix[name] for name, times in plants.times.items()}
    left = np.maximum(load - np.sum(list(made.values()), axis=0), plants.rest * load)
    coal = np.minimum(plants.coal * _slow(left), _MOST_COAL * left)
    oil = np.maximum(left - coal - np.quantile(left - coal, plants.peaks), 0.0)
    made |= {"coal": coal, "oil": oil, "gas": left - coal - oil}
    made = {name: values for name, values in made.items() if values.any()}
    total = np.sum(list(made.values()), axis=0)
    direct = np.sum([FACTORS[name][1] * values for name, values in made.items()], axis=0)
    return replace(hours, g_per_kwh=direct / total, mix=made)


def _slow(values: Floats) -> Floats:
    """The mean of `values` so far, in which one counts half when it is `_SLOW_H` older."""
    kept = 0.5 ** (1 / _SLOW_H)
    out = np.empty_like(values)
    out[0] = values[0]
    for i in range(1, len(values)):
        out[i] = kept * out[i - 1] + (1 - kept) * values[i]
    return out
