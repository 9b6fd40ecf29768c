"""ENTSO-E's Transparency Platform: generation of European zones, its intensity, and forecasts; free token."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import httpx

from kilowait_forecasters.errors import Permanent, Refused
from kilowait_forecasters.mix import STORED, MixSlot, Seen, by_fuel
from kilowait_forecasters.models.hours import hour_number
from kilowait_forecasters.signal import Kind, Scope, Signal
from kilowait_forecasters.zone import Zone

from .announcing import Parts
from .base import HOUR, hour_of, require_served, require_span
from .entsoe_xml import curves
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

# MW of one type by the step they are given in, and of all types.
_BySteps = Mapping[timedelta, Mapping[datetime, float]]
_ByType = defaultdict[str, defaultdict[timedelta, dict[datetime, float]]]


@dataclass(frozen=True)
class _Document:
    """What a document is asked for by: its type, its process, and as what the area goes; which of its series count."""

    kind: str
    process: str
    area: str = "in_Domain"
    consumed: bool = False


# What was consumed, to pump or to run the plants, is left out of what was generated.
_GENERATED = _Document("A75", "A16")
# What is announced a day ahead: our columns, and the types they are the sum of; load has no type.
_ANNOUNCED: tuple[tuple[_Document, dict[str, tuple[str, ...]]], ...] = (
    (_Document("A69", "A01"), {"wind": ("B18", "B19"), "solar": ("B16",)}),
    (_Document("A65", "A01", "outBiddingZone_Domain", consumed=True), {"load": ("",)}),
)


class Entsoe(FromMix):
    """Realised generation by source, quarter-hourly to hourly, and its intensity by factors (docs/providers.md).

    Of generation inside the zone: imports are not in it. No intensity is forecast; our own model does, from this and
    from wind, solar and load as the grid's operators announce them a day ahead.
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
        super().__init__()
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
        if start < (last := min(end, now)):
            first = self._seen.asked_from(zone.id, hour_of(start))
            async for begin, upto, given in self._documents(_GENERATED, zone, start=first, end=last):
                slots = await asyncio.to_thread(_joined, given)
                # Answers are wider than questions.
                found += [slot for slot in slots if begin <= slot.start < upto]
        slots = await asyncio.to_thread(lambda: by_fuel(self._seen.whole(zone.id, found), _FUELS))
        return [slot for slot in slots if slot.start < end and slot.end > start and slot.end <= now]

    async def _announced(self, zone: Zone, *, start: datetime, end: datetime) -> Parts:
        found: dict[str, dict[str, dict[int, float]]] = {}
        for document, columns in _ANNOUNCED:
            given: defaultdict[str, dict[int, float]] = defaultdict(dict)
            async for _, _, curves_of in self._documents(document, zone, start=start, end=end):
                for psr_type, by_step in curves_of.items():
                    means, _ = await asyncio.to_thread(_means, by_step, HOUR)
                    given[psr_type] |= {hour_number(at): mw for at, mw in means.items()}
            for column, psr_types in columns.items():
                found[column] = {psr_type: given[psr_type] for psr_type in psr_types}
        return found

    async def _documents(
        self, document: _Document, zone: Zone, *, start: datetime, end: datetime
    ) -> AsyncIterator[tuple[datetime, datetime, _ByType]]:
        """What `document` says of [start, end), by type, month by month: from when, until when, and the curves."""
        at = start
        while at < end:
            upto = min(at + _LONGEST_RANGE, end)
            query = {
                "documentType": document.kind,
                "processType": document.process,
                document.area: AREAS[zone.id],
                "periodStart": _stamp(at),
                # The end is exclusive and minutes are cut off; answers are widened to whole market days.
                "periodEnd": _stamp(upto + HOUR),
            }
            text = await self._http.get_text("", query, about=f"zone {zone}")
            # A month is megabytes of XML: read in a thread, for others are waiting.
            yield at, upto, await asyncio.to_thread(self._read, text, document, zone)
            at = upto

    def _read(self, text: str, document: _Document, zone: Zone) -> _ByType:
        found: _ByType = defaultdict(lambda: defaultdict(dict))
        for curve in curves(text, who=f"{self.name} for zone {zone}"):
            if curve.consumed is document.consumed:
                # A series that occurs twice says the same, or better.
                found[curve.psr_type][curve.step].update(curve.values)
        return found


def _joined(curves_of: _ByType) -> list[MixSlot]:
    """Curves of all types as slots of the coarsest step there is; a slot that a type gives only in part is a gap."""
    step = max((each for by_step in curves_of.values() for each in by_step), default=HOUR)
    mw: defaultdict[datetime, dict[str, float]] = defaultdict(dict)
    gaps: set[datetime] = set()
    for psr_type, by_step in curves_of.items():
        values, partly = _means(by_step, step)
        gaps |= partly
        for start, value in values.items():
            mw[start][psr_type] = value
    return [MixSlot(start, start + step, mw[start]) for start in sorted(mw) if start not in gaps]


def _means(by_step: _BySteps, step: timedelta) -> tuple[dict[datetime, float], set[datetime]]:
    """One type's values on slots of `step`, and the slots that are given, but not wholly in any step.

    Finer values are averaged where all are there; of several steps, the finest that fills a slot says it.
    """
    means: dict[datetime, float] = {}
    given: set[datetime] = set()
    # The coarsest first, so that finer ones write over it.
    for each in sorted(by_step, reverse=True):
        parts: defaultdict[datetime, list[float]] = defaultdict(list)
        for at, value in by_step[each].items():
            parts[at - (at - hour_of(at)) % step].append(value)
        given |= parts.keys()
        means |= {start: sum(values) / len(values) for start, values in parts.items() if len(values) == step // each}
    return means, given - means.keys()


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y%m%d%H%M")
