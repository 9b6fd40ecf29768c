"""What of the time of runs was work: not restarting, not stopping, not what a later run did again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kilowait_scheduler.core.overhead import work_s
from kilowait_scheduler.core.state import JobState, Phase, Run, RunPhase

T0 = datetime(2026, 11, 23, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def run(n: int, begin: int, end: int | None, **more: Any) -> Run:
    return Run(
        n=n,
        region="aa",
        submission_id=f"kw-1-{n}",
        created_at=T0 + begin * MINUTE,
        started_at=T0 + begin * MINUTE,
        ended_at=None if end is None else T0 + end * MINUTE,
        **{"phase": RunPhase.STOPPED, **more},
    )


def state(*runs: Run, restart_s: float = 300.0, **more: Any) -> JobState:
    return JobState(
        job_id="a", phase=Phase.SUCCEEDED, work_s=3600, suspendable=True, restart_s=restart_s, runs=runs, **more
    )


def test_one_run_is_all_work() -> None:
    assert work_s(state(run(1, 0, 60, phase=RunPhase.SUCCEEDED))) == 3600


def test_restarts_stops_and_work_done_again_are_not_work() -> None:
    stopped = run(1, 0, 30, stop_wanted_at=T0 + 28 * MINUTE)
    lost = run(2, 60, 90, phase=RunPhase.LOST, kept_until=T0 + 80 * MINUTE)
    last = run(3, 120, 150, phase=RunPhase.SUCCEEDED)
    assert work_s(state(stopped, lost, last)) == 60 * (28 + 15 + 25)


def test_a_run_that_never_came_beyond_its_restart_did_no_work_and_nothing_is_taken_off_twice() -> None:
    short = run(2, 60, 63, stop_wanted_at=T0 + 62 * MINUTE, kept_until=T0 + 61 * MINUTE)
    assert work_s(state(run(1, 0, 30), short, run(3, 90, 125, phase=RunPhase.SUCCEEDED))) == 60 * (30 + 30)


def test_work_on_more_gpus_counts_by_how_fast_it_went() -> None:
    one, two = run(1, 0, 60, gpus=2), run(2, 60, 95, gpus=4, phase=RunPhase.SUCCEEDED)
    assert work_s(state(one, two, speeds={2: 1.0, 4: 1.5})) == pytest.approx(3600 + 1800 * 1.5)


def test_a_run_that_goes_on_is_not_counted() -> None:
    assert work_s(state(run(1, 0, None, phase=RunPhase.RUNNING))) == 0
