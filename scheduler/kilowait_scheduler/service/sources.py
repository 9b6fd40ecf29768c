"""Whom the server asks about each zone, in which order: settings and regions in, a cascade out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import httpx
from pydantic import SecretStr

from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.cloud import cloud_regions, places_in
from kilowait_forecasters.errors import ForecastersError, SignalMismatch
from kilowait_forecasters.profiles import TypicalDays
from kilowait_forecasters.providers.base import Provider
from kilowait_forecasters.providers.carbon_aware_sdk import CarbonAwareSdk
from kilowait_forecasters.providers.eia import LIMITS as EIA_LIMITS
from kilowait_forecasters.providers.eia import Eia
from kilowait_forecasters.providers.electricity_maps import ElectricityMaps
from kilowait_forecasters.providers.energy_charts import EnergyCharts
from kilowait_forecasters.providers.entsoe import LIMITS as ENTSOE_LIMITS
from kilowait_forecasters.providers.entsoe import Entsoe
from kilowait_forecasters.providers.kept import Kept
from kilowait_forecasters.providers.neso import Neso
from kilowait_forecasters.providers.open_meteo import LIMITS as OPEN_METEO_LIMITS
from kilowait_forecasters.providers.open_meteo import OpenMeteo
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.providers.quota import Limit, Quota
from kilowait_forecasters.providers.replay import Replay
from kilowait_forecasters.providers.static import Static
from kilowait_forecasters.providers.surroundings import DayAheadSource, MixSource, Surroundings
from kilowait_forecasters.providers.watttime import LIMITS as WATTTIME_LIMITS
from kilowait_forecasters.providers.watttime import WattTime, region_of
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE, Marginal, Scope, Signal, require_average
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.settings import Settings

from .entitlement import Probe

# What a provider needs before it can be asked.
NEEDS = {
    "electricity-maps": "KILOWAIT_ELECTRICITY_MAPS_TOKEN",
    "neso": "KILOWAIT_NESO",
    "entsoe": "KILOWAIT_ENTSOE_TOKEN",
    "eia": "KILOWAIT_EIA_KEY",
    "energy-charts": "KILOWAIT_ENERGY_CHARTS",
    "carbon-aware-sdk": "KILOWAIT_CARBON_AWARE_SDK_URL",
}
# How often each issues a forecast, at most.
_HALF_HOUR, _FIVE = timedelta(minutes=30), timedelta(minutes=5)
_ISSUES_EVERY = {
    "electricity-maps": timedelta(hours=1),
    "neso": _HALF_HOUR,
    "energy-charts": _HALF_HOUR,
    "carbon-aware-sdk": _FIVE,
    "watttime": _FIVE,
}
# What holds where the operator states nothing, from what the services publish.
_LIMITS: Mapping[str, tuple[Limit, ...]] = {
    "entsoe": ENTSOE_LIMITS,
    "eia": EIA_LIMITS,
    "watttime": WATTTIME_LIMITS,
    "open-meteo": OPEN_METEO_LIMITS,
}


class Sources:
    """All that can be asked, made once: connections, quotas, forecasts kept and models learned outlive the regions.

    Raises BadInput where the recording or a setting cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._replay = _replay(settings)
        self._client = httpx.AsyncClient()
        try:
            quota = _quotas(settings)
            plain = _providers(settings, self._client, quota)
            watttime = _watttime(settings, self._client, quota)
            self._around = _around(settings, plain, self._client, quota)
        except ForecastersError as error:
            raise BadInput(str(error)) from None
        every = _ISSUES_EVERY
        self._made = {name: Kept(one, every=every[name]) if name in every else one for name, one in plain.items()}
        # WattTime, to look at; None without an account. Nothing stands in for a margin.
        self.marginal: Provider[Marginal] | None = None
        # Those of the providers configured that say what they grant.
        self.probes: list[Probe] = []
        if isinstance(maps := plain.get("electricity-maps"), ElectricityMaps):
            self.probes.append(Probe(maps.name, lambda _now: maps.access(), lambda zone: zone.id))
        if watttime is not None:
            self.marginal = Kept(watttime, every=every[watttime.name])
            self.probes.append(Probe(watttime.name, lambda now: watttime.access(now=now), region_of))
        self._models: dict[tuple[int, str], OwnForecasts] = {}
        self._typical = (TypicalDays(), TypicalDays(scope=Scope.DIRECT))

    def cascade(self, regions: Sequence[Region], *, after: Cascade | None = None) -> Cascade:
        """Providers per zone: a recording alone, or the region's list, or the setting's; then what stands in.

        Our own model learns from the history of each of a zone's providers, and stands in before typical days and
        configured means do. What `after` remembers goes on. Raises BadInput where a list names what cannot be asked.
        """
        replay = self._replay
        listed: dict[str, list[Provider]] = {}
        for zone in dict.fromkeys(region.zone for region in regions):
            if replay is not None and zone in (replay.zones() or ()):
                listed[zone] = [replay]
            elif found := _in_order(zone, self._settings, regions, self._made):
                listed[zone] = found
        resorts: list[Provider] = []
        depth = max((len(providers) for providers in listed.values()), default=0)
        # The model of a zone's first provider comes first; each learns from one alone, for their levels differ.
        for place in range(depth):
            sources = {zone: providers[place] for zone, providers in listed.items() if len(providers) > place}
            resorts += [
                self._model(place, {zone: source for zone, one in sources.items() if one is source})
                for source in dict.fromkeys(sources.values())
                if source is not replay
            ]
        resorts += self._typical
        signals = {zone: providers[0].signal for zone, providers in listed.items()}
        means = {r.zone: r.intensity_g_per_kwh for r in regions if r.intensity_g_per_kwh is not None}
        for signal in sorted({AVERAGE_LIFECYCLE, *signals.values()}):
            # A configured mean is taken to be of the signal that its zone's provider has.
            chosen = {zone: mean for zone, mean in means.items() if signals.get(zone, AVERAGE_LIFECYCLE) == signal}
            if chosen:
                resorts.append(Static(chosen, signal=signal))
        return Cascade(listed, last_resorts=resorts, stale_after=self._settings.stale_after, after=after)

    def _model(self, place: int, sources: Mapping[str, Provider]) -> OwnForecasts:
        """The model of the provider that all of `sources` are, with what it has learned so far."""
        key = (place, next(iter(sources.values())).name)
        if key not in self._models:
            self._models[key] = OwnForecasts(sources, around=self._around)
        self._models[key].use(sources)
        return self._models[key]

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()


def _watttime(settings: Settings, client: httpx.AsyncClient, quota: Callable[[str], Quota]) -> WattTime | None:
    username, password = settings.watttime_user, _secret(settings.watttime_password)
    if username is None or password is None:
        return None
    return WattTime(
        client,
        username=username,
        password=password,
        base_url=settings.watttime_url,
        setting="KILOWAIT_WATTTIME_USER and KILOWAIT_WATTTIME_PASSWORD",
        quota=quota("watttime"),
    )


def _around(
    settings: Settings, made: Mapping[str, Provider], client: httpx.AsyncClient, quota: Callable[[str], Quota]
) -> Surroundings:
    """Generation by source and what is announced a day ahead from whoever gives it, and data centres' weather."""
    mixes: dict[str, MixSource] = {}
    day_ahead: dict[str, DayAheadSource] = {}
    # Energy-Charts passes on what ENTSO-E has, and is asked where that is not.
    for source in reversed(list(made.values())):
        if isinstance(source, Entsoe | Eia | EnergyCharts):
            mixes |= dict.fromkeys(source.zones() or (), source)
            day_ahead |= dict.fromkeys(source.zones() or (), source)
    weather = None
    if settings.open_meteo == "on":
        weather = OpenMeteo(
            client,
            base_url=settings.open_meteo_url,
            past_url=settings.open_meteo_past_url,
            quota=quota("open-meteo"),
        )
    zones = {region.zone for region in cloud_regions()}
    places = {zone.id: places_in(zone) for zone in zones}
    return Surroundings(mixes=mixes, day_ahead=day_ahead, weather=weather, places=places)


def _replay(settings: Settings) -> Replay | None:
    if settings.intensity is None:
        return None
    try:
        return Replay(settings.intensity, column=settings.intensity_column, shift=settings.intensity_shift)
    except ForecastersError as error:
        raise BadInput(f"intensity: {error}") from None


def _providers(settings: Settings, client: httpx.AsyncClient, quota: Callable[[str], Quota]) -> dict[str, Provider]:
    """All that can be asked, by name."""
    found: list[Provider] = []
    if (token := _secret(settings.electricity_maps_token)) is not None:
        found.append(
            ElectricityMaps(
                client,
                token=token,
                base_url=settings.electricity_maps_url,
                setting=NEEDS["electricity-maps"],
                quota=quota("electricity-maps"),
            )
        )
    if settings.neso == "on":
        found.append(Neso(client, base_url=settings.neso_url, quota=quota("neso")))
    if (token := _secret(settings.entsoe_token)) is not None:
        found.append(
            Entsoe(client, token=token, base_url=settings.entsoe_url, setting=NEEDS["entsoe"], quota=quota("entsoe"))
        )
    if (key := _secret(settings.eia_key)) is not None:
        found.append(Eia(client, key=key, base_url=settings.eia_url, setting=NEEDS["eia"], quota=quota("eia")))
    if settings.energy_charts == "on":
        found.append(EnergyCharts(client, base_url=settings.energy_charts_url, quota=quota("energy-charts")))
    if settings.carbon_aware_sdk_url is not None:
        found.append(
            CarbonAwareSdk(
                client,
                base_url=settings.carbon_aware_sdk_url,
                signal=_average(settings.carbon_aware_sdk_signal),
                quota=quota("carbon-aware-sdk"),
            )
        )
    return {one.name: one for one in found}


def _in_order(zone: str, settings: Settings, regions: Sequence[Region], made: Mapping[str, Provider]) -> list[Provider]:
    """The providers of one zone: exactly those its regions list, else those of the setting that can serve it."""
    lists = {region.name: region.providers for region in regions if region.zone == zone and region.providers}
    if not lists:
        found: list[Provider] = []
        for name in _names(settings.providers, where="providers"):
            provider = made.get(name)
            if provider is not None and _serves(provider, zone) and (not found or found[0].signal == provider.signal):
                found.append(provider)
        return found
    if len(set(lists.values())) > 1:
        alike = " and ".join(sorted(lists))
        raise BadInput(
            f"regions {alike}: providers: they share zone {zone} and list others; "
            "leave one list empty, for that region follows the other"
        )
    region, given = next(iter(lists.items()))
    where = f"region {region}: providers"
    chosen = []
    for name in _names(",".join(given), where=where):
        if name not in made:
            raise BadInput(f"{where}: {name} cannot be asked; set {NEEDS[name]}, or leave it out")
        if not _serves(made[name], zone):
            raise BadInput(f"{where}: {name} does not know zone {zone}; leave it out")
        chosen.append(made[name])
    signals = {provider.name: str(provider.signal) for provider in chosen}
    if len(set(signals.values())) > 1:
        told = ", ".join(f"{name} {signal}" for name, signal in signals.items())
        raise BadInput(f"{where}: give one signal, for others do not compare: {told}")
    return chosen


def _names(text: str, *, where: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name == "watttime":
            raise BadInput(f"{where}: watttime is marginal, and plans and accounts are kept in average; leave it out")
        if name not in NEEDS:
            raise BadInput(f"{where}: {name!r} is none of {', '.join(NEEDS)}")
    return list(dict.fromkeys(names))


def _serves(provider: Provider, zone: str) -> bool:
    zones = provider.zones()
    return zones is None or zone in zones


def _average(text: str | None) -> Signal:
    if text is None:
        raise BadInput(
            "carbon_aware_sdk_signal: say what the source behind its URL gives: average/lifecycle or average/direct; "
            "if that is WattTime, it is marginal: leave the URL out"
        )
    try:
        return require_average(Signal.parse(text))
    except SignalMismatch as error:
        raise BadInput(f"carbon_aware_sdk_signal: {error}; leave its URL out") from None
    except ValueError:
        raise BadInput(f"carbon_aware_sdk_signal: {text!r}; write average/lifecycle or average/direct") from None


def _quotas(settings: Settings) -> Callable[[str], Quota]:
    """A quota by provider: as the operator states it (`electricity-maps 1000/day, ...`), else as is published."""
    limits = dict(_LIMITS)
    stated: dict[str, tuple[Limit, ...]] = {}
    for part in filter(None, (part.strip() for part in settings.quotas.split(","))):
        name, _, text = part.partition(" ")
        if name not in (*NEEDS, "watttime", "open-meteo"):
            raise BadInput(f"quotas: {name!r} is none of {', '.join(NEEDS)}, watttime, open-meteo")
        try:
            stated[name] = (*stated.get(name, ()), Limit.parse(text))
        except ForecastersError as error:
            raise BadInput(f"quotas: {name}: {error}") from None
    limits |= stated
    return lambda name: Quota(*limits.get(name, ()))


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()
