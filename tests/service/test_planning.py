"""The service's planning: prices kept from plan to plan, budgets priced in, reserves learned from runtimes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kilowait_scheduler.core.budget import Budget, BudgetScope
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.service.planning import overrun
from world import HOUR, START, World, make_world

Make = Callable[..., World]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    worlds: list[World] = []

    def build(zones: dict, **options: object) -> World:
        worlds.append(make_world(tmp_path, zones, **options))
        return worlds[-1]

    yield build
    for world in worlds:
        world.close()


def job(name: str, *, gpus: int = 8, duration: str = "2h", within: str = "20h", **more: object) -> dict:
    return {"name": name, "resources": {"gpus": gpus}, "duration": duration, "within": within, **more}


TWO_DIPS = [500.0] * 4 + [100.0] * 2 + [500.0] * 4 + [200.0] * 2 + [500.0] * 12


def test_a_team_near_its_limit_gets_the_cleanest_hours(make: Make) -> None:
    world = make({"AA": TWO_DIPS})
    need_g = 8 * 0.4 * 2 * 100  # in the first dip; the second would cost twice that
    limit = Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=1.2 * need_g)
    world.server.store.put_budget(limit)
    rich = world.submit(**job("rich", team="vision"))
    poor = world.submit(**job("poor", team="nlp"))
    world.run(timedelta(0))
    assert world.job(poor.id).state.windows[0].start == START + 4 * HOUR
    assert world.job(rich.id).state.windows[0].start == START + 10 * HOUR
    world.finish(rich.id, poor.id)
    assert world.job(poor.id).state.phase is Phase.SUCCEEDED


def test_without_a_budget_the_first_come_keeps_the_cleanest_hours(make: Make) -> None:
    world = make({"AA": TWO_DIPS})
    first = world.submit(**job("rich", team="vision"))
    world.run(timedelta(0))
    second = world.submit(**job("poor", team="nlp"))
    world.run(timedelta(0))
    assert world.job(first.id).state.windows[0].start == START + 4 * HOUR
    assert world.job(second.id).state.windows[0].start == START + 10 * HOUR


def test_jobs_that_overran_before_get_a_longer_reserve(make: Make) -> None:
    world = make({"AA": [300.0] * 18 + [100.0] * 6})
    default = world.server.planning.knowledge().margins
    assert default == {}
    world.real_work_s["slow"] = 3600 * 1.5
    done = [world.submit(**job("slow", gpus=1, duration="1h", within="6h")) for _ in range(6)]
    world.finish(*(record.id for record in done))
    ratios = [overrun(world.job(record.id)) for record in done]
    assert all(ratio == pytest.approx(1.5, abs=0.1) for ratio in ratios)
    last = world.submit(**job("slow", gpus=1, duration="1h", within="10h"))
    learned = world.server.planning.knowledge([last]).margins["slow"]
    assert 0.5 <= learned <= 0.8
    window = world.job(last.id).spec.due
    world.run(timedelta(0))
    assert window - world.job(last.id).state.windows[-1].end >= learned * HOUR


def test_many_jobs_are_planned_again_from_where_they_stand(make: Make) -> None:
    world = make({"AA": TWO_DIPS, "BB": [400.0] * 24}, gpus={"aa": 6, "bb": 6})
    records = [
        world.submit(**job(f"j{n}", gpus=1 + n % 2, within="20h", regions={"home": "aa", "any_of": ["aa", "bb"]}))
        for n in range(12)
    ]
    world.run(timedelta(0))
    before = {record.id: world.job(record.id).state.windows for record in records}
    assert world.server.planning.gap_pct is not None
    world.server.control.want_plan()
    world.run(timedelta(minutes=3))
    waiting = [r.id for r in records if world.job(r.id).state.phase is Phase.WAITING]
    assert waiting
    assert all(world.job(job_id).state.windows == before[job_id] for job_id in waiting), "nothing new, nothing moved"
    world.finish(*before)
    assert all(world.job(job_id).state.phase is Phase.SUCCEEDED for job_id in before)
