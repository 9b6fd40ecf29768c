"""Budgets at work in a whole server: roll-over at midnight of their zone, running jobs suspended, requests, what if."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kilowait_scheduler.core.budget import Budget
from kilowait_scheduler.core.budget_request import Ask, RequestState
from kilowait_scheduler.core.errors import Conflict, Refused
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.ledger import EntryKind
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Phase
from world import HOUR, START, World, make_world

Make = Callable[..., World]
MINUTE = timedelta(minutes=1)
CHECKPOINT = {"path": "/ckpt", "restart": "10m", "period": "10m"}
JOB_G = 4 * 0.4 * 2 * 300.0  # 4 GPUs at 400 W for 2 h at 300 g/kWh


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    worlds: list[World] = []

    def build(**options: object) -> World:
        worlds.append(make_world(tmp_path, {"AA": [300.0] * 24}, gpus={"aa": 16}, **options))
        return worlds[-1]

    yield build
    for world in worlds:
        world.close()


def put(world: World, limit_g: float, **more: Any) -> None:
    body = {"id": "nlp", "scope": "team", "name": "nlp", "limit_g": limit_g, **more}
    world.server.allowances.put(Budget.model_validate(body))


def submit(world: World, name: str = "train", **more: object) -> JobRecord:
    given = {"name": name, "team": "nlp", "resources": {"gpus": 4}, "duration": "2h", "within": "100h", **more}
    return world.submit(**given)


def phase(world: World, job: JobRecord) -> Phase:
    return world.job(job.id).state.phase


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Pacific/Auckland"])
def test_a_held_job_is_let_go_at_midnight_of_its_budgets_zone(make: Make, zone: str) -> None:
    world = make()
    put(world, 1.2 * JOB_G, period="rolling", days=1, timezone=zone)
    first = submit(world, "first", within="3h")
    world.finish(first.id)
    second = submit(world, "second")
    world.run(10 * MINUTE)
    assert phase(world, second) is Phase.HELD
    midnight = world.server.allowances.status("nlp").end
    assert midnight.strftime("%H:%M") == {
        "Europe/Berlin": "23:00", "America/New_York": "05:00", "Pacific/Auckland": "11:00"
    }[zone]  # fmt: skip
    assert f"from {world.server.allowances.budget('nlp').local(midnight)} on" in world.job(second.id).state.detail
    world.run(midnight - world.now - MINUTE, every=30 * MINUTE)
    assert phase(world, second) is Phase.HELD
    world.run(3 * MINUTE, every=MINUTE)
    assert phase(world, second) is not Phase.HELD


def test_a_months_roll_over_comes_an_hour_later_in_utc_once_summer_time_has_ended(make: Make) -> None:
    world = make()
    put(world, 1.2 * JOB_G, timezone="Europe/Berlin", period="month")
    september, november = (
        world.server.allowances.budget("nlp").span(datetime(2026, month, 10, tzinfo=UTC)) for month in (9, 11)
    )
    assert (september.end.hour, november.end.hour) == (22, 23)


def test_a_used_up_budget_suspends_running_jobs_at_a_checkpoint_and_lets_them_go_on_with_more(make: Make) -> None:
    world = make()
    put(world, 1.1 * JOB_G, on_exhausted="suspend")
    world.real_work_s["train"] = 8 * 3600.0  # four times what was said
    job = submit(world, checkpoint=CHECKPOINT)
    meter(world, job, every=2 * MINUTE, rounds=90)
    state = world.job(job.id).state
    assert (state.phase, state.reason) == (Phase.HELD, Reason.BUDGET_EXHAUSTED)
    status = world.server.allowances.status("nlp")
    interval_g = 4 * 0.4 * 300.0 * (2 / 60)
    assert status.emitted_g <= status.allowed_g + 2 * interval_g, "one interval until it is seen, one until it stops"
    assert status.held_g == 0
    put(world, 10 * JOB_G, on_exhausted="suspend")
    world.run(10 * MINUTE)
    assert phase(world, job) is Phase.RUNNING
    assert world.server.allowances.status("nlp").held_g > 0, "what is left to do is held anew"


def test_a_budget_that_only_holds_new_jobs_lets_a_running_one_end(make: Make) -> None:
    world = make()
    put(world, 1.1 * JOB_G)
    world.real_work_s["train"] = 3 * 3600.0
    job = submit(world, checkpoint=CHECKPOINT)
    meter(world, job, every=2 * MINUTE, rounds=100)
    assert phase(world, job) is Phase.SUCCEEDED
    assert world.server.allowances.status("nlp").left_g < 0


def meter(world: World, job: JobRecord, *, every: timedelta, rounds: int) -> None:
    """Let time pass with an agent that reports every interval while the job runs, not at its end only."""
    world.report = False
    for _ in range(rounds):
        start = world.now
        live = world.job(job.id).state.live_run
        running = live is not None and live.started_at is not None
        world.run(every, every=every)
        if running and live is not None:
            world._report(job, live.submission_id, job.gpus, "aa", start, world.now)


def test_cancelling_a_job_gives_its_hold_to_the_next_in_line(make: Make) -> None:
    world = make()
    put(world, 1.3 * JOB_G)
    first = submit(world, "first", earliest="2026-11-24T00:00:00Z")
    world.run(5 * MINUTE)
    second = submit(world, "second")
    world.run(5 * MINUTE)
    assert phase(world, second) is Phase.HELD
    world.server.jobs.cancel(first.id)
    world.run(5 * MINUTE)
    assert phase(world, second) is Phase.RUNNING


def test_a_request_that_is_approved_releases_a_held_job_for_this_period_only(make: Make) -> None:
    world = make()
    put(world, 0.5 * JOB_G, timezone="Europe/Berlin")
    job = submit(world)
    world.run(5 * MINUTE)
    assert phase(world, job) is Phase.HELD
    allowances = world.server.allowances
    asked = allowances.ask("nlp", Ask(amount_g=JOB_G, why="camera ready on Friday"), by="ada")
    other = allowances.ask("nlp", Ask(amount_g=9 * JOB_G, why="more"), by="ada")
    assert [request.state for request in allowances.requests()] == [RequestState.OPEN] * 2
    done = allowances.approve(asked.id, by="grace")
    assert (done.state, done.granted_g, done.decided_by) == (RequestState.APPROVED, JOB_G, "grace")
    assert allowances.refuse(other.id, by="grace").state is RequestState.REFUSED
    with pytest.raises(Conflict, match="approved by grace already"):
        allowances.approve(asked.id, by="mallory")
    world.run(5 * MINUTE)
    assert phase(world, job) is Phase.RUNNING
    assert allowances.status("nlp").allowed_g == pytest.approx(1.5 * JOB_G)
    (entry,) = [entry for entry in world.server.store.entries() if entry.kind is EntryKind.EXTENSION]
    assert entry.memo == f"request {asked.id} of ada, approved by grace"
    world.run(8 * 24 * HOUR, every=12 * HOUR)
    assert allowances.status("nlp").account == "nlp-2026-12"
    assert allowances.status("nlp").allowed_g == pytest.approx(0.5 * JOB_G)


def test_what_is_handed_over_is_missing_here_and_there_to_use(make: Make) -> None:
    world = make()
    put(world, 1000)
    put(world, 500, id="vision", name="vision")
    allowances = world.server.allowances
    allowances.transfer("nlp", "vision", amount_g=300, by="grace", memo="for the summer")
    assert [(one.budget.id, one.left_g) for one in allowances.statuses()] == [("nlp", 700), ("vision", 800)]
    with pytest.raises(Refused, match=r"0\.700 kg left"):
        allowances.transfer("nlp", "vision", amount_g=701, by="grace")


def test_what_if_says_who_would_be_held_and_changes_nothing(make: Make) -> None:
    world = make()
    put(world, 2.5 * JOB_G)
    for name in ("first", "second"):
        submit(world, name, earliest="2026-11-24T00:00:00Z")
        world.run(5 * MINUTE)
    before = (world.server.store.entries(), world.server.store.last_event())
    found = world.server.allowances.what_if("nlp", limit_pct=50)
    assert found.limit_g == pytest.approx(1.25 * JOB_G)
    assert found.held == ["second"]
    assert (found.planned_now_g, found.planned_g) == pytest.approx((2 * JOB_G, JOB_G))
    assert world.server.allowances.what_if("nlp", limit_pct=100).held == []
    assert (world.server.store.entries(), world.server.store.last_event()) == before


def test_a_user_has_a_budget_of_their_own_within_the_teams(make: Make) -> None:
    world = make()
    put(world, 100 * JOB_G)
    put(world, 1.2 * JOB_G, id="ada", scope="user", name="ada")
    world._settle_first()

    def by(user: str, name: str) -> JobRecord:
        spec = {
            "name": name,
            "entrypoint": "x",
            "resources": {"gpus": 4},
            "duration": "2h",
            "within": "50h",
            "team": "nlp",
        }
        record = world.server.jobs.submit(parse_job(spec), user=user).record
        world.run(5 * MINUTE)
        return record

    jobs = [by("ada", "a1"), by("ada", "a2"), by("bob", "b1")]
    assert [phase(world, job) is Phase.HELD for job in jobs] == [False, True, False]
    assert "budget ada (user ada)" in world.job(jobs[1].id).state.detail
    assert world.server.allowances.status("nlp").held_g > world.server.allowances.status("ada").held_g > 0


def test_the_pace_of_whole_days_says_when_a_budget_is_used_up(make: Make) -> None:
    world = make()
    put(world, 20 * JOB_G)
    for day in range(4):
        job = submit(world, f"day{day}", within="4h")
        world.finish(job.id)
        world.run(START + timedelta(days=day + 1) - world.now, every=HOUR)
    status = world.server.allowances.status("nlp")
    assert status.exhaustion is not None
    assert status.exhaustion.pace_g_per_day == pytest.approx(JOB_G)
    assert status.exhaustion.at == world.now + timedelta(days=16)


def test_whoever_gets_the_room_of_held_jobs_needs_a_hold_too(make: Make) -> None:
    world = make()
    for team in ("many", "few"):
        world.server.allowances.put(Budget.model_validate({"id": team, "scope": "team", "name": team, "limit_g": 1.0}))
    long = {"duration": "100h", "within": "110h", "resources": {"gpus": 8}}
    world.submit(name="many", team="many", priority="high", **long)
    few = world.submit(name="few", team="few", priority="low", **long)
    # With half the GPUs gone, the low one has no place in the first plan, and one now once the other is held.
    region = world.server.store.regions()[0]
    world.server.store.put_region(region.model_copy(update={"capacity_gpus": 8}))
    world.clusters["aa"].gpus = 8
    world.server.control.want_plan()
    world.run(HOUR)
    assert phase(world, few) is Phase.HELD
    assert world.spans == []
