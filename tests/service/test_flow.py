"""The main job in virtual time: forecast, plan, dispatch, measure, account, report."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from kilowait_scheduler.core.errors import Conflict, Refused
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.lifecycle import handle
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import JobState, Phase
from world import HOUR, START, World, make_world

Make = Callable[..., World]

DIRTY_THEN_CLEAN = [400.0] * 8 + [100.0] * 4 + [400.0] * 12
TWO_DIPS = [400.0, 100.0, 100.0, 400.0, 400.0, 400.0, 100.0, 100.0, 100.0] + [400.0] * 15
CHECKPOINT = {"path": "/ckpt", "restart": "10m", "period": "10m"}


def job(name: str = "train", *, duration: str = "2h", within: str = "24h", gpus: int = 4, **more: object) -> dict:
    return {"name": name, "resources": {"gpus": gpus}, "duration": duration, "within": within, **more}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    worlds: list[World] = []

    def build(zones: dict, **options: object) -> World:
        worlds.append(make_world(tmp_path, zones, **options))
        return worlds[-1]

    yield build
    for world in worlds:
        world.close()


def regions_of(world: World, record: JobRecord) -> list[str]:
    return [run.region for run in world.job(record.id).state.runs if run.started_at]


def test_a_job_waits_for_the_clean_hours_and_saves_what_the_slots_say(make: Make) -> None:
    world = make({"AA": DIRTY_THEN_CLEAN})
    record = world.submit(**job())
    world.run(HOUR)
    assert world.job(record.id).state.phase is Phase.WAITING
    assert world.job(record.id).state.windows[0].start == START + 8 * HOUR
    world.finish(record.id)
    state = world.job(record.id).state
    assert state.phase is Phase.SUCCEEDED
    assert START + 8 * HOUR <= state.runs[0].started_at <= START + 8 * HOUR + timedelta(minutes=6)
    assert asyncio.run(world.server.reporting.savings()).jobs[0].provisional, "its last hour is not realised yet"
    world.run(HOUR)
    report = asyncio.run(world.server.reporting.savings())
    line = report.jobs[0]
    energy_kwh = 4 * 0.4 * 2
    assert line.energy_kwh == pytest.approx(energy_kwh, rel=0.001)
    assert line.carbon_g == pytest.approx(energy_kwh * 100, rel=0.01)
    assert line.baseline.carbon_g == pytest.approx(energy_kwh * 400, rel=0.01)
    assert line.saved_g == pytest.approx(line.levers.time_shift_g)
    assert line.deadline_met is True
    assert not line.provisional


def test_a_suspendable_job_pauses_over_the_peak_and_goes_on_where_it_was(make: Make) -> None:
    world = make({"AA": TWO_DIPS})
    record = world.submit(**job(duration="4h", within="12h", checkpoint=CHECKPOINT))
    world.finish(record.id)
    state = world.job(record.id).state
    assert state.phase is Phase.SUCCEEDED
    assert len(state.runs) == 2
    assert state.finished_at <= START + 12 * HOUR
    assert world.saved_s[record.id] == pytest.approx(4 * 3600, abs=5), "no work was lost"


def test_a_running_job_moves_to_the_region_that_turns_clean(make: Make) -> None:
    here = [100.0] * 3 + [500.0] * 21
    there = [500.0] * 3 + [100.0] * 21
    world = make({"AA": here, "BB": there})
    record = world.submit(
        **job(duration="6h", within="8h", checkpoint=CHECKPOINT, regions={"home": "aa", "any_of": ["aa", "bb"]})
    )
    world.finish(record.id)
    assert regions_of(world, record) == ["aa", "bb"]
    first, second = world.job(record.id).state.runs
    assert first.ended_at <= second.created_at, "never two at a time"
    line = asyncio.run(world.server.reporting.savings()).jobs[0]
    assert line.levers.region_shift_g > 0
    assert line.levers.overheads_g < 0
    total = line.levers.time_shift_g + line.levers.region_shift_g + line.levers.resizing_g + line.levers.overheads_g
    assert total == pytest.approx(line.saved_g)


def test_jobs_share_the_gpus_there_are(make: Make) -> None:
    world = make({"AA": DIRTY_THEN_CLEAN}, gpus={"aa": 8})
    records = [world.submit(**job(f"j{i}", gpus=8, duration="3h", within="24h")) for i in range(3)]
    world.finish(*(record.id for record in records))
    spans = sorted((begin, end) for _, _, begin, end in world.spans)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    assert all(world.job(r.id).state.phase is Phase.SUCCEEDED for r in records)


def test_a_job_that_takes_longer_than_it_said_is_not_stopped_and_still_meets_its_deadline(make: Make) -> None:
    world = make({"AA": DIRTY_THEN_CLEAN})
    record = world.submit(**job(duration="4h", within="16h"))
    world.real_work_s["train"] = 4.4 * 3600
    world.finish(record.id)
    state = world.job(record.id).state
    assert len(state.runs) == 1
    assert state.finished_at <= record.spec.due


def test_a_constant_grid_starts_at_once(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    record = world.submit(**job())
    world.finish(record.id)
    assert world.job(record.id).state.runs[0].started_at <= START + timedelta(minutes=6)


def test_replaying_the_journal_gives_the_stored_state(make: Make) -> None:
    world = make({"AA": TWO_DIPS, "BB": DIRTY_THEN_CLEAN})
    first = world.submit(**job("a", duration="4h", within="12h", checkpoint=CHECKPOINT, regions={"home": "aa"}))
    second = world.submit(**job("b", duration="1h", within="12h"))
    world.finish(first.id, second.id)
    for record in (first, second):
        state: JobState = record.state
        for event in world.server.store.events(record.id):
            state, _ = handle(state, event, world.server.control._book._policy)
        assert state == world.job(record.id).state


def test_a_person_suspends_and_resumes(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    record = world.submit(**job(duration="3h", checkpoint=CHECKPOINT))
    world.run(HOUR)
    world.server.jobs.suspend(record.id)
    world.run(2 * HOUR)
    assert world.job(record.id).state.phase is Phase.SUSPENDED
    world.server.jobs.resume(record.id)
    world.finish(record.id)
    assert world.job(record.id).state.phase is Phase.SUCCEEDED
    assert len(world.job(record.id).state.runs) == 2


def test_a_cancelled_job_ends_and_frees_its_gpus(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    running = world.submit(**job("a", gpus=8, duration="10h", within="24h"))
    waiting = world.submit(**job("b", gpus=8, duration="2h", within="24h"))
    world.run(HOUR)
    world.server.jobs.cancel(running.id)
    world.finish(running.id, waiting.id)
    assert world.job(running.id).state.phase is Phase.CANCELLED
    assert world.job(waiting.id).state.runs[0].started_at < START + 2 * HOUR


def test_a_region_that_does_not_answer_is_left_out_and_its_runs_are_presumed_alive(make: Make) -> None:
    clean, dirty = [100.0] * 24, [400.0] * 24
    world = make({"AA": clean, "BB": dirty})
    both = {"home": "aa", "any_of": ["aa", "bb"]}
    running = world.submit(**job("a", duration="3h", checkpoint=CHECKPOINT, regions=both))
    world.run(timedelta(minutes=30))
    world.clusters["aa"].cut(for_s=3600)
    later = world.submit(**job("b", duration="1h", within="2h", regions=both))
    world.run(timedelta(minutes=30))
    assert regions_of(world, later) == ["bb"]
    assert len(world.job(running.id).state.runs) == 1, "unreachable is not stopped"
    world.finish(running.id, later.id)
    assert world.job(running.id).state.phase is Phase.SUCCEEDED


def test_a_restarted_cluster_loses_the_run_and_the_job_resumes_from_its_checkpoint(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    record = world.submit(**job(duration="3h", checkpoint=CHECKPOINT))
    world.run(HOUR)
    world.clusters["aa"].restart()
    world.finish(record.id)
    state = world.job(record.id).state
    assert state.phase is Phase.SUCCEEDED
    assert [run.phase.value for run in state.runs] == ["lost", "succeeded"]
    assert state.runs[1].created_at - state.runs[0].ended_at >= timedelta(seconds=90)


@pytest.mark.parametrize("how", ["taken", "taken_later", "dropped"])
def test_an_unanswered_submit_is_settled_and_the_job_runs_once(make: Make, how: str) -> None:
    world = make({"AA": [300.0] * 24})
    world.run(timedelta(0))
    world.clusters["aa"].lose_answer(how, after_s=120)
    record = world.submit(**job())
    world.finish(record.id)
    assert world.job(record.id).state.phase is Phase.SUCCEEDED
    assert len([span for span in world.spans if span[0] == record.id and span[3] > span[2]]) == 1


def test_a_run_that_overstays_keeps_its_gpus_to_itself(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    first = world.submit(**job("a", gpus=8, duration="2h", within="20h"))
    second = world.submit(**job("b", gpus=8, duration="2h", within="20h"))
    world.real_work_s["a"] = 3.1 * 3600
    world.finish(first.id, second.id)
    spans = sorted((begin, end) for _, _, begin, end in world.spans)
    assert spans[0][1] <= spans[1][0], "the second waits for the GPUs, not for the plan"


def test_a_region_with_live_runs_cannot_move_to_another_cluster(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    world.submit(**job())
    world.run(timedelta(minutes=30))
    region = world.server.store.regions()[0]
    with pytest.raises(Conflict, match="alive"):
        world.server.add_region(region.model_copy(update={"address": "http://127.0.0.1:2"}))
    world.server.add_region(region.model_copy(update={"pue": 1.3}))
    assert world.server.store.regions()[0].pue == 1.3


def test_whom_to_ask_is_decided_anew_only_where_something_about_the_grid_has_changed(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    region, before = world.server.store.regions()[0], world.server.grid.cascade
    world.server.add_region(region.model_copy(update={"capacity_gpus": 99, "pue": 1.3}))
    assert world.server.grid.cascade is before
    world.server.add_region(region.model_copy(update={"intensity_g_per_kwh": 77.0}))
    assert world.server.grid.cascade is not before


def test_two_submissions_at_once_are_not_both_given_the_last_gpus(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    world.run(timedelta(0))
    outcomes: list[object] = []

    def submit(name: str) -> None:
        try:
            outcomes.append(
                world.server.jobs.submit(
                    parse_job({"entrypoint": "x", **job(name, gpus=8, duration="3h", within="4h")})
                )
            )
        except Refused as refusal:
            outcomes.append(refusal)

    threads = [threading.Thread(target=submit, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(outcome, Refused) for outcome in outcomes) == 3


def test_an_outage_is_written_down_once_and_not_at_every_round(make: Make) -> None:
    world = make({"AA": [300.0] * 24})
    record = world.submit(**job(duration="5h"))
    world.run(HOUR)
    before = len(world.server.store.events(record.id))
    world.clusters["aa"].cut(for_s=3600)
    world.run(HOUR)
    assert len(world.server.store.events(record.id)) - before <= 4


def test_an_elastic_job_grows_into_the_clean_hours_and_keeps_what_it_has_done(make: Make) -> None:
    dip = [300.0] * 6 + [100.0] * 3 + [300.0] * 15
    world = make({"AA": dip})
    resources = {"gpus": {"min": 2, "max": 8}, "throughput": {2: 1.0, 4: 1.7, 8: 2.4}}
    record = world.submit(**{**job(duration="10h", within="11h", checkpoint=CHECKPOINT), "resources": resources})
    world.finish(record.id)
    state = world.job(record.id).state
    assert state.phase is Phase.SUCCEEDED
    assert state.finished_at <= record.spec.due
    sizes = [run.gpus for run in state.runs if run.started_at]
    assert sizes == [2, 4, 2], "few GPUs while the grid is dirty, more of them in the clean hours"
    assert abs(state.runs[1].started_at - START - 6 * HOUR) < timedelta(minutes=30)
    assert abs(state.runs[2].started_at - START - 9 * HOUR) < timedelta(minutes=30)
    assert world.saved_s[record.id] == pytest.approx(10 * 3600, abs=5), "no work was lost or counted twice"


def test_an_elastic_job_shrinks_when_its_gpus_are_promised_to_one_that_cannot_wait(make: Make) -> None:
    world = make({"AA": [100.0] * 24}, gpus={"aa": 8})
    resources = {"gpus": {"min": 2, "max": 8}, "throughput": {2: 1.0, 8: 3.6}}
    elastic = world.submit(
        **{**job("elastic", duration="8h", within="9h", checkpoint=CHECKPOINT), "resources": resources}
    )
    world.run(HOUR)
    urgent = world.submit(**job("urgent", gpus=6, duration="2h", within="3h"))
    world.finish(elastic.id, urgent.id)
    for record in (elastic, urgent):
        state = world.job(record.id).state
        assert state.phase is Phase.SUCCEEDED
        assert state.finished_at <= record.spec.due
