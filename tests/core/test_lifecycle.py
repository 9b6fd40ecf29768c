"""The rules of a job's life, one by one, each as the situation that made it necessary."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.events import Instruction, Status
from kilowait_scheduler.core.lifecycle import Policy, handle
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.state import JobState, Phase, RunPhase, Want
from kilowait_scheduler.core.window import Window

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
POLICY = Policy()


def job(*, suspendable: bool = True, work_h: float = 10.0) -> JobState:
    return JobState(
        job_id="0a1b",
        work_s=work_h * 3600,
        suspendable=suspendable,
        restart_s=300.0 if suspendable else 0.0,
        checkpoint_period_s=600.0 if suspendable else 0.0,
    )


def window(start: datetime = T0, *, hours: float = 24, region: str = "aa", gpus: int = 8) -> Window:
    return Window(region=region, start=start, end=start + timedelta(hours=hours), gpus=gpus)


def planned(*windows: Window, at: datetime = T0) -> ev.Planned:
    return ev.Planned(at=at, windows=windows, reason=Reason.WAITING_FOR_WINDOW)


def tick(after: timedelta = timedelta(0)) -> ev.Ticked:
    return ev.Ticked(at=T0 + after)


def seen(status: Status, *, run: int = 1, after: timedelta = timedelta(0), user_error: bool = False) -> ev.Observed:
    return ev.Observed(at=T0 + after, run=run, status=status, user_error=user_error)


def told(state: JobState, *happened: ev.Event) -> tuple[JobState, list[Instruction]]:
    instructions: list[Instruction] = []
    for event in happened:
        state, instructions = handle(state, event, POLICY)
    return state, instructions


def running(state: JobState | None = None, *, session: str = "s1") -> JobState:
    submitted = ev.Submitted(at=T0, run=1, session_name=session)
    return told(state or job(), planned(window()), tick(), submitted, seen(Status.RUNNING))[0]


@pytest.mark.parametrize("wish", ["run", "cancel"])
def test_a_rejection_does_not_disprove_an_earlier_attempt_that_may_still_arrive(wish: str) -> None:
    state, _ = told(job(), planned(window()), tick(), ev.SubmitUnclear(at=T0, run=1), tick())
    assert state.run(1).submits == 2
    if wish == "cancel":
        state, _ = told(state, ev.CancelWanted(at=T0))
    state, _ = told(state, ev.SubmitFailed(at=T0, run=1, permanent=True, detail="package is gone"))
    assert state.live_run is not None, "the first attempt may be under way"
    state, instructions = told(state, tick(HOUR))
    assert instructions == [ev.SettleRun(run=1)]
    state, _ = told(state, ev.NeverStarted(at=T0 + HOUR, run=1))
    assert state.live_run is None


def test_a_rejection_of_the_only_attempt_ends_the_run() -> None:
    state, instructions = told(job(), planned(window()), tick(), ev.SubmitFailed(at=T0, run=1, permanent=True))
    assert state.run(1).phase is RunPhase.FAILED
    assert state.reason is Reason.INFRASTRUCTURE_FAILED
    assert instructions == [ev.Replan()]


def test_a_run_that_never_left_moves_to_another_region_at_once() -> None:
    failed = ev.SubmitFailed(at=T0, run=1, permanent=False)
    state, _ = told(job(), planned(window()), tick(), failed, failed, tick(), failed)
    assert state.run(1).never_sent
    state, instructions = told(state, planned(window(region="bb")), tick())
    assert [run.phase for run in state.runs] == [RunPhase.STOPPED, RunPhase.SUBMITTING]
    assert state.run(2).region == "bb"
    assert instructions == [ev.StartRun(run=2)]


@pytest.mark.parametrize("unclear_first", [True, False])
def test_a_run_that_may_have_left_is_never_declared_absent(unclear_first: bool) -> None:
    failed = ev.SubmitFailed(at=T0, run=1, permanent=False)
    unclear = ev.SubmitUnclear(at=T0, run=1)
    attempts = (unclear, tick(), failed, failed) if unclear_first else (failed, tick(), unclear, tick(), failed)
    state, _ = told(job(), planned(window()), tick(), *attempts)
    assert not state.run(1).never_sent
    state, instructions = told(state, planned(window(region="bb")), tick())
    assert state.run(1).phase is RunPhase.STOPPING
    assert instructions == [ev.SettleRun(run=1)]


def test_an_attempt_whose_answer_was_lost_in_a_crash_counts_as_sent() -> None:
    state, _ = told(job(), planned(window()), tick(), tick())  # the first outcome was never committed
    state, _ = told(state, ev.SubmitFailed(at=T0, run=1, permanent=False))
    assert not state.run(1).never_sent


def test_a_job_that_could_not_be_sent_is_cancelled_without_its_cluster() -> None:
    failed = ev.SubmitFailed(at=T0, run=1, permanent=False)
    state, instructions = told(job(), planned(window()), tick(), failed, ev.CancelWanted(at=T0))
    assert state.phase is Phase.CANCELLED
    assert instructions == []


@pytest.mark.parametrize("later", [ev.SuspendWanted(at=T0), ev.ResumeWanted(at=T0)])
def test_nothing_takes_a_cancellation_back(later: ev.Event) -> None:
    state, _ = told(running(), ev.CancelWanted(at=T0), later)
    assert state.want is Want.CANCEL
    state, _ = told(state, seen(Status.STOPPED, after=HOUR), tick(HOUR))
    assert state.phase is Phase.CANCELLED


def test_a_cancelled_run_that_its_cluster_loses_for_the_last_time_is_cancelled_and_not_failed() -> None:
    state = running(job()).model_copy(update={"failures": POLICY.max_failures})
    state, _ = told(state, ev.CancelWanted(at=T0), ev.Missing(at=T0, run=1, new_session=True), tick(HOUR))
    assert state.phase is Phase.CANCELLED


def test_a_run_lost_in_an_outage_is_credited_until_it_was_last_seen() -> None:
    silence = [ev.Unreachable(at=T0 + h * HOUR, run=1) for h in (2, 3, 4, 5)]
    state, _ = told(running(), *silence, ev.Missing(at=T0 + 6 * HOUR, run=1, new_session=True))
    assert state.run(1).phase is RunPhase.LOST
    assert state.done_s == 2 * 3600 - 600, "less what its last checkpoint may not hold"
    assert state.not_before == T0 + 6 * HOUR + POLICY.fence


def test_a_run_seen_again_after_an_outage_is_credited_in_full() -> None:
    back = (ev.Unreachable(at=T0 + HOUR, run=1), seen(Status.RUNNING, after=2 * HOUR))
    stop = (ev.SuspendWanted(at=T0 + 3 * HOUR), seen(Status.STOPPED, after=3 * HOUR))
    state, _ = told(running(), *back, *stop)
    assert state.done_s == 3 * 3600


def test_a_resumed_run_is_not_credited_with_its_restart() -> None:
    state, _ = told(running(), ev.SuspendWanted(at=T0 + HOUR), seen(Status.STOPPED, after=HOUR))
    assert state.done_s == 3600
    state, _ = told(state, ev.ResumeWanted(at=T0 + HOUR), planned(window()), tick(HOUR))
    state, _ = told(state, seen(Status.RUNNING, run=2, after=HOUR), ev.SuspendWanted(at=T0 + 2 * HOUR))
    state, _ = told(state, seen(Status.STOPPED, run=2, after=2 * HOUR))
    assert state.done_s == 2 * 3600 - 300


def test_work_without_a_checkpoint_is_lost_with_its_run() -> None:
    state, _ = told(running(job(suspendable=False)), seen(Status.FAILED, after=5 * HOUR))
    assert state.done_s == 0
    assert state.phase is Phase.WAITING


def test_an_answer_that_comes_late_does_not_undo_what_was_seen_since() -> None:
    state = running()
    for late in (ev.Submitted(at=T0, run=1), ev.SubmitUnclear(at=T0, run=1)):
        state, _ = told(state, late)
        assert state.run(1).phase is RunPhase.RUNNING
        assert state.run(1).session_name == "s1"
    state, instructions = told(state, ev.SubmitFailed(at=T0, run=1, permanent=True))
    assert state.run(1).phase is RunPhase.RUNNING
    assert instructions == []


def test_a_cluster_must_deny_a_run_three_times_or_have_restarted() -> None:
    missing = ev.Missing(at=T0, run=1, new_session=False)
    state, _ = told(running(), missing, missing)
    assert state.live_run is not None
    again, _ = told(state, seen(Status.RUNNING), missing, missing)
    assert again.live_run is not None, "being seen starts the count anew"
    lost, _ = told(state, missing)
    assert lost.run(1).phase is RunPhase.LOST
    restarted, _ = told(running(), ev.Missing(at=T0, run=1, new_session=True))
    assert restarted.run(1).phase is RunPhase.LOST


def test_a_cluster_that_answers_again_is_no_longer_called_unreachable() -> None:
    state, _ = told(job(), planned(window()), tick(), ev.SubmitUnclear(at=T0, run=1))
    assert state.reason is Reason.SUBMIT_UNCLEAR
    state, _ = told(state, seen(Status.PENDING))
    assert state.reason is Reason.STARTS_NOW
    state, _ = told(state, ev.Unreachable(at=T0, run=1), seen(Status.RUNNING))
    assert state.reason is Reason.RUNNING_AS_PLANNED


def test_a_run_past_its_last_window_goes_on_until_it_is_done() -> None:
    state = told(job(), planned(window(hours=1)), tick(), seen(Status.RUNNING), tick(2 * HOUR))[0]
    assert state.run(1).phase is RunPhase.RUNNING
    assert state.reason is Reason.RUNNING_OVER


def test_a_run_stops_at_the_end_of_a_window_that_is_not_the_last() -> None:
    later = window(T0 + 5 * HOUR, hours=2)
    state, instructions = told(job(), planned(window(hours=1), later), tick(), seen(Status.RUNNING), tick(HOUR))
    assert state.phase is Phase.SUSPENDING
    assert state.reason is Reason.WINDOW_CLOSED
    assert instructions == [ev.StopRun(run=1)]


def test_a_job_without_a_checkpoint_is_never_stopped_for_its_windows() -> None:
    state = running(job(suspendable=False))
    state, instructions = told(state, planned(window(T0 + 5 * HOUR, region="bb")), tick(HOUR))
    assert state.run(1).phase is RunPhase.RUNNING
    assert instructions == []


def test_a_stop_is_sent_again_only_after_the_policy_s_patience() -> None:
    state, instructions = told(running(), ev.SuspendWanted(at=T0))
    assert instructions == [ev.StopRun(run=1)]
    state, instructions = told(state, ev.StopSent(at=T0, run=1), tick(timedelta(seconds=59)))
    assert instructions == []
    assert told(state, tick(timedelta(seconds=60)))[1] == [ev.StopRun(run=1)]


def test_a_program_that_fails_by_itself_is_not_tried_again() -> None:
    state, _ = told(running(), seen(Status.FAILED, user_error=True))
    assert (state.phase, state.reason) == (Phase.FAILED, Reason.ENTRYPOINT_FAILED)


def test_a_job_stopped_on_the_cluster_by_somebody_else_waits_for_a_person() -> None:
    state, _ = told(running(), seen(Status.STOPPED, after=HOUR), tick(HOUR))
    assert (state.phase, state.reason) == (Phase.SUSPENDED, Reason.STOPPED_OUTSIDE)
    state, _ = told(state, planned(window(T0 + HOUR)), tick(2 * HOUR))
    assert len(state.runs) == 1
    state, instructions = told(state, ev.ResumeWanted(at=T0 + 3 * HOUR))
    assert instructions == [ev.Replan()]


def test_a_held_job_asks_for_nothing_until_it_is_planned() -> None:
    state, instructions = told(job(), ev.Held(at=T0, reason=Reason.BUDGET_EXHAUSTED, detail="0 kg left"), tick())
    assert (state.phase, instructions) == (Phase.HELD, [])
    state, instructions = told(state, planned(window()), tick())
    assert instructions == [ev.StartRun(run=1)]


ELASTIC = job().model_copy(update={"speeds": {2: 1.0, 8: 3.0}})


def test_a_window_of_another_size_stops_the_run_and_starts_one_of_that_size() -> None:
    small, large = window(hours=2, gpus=2), window(T0 + 2 * HOUR, gpus=8)
    state, _ = told(ELASTIC, planned(small, large), tick(), seen(Status.RUNNING))
    assert state.run(1).gpus == 2
    assert told(state, tick(HOUR))[1] == []
    state, instructions = told(state, tick(2 * HOUR))
    assert (state.reason, instructions) == (Reason.RESIZING, [ev.StopRun(run=1)])
    state, instructions = told(state, seen(Status.STOPPED, after=2 * HOUR), tick(2 * HOUR))
    assert (state.run(2).gpus, instructions) == (8, [ev.StartRun(run=2)])


def test_work_is_credited_at_the_speed_of_the_gpus_it_was_done_on() -> None:
    state, _ = told(ELASTIC, planned(window(hours=1, gpus=2), window(T0 + HOUR, gpus=8)), tick(), seen(Status.RUNNING))
    state, _ = told(state, tick(HOUR), seen(Status.STOPPED, after=HOUR), tick(HOUR))
    assert state.done_s == 3600
    state, _ = told(state, seen(Status.RUNNING, run=2, after=HOUR))
    restart, worked = timedelta(seconds=300), timedelta(minutes=30)
    assert state.work_ahead_s(T0 + HOUR + restart + worked) == 10 * 3600 - 3600 - 1800 * 3
    assert state.time_left_s(T0 + HOUR + restart + worked) == pytest.approx((10 * 3600 - 3600 - 1800 * 3) / 3)
    state, _ = told(state, ev.SuspendWanted(at=T0 + HOUR + restart + worked))
    state, _ = told(state, seen(Status.STOPPED, run=2, after=HOUR + restart + worked))
    assert state.done_s == 3600 + 1800 * 3


def test_a_run_that_never_left_takes_on_the_size_of_its_new_window_at_once() -> None:
    state, _ = told(ELASTIC, planned(window(gpus=2)), tick(), ev.SubmitFailed(at=T0, run=1, permanent=False))
    state, instructions = told(state, planned(window(gpus=8)), tick())
    assert (state.run(2).gpus, instructions) == (8, [ev.StartRun(run=2)])


def test_a_run_from_before_jobs_had_sizes_goes_on_in_its_window() -> None:
    state = running()
    old = state.model_copy(update={"runs": (state.run(1).model_copy(update={"gpus": None}),)})
    assert told(old, tick(HOUR))[1] == []


def test_a_run_that_is_still_pending_is_resized_too() -> None:
    state, _ = told(ELASTIC, planned(window(gpus=8)), tick(), ev.Submitted(at=T0, run=1), seen(Status.PENDING))
    state, instructions = told(state, planned(window(gpus=2)), tick())
    assert (state.reason, instructions) == (Reason.RESIZING, [ev.StopRun(run=1)])


@pytest.mark.parametrize("status", [Status.SUCCEEDED, Status.FAILED, Status.STOPPED])
def test_a_run_that_came_and_went_between_two_looks_began_when_it_was_made_and_is_credited_nothing(
    status: Status,
) -> None:
    state, _ = told(job(), planned(window()), tick(), ev.Submitted(at=T0, run=1))
    end = ev.Observed(at=T0 + 3 * HOUR, run=1, status=status, began=True)
    state, _ = told(state, end)
    run = state.run(1)
    assert (run.started_at, run.ended_at) == (T0, T0 + 3 * HOUR)
    assert state.done_s == (state.work_s if status is Status.SUCCEEDED else 0.0), "how long it waited is not known"


def test_a_run_that_could_not_be_set_up_never_began() -> None:
    state, _ = told(job(), planned(window()), tick(), ev.Submitted(at=T0, run=1))
    state, _ = told(state, seen(Status.FAILED, after=HOUR))
    assert state.run(1).started_at is None
