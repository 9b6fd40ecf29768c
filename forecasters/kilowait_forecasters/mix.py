"""Generation by source: what intensity it makes, and which moments of it are whole enough to say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, time, timedelta

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
# A source that gave this share at the same time on one of the last days it was reported is missed where it is absent.
LEAST_SHARE_MISSED = 0.02
DAYS_COMPARED = 3
# After so long without a report a plant has closed; outages of reporting are over by then.
LONGEST_ABSENCE = timedelta(days=14)
# What is asked for anew before the moments wanted: late reports, and corrections.
_CONTEXT = timedelta(days=3)

# When a source was last reported, and whether it had weight then and on the days it was reported before.
_Reports = tuple[datetime, tuple[bool, ...]]


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


def whole(slots: Sequence[MixSlot], *, before: Sequence[MixSlot] = ()) -> list[MixSlot]:
    """Those of `slots` that lack no source of weight, in light of what was generated `before`; both in order of time.

    Services publish the newest moments source by source; without a coal plant that has not reported, a grid looks
    clean. Missed is what gave 2 % or more at the same time on one of the last three days on which it was reported, the
    last of them not over 14 days ago; at the start, where there are none, what did on the day after.
    """
    weighty = {slot.start: _weighty(slot) for slot in (*before, *slots)}
    ever = set().union(*weighty.values())
    # By time of day and source: when it was last reported, and whether it had weight on the last days it was.
    reported: defaultdict[time, dict[str, _Reports]] = defaultdict(dict)
    for slot in before:
        _report(reported[slot.start.timetz()], slot, weighty[slot.start])
    found = []
    for slot in slots:
        known = reported[slot.start.timetz()]
        missed = (
            {source for source, (last, days) in known.items() if any(days) and slot.start - last <= LONGEST_ABSENCE}
            if known
            else weighty.get(slot.start + _DAY, ever)
        )
        if slot.mw and missed <= slot.mw.keys():
            found.append(slot)
        _report(known, slot, weighty[slot.start])
    return found


class Seen:
    """What was generated in each zone of late, remembered from question to question so that its sources are known."""

    def __init__(self) -> None:
        self._slots: dict[str, dict[datetime, MixSlot]] = {}

    def asked_from(self, zone: str, start: datetime) -> datetime:
        """From when to ask for what was generated in order to know what is whole from `start` on."""
        known = self._slots.get(zone)
        if known and min(known) <= start - LONGEST_ABSENCE and max(known) >= start - _CONTEXT:
            return start - _CONTEXT
        return start - LONGEST_ABSENCE

    def whole(self, zone: str, slots: Sequence[MixSlot]) -> list[MixSlot]:
        """Those of `slots` (in order of time) that lack no source of weight; all are remembered."""
        if not slots:
            return []
        known = self._slots.get(zone, {})
        before = [known[at] for at in sorted(known) if at < slots[0].start]
        found = whole(slots, before=before)
        merged = known | {slot.start: slot for slot in slots}
        oldest = max(merged) - LONGEST_ABSENCE - _CONTEXT
        self._slots[zone] = {at: slot for at, slot in merged.items() if at >= oldest}
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
    return {code for code, value in slot.mw.items() if abs(value) >= LEAST_SHARE_MISSED * total > 0}


def _report(known: dict[str, _Reports], slot: MixSlot, weighty: set[str]) -> None:
    for source in slot.mw:
        _, days = known.get(source, (slot.start, ()))
        known[source] = slot.start, (*days, source in weighty)[-DAYS_COMPARED:]
