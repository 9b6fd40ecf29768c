"""The promises of `Provider`, checked on every provider alike: files, bundled data, and services on real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from forecasters.fake_entsoe import SECURITY_TOKEN
from forecasters.fake_grid import TOKEN, FakeGrid, hour_of, truth
from forecasters.fake_services import API_KEY, PASSWORD, USER
from kilowait_forecasters.errors import Gap, Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_forecasters.profiles import TypicalDays
from kilowait_forecasters.providers.base import Provider
from kilowait_forecasters.providers.carbon_aware_sdk import CarbonAwareSdk
from kilowait_forecasters.providers.eia import Eia
from kilowait_forecasters.providers.electricity_maps import ElectricityMaps
from kilowait_forecasters.providers.energy_charts import EnergyCharts
from kilowait_forecasters.providers.entsoe import Entsoe
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.providers.neso import Neso
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.providers.replay import Replay
from kilowait_forecasters.providers.static import Static
from kilowait_forecasters.providers.watttime import WattTime
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE, Scope
from kilowait_forecasters.zone import Zone

AHEAD = timedelta(hours=20)
BEHIND = timedelta(hours=30)


@dataclass
class Case:
    """`holes`: slots the source has no value for, one behind and one ahead of now; `exact`: it reports the truth.

    `bridges`: it forecasts over the hole ahead, and flags what it forecasts as estimated. `past_only`: it forecasts
    nothing. `computed`: its values go through arithmetic of ours, which rounds in the last digits.
    """

    provider: Provider
    zone: Zone
    holes: tuple[datetime, ...] = ()
    exact: bool = True
    bridges: bool = False
    past_only: bool = False
    computed: bool = False


@pytest.fixture(
    params=[
        "replay",
        "replay shifted",
        "typical days",
        "typical days direct",
        "static",
        "em",
        "neso",
        "energy-charts",
        "own model",
        "entsoe",
        "eia",
        "watttime",
        "carbon aware sdk",
    ]
)
def case(
    request: pytest.FixtureRequest,
    now: datetime,
    grid: FakeGrid,
    client: httpx.AsyncClient,
    patience: Patience,
    record: Callable[..., Path],
) -> Iterator[Case]:
    hour = hour_of(now)
    holes = (hour - timedelta(hours=12), hour + timedelta(hours=7))
    grid.nulls = set(holes)
    de = Zone("DE")
    match request.param:
        case "replay":
            path = record("DE.csv", start=hour - timedelta(days=5), hours=240, without=frozenset(holes))
            yield Case(Replay(path), de, holes)
        case "replay shifted":
            weeks = timedelta(weeks=300)
            rows = frozenset(hole - weeks for hole in holes)
            path = record("DE.csv", start=hour - timedelta(days=5) - weeks, hours=240, without=rows)
            yield Case(Replay(path, shift=weeks), de, holes, exact=False)
        case "typical days":
            yield Case(TypicalDays(), de, exact=False)
        case "typical days direct":
            yield Case(TypicalDays(scope=Scope.DIRECT), de, exact=False)
        case "static":
            yield Case(Static({"DE": 380.5}), de, exact=False)
        case "em":
            yield Case(ElectricityMaps(client, token=TOKEN, base_url=grid.url, patience=patience), de, holes)
        case "own model":
            source = ElectricityMaps(client, token=TOKEN, base_url=grid.url, patience=patience)
            yield Case(OwnForecasts({"DE": source}, wait_s=60), de, holes, exact=False, bridges=True)
        case "energy-charts":
            yield Case(EnergyCharts(client, base_url=grid.url, patience=patience), de, holes)
        case "neso":
            yield Case(Neso(client, base_url=grid.url, patience=patience), Zone("GB"), holes)
        case "entsoe":
            entsoe = Entsoe(client, token=SECURITY_TOKEN, base_url=f"{grid.url}/entsoe", patience=patience)
            yield Case(entsoe, de, holes, past_only=True, computed=True)
        case "eia":
            eia = Eia(client, key=API_KEY, base_url=f"{grid.url}/eia", patience=patience)
            yield Case(eia, Zone("US-CAL-CISO"), holes, past_only=True, computed=True)
        case "watttime":
            watttime = WattTime(
                client, username=USER, password=PASSWORD, base_url=f"{grid.url}/watttime", patience=patience
            )
            yield Case(watttime, Zone("CAISO_NORTH"), holes, computed=True)
        case "carbon aware sdk":
            yield Case(
                CarbonAwareSdk(client, base_url=f"{grid.url}/casdk", signal=AVERAGE_LIFECYCLE, patience=patience),
                de,
                holes,
            )


async def asked(case: Case, now: datetime) -> tuple[Forecast | None, IntensitySeries]:
    """Forecast and history; a source that knows only the past has to say so in place of a forecast."""
    history = await case.provider.history(case.zone, start=now - BEHIND, end=now, now=now)
    if case.past_only:
        with pytest.raises(Permanent, match=f"no intensity for {case.zone}"):
            await case.provider.forecast(case.zone, now=now, until=now + AHEAD)
        return None, history
    return await case.provider.forecast(case.zone, now=now, until=now + AHEAD), history


async def test_a_forecast_holds_now_reaches_as_far_as_asked_and_is_not_from_the_future(
    case: Case, now: datetime
) -> None:
    forecast, _ = await asked(case, now)
    if forecast is None:
        return

    assert forecast.zone == case.zone
    assert forecast.issued_at <= forecast.available_at <= now
    assert forecast.series.start <= now
    assert forecast.series.at(now) > 0
    assert forecast.series.end >= now + AHEAD
    assert forecast.parts[0].start == forecast.series.start
    assert forecast.source


async def test_slots_are_utc_ordered_and_half_open(case: Case, now: datetime) -> None:
    forecast, history = await asked(case, now)

    ahead = (forecast.series, forecast.low, forecast.high) if forecast else ()
    for series in (*ahead, history):
        if series is None:
            continue
        assert all(slot.start.tzinfo is UTC and slot.end.tzinfo is UTC for slot in series.slots)
        assert all(slot.start < slot.end for slot in series.slots)
        assert all(before.end <= after.start for before, after in pairwise(series.slots))


async def test_history_holds_whole_slots_that_have_ended_and_nothing_else(case: Case, now: datetime) -> None:
    start, end = now - BEHIND, now + AHEAD

    history = await case.provider.history(case.zone, start=start, end=end, now=now)

    assert history.zone == case.zone
    assert all(slot.end <= now and slot.end > start for slot in history.slots)
    assert history.slots[0].start <= start < history.slots[0].end
    assert len({slot.end - slot.start for slot in history.slots}) == 1


async def test_the_signal_is_the_same_at_every_answer(case: Case, now: datetime) -> None:
    forecast, history = await asked(case, now)

    assert case.provider.signal == history.signal
    if forecast is not None:
        assert case.provider.signal == forecast.signal == forecast.series.signal


async def test_no_value_is_invented_over_a_gap(case: Case, now: datetime) -> None:
    forecast, history = await asked(case, now)

    if not case.holes:
        assert forecast is not None
        assert all(slot.estimated for slot in (*forecast.series.slots, *history.slots))
        return
    behind, ahead = case.holes
    checked = [(history, behind)]
    if forecast is not None and case.bridges:
        assert all(slot.estimated for slot in forecast.series.slots)
    elif forecast is not None:
        checked.append((forecast.series, ahead))
    for series, hole in checked:
        with pytest.raises(Gap):
            series.at(hole)
        with pytest.raises(Gap):
            series.mean(hole - timedelta(hours=1), hole + timedelta(hours=2))
        assert series.at(hole - timedelta(minutes=1)) > 0


async def test_values_are_those_of_the_source(case: Case, now: datetime) -> None:
    if not case.exact:
        return
    forecast, history = await asked(case, now)

    for slot in (*(forecast.series.slots if forecast else ()), *history.slots):
        expected = truth(slot.start)
        assert slot.g_per_kwh == (pytest.approx(expected, rel=1e-12) if case.computed else expected)


async def test_an_unknown_zone_is_a_permanent_error_that_names_it(case: Case, now: datetime) -> None:
    with pytest.raises(Permanent, match="XX"):
        await case.provider.forecast(Zone("XX"), now=now, until=now + AHEAD)
    with pytest.raises(Permanent, match="XX"):
        await case.provider.history(Zone("XX"), start=now - BEHIND, end=now, now=now)


async def test_a_span_without_length_is_refused(case: Case, now: datetime) -> None:
    with pytest.raises(Refused, match="no length"):
        await case.provider.forecast(case.zone, now=now, until=now)
    with pytest.raises(Refused, match="no length"):
        await case.provider.history(case.zone, start=now, end=now, now=now)


async def test_the_history_of_what_has_not_happened_is_a_passing_error(case: Case, now: datetime) -> None:
    with pytest.raises(Transient, match="ask again"):
        await case.provider.history(case.zone, start=now, end=now + AHEAD, now=now)


async def test_zones_are_listed_or_left_to_asking(case: Case) -> None:
    zones = case.provider.zones()

    assert zones is None or case.zone.id in zones
