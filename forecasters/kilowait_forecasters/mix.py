"""Generation by source: what intensity it makes, and which moments of it are whole enough to say so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from .intensity import Slot, require_utc
from .signal import Scope

# gCO2e/kWh of each source: (lifecycle, direct), the defaults of Electricity Maps' open configuration
# (electricitymaps-contrib, config/defaults.yaml) with the sources it names.
FACTORS: Mapping[str, tuple[float, float]] = {
    "biomass": (230.0, 0.0),  # IPCC AR5 2014 (lifecycle), BEIS 2021 (direct: biogenic carbon counts as zero)
    "coal": (820.0, 760.0),  # IPCC AR5 2014
    "gas": (490.0, 370.0),  # IPCC AR5 2014
    "geothermal": (38.0, 0.0),  # IPCC AR5 2014
    "hydro": (24.0, 0.0),  # IPCC AR5 2014
    "nuclear": (12.0, 0.0),  # IPCC AR5 2014
    "oil": (650.0, 406.0),  # UK POST 2014 (lifecycle), EIA 2020 and BEIS 2021 (direct)
    "solar": (45.0, 0.0),  # IPCC AR5 2014
    "wind": (11.0, 0.0),  # IPCC AR5 2014
    "unknown": (700.0, 575.0),  # assumption of Electricity Maps: a thermal mix
}
# What a store gives back was generated, and counted, before: it is in no mix of ours, neither charging nor discharging.
STORED = "stored"

_DAY = timedelta(days=1)
# A source that gave this share at the same time on one of the days before is missed where it is absent.
_LEAST_SHARE_MISSED = 0.02
_DAYS_REMEMBERED = 3


@dataclass(frozen=True)
class MixSlot:
    """Mean generation by source on [start, end), in MW (or any one unit); a source without a value is absent."""

    start: datetime
    end: datetime
    mw: Mapping[str, float]

    def __post_init__(self) -> None:
        require_utc(self.start, what="slot start")
        require_utc(self.end, what="slot end")


def by_fuel(slots: Iterable[MixSlot], fuels: Mapping[str, str]) -> list[MixSlot]:
    """The same slots with a service's codes replaced by keys of FACTORS; codes not in `fuels` are `unknown`.

    Negative generation, a plant's own use, counts as none. What is STORED is left out.
    """
    found = []
    for slot in slots:
        mw: dict[str, float] = {}
        for code, value in slot.mw.items():
            if (fuel := fuels.get(code, "unknown")) != STORED:
                mw[fuel] = mw.get(fuel, 0.0) + max(value, 0.0)
        found.append(MixSlot(slot.start, slot.end, mw))
    return found


def whole(slots: Sequence[MixSlot]) -> list[MixSlot]:
    """Those of `slots` (in order of time) that lack no source of weight.

    Services publish the newest moments source by source; without a coal plant that has not reported, a grid looks
    clean. Missed is what gave 2 % or more at the same time on one of the three days before or, at the start, the day
    after.
    """
    weighty = {slot.start: _weighty(slot) for slot in slots}
    ever = set().union(*weighty.values())
    found = []
    for slot in slots:
        days = [weighty[day] for n in range(1, _DAYS_REMEMBERED + 1) if (day := slot.start - n * _DAY) in weighty]
        days = days or [weighty.get(slot.start + _DAY, ever)]
        if slot.mw and all(day <= slot.mw.keys() for day in days):
            found.append(slot)
    return found


def intensities(slots: Iterable[MixSlot], *, scope: Scope, provisional_from: datetime) -> list[Slot]:
    """Intensity of generation, gCO2e/kWh: sum of generation x factor over sum of generation.

    Sources are keys of FACTORS. Slots without any generation have none. Those that end after `provisional_from` are
    `estimated`: services correct them.
    """
    which = 0 if scope is Scope.LIFECYCLE else 1
    found = []
    for slot in slots:
        total = sum(slot.mw.values())
        if total > 0:
            value = sum(mw * FACTORS[fuel][which] for fuel, mw in slot.mw.items()) / total
            found.append(Slot(slot.start, slot.end, value, estimated=slot.end > provisional_from))
    return found


def _weighty(slot: MixSlot) -> set[str]:
    total = sum(abs(value) for value in slot.mw.values())
    return {code for code, value in slot.mw.items() if abs(value) >= _LEAST_SHARE_MISSED * total > 0}
