"""Whom the server asks about a zone: in which order, what is left out, and which wishes are refused in one line."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecasters.fake_entsoe import NO_DATA, SECURITY_TOKEN
from forecasters.fake_grid import TOKEN, FakeGrid, Question, Reply, truth
from forecasters.fake_services import API_KEY, PASSWORD, USER
from kilowait_forecasters.models.hours import Hours, hour_number
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE, AVERAGE_OPERATIONAL, MARGINAL_DIRECT
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.service.entitlement import grants
from kilowait_scheduler.service.sources import Sources
from kilowait_scheduler.settings import Settings

NOW = datetime(2026, 9, 14, 9, 14, 25, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def grid() -> Iterator[FakeGrid]:
    with FakeGrid(NOW) as started:
        yield started


def region(zone: str = "DE", name: str = "de", **more: Any) -> Region:
    return Region(name=name, zone=zone, address="http://head:8265", capacity_gpus=8, **more)


def all_of(grid: FakeGrid, tmp_path: Path, **more: Any) -> Settings:
    """Every service configured, at the fake."""
    return Settings(
        **{
            "state_dir": tmp_path,
            "electricity_maps_token": TOKEN,
            "electricity_maps_url": grid.url,
            "neso_url": grid.url,
            "entsoe_token": SECURITY_TOKEN,
            "entsoe_url": f"{grid.url}/entsoe",
            "eia_key": API_KEY,
            "eia_url": f"{grid.url}/eia",
            "energy_charts": "on",
            "energy_charts_url": grid.url,
            "carbon_aware_sdk_url": f"{grid.url}/casdk",
            "carbon_aware_sdk_signal": "average/lifecycle",
            "watttime_user": USER,
            "watttime_password": PASSWORD,
            "watttime_url": f"{grid.url}/watttime",
            **more,
        }
    )


def asked(settings: Settings, one: Region) -> list[str]:
    """Names of the providers of the zone, in order, by making all of them fail."""
    cascade = Sources(settings).cascade([one])
    return [provider.name for provider in cascade.providers_of(Zone(one.zone))]


def test_providers_come_in_the_settings_order_as_far_as_they_know_the_zone_and_share_the_first_ones_signal(
    grid: FakeGrid, tmp_path: Path
) -> None:
    settings = all_of(grid, tmp_path)
    assert asked(settings, region("DE")) == ["electricity-maps", "entsoe", "carbon-aware-sdk"]
    assert asked(settings, region("US-CAL-CISO")) == ["electricity-maps", "eia", "carbon-aware-sdk"]
    assert asked(all_of(grid, tmp_path, providers="energy-charts, neso, entsoe"), region("DE")) == ["energy-charts"]
    assert Sources(settings).cascade([region("DE")]).signal_of(Zone("DE")) == AVERAGE_LIFECYCLE


def test_a_regions_own_list_wins(grid: FakeGrid, tmp_path: Path) -> None:
    settings = all_of(grid, tmp_path)
    assert asked(settings, region("DE", providers=("entsoe", "electricity-maps"))) == ["entsoe", "electricity-maps"]
    one = region("GB", providers=("neso",))
    assert asked(settings, one) == ["neso"]
    assert Sources(settings).cascade([one]).signal_of(Zone("GB")) == AVERAGE_OPERATIONAL


@pytest.mark.parametrize(
    ("regions", "more", "told"),
    [
        ([region(providers=("tea-leaves",))], {}, "region de: providers: 'tea-leaves' is none of electricity-maps"),
        ([region(providers=("watttime",))], {}, "region de: providers: watttime is marginal"),
        ([region(providers=("eia",))], {}, "region de: providers: eia does not know zone DE"),
        (
            [region(providers=("entsoe",))],
            {"entsoe_token": None},
            "region de: providers: entsoe cannot be asked; set KILOWAIT_ENTSOE_TOKEN",
        ),
        (
            [region(providers=("entsoe", "energy-charts"))],
            {},
            "give one signal, for others do not compare: entsoe average/lifecycle, energy-charts average/operational",
        ),
        (
            [region(providers=("entsoe",)), region(name="de-2", providers=("electricity-maps",))],
            {},
            "regions de and de-2: providers: they share zone DE",
        ),
        ([region()], {"providers": "electricity-maps, watttime"}, "providers: watttime is marginal"),
        (
            [region()],
            {"carbon_aware_sdk_signal": "marginal/direct"},
            "kept in average; leave its URL out",
        ),
        ([region()], {"carbon_aware_sdk_signal": None}, "carbon_aware_sdk_signal: say what the source behind its URL"),
        ([region()], {"carbon_aware_sdk_signal": "dirty"}, "write average/lifecycle or average/direct"),
        ([region()], {"quotas": "entsoe many"}, "quotas: entsoe: 'many' is no limit"),
        ([region()], {"quotas": "tea-leaves 5/day"}, "quotas: 'tea-leaves' is none of"),
        ([region()], {"electricity_maps_token": " "}, "KILOWAIT_ELECTRICITY_MAPS_TOKEN is empty"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line(
    grid: FakeGrid, tmp_path: Path, regions: list[Region], more: dict[str, Any], told: str
) -> None:
    with pytest.raises(BadInput, match=told) as caught:
        Sources(all_of(grid, tmp_path, **more)).cascade(regions)
    assert "\n" not in str(caught.value)


async def test_the_next_provider_answers_where_the_first_is_down_and_says_so(grid: FakeGrid, tmp_path: Path) -> None:
    def answer(question: Question) -> Reply:
        down = question.path.startswith("/carbon-intensity/")
        return Reply(401, {"error": "Invalid auth-token"}) if down else grid.well_behaved(question)

    grid.answer = answer
    cascade = Sources(all_of(grid, tmp_path)).cascade([region("DE")])
    answered = await cascade.forecast(Zone("DE"), now=NOW, until=NOW + 20 * HOUR)

    assert answered.forecast.source == "carbon-aware-sdk"
    assert [attempt.provider for attempt in answered.answers] == ["electricity-maps", "entsoe", "carbon-aware-sdk"]
    assert "Invalid auth-token" in str(answered.answers[0].error)


async def test_our_own_model_forecasts_from_the_history_of_one_that_forecasts_nothing(
    grid: FakeGrid, tmp_path: Path
) -> None:
    def answer(question: Question) -> Reply:
        young = question.params["periodStart"] >= "20260820"  # three weeks are learned from in no time
        return grid.well_behaved(question) if young else Reply(200, NO_DATA)

    grid.answer = answer
    cascade = Sources(all_of(grid, tmp_path)).cascade([region("DE", providers=("entsoe",))])
    for resort in cascade.last_resorts:
        if isinstance(resort, OwnForecasts):
            resort.wait_s = 60
    answered = await cascade.forecast(Zone("DE"), now=NOW, until=NOW + 20 * HOUR)

    assert answered.forecast.source == "own-model"
    assert "from entsoe, generation by source: " in answered.forecast.parts[0].note
    assert answered.forecast.low is not None
    assert answered.forecast.series.at(NOW) == pytest.approx(truth(NOW.replace(minute=0, second=0)), rel=0.2)


async def test_what_is_announced_comes_from_entsoe_and_eia_where_they_are_configured_else_from_energy_charts(
    grid: FakeGrid, tmp_path: Path
) -> None:
    hours, until = Hours(first=hour_number(NOW) - 24, g_per_kwh=np.ones(24)), hour_number(NOW) + 24
    announced = {}
    for more in ({}, {"entsoe_token": None, "eia_key": None}):
        sources = Sources(all_of(grid, tmp_path, **more))
        for zone in ("DE", "US-CAL-CISO", "HU"):
            seen = await sources._around.around(Zone(zone), hours, until=until, now=NOW)
            announced[zone, not more] = set(seen.day_ahead)
        await sources.close()
    everything = {"wind", "solar", "load"}
    assert announced == {
        ("DE", True): everything,
        ("US-CAL-CISO", True): {"load"},
        ("HU", True): everything,
        ("DE", False): everything,
        ("US-CAL-CISO", False): set(),
        ("HU", False): everything,
    }
    of_germany = [question for question in grid.questions if question.params.get("country") == "de"]
    assert {question.path for question in of_germany} == {"/public_power", "/public_power_forecast"}


async def test_a_stated_quota_is_kept_to_and_the_last_forecast_goes_on(grid: FakeGrid, tmp_path: Path) -> None:
    settings = all_of(grid, tmp_path, quotas="electricity-maps 1/day", providers="electricity-maps")
    cascade = Sources(settings).cascade([region("DE")])
    first = await cascade.forecast(Zone("DE"), now=NOW, until=NOW + 5 * HOUR)
    later = await cascade.forecast(Zone("DE"), now=NOW + 3 * HOUR, until=NOW + 8 * HOUR)

    assert first.answers[0].error is None
    assert "its quota is used up" in str(later.answers[0].error)
    assert later.forecast.source.startswith("electricity-maps")
    assert "reused because electricity-maps did not answer" in later.forecast.parts[0].note
    assert len([q for q in grid.questions if q.path.endswith("/forecast")]) == 1


async def test_quotas_forecasts_and_pauses_outlive_a_change_of_the_regions(grid: FakeGrid, tmp_path: Path) -> None:
    sources = Sources(all_of(grid, tmp_path, quotas="electricity-maps 2/day", providers="electricity-maps"))
    regions = [region("DE")]
    cascade = sources.cascade(regions)
    for n in range(4):
        regions.append(region("FR", f"fr-{n}", intensity_g_per_kwh=50 + n))
        cascade = sources.cascade(regions, after=cascade)
        answered = await cascade.forecast(Zone("DE"), now=NOW, until=NOW + 5 * HOUR)
        assert answered.forecast.source == "electricity-maps"
    assert len(grid.questions) == 1
    later = await cascade.forecast(Zone("DE"), now=NOW + 3 * HOUR, until=NOW + 8 * HOUR)
    assert later.answers[0].error is None
    much_later = NOW + 6 * HOUR
    cascade = sources.cascade(regions, after=cascade)
    kept = await cascade.forecast(Zone("DE"), now=much_later, until=much_later + 5 * HOUR)
    assert "its quota is used up" in str(kept.answers[0].error)
    assert len(grid.questions) == 2
    await sources.close()


def test_models_outlive_a_change_of_the_regions(grid: FakeGrid, tmp_path: Path) -> None:
    sources = Sources(all_of(grid, tmp_path, providers="entsoe"))
    (before,), (after,) = (
        [resort for resort in sources.cascade(given).last_resorts if isinstance(resort, OwnForecasts)]
        for given in ([region("DE")], [region("DE"), region("FR", "fr")])
    )
    assert before is after
    assert after.zones() == {"DE", "FR"}


async def test_a_margin_is_there_to_be_looked_at_and_nothing_stands_in_for_it(grid: FakeGrid, tmp_path: Path) -> None:
    settings = all_of(grid, tmp_path)
    marginal = Sources(settings).marginal
    assert marginal is not None
    forecast = await marginal.forecast(Zone("CAISO_NORTH"), now=NOW, until=NOW + 5 * HOUR)
    assert forecast.signal == MARGINAL_DIRECT
    with pytest.raises(Exception, match="403: Forbidden"):
        await marginal.forecast(Zone("US-SE-SOCO"), now=NOW, until=NOW + 5 * HOUR)
    assert Sources(all_of(grid, tmp_path, watttime_user=None)).marginal is None


async def test_grants_are_what_the_services_say_zone_by_zone(grid: FakeGrid, tmp_path: Path) -> None:
    def answer(question: Question) -> Reply:
        if question.path == "/zones":
            return Reply(200, {"DE": {"access": ["carbon-intensity/history"]}, "FR": {"access": ["*"]}})
        return grid.well_behaved(question)

    grid.answer = answer
    probes = Sources(all_of(grid, tmp_path)).probes
    found = await grants(probes, ["CAISO_NORTH", "DE", "US-MIDA-PJM"], now=NOW)

    assert [(one.provider, one.zone, one.forecast, one.history) for one in found] == [
        ("electricity-maps", "CAISO_NORTH", False, False),
        ("electricity-maps", "DE", False, True),
        ("electricity-maps", "US-MIDA-PJM", False, False),
        ("watttime", "CAISO_NORTH", True, True),
        ("watttime", "DE", False, False),
        ("watttime", "US-MIDA-PJM", None, None),
    ]
    assert found[0].problem == "the plan does not include zone CAISO_NORTH"
    assert "ask for one of them by its name" in str(found[-1].problem)


async def test_a_service_that_does_not_say_what_it_grants_is_told_and_no_failure(
    grid: FakeGrid, tmp_path: Path
) -> None:
    settings = all_of(grid, tmp_path, electricity_maps_token="wrong", watttime_password="wrong")
    found = await grants(Sources(settings).probes, ["DE"], now=NOW)

    assert [one.forecast for one in found] == [None, None]
    assert "404" in str(found[0].problem)
    assert "403: Forbidden" in str(found[1].problem)
    assert await grants(Sources(Settings(state_dir=tmp_path)).probes, ["DE"], now=NOW) == []


def test_keys_are_in_no_representation_of_the_settings(grid: FakeGrid, tmp_path: Path) -> None:
    shown = repr(all_of(grid, tmp_path))
    assert not [secret for secret in (TOKEN, SECURITY_TOKEN, API_KEY, PASSWORD) if secret in shown]
