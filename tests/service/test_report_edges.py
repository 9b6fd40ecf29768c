"""Savings reports at the edges: jobs that never ran, work that was lost, months whose days are not all of 24 hours."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.core.budget import Budget, BudgetScope
from kilowait_scheduler.core.errors import Refused
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.reports.formats import FORMS
from kilowait_scheduler.reports.model import By, JobLine, Report
from kilowait_scheduler.reports.words import headline
from kilowait_scheduler.service.monthly import Monthly
from kilowait_scheduler.service.reporting import Asked
from world import HOUR, World, make_world

Make = Callable[..., World]
SCRIPT = Path(__file__).parents[2] / "docs" / "recompute.py"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    worlds: list[World] = []

    def build(**more: object) -> World:
        zones = {"AA": [300.0] * 24, **more.pop("zones", {})}  # type: ignore[dict-item]
        worlds.append(make_world(tmp_path, zones, **more))  # type: ignore[arg-type]
        return worlds[-1]

    yield build
    for world in worlds:
        world.close()


def report(world: World, **asked: object) -> Report:
    return asyncio.run(world.server.reporting.savings(Asked(**asked)))  # type: ignore[arg-type]


def only(found: Report) -> JobLine:
    (line,) = found.jobs
    return line


def job(name: str, **more: object) -> dict[str, object]:
    return {"name": name, "resources": {"gpus": 8}, "duration": "2h", "within": "20h", **more}


def lost_once(world: World) -> str:
    """A job without checkpoints whose run was lost after an hour; from the next one on nobody measures."""
    record = world.submit(**job("a", within="30h", resources={"gpus": 8, "gpu_type": "A100-SXM4-80GB"}))
    world.run(HOUR)
    (first,) = world.job(record.id).state.runs
    assert first.started_at is not None
    world._report(record, first.submission_id, 8, "aa", first.started_at, world.now)
    world.clusters["aa"].restart()
    world.report = False
    while len(world.job(record.id).state.runs) < 2:
        world.run(HOUR / 60, every=HOUR / 60)
    return record.id


def lost_for_nothing(world: World) -> None:
    """The same job, cancelled as its next run began."""
    lost = lost_once(world)
    world.server.jobs.cancel(lost)
    world.run(HOUR / 6)
    assert world.job(lost).state.phase is Phase.CANCELLED
    world.run(30 * HOUR, every=6 * HOUR)


def test_energy_of_which_no_work_was_kept_is_emitted_all_the_same(make: Make, tmp_path: Path) -> None:
    world = make()
    lost_for_nothing(world)
    for baseline in Baseline:
        found = report(world, baseline=baseline)
        line = only(found)
        assert line.note == ""
        assert line.baseline is not None
        assert line.baseline.carbon_g == 0, "there was no work that it would have done"
        assert line.carbon_g == pytest.approx(8 * 0.4 * 300, rel=0.05)
        assert line.saved_g == -line.carbon_g
        assert line.saved_pct is None
        assert line.levers is not None
        assert line.levers.overheads_g == line.saved_g
        assert line.embodied_g is not None and line.sci_g_per_gpu_h is None
        assert headline(found).kind == "more"
        for form in FORMS.values():
            form.write(found)
    folder = tmp_path / "evidence"
    folder.mkdir()
    for name, text in asyncio.run(world.server.reporting.evidence()).files().items():
        (folder / name).write_text(text, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    figures, problems = module.recompute(folder)
    assert problems == [] and figures > 0


def test_work_that_was_done_while_nobody_measured_is_not_taken_for_none(make: Make) -> None:
    """What was measured is the lost run alone; the run that did all of the work has no readings."""
    world = make()
    lost = lost_once(world)
    world.report = True
    behind = world.submit(**job("b", within="40h"))
    world.report = False
    while not world.job(lost).state.phase.final:
        world.run(HOUR / 6)
    world.report = True
    world.finish(behind.id)
    world.run(40 * HOUR, every=6 * HOUR)
    assert world.job(lost).state.phase is Phase.SUCCEEDED
    for baseline in Baseline:
        lines = {line.id: line for line in report(world, baseline=baseline).jobs}
        line = lines[lost]
        assert line.note.startswith("no meter readings")
        figures = (line.carbon_g, line.baseline, line.baseline_start, line.saved_g, line.levers)
        assert set(figures) == {None}, "what is missing is not zero"
        if baseline is Baseline.RUN_NOW:
            starts = lines[behind.id].baseline_start
            assert starts is not None and starts >= world.job(lost).submitted_at + 2 * HOUR, (
                "home was held all the same"
            )


def test_a_job_that_is_tried_again_has_no_figures_before_its_end_and_says_so(make: Make) -> None:
    world = make()
    lost = lost_once(world)
    for _ in range(4):  # the next run is planned, sent, and begins
        line = only(report(world))
        assert (line.carbon_g, line.baseline, line.saved_g) == (None, None, None)
        assert line.note == "not yet: none of its work is kept so far; the figure comes once it has ended"
        world.run(HOUR / 60, every=HOUR / 60)
    assert world.job(lost).state.runs[1].started_at is not None
    world.server.jobs.cancel(lost)
    world.run(HOUR / 6)
    assert only(report(world)).saved_g is not None


def test_jobs_that_never_ran_are_told_and_count_for_nothing(make: Make) -> None:
    """One is held, one was cancelled while it waited, one was refused: only the first two are jobs at all."""
    world = make()
    world.server.allowances.put(Budget(id="poor", scope=BudgetScope.TEAM, name="poor", limit_g=1.0))
    held = world.submit(**job("held", team="poor"))
    world.run(HOUR / 60)  # jobs of one moment are in order of their ids, which are drawn
    gone = world.submit(**job("gone", earliest="2026-11-23T10:00:00Z"))
    with pytest.raises(Refused):
        world.submit(**job("rejected", resources={"gpus": 9}))
    world.run(HOUR)
    world.server.jobs.cancel(gone.id)
    world.run(HOUR)
    assert world.job(held.id).state.phase is Phase.HELD
    for baseline in Baseline:
        for by in By:
            found = report(world, baseline=baseline, by=by)
            assert [line.state for line in found.jobs] == ["held", "cancelled"]
            assert found.totals.jobs == found.totals.without_figures == 2
            assert (found.totals.energy_kwh, found.totals.carbon_g, found.totals.saved_g) == (0, 0, 0)
            assert found.totals.saved_pct is None
            assert found.totals.final_from is None, "the one that is held may run yet"
            for line in found.jobs:
                figures = (line.carbon_g, line.energy_kwh, line.saved_g, line.baseline, line.measured_pct, line.levers)
                assert set(figures) == {None}, "what is missing is not zero"
                assert line.uses == () and line.note == "" and line.runs == 0
            assert headline(found).words == "No figures yet"
    cancelled = found.jobs[1]
    assert cancelled.deadline_met is None and cancelled.finished_at is not None
    for form in FORMS.values():
        form.write(found)
    told = json.loads(FORMS["json"].write(found))
    assert [line["carbon_g"] for line in told["jobs"]] == [None, None]


def test_a_job_that_never_ran_changes_no_figure_of_one_that_did(make: Make) -> None:
    world = make()
    ran = world.submit(**job("ran", within="3h"))
    world.finish(ran.id)
    world.run(6 * HOUR, every=HOUR)
    alone = report(world).totals
    waits = world.submit(**job("waits", earliest="2026-11-24T20:00:00Z", within="40h"))
    world.server.jobs.cancel(waits.id)
    world.run(HOUR)
    beside = report(world).totals
    assert (beside.jobs, beside.without_figures) == (2, 1)
    for name in ("energy_kwh", "carbon_g", "baseline_g", "saved_g", "saved_pct", "energy_cost", "levers"):
        assert getattr(beside, name) == getattr(alone, name), name


# When clocks change in Berlin, the nights around it, and how long that month lasts there.
MARCH = ("2026-03-29T01:00Z", "2026-03-31T22:00Z", "2026-03", "2026-04", 31 * 24 - 1)
OCTOBER = ("2026-10-25T01:00Z", "2026-10-31T23:00Z", "2026-10", "2026-11", 31 * 24 + 1)


@pytest.mark.parametrize(("changed", "turn", "month", "following", "hours"), [MARCH, OCTOBER])
def test_a_report_across_a_change_of_clocks_counts_every_hour_and_every_job_once(
    make: Make, tmp_path: Path, changed: str, turn: str, month: str, following: str, hours: int
) -> None:
    """Months and budgets are Berlin's. One job runs through the change, one each side of the month's last midnight."""
    change, midnight = datetime.fromisoformat(changed), datetime.fromisoformat(turn)
    hourly = [100.0 * (hour + 1) for hour in range(24)]  # an hour that is taken for its neighbour shows
    begin = change - 2 * HOUR
    world = make(zones={"AA": hourly}, start=begin)
    limit = Budget(id="b", scope=BudgetScope.ORGANISATION, name="b", limit_g=1e6, timezone="Europe/Berlin")
    world.server.allowances.put(limit)
    names = {"through": change - HOUR, "before": midnight - HOUR / 60, "after": midnight}
    for name, at in names.items():
        world._settle_first()
        world.wall[0] += (at - world.now) // timedelta(microseconds=1)
        world.submit(**job(name, resources={"gpus": 2}, within="2h", team=name))
        world.run(3 * HOUR)
    world.run(24 * HOUR, every=6 * HOUR)

    whole = report(world)
    for line in whole.jobs:
        assert (line.state, line.note) == ("succeeded", "")
        ((_, _, started, ended),) = [span for span in world.spans if span[0] == line.id]
        seconds = range(int((ended - started).total_seconds()))
        ago = (started - begin).total_seconds()
        truth_g = sum(0.8 / 3600 * hourly[int((ago + s) // 3600) % 24] for s in seconds)
        assert line.carbon_g == pytest.approx(truth_g, rel=1e-3)

    berlin = Monthly(
        reporting=world.server.reporting,
        clock=world.server.clock,
        folder=tmp_path / "months",
        zone="Europe/Berlin",
        may_act=lambda: True,
    )
    world.wall[0] += 40 * 24 * HOUR // timedelta(microseconds=1)
    asyncio.run(berlin.write_due())
    told = {name: json.loads((tmp_path / "months" / f"savings-{name}.json").read_text()) for name in (month, following)}
    assert [[line["name"] for line in one["jobs"]] for one in told.values()] == [["through", "before"], ["after"]]
    start, end = (datetime.fromisoformat(told[month][edge]) for edge in ("start", "end"))
    assert end == datetime.fromisoformat(told[following]["start"]) == midnight
    assert (end - start) / HOUR == hours
    for figure in ("energy_kwh", "carbon_g", "baseline_g", "saved_g"):
        parts = sum(one["totals"][figure] for one in told.values())
        assert parts == pytest.approx(getattr(whole.totals, figure), rel=1e-12), figure

    by_hand = asyncio.run(world.server.reporting.savings(Asked(timezone="Europe/Berlin").of_month(month)))
    assert json.loads(str(FORMS["json"].write(by_hand))) == told[month], "asked for or written: to the last entry"

    charged = {name: world.server.store.balance_ug(f"emitted:b-{name}") / 1e6 for name in (month, following)}
    assert charged == pytest.approx({name: told[name]["totals"]["carbon_g"] for name in charged}, rel=1e-6)
