"""The U.S. Energy Information Administration's hourly grid monitor (API v2): generation, load ahead; free key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx

from kilowait_forecasters.errors import Permanent, Refused, Transient
from kilowait_forecasters.mix import STORED, MixSlot, Seen, by_fuel
from kilowait_forecasters.models.hours import hour_number
from kilowait_forecasters.signal import Kind, Scope, Signal
from kilowait_forecasters.zone import Zone

from . import payload
from .announcing import Parts
from .base import HOUR, hour_of, require_served, require_span
from .from_mix import FromMix
from .http import Http, Patience
from .quota import Limit, Quota

BASE_URL = "https://api.eia.gov/v2"
# They suspend keys above some 9,000 an hour or 5 a second.
LIMITS = (Limit(4, 1.0), Limit(8000, 3600.0))
# More rows are cut off without an error.
_PAGE = 5000
# A suspended key works again within minutes; it is told from a wrong one by what they say of those.
_SUSPENDED_S = 300.0
_ABOUT_THE_KEY = "api_key was supplied"

# Balancing authorities by Electricity Maps' names of the areas they are in: zone US-CAL-CISO is respondent CISO.
_AUTHORITIES = {
    "CAL": "BANC CISO IID LDWP TIDC",
    "CAR": "CPLE CPLW DUK SC SCEG YAD",
    "CENT": "SPA SWPP",
    "FLA": "FMPP FPC FPL GVL HST JEA SEC TAL TEC",
    "MIDA": "PJM",
    "MIDW": "AECI LGEE MISO",
    "NE": "ISNE",
    "NW": "AVA AVRN BPAT CHPD DOPD GCPD GRID GWA IPCO NEVP NWMT PACE PACW PGE PSCO PSEI SCL TPWR WACM WAUW WWA",
    "NY": "NYIS",
    "SE": "SEPA SOCO",
    "SW": "AZPS DEAA EPE PNM SRP TEPC WALC",
    "TEN": "TVA",
    "TEX": "ERCO",
}
RESPONDENTS = {f"US-{area}-{name}": name for area, names in _AUTHORITIES.items() for name in names.split(" ")}
# Their codes of sources; new ones keep coming and count as unknown.
_FUELS = {
    "COL": "coal",
    "NG": "gas",
    "NUC": "nuclear",
    "OIL": "oil",
    "WAT": "hydro",
    "SUN": "solar",
    "WND": "wind",
    "GEO": "geothermal",
    "BM": "biomass",
    # Sun and wind with batteries behind one meter are what fills those.
    "SNB": "solar",
    "WNB": "wind",
    **dict.fromkeys(("BAT", "PS", "UES"), STORED),
}
# Their code of the demand that was forecast a day ahead.
_DAY_AHEAD = "DF"


@dataclass(frozen=True)
class _Table:
    """A route of theirs, the column that says what a row is of, and which rows are asked for."""

    route: str
    code: str
    facets: Mapping[str, str] = field(default_factory=dict)


_GENERATED = _Table("fuel-type-data", "fueltype")
_ANNOUNCED = _Table("region-data", "type", {"facets[type][]": _DAY_AHEAD})


class Eia(FromMix):
    """Realised generation by source, hourly, an hour to a day late, and its intensity by factors (docs/providers.md).

    Of generation inside the zone: imports are not in it. No intensity is forecast; our own model does, from this and
    from the load that authorities forecast a day ahead.
    """

    name = "eia"

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        key: str,
        scope: Scope = Scope.LIFECYCLE,
        base_url: str = BASE_URL,
        setting: str = "the eia key",
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not key.strip():
            raise Permanent(f"{self.name}: {setting} is empty; set it or leave the provider out")
        if scope is Scope.OPERATIONAL:
            raise Refused(f"{self.name}: scope is lifecycle or direct, not {scope}")
        super().__init__()
        self.signal: Signal = Signal(Kind.AVERAGE, scope)
        self._seen = Seen()
        self._quota = quota or Quota(*LIMITS)
        self._http = Http(
            client,
            base_url,
            name=self.name,
            setting=setting,
            key={"api_key": key.strip()},
            quota=self._quota,
            patience=patience,
        )

    def zones(self) -> frozenset[str] | None:
        """The zones of the balancing authorities that report."""
        return frozenset(RESPONDENTS)

    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]:
        """Generation by fuel in hours that overlap [start, end) and had ended by `now`, in order; may be none."""
        require_span(start, end)
        require_served(self, zone)
        last = min(end, now)
        if start >= last:
            return []
        first = self._seen.asked_from(zone.id, hour_of(start))
        mw: defaultdict[datetime, dict[str, float]] = defaultdict(dict)
        async for hour, code, value in self._rows(_GENERATED, zone, start=first, end=last):
            mw[hour][code] = value
        slots = by_fuel(
            self._seen.whole(zone.id, [MixSlot(hour, hour + HOUR, mw[hour]) for hour in sorted(mw)]), _FUELS
        )
        return [slot for slot in slots if slot.start < end and slot.end > start and slot.end <= now]

    async def _announced(self, zone: Zone, *, start: datetime, end: datetime) -> Parts:
        rows = self._rows(_ANNOUNCED, zone, start=start, end=end)
        return {"load": {"": {hour_number(hour): mw async for hour, kind, mw in rows if kind == _DAY_AHEAD}}}

    async def _rows(
        self, table: _Table, zone: Zone, *, start: datetime, end: datetime
    ) -> AsyncIterator[tuple[datetime, str, float]]:
        """(hour, code, MW) of every row of `table` in [start, end), page by page; null ones left out."""
        query = {
            "frequency": "hourly",
            # Without naming it, rows come without values.
            "data[]": "value",
            "facets[respondent][]": RESPONDENTS[zone.id],
            **table.facets,
            # An hour is named after its end.
            "start": _stamp(start + HOUR),
            "end": _stamp(hour_of(end) + HOUR),
            "sort[0][column]": "period",
            "sort[0][direction]": "asc",
            # A second key keeps pages apart: rows of one hour are in no order otherwise.
            "sort[1][column]": table.code,
            "sort[1][direction]": "asc",
            "length": str(_PAGE),
        }
        offset, total = 0, 1
        while offset < total:
            body = await self._ask(table, {**query, "offset": str(offset)}, zone=zone)
            who = self._who(zone)
            rows = payload.first_list(body, "data", who=who)
            total = int(payload.decimal(body.get("total"), who=who) or 0)
            if not rows and offset < total:
                raise Transient(f"{who}: {offset} of {total} rows came, and no more; none of its answer is used")
            for row in rows:
                if (read := self._row(table, row, zone, who=who)) is not None:
                    yield read
            offset += len(rows)

    async def _ask(self, table: _Table, query: Mapping[str, str], *, zone: Zone) -> Mapping[str, Any]:
        who = self._who(zone)
        try:
            body = await self._http.get(f"electricity/rto/{table.route}/data/", query, about=f"zone {zone}")
        except Permanent as error:
            if error.status == 403 and _ABOUT_THE_KEY not in str(error):
                self._quota.close(_SUSPENDED_S)
                raise Transient(f"{error}; taken for a pause", retry_after_s=_SUSPENDED_S) from error
            raise
        told = payload.mapping(body, who=who)
        if told.get("error") is not None:
            raise Permanent(f"{who}: {payload.shown(told['error'], longest=200)}")
        return payload.mapping(told.get("response"), who=who)

    def _row(self, table: _Table, item: object, zone: Zone, *, who: str) -> tuple[datetime, str, float] | None:
        row = payload.mapping(item, who=who)
        if row.get("respondent") != RESPONDENTS[zone.id]:
            raise Transient(f"{who}: holds a row of respondent {payload.shown(row.get('respondent'))}")
        if "value" not in row:
            raise Transient(f"{who}: a row without a value: {payload.shown(row)}")
        if row.get("value-units") not in ("megawatthours", "MWh"):
            raise Transient(f"{who}: gives {payload.shown(row.get('value-units'))}, not megawatthours")
        value = payload.decimal(row["value"], who=who)
        if value is None:
            return None
        return _hour(row.get("period"), who=who), str(row.get(table.code)), value

    def _who(self, zone: Zone) -> str:
        return f"{self.name} for zone {zone}"


def _hour(text: object, *, who: str) -> datetime:
    """The hour that a row is of, by its start: they write its end, `2026-09-14T08`, in UTC."""
    try:
        return datetime.strptime(str(text), "%Y-%m-%dT%H").replace(tzinfo=UTC) - HOUR
    except (ValueError, OverflowError):
        raise Transient(f"{who}: expected an hour as 2026-09-14T08, got {payload.shown(repr(text))}") from None


def _stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H")
