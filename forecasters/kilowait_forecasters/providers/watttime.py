"""WattTime, API version 3: marginal emission rates every five minutes; an account, free for northern California."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import httpx

from kilowait_forecasters.cloud import cloud_regions
from kilowait_forecasters.errors import ForecastersError, Permanent, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import MARGINAL_DIRECT, Marginal
from kilowait_forecasters.zone import Zone

from . import payload
from .base import HOUR, Access, ended, none_realised, require_now, require_span
from .http import Http, Patience
from .quota import Limit, Quota

BASE_URL = "https://api.watttime.org"
# 3,000 requests in five minutes, and 100 log-ins; we log in twice an hour.
LIMITS = (Limit(10, 1.0), Limit(3000, 300.0))

# Grams in a pound (exact), and kWh in a MWh.
G_PER_KWH_OF_LB_PER_MWH = 453.59237 / 1000
_UNITS = "lbs_co2_per_mwh"
_SIGNAL_TYPE = "co2_moer"
# A token lives 30 minutes; a new one is taken before that, so that no question meets its end.
_TOKEN_FOR = timedelta(minutes=29)
# A token refused when it is younger than this is not the problem: the plan is, or the account.
_TOKEN_TRUSTED_FOR = timedelta(minutes=5)
# A log-in that failed is not tried again at once: many zones ask, each would wait for its own.
_LOGIN_AGAIN = timedelta(seconds=10)
_LONGEST_HORIZON_H = 72
# `historical` refuses more than 32 days, and gives both ends of the range.
_LONGEST_RANGE = timedelta(days=31)
_SKEW = timedelta(minutes=5)


class WattTime:
    """Marginal operating emission rate (MOER) of combustion: forecasts up to 72 h, issued every 5 minutes; history.

    Which plant answers one more kWh, in gCO2/kWh: says when and where a load does least harm, and is never added to or
    compared with an average. A zone is one of theirs (`CAISO_NORTH`), or one of ours that lies in only one of theirs.
    """

    name = "watttime"
    signal = MARGINAL_DIRECT

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        username: str,
        password: str,
        base_url: str = BASE_URL,
        setting: str = "the watttime user and password",
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not (username.strip() and password):
            raise Permanent(f"{self.name}: {setting} is empty; set it or leave the provider out")
        quota = quota or Quota(*LIMITS)
        basic = base64.b64encode(f"{username.strip()}:{password}".encode()).decode()
        self._login = Http(
            client,
            base_url,
            name=self.name,
            setting=setting,
            headers={"Authorization": f"Basic {basic}"},
            quota=quota,
            patience=patience,
        )
        self._http = Http(client, base_url, name=self.name, setting=setting, quota=quota, patience=patience)
        self._token_from: datetime | None = None
        self._refused: tuple[datetime, ForecastersError] | None = None
        self._logging_in = asyncio.Lock()

    def zones(self) -> frozenset[str] | None:
        """None: the account decides, and asking tells."""
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast[Marginal]:
        """Their newest forecast, with their issue time; what they warn of is noted."""
        require_span(now, until)
        # The first point is the running five minutes, so an hour more is asked for than there is to come.
        horizon_h = min(-(-(until - now) // HOUR) + 1, _LONGEST_HORIZON_H)
        region = region_of(zone)
        body = await self._ask("forecast", {"region": region, "horizon_hours": str(horizon_h)}, zone=zone, now=now)
        meta = self._meta(body, region, zone)
        series = self._series(zone, list(self._slots(body, meta, zone)))
        issued_at = payload.moment(meta.get("generated_at"), who=self._who(zone))
        if issued_at > now + _SKEW:
            raise Transient(f"{self._who(zone)}: stamped {issued_at.isoformat()}, after {now.isoformat()}")
        issued_at = min(issued_at, now)
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=issued_at,
                available_at=issued_at,
                series=series,
                parts=(Part(series.start, self.name, _warnings(meta)),),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries[Marginal]:
        """What their model says has been: every value `estimated`, for nobody can measure a margin."""
        require_span(start, end)
        region = region_of(zone)
        slots: list[Slot] = []
        # Only slots whose start is in the range are given: a day's first one may have begun before.
        at, last = start - HOUR, min(end, now)
        while start < last and at < last:
            upto = min(at + _LONGEST_RANGE, last)
            query = {"region": region, "start": _stamp(at), "end": _stamp(upto)}
            body = await self._ask("historical", query, zone=zone, now=now)
            slots += self._slots(body, self._meta(body, region, zone), zone, estimated=True)
            at = upto
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return self._series(zone, past)

    async def region_at(self, latitude: float, longitude: float, *, now: datetime) -> str:
        """Their region at a place, for this signal. Raises Permanent where they have none."""
        query = {"latitude": f"{latitude:.5f}", "longitude": f"{longitude:.5f}"}
        place = f"{latitude:g}, {longitude:g}"
        body = await self._ask("region-from-loc", query, about=place, now=now)
        region = body.get("region")
        if not isinstance(region, str) or not region:
            raise Transient(f"{self.name} for {place}: the answer names no region: {payload.shown(body)}")
        return region

    async def access(self, *, now: datetime) -> list[Access]:
        """What this account may ask for, by their regions."""
        body = await self._ask("my-access", {}, about="this account", now=now)
        found = []
        for item in payload.first_list(body, "signal_types", who=self.name):
            kind = payload.mapping(item, who=self.name)
            if kind.get("signal_type") != _SIGNAL_TYPE:
                continue
            for one in payload.first_list(kind, "regions", who=self.name):
                region = payload.mapping(one, who=self.name)
                paths = {
                    str(payload.mapping(each, who=self.name).get("endpoint"))
                    for each in payload.first_list(region, "endpoints", who=self.name)
                }
                found.append(
                    Access(
                        zone=str(region.get("region")),
                        signal=self.signal,
                        forecast="v3/forecast" in paths,
                        history="v3/historical" in paths,
                    )
                )
        return found

    async def _ask(
        self, what: str, query: Mapping[str, str], *, now: datetime, zone: Zone | None = None, about: str = ""
    ) -> Mapping[str, Any]:
        """The answer, logged in anew where the token has run out, or is refused and not fresh."""
        asked = about or f"zone {zone}"
        params = query if what == "my-access" else {**query, "signal_type": _SIGNAL_TYPE}
        token_from = await self._logged_in(now=now, younger_than=_TOKEN_FOR)
        try:
            body = await self._http.get(f"v3/{what}", params, about=asked)
        except Permanent as error:
            if error.status not in (401, 403) or now - token_from < _TOKEN_TRUSTED_FOR:
                raise
            await self._logged_in(now=now, younger_than=_TOKEN_TRUSTED_FOR)
            body = await self._http.get(f"v3/{what}", params, about=asked)
        return payload.mapping(body, who=f"{self.name} for {asked}")

    async def _logged_in(self, *, now: datetime, younger_than: timedelta) -> datetime:
        """Since when the token is held, a new one where it is older: many zones ask at once, one logs in."""
        async with self._logging_in:
            held = self._token_from
            if held is not None and timedelta() <= now - held < younger_than:
                return held
            if self._refused is not None and timedelta() <= now - self._refused[0] < _LOGIN_AGAIN:
                raise self._refused[1].with_traceback(None)
            try:
                token = await self._new_token()
            except ForecastersError as error:
                self._refused = (now, error)
                raise
            self._http.use_token(token)
            self._token_from, self._refused = now, None
            return now

    async def _new_token(self) -> str:
        body = payload.mapping(await self._login.get("login"), who=f"{self.name} login")
        token = body.get("token")
        if not (isinstance(token, str) and token.isascii() and token.isprintable() and token):
            raise Transient(f"{self.name} login: the answer holds no token")
        return token

    def _meta(self, body: Mapping[str, Any], region: str, zone: Zone) -> Mapping[str, Any]:
        """What the values are, checked to be what was asked for."""
        who = self._who(zone)
        meta = payload.mapping(body.get("meta"), who=who)
        for key, wanted in (("region", region), ("signal_type", _SIGNAL_TYPE), ("units", _UNITS)):
            if meta.get(key) != wanted:
                raise Transient(f"{who}: answers with {key} {payload.shown(meta.get(key))}, not {wanted}")
        return meta

    def _slots(
        self, body: Mapping[str, Any], meta: Mapping[str, Any], zone: Zone, *, estimated: bool = False
    ) -> Iterator[Slot]:
        who = self._who(zone)
        period_s = payload.number(meta.get("data_point_period_seconds"), who=who)
        if period_s is None or not 60 <= period_s <= 3600:
            raise Transient(f"{who}: values last {payload.shown(period_s)} s; expected five minutes")
        for item in payload.first_list(body, "data", who=who):
            row = payload.mapping(item, who=who)
            start = payload.moment(row.get("point_time"), who=who)
            value = payload.number(row.get("value"), who=who)
            if value is not None:
                yield Slot(start, start + timedelta(seconds=period_s), value * G_PER_KWH_OF_LB_PER_MWH, estimated)

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries[Marginal]:
        return payload.series_of(slots, zone=zone, signal=self.signal, source=self.name)

    def _who(self, zone: Zone) -> str:
        return f"{self.name} for zone {zone}"


def region_of(zone: Zone) -> str:
    """Their region for a zone of ours; a zone that is none of ours is taken for one of theirs.

    Raises Permanent where several of theirs lie in it: grids differ on the margin where the average is one.
    """
    regions = {one.watttime_region for one in cloud_regions() if one.zone == zone and one.watttime_region}
    if len(regions) > 1:
        raise Permanent(f"watttime: zone {zone} holds {', '.join(sorted(regions))}; ask for one of them by its name")
    return regions.pop() if regions else zone.id


def _warnings(meta: Mapping[str, Any]) -> str:
    listed = meta.get("warnings")
    told = [one.get("message") for one in listed if isinstance(one, Mapping)] if isinstance(listed, list) else []
    return "; ".join(payload.shown(message, longest=120) for message in told if message)


def _stamp(moment: datetime) -> str:
    """Without a zone they refuse it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
