"""Services that lie over real sockets: plans and figures rest on something that is named, and never on zero."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import stamina
from pydantic import SecretStr

from forecasters.fake_grid import TOKEN, FakeGrid, Question, Reply, hour_of
from kilowait_scheduler.service.sources import Sources
from world import HOUR, START, World, make_world

JOB = {"name": "train", "resources": {"gpus": 4}, "duration": "1h", "within": "2h"}


def answer(at: datetime, values: list[Any], *, first: datetime | None = None, **more: Any) -> dict[str, Any]:
    """A forecast of Electricity Maps issued at `at`, with hourly `values` from `first` on."""
    first = first or hour_of(at)
    rows = [
        {"datetime": f"{first + n * HOUR:%Y-%m-%dT%H:%M:%S.000Z}", "carbonIntensity": value}
        for n, value in enumerate(values)
    ]
    return {"zone": "DE", "forecast": rows, "updatedAt": f"{at:%Y-%m-%dT%H:%M:%S.000Z}", **more}


LIES: dict[str, tuple[Callable[[datetime], Reply], str]] = {
    "zeros": (lambda now: Reply(body=answer(now, [0] * 73)), "as no grid is for 6 h"),
    "nan": (lambda now: Reply(body='{"zone": "DE", "forecast": [{"carbonIntensity": NaN}]}'), "not whole JSON"),
    "nulls": (lambda now: Reply(body=answer(now, [None] * 73)), "no intensity values"),
    "frozen": (lambda now: Reply(body=answer(START - 200 * HOUR, [300] * 73)), "has no value for"),
    "stale": (lambda now: Reply(body=answer(now - 9 * HOUR, [300] * 73)), "too old to use"),
    "future only": (lambda now: Reply(body=answer(now, [300] * 73, first=hour_of(now) + HOUR)), "has no value for"),
    "stamped ahead": (lambda now: Reply(body=answer(now + 9 * HOUR, [300] * 73, first=hour_of(now))), "the clocks"),
    "a page": (lambda now: Reply(body="<html><title>Welcome</title></html>"), "a web page came instead of JSON"),
    "half": (lambda now: Reply(body=answer(now, [300] * 73), truncate=True), "broke off"),
}


@pytest.fixture(autouse=True)
def no_waits() -> Iterator[None]:
    stamina.set_testing(True, attempts=1)
    yield
    stamina.set_testing(False)


@pytest.fixture
def service() -> Iterator[FakeGrid]:
    with FakeGrid(START) as started:
        yield started


@pytest.fixture
def world(tmp_path: Path, service: FakeGrid) -> Iterator[World]:
    made = make_world(tmp_path, {"DE": [300.0] * 24})
    asked = made.server.settings.model_copy(
        update={"intensity": None, "electricity_maps_url": service.url, "electricity_maps_token": SecretStr(TOKEN)}
    )
    made.server.grid.use(Sources(asked).cascade(made.server.store.regions()))
    yield made
    made.close()


def forecasts(service: FakeGrid) -> list[Question]:
    return [question for question in service.questions if question.path.endswith("/forecast")]


@pytest.mark.parametrize("lie", LIES)
def test_a_service_that_lies_is_not_believed_and_what_stands_in_is_named(
    world: World, service: FakeGrid, lie: str
) -> None:
    lies, told = LIES[lie]
    service.answer = lambda _: lies(world.now)
    record = world.submit(**JOB)

    view = world.server.grid.view("DE")
    assert view.forecast is not None
    assert view.forecast.source == "typical-day"
    assert told in str(view.attempts[0].error)
    assert min(slot.g_per_kwh for slot in view.forecast.series.slots) > 50
    world.finish(record.id)
    assert world.job(record.id).state.finished_at <= record.spec.due
    line = asyncio.run(world.server.reporting.savings()).jobs[0]
    assert line.carbon_g is not None and line.carbon_g > 0
    assert line.provisional


def test_a_service_that_comes_back_is_used_again(world: World, service: FakeGrid) -> None:
    def reply(question: Question) -> Reply:
        up = world.now >= START + 2 * HOUR and question.path.endswith("/forecast")
        return Reply(body=answer(world.now, [250] * 73)) if up else Reply(503, "down")

    service.answer = reply
    world.run(HOUR)
    down = world.server.grid.view("DE")
    assert down.forecast is not None and down.forecast.source == "typical-day"
    asked = len(forecasts(service))
    world.run(timedelta(hours=2))
    back = world.server.grid.view("DE")
    assert back.forecast is not None and back.forecast.source.startswith("electricity-maps")
    assert back.attempts[0].error is None
    # It was left alone for up to half an hour at a time, and then asked once an issue; not in each of forty rounds.
    assert asked <= 6
    assert len(forecasts(service)) - asked <= 6
