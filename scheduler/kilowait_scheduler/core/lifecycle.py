"""The life of a job as a pure function: `handle(state, event, policy) -> (state, instructions)`.

    job  QUEUED -> WAITING -> RUNNING -> SUSPENDING -> SUSPENDED -> ... -> SUCCEEDED | FAILED | CANCELLED;  HELD
    run  SUBMITTING -> (UNKNOWN) -> PENDING -> RUNNING -> STOPPING -> STOPPED | SUCCEEDED | FAILED | LOST

Three rules carry the weight. A job has at most one live run, and a new one starts only after the old one is known to be
dead ("unreachable" is not "stopped"). Instructions repeat on every tick until the cluster's answer is known, so a crash
between any two steps only delays. Replaying the journalled events gives the same state.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from . import events as ev
from .events import Instruction, Status
from .reasons import Reason
from .state import JobState, Phase, Run, RunPhase, Want
from .window import Window

_NO_ANSWER = (Reason.CLUSTER_UNREACHABLE, Reason.SUBMIT_UNCLEAR)


@dataclass(frozen=True)
class Policy:
    """Patience of the rules, in grid time.

    `fence`: how long after its cluster was restarted a lost run may still draw breath (Ray: GCS reconnect timeout of
    60 s plus margin). `stop_again`: when an unanswered stop is repeated. `missing_before_lost`: how often a cluster
    must deny knowing a run. `max_failures`: failures of the cluster forgiven. `retry_after`: pause after one.
    """

    fence: timedelta = timedelta(seconds=90)
    stop_again: timedelta = timedelta(seconds=60)
    missing_before_lost: int = 3
    max_failures: int = 5
    retry_after: timedelta = timedelta(seconds=30)


Result = tuple[JobState, list[Instruction]]


def submission_id(job_id: str, n: int) -> str:
    """Deterministic and never reused: run `n` of a job has this id on whatever cluster it goes to."""
    return f"kw-{job_id}-{n}"


def handle(state: JobState, event: ev.Event, policy: Policy) -> Result:
    """The state after `event` and what to do next. Events that no longer apply change nothing."""
    if state.phase.final:
        return state, []
    match event:
        case ev.Ticked():
            return _tick(state, event.at, policy)
        case ev.Planned():
            return _planned(state, event)
        case ev.Held():
            return _held(state, event, policy)
        case ev.SuspendWanted():
            if state.want is Want.CANCEL:
                return state, []
            return _tick(_set(state, want=Want.PAUSE), event.at, policy)
        case ev.ResumeWanted():
            resumed = _set(state, want=Want.RUN, windows=())
            return (resumed, [ev.Replan()]) if state.want is Want.PAUSE else (state, [])
        case ev.CancelWanted():
            return _tick(_set(state, want=Want.CANCEL), event.at, policy)
    live = state.live_run
    if live is None or live.n != event.run:
        return state, []
    match event:
        case ev.Submitted():
            phase = RunPhase.PENDING if live.phase in (RunPhase.SUBMITTING, RunPhase.UNKNOWN) else live.phase
            session = event.session_name or live.session_name
            return _with_run(state, live, phase=phase, clear_submit=True, session_name=session), []
        case ev.SubmitFailed():
            return _submit_failed(state, live, event, policy)
        case ev.SubmitUnclear():
            if live.phase in (RunPhase.SUBMITTING, RunPhase.UNKNOWN):
                state = _with_run(state, live, phase=RunPhase.UNKNOWN, detail=event.detail)
                return _set(state, reason=Reason.SUBMIT_UNCLEAR, detail=event.detail), []
            return state, []
        case ev.StopSent():
            return _with_run(state, live, stop_sent_at=event.at), []
        case ev.NeverStarted():
            # A cluster that took it, said nothing and restarted has forgotten it too: the fence holds here as well.
            state = _set(state, not_before=event.at + policy.fence)
            return _ended(state, live, phase=RunPhase.STOPPED, at=event.at, detail="never started"), []
        case ev.Missing():
            return _missing(state, live, event, policy)
        case ev.Unreachable():
            if live.silent_since is not None and state.reason is Reason.CLUSTER_UNREACHABLE:
                return state, []  # no news, and nothing to write down at every round
            state = _with_run(state, live, silent_since=live.silent_since or event.at)
            return _set(state, reason=Reason.CLUSTER_UNREACHABLE, detail=event.detail), []
        case ev.Observed():
            return _observed(state, live, event, policy)


def _set(state: JobState, **changes: object) -> JobState:
    return state.model_copy(update=changes)


def _with_run(state: JobState, run: Run, **changes: object) -> JobState:
    changed = run.model_copy(update=changes)
    return _set(state, runs=tuple(changed if r.n == run.n else r for r in state.runs))


def _planned(state: JobState, event: ev.Planned) -> Result:
    promised = event.promise or state.promise
    first = state.first_promise or promised
    state = _set(state, windows=event.windows, promise=promised, first_promise=first)
    live = state.live_run
    if live is None and state.want is Want.RUN:
        phase = Phase.SUSPENDED if any(run.started_at for run in state.runs) else Phase.WAITING
        return _set(state, phase=phase, reason=event.reason, detail=event.detail), []
    if live is not None and live.phase is not RunPhase.STOPPING and state.reason is not Reason.CLUSTER_UNREACHABLE:
        return _set(state, reason=event.reason, detail=event.detail), []
    return state, []


def _held(state: JobState, event: ev.Held, policy: Policy) -> Result:
    """Hold a job that waits; stop one that runs at a checkpoint, if it has one, to be planned anew after that."""
    if state.want is not Want.RUN:
        return state, []
    live = state.live_run
    if live is None:
        return _set(state, phase=Phase.HELD, windows=(), reason=event.reason, detail=event.detail), []
    if not state.suspendable or live.phase is RunPhase.STOPPING:
        return state, []
    stopping = _set(state, windows=())
    return _stop(stopping, live, event.at, policy, reason=event.reason, detail=event.detail)


def _tick(state: JobState, now: datetime, policy: Policy) -> Result:
    live = state.live_run
    if live is None:
        return _tick_idle(state, now)
    if live.phase is RunPhase.STOPPING:
        return _keep_stopping(state, live, now, policy)
    if state.want is Want.CANCEL:
        return _stop(state, live, now, policy, reason=Reason.CANCELLED_BY_USER)
    if state.want is Want.PAUSE:
        return _stop(state, live, now, policy, reason=Reason.USER_SUSPENDED)
    if live.phase in (RunPhase.SUBMITTING, RunPhase.UNKNOWN):
        return _submit_again(state, live, now, policy)
    if state.suspendable and state.windows and live.phase in (RunPhase.PENDING, RunPhase.RUNNING):
        current = _window_at(state.windows, now)
        ahead = [window for window in state.windows if window.start > now]
        if current is None and ahead:
            return _stop(state, live, now, policy, reason=_why_stop(live, ahead[0]))
        if current is not None and not _suits(live, current):
            return _stop(state, live, now, policy, reason=_why_change(live, current))
        if current is None and state.reason in (Reason.RUNNING_AS_PLANNED, Reason.STARTS_NOW):
            # Its GPUs stay taken for longer than others were promised.
            return _set(state, reason=Reason.RUNNING_OVER, detail=""), [ev.Replan()]
    return state, []


def _submit_again(state: JobState, live: Run, now: datetime, policy: Policy) -> Result:
    current = _window_at(state.windows, now)
    if current is None or _suits(live, current):
        return _with_run(state, live, submits=live.submits + 1), [ev.StartRun(run=live.n)]
    if live.never_sent:  # so the new plan's region may have the job at once
        return _tick_idle(_ended(state, live, phase=RunPhase.STOPPED, at=now, detail="never sent"), now)
    return _stop(state, live, now, policy, reason=_why_change(live, current))


def _suits(live: Run, window: Window) -> bool:
    """Whether the run is where the window is, and as large."""
    return window.region == live.region and live.gpus in (None, window.gpus)


def _why_change(live: Run, window: Window) -> Reason:
    return Reason.RESIZING if window.region == live.region else Reason.RELOCATING


def _why_stop(live: Run, following: Window) -> Reason:
    return Reason.WINDOW_CLOSED if following.region == live.region else Reason.RELOCATING


def _window_at(windows: tuple[Window, ...], now: datetime) -> Window | None:
    return next((window for window in windows if window.contains(now)), None)


def next_start(state: JobState, now: datetime) -> Window | None:
    """The window in which the next tick would start a run; None where it would start none."""
    waits = state.not_before is not None and now < state.not_before
    if state.live_run is not None or state.want is not Want.RUN or waits or state.phase.final:
        return None
    return _window_at(state.windows, now)


def _tick_idle(state: JobState, now: datetime) -> Result:
    if state.want is Want.CANCEL:
        done = _set(state, phase=Phase.CANCELLED, reason=Reason.CANCELLED_BY_USER, detail="", finished_at=now)
        return done, []
    if state.want is Want.PAUSE:
        if state.reason in (Reason.USER_SUSPENDED, Reason.STOPPED_OUTSIDE):
            return _set(state, phase=Phase.SUSPENDED), []
        return _set(state, phase=Phase.SUSPENDED, reason=Reason.USER_SUSPENDED, detail=""), []
    if state.not_before is not None and now < state.not_before:
        return state, []
    if not state.windows:
        return state, [] if state.phase is Phase.HELD else [ev.Replan()]
    window = _window_at(state.windows, now)
    if window is None:
        return state, [] if state.windows[-1].start > now else [ev.Replan()]
    n = len(state.runs) + 1
    run = Run(
        n=n,
        region=window.region,
        submission_id=submission_id(state.job_id, n),
        phase=RunPhase.SUBMITTING,
        created_at=now,
        gpus=window.gpus,
    )
    state = _set(state, runs=(*state.runs, run), phase=Phase.RUNNING, reason=Reason.STARTS_NOW, detail="")
    return state, [ev.StartRun(run=n)]


def _stop(state: JobState, live: Run, now: datetime, policy: Policy, *, reason: Reason, detail: str = "") -> Result:
    state = _with_run(state, live, phase=RunPhase.STOPPING, stop_wanted_at=now)
    state = _set(state, phase=Phase.SUSPENDING, reason=reason, detail=detail)
    return _keep_stopping(state, state.run(live.n), now, policy)


def _keep_stopping(state: JobState, live: Run, now: datetime, policy: Policy) -> Result:
    if live.never_sent:
        return _tick_idle(_ended(state, live, phase=RunPhase.STOPPED, at=now, detail="never sent"), now)
    if not live.clear_submit:
        return state, [ev.SettleRun(run=live.n)]
    if live.stop_sent_at is None or now - live.stop_sent_at >= policy.stop_again:
        return state, [ev.StopRun(run=live.n)]
    return state, []


def _submit_failed(state: JobState, live: Run, event: ev.SubmitFailed, policy: Policy) -> Result:
    if live.clear_submit:
        return state, []  # the cluster has shown the run since, so this is old news
    only = live.unsent >= live.submits - 1  # no earlier attempt can have got through
    if not event.permanent:
        state = _with_run(state, live, unsent=live.submits) if only else state
        return _set(state, reason=Reason.CLUSTER_UNREACHABLE, detail=event.detail), [ev.Replan()]
    if not only:
        # This attempt was turned down, an earlier one may still arrive: make sure that it does not, then start anew.
        if live.phase is RunPhase.STOPPING:
            return state, []
        return _stop(state, live, event.at, policy, reason=Reason.INFRASTRUCTURE_FAILED, detail=event.detail)
    if live.phase is RunPhase.STOPPING:
        return _ended(state, live, phase=RunPhase.STOPPED, at=event.at, detail="never started"), []
    return _failed(state, live, event.at, policy, reason=Reason.INFRASTRUCTURE_FAILED, detail=event.detail)


def _missing(state: JobState, live: Run, event: ev.Missing, policy: Policy) -> Result:
    if not live.clear_submit:
        return state, []  # the next tick submits or settles it again under the same id
    count = live.missing_count + 1
    live = live.model_copy(update={"missing_count": count, "silent_since": live.silent_since or event.at})
    if not event.new_session and count < policy.missing_before_lost:
        return _with_run(state, live), []
    state = _ended(state, live, phase=RunPhase.LOST, at=event.at, detail="the cluster no longer knows it", clean=False)
    state = _set(state, not_before=event.at + policy.fence)
    return _after_failure(state, policy, reason=Reason.RUN_LOST, detail=f"run {live.n} in {live.region}")


def _observed(state: JobState, live: Run, event: ev.Observed, policy: Policy) -> Result:
    ended = event.status not in (Status.PENDING, Status.RUNNING)
    silent_since = live.silent_since if ended else None
    live = live.model_copy(update={"clear_submit": True, "missing_count": 0, "silent_since": silent_since})
    state = _with_run(state, live)
    if ended and live.started_at is None and (event.began or event.user_error or event.status is Status.SUCCEEDED):
        # It came and went between two looks: what was drawn since it was made is its own.
        live = live.model_copy(update={"started_at": min(live.created_at, event.at)})
    match event.status:
        case Status.PENDING:
            if live.phase in (RunPhase.SUBMITTING, RunPhase.UNKNOWN):
                state = _with_run(state, live, phase=RunPhase.PENDING)
            if live.phase is not RunPhase.STOPPING and state.reason in _NO_ANSWER:
                return _set(state, reason=Reason.STARTS_NOW, detail=""), []
            return state, []
        case Status.RUNNING:
            if live.phase is RunPhase.STOPPING:
                return _with_run(state, live, started_at=live.started_at or event.at), []
            first = live.phase is not RunPhase.RUNNING
            state = _with_run(state, live, phase=RunPhase.RUNNING, started_at=live.started_at or event.at)
            if first or state.reason in _NO_ANSWER:
                return _set(state, phase=Phase.RUNNING, reason=Reason.RUNNING_AS_PLANNED, detail=""), []
            return state, []
        case Status.SUCCEEDED:
            state = _with_run(state, live, phase=RunPhase.SUCCEEDED, ended_at=event.at)
            done = {"done_s": state.work_s, "finished_at": event.at, "phase": Phase.SUCCEEDED}
            return _set(state, reason=Reason.FINISHED, detail="", **done), []
        case Status.STOPPED:
            asked = live.phase is RunPhase.STOPPING
            state = _ended(state, live, phase=RunPhase.STOPPED, at=event.at, detail=event.detail, clean=asked)
            if not asked:
                state = _set(state, want=Want.PAUSE, phase=Phase.SUSPENDED, reason=Reason.STOPPED_OUTSIDE)
            return state, [ev.Replan()]
        case Status.FAILED:
            if live.phase is RunPhase.STOPPING:
                # The program did not survive its stop signal; what it saved on the way is not to be relied upon.
                state = _ended(state, live, phase=RunPhase.STOPPED, at=event.at, detail=event.detail, clean=False)
                return state, [ev.Replan()]
            if event.user_error:
                state = _ended(state, live, phase=RunPhase.FAILED, at=event.at, detail=event.detail, clean=False)
                final = {"phase": Phase.FAILED, "reason": Reason.ENTRYPOINT_FAILED, "finished_at": event.at}
                return _set(state, detail=event.detail, **final), []
            return _failed(state, live, event.at, policy, reason=Reason.INFRASTRUCTURE_FAILED, detail=event.detail)


def _failed(state: JobState, live: Run, at: datetime, policy: Policy, *, reason: Reason, detail: str) -> Result:
    state = _ended(state, live, phase=RunPhase.FAILED, at=at, detail=detail, clean=False)
    return _after_failure(_set(state, not_before=at + policy.retry_after), policy, reason=reason, detail=detail)


def _after_failure(state: JobState, policy: Policy, *, reason: Reason, detail: str) -> Result:
    failures = state.failures + 1
    state = _set(state, failures=failures, windows=())
    if failures > policy.max_failures and state.want is not Want.CANCEL:
        ended = state.runs[-1].ended_at
        final = {"phase": Phase.FAILED, "reason": Reason.RETRIES_EXHAUSTED, "finished_at": ended}
        return _set(state, detail=detail, **final), []
    if state.want is not Want.RUN:
        return state, []
    return _set(state, phase=Phase.WAITING, reason=reason, detail=detail), [ev.Replan()]


def _ended(state: JobState, run: Run, *, phase: RunPhase, at: datetime, detail: str, clean: bool = True) -> JobState:
    """The run is dead; credit what it surely got done since it was seen to run, and leave the job idle."""
    seen_from, kept_until = state.run(run.n).started_at, _kept_until(state, run, at, clean=clean)
    state = _with_run(state, run, phase=phase, ended_at=at, detail=detail, kept_until=kept_until)
    if kept_until is not None and seen_from is not None:
        restart_s = state.restart_of(run)
        worked_s = max(0.0, (kept_until - seen_from).total_seconds() - restart_s)
        credit_s = worked_s * state.speed_on(run.gpus)
        state = _set(state, done_s=min(state.work_s, state.done_s + credit_s))
    if state.phase is Phase.SUSPENDING:
        state = _set(state, phase=Phase.SUSPENDED)
        if state.reason in (Reason.WINDOW_CLOSED, Reason.RELOCATING, Reason.RESIZING):
            state = _set(state, reason=Reason.BETWEEN_WINDOWS)
    return state


def _kept_until(state: JobState, run: Run, at: datetime, *, clean: bool) -> datetime | None:
    """Until when a run's work is surely kept: its stop, less what no checkpoint holds; None where it never began.

    A run that died while its cluster did not answer counts until it was last seen, not until the loss was noticed.
    """
    if run.started_at is None:
        return None
    if not state.suspendable:
        return run.started_at
    until = run.stop_wanted_at or at
    if not clean:
        until = min(until, run.silent_since or until) - timedelta(seconds=state.checkpoint_period_s)
    return max(run.started_at, until)
