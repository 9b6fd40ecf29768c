"""ENTSO-E's Transparency Platform: generation by source of European zones, and the intensity it makes; free token."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta

import httpx

from kilowait_forecasters.errors import Permanent, Refused
from kilowait_forecasters.mix import STORED, MixSlot, Seen, by_fuel
from kilowait_forecasters.signal import Kind, Scope, Signal
from kilowait_forecasters.zone import Zone

from .base import HOUR, hour_of, require_served, require_span
from .entsoe_xml import Curve, curves
from .from_mix import FromMix
from .http import Http, Patience
from .quota import Limit, Quota

BASE_URL = "https://web-api.tp.entsoe.eu/api"
# They allow 400 a minute and shut out for ten minutes whoever asks more.
LIMITS = (Limit(300, 60.0),)
_SHUT_OUT_S = 600.0

# EIC codes by zone; Great Britain no longer reports.
AREAS = {
    "AT": "10YAT-APG------L",
    "BE": "10YBE----------2",
    "CH": "10YCH-SWISSGRIDZ",
    "CZ": "10YCZ-CEPS-----N",
    "DE": "10Y1001A1001A83F",
    "DK-DK1": "10YDK-1--------W",
    "DK-DK2": "10YDK-2--------M",
    "ES": "10YES-REE------0",
    "FI": "10YFI-1--------U",
    "FR": "10YFR-RTE------C",
    "GR": "10YGR-HTSO-----Y",
    "IE": "10Y1001A1001A59C",
    "IT-NO": "10Y1001A1001A73I",
    "NL": "10YNL----------L",
    "NO-NO1": "10YNO-1--------2",
    "NO-NO2": "10YNO-2--------T",
    "PL": "10YPL-AREA-----S",
    "PT": "10YPT-REN------W",
    "RO": "10YRO-TEL------P",
    "SE-SE3": "10Y1001A1001A46L",
    "SE-SE4": "10Y1001A1001A47J",
}
# Their codes of production types.
_FUELS = {
    **dict.fromkeys(("B01", "B17"), "biomass"),
    **dict.fromkeys(("B02", "B05", "B07", "B08"), "coal"),
    **dict.fromkeys(("B03", "B04"), "gas"),
    "B06": "oil",
    "B09": "geothermal",
    **dict.fromkeys(("B10", "B25"), STORED),
    **dict.fromkeys(("B11", "B12"), "hydro"),
    "B14": "nuclear",
    "B16": "solar",
    **dict.fromkeys(("B18", "B19"), "wind"),
}
# A year may be asked for at once, but thirty days of quarter-hours by fifteen sources are some 3 MB of XML already.
_LONGEST_RANGE = timedelta(days=30)


class Entsoe(FromMix):
    """Realised generation by source, quarter-hourly to hourly, and its intensity by factors (docs/providers.md).

    Of generation inside the zone: imports are not in it. No intensity is forecast; our own model does, from this.
    """

    name = "entsoe"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        token: str,
        scope: Scope = Scope.LIFECYCLE,
        base_url: str = BASE_URL,
        setting: str = "the entsoe token",
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not token.strip():
            raise Permanent(f"{self.name}: {setting} is empty; set it or leave the provider out")
        if scope is Scope.OPERATIONAL:
            raise Refused(f"{self.name}: scope is lifecycle or direct, not {scope}")
        self.signal: Signal = Signal(Kind.AVERAGE, scope)
        self._seen = Seen()
        self._http = Http(
            client,
            base_url,
            name=self.name,
            setting=setting,
            key={"securityToken": token.strip()},
            # "No matching data" comes as 200 or as 400, in the same document.
            answers=frozenset({200, 400}),
            busy_s=_SHUT_OUT_S,
            quota=quota or Quota(*LIMITS),
            patience=patience,
        )

    def zones(self) -> frozenset[str] | None:
        """The zones whose area code is known."""
        return frozenset(AREAS)

    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]:
        """Generation by fuel on whole slots that overlap [start, end) and had ended by `now`, in order; may be none."""
        require_span(start, end)
        require_served(self, zone)
        found: list[MixSlot] = []
        at, last = self._seen.asked_from(zone.id, hour_of(start)), min(end, now)
        while start < last and at < last:
            upto = min(at + _LONGEST_RANGE, last)
            found += await self._generation(zone, start=at, end=upto)
            at = upto
        slots = await asyncio.to_thread(lambda: by_fuel(self._seen.whole(zone.id, found), _FUELS))
        return [slot for slot in slots if slot.start < end and slot.end > start and slot.end <= now]

    async def _generation(self, zone: Zone, *, start: datetime, end: datetime) -> list[MixSlot]:
        """What was generated from `start` on, by type; answers are wider than questions, and cut to them."""
        query = {
            "documentType": "A75",
            "processType": "A16",
            "in_Domain": AREAS[zone.id],
            "periodStart": _stamp(start),
            # The end is exclusive and minutes are cut off; answers are widened to whole market days.
            "periodEnd": _stamp(end + HOUR),
        }
        who = f"{self.name} for zone {zone}"
        text = await self._http.get_text("", query, about=f"zone {zone}")
        # A month is megabytes of XML: read in a thread, for others are waiting.
        slots = await asyncio.to_thread(lambda: _joined(curves(text, who=who)))
        return [slot for slot in slots if start <= slot.start < end]


def _joined(given: Iterable[Curve]) -> list[MixSlot]:
    """Curves of all types as slots of the coarsest step there is; finer values are averaged where all are there.

    Of a type given in several steps, the finest that fills a slot says it. A slot that a type is given for, but not
    wholly in any step, is a gap. What was consumed, to pump or to run the plants, is left out.
    """
    curves_of: defaultdict[str, defaultdict[timedelta, dict[datetime, float]]] = defaultdict(lambda: defaultdict(dict))
    for curve in given:
        if not curve.consumed:
            # A series that occurs twice says the same, or better.
            curves_of[curve.psr_type][curve.step].update(curve.values)
    step = max((each for by_step in curves_of.values() for each in by_step), default=HOUR)
    mw: defaultdict[datetime, dict[str, float]] = defaultdict(dict)
    gaps: set[datetime] = set()
    for psr_type, by_step in curves_of.items():
        starts: set[datetime] = set()
        # The coarsest first, so that finer ones write over it.
        for each in sorted(by_step, reverse=True):
            parts: defaultdict[datetime, list[float]] = defaultdict(list)
            for at, value in by_step[each].items():
                parts[at - (at - hour_of(at)) % step].append(value)
            starts |= parts.keys()
            for start, values in parts.items():
                if len(values) == step // each:
                    mw[start][psr_type] = sum(values) / len(values)
        gaps |= {start for start in starts if psr_type not in mw[start]}
    return [MixSlot(start, start + step, mw[start]) for start in sorted(mw) if start not in gaps]


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M")
