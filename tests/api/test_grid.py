"""Forecasts and grants behind the door: a margin is shown when asked for, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.conftest import client_of
from forecasters.fake_grid import FakeGrid
from forecasters.fake_services import PASSWORD, USER
from world import START, World, make_world


@pytest.fixture
def service() -> Iterator[FakeGrid]:
    with FakeGrid(START) as started:
        started.watttime.regions = {"SOCO"}
        yield started


@pytest.fixture
def world(tmp_path: Path, service: FakeGrid) -> Iterator[World]:
    made = make_world(
        tmp_path,
        {"US-SE-SOCO": [300.0] * 24},
        watttime_user=USER,
        watttime_password=PASSWORD,
        watttime_url=f"{service.url}/watttime",
    )
    yield made
    made.close()


def test_a_margin_is_shown_beside_the_average_and_never_in_its_place(world: World) -> None:
    world.run(START - START)
    token = world.server.token_file.read_text().strip()
    client, headers = client_of(world.server), {"Authorization": f"Bearer {token}"}
    (average,) = client.get("/api/v1/forecasts", headers=headers).json()
    (marginal,) = client.get("/api/v1/forecasts?signal=marginal", headers=headers).json()

    assert (average["signal"], average["source"]) == ("average/lifecycle", "replay:US-SE-SOCO")
    assert (marginal["signal"], marginal["source"]) == ("marginal/direct", "watttime")
    assert marginal["slots"][0]["g_per_kwh"] != average["slots"][0]["g_per_kwh"]
    assert world.server.grid.forecasts()["US-SE-SOCO"].signal.kind == "average"
    assert client.get("/api/v1/forecasts?signal=both", headers=headers).status_code in (400, 422)
    (grant,) = client.get("/api/v1/grants", headers=headers).json()
    assert (grant["provider"], grant["zone"], grant["forecast"]) == ("watttime", "US-SE-SOCO", True)


def test_without_an_account_the_answer_says_what_to_set(tmp_path: Path) -> None:
    world = make_world(tmp_path, {"DE": [300.0] * 24})
    token = world.server.token_file.read_text().strip()
    client, headers = client_of(world.server), {"Authorization": f"Bearer {token}"}
    (marginal,) = client.get("/api/v1/forecasts?zone=DE&signal=marginal", headers=headers).json()

    assert marginal["slots"] == []
    assert "KILOWAIT_WATTTIME_USER" in marginal["problem"]
    assert client.get("/api/v1/grants", headers=headers).json() == []
    world.close()
