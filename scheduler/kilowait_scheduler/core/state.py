"""What is known of a job and of each of its runs, and the times that follow from it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from . import events as ev
from .reasons import Reason
from .window import Utc, Window


class Phase(StrEnum):
    QUEUED = "queued"
    HELD = "held"
    WAITING = "waiting"
    RUNNING = "running"
    SUSPENDING = "suspending"
    SUSPENDED = "suspended"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.CANCELLED)


class RunPhase(StrEnum):
    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    PENDING = "pending"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"

    @property
    def live(self) -> bool:
        return self in LIVE


LIVE = frozenset({RunPhase.SUBMITTING, RunPhase.UNKNOWN, RunPhase.PENDING, RunPhase.RUNNING, RunPhase.STOPPING})


class Want(StrEnum):
    """What people want of the job."""

    RUN = "run"
    PAUSE = "pause"
    CANCEL = "cancel"


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Run(_Data):
    """One submission to Ray.

    `clear_submit` turns true once the cluster is known to have had the id. `submits` counts the attempts to send it
    (raised before each); `unsent` equals it while every attempt so far surely never left, so that the run cannot exist
    anywhere. `silent_since`: when the cluster was first asked for the run in vain since it last showed it.
    `kept_until`: what an ended run did after this moment is in no checkpoint and has to be done again. `gpus` is the
    number it holds; None in records of before jobs had more than one.
    """

    n: int
    region: str
    submission_id: str
    phase: RunPhase
    created_at: Utc
    clear_submit: bool = False
    submits: int = 1
    unsent: int = 0
    session_name: str = ""
    started_at: Utc | None = None
    stop_wanted_at: Utc | None = None
    stop_sent_at: Utc | None = None
    ended_at: Utc | None = None
    missing_count: int = 0
    silent_since: Utc | None = None
    kept_until: Utc | None = None
    gpus: int | None = None
    detail: str = ""

    @property
    def never_sent(self) -> bool:
        """Whether no attempt to submit it can have reached a cluster."""
        return not self.clear_submit and self.unsent == self.submits


class JobState(_Data):
    """All that the rules need to know of a job. `done_s` of `work_s` seconds of work are credited so far.

    `speeds`: seconds of work done per second, by number of GPUs; 1 where not given, as of a job of one size.
    """

    job_id: str
    phase: Phase = Phase.QUEUED
    reason: Reason = Reason.NEW
    detail: str = ""
    want: Want = Want.RUN
    work_s: float
    done_s: float = 0.0
    speeds: dict[int, float] = {}
    suspendable: bool
    restart_s: float = 0.0
    checkpoint_period_s: float = 0.0
    windows: tuple[Window, ...] = ()
    first_promise: ev.Promise | None = None
    promise: ev.Promise | None = None
    runs: tuple[Run, ...] = ()
    failures: int = 0
    not_before: Utc | None = None
    finished_at: Utc | None = None

    @property
    def live_run(self) -> Run | None:
        return next((run for run in reversed(self.runs) if run.phase.live), None)

    @property
    def work_left_s(self) -> float:
        """Seconds of work still to do; never below a twentieth of the job, which has not ended after all."""
        return max(self.work_s - self.done_s, 0.05 * self.work_s)

    def restart_of(self, run: Run) -> float:
        """Seconds that `run` spends on coming back to where an earlier run had got: 0 where none had begun."""
        return self.restart_s if any(r.n < run.n and r.started_at for r in self.runs) else 0.0

    def speed_on(self, gpus: int | None) -> float:
        """Seconds of work done per second on that many GPUs."""
        return 1.0 if gpus is None else self.speeds.get(gpus, 1.0)

    @property
    def speed(self) -> float:
        """Seconds of work that its live run does per second; on the fewest GPUs where there is none."""
        return self.speed_on(live.gpus) if (live := self.live_run) is not None else 1.0

    def work_ahead_s(self, now: datetime) -> float:
        """Seconds of work still to do at `now`, what the live run has got done taken off."""
        live = self.live_run
        if live is None or live.started_at is None:
            return self.work_left_s
        worked = max(0.0, (now - live.started_at).total_seconds() - self.restart_of(live))
        return max(self.work_left_s - worked * self.speed, 0.05 * self.work_s)

    def restart_ahead_s(self, now: datetime) -> float:
        """Seconds until the live run is back where an earlier one had got."""
        live = self.live_run
        if live is None or live.started_at is None:
            return self.restart_of(live) if live is not None else 0.0
        return max(0.0, self.restart_of(live) - (now - live.started_at).total_seconds())

    def time_left_s(self, now: datetime) -> float:
        """Seconds of running still needed at `now` on the GPUs it has (or the fewest), a restart included."""
        return self.work_ahead_s(now) / self.speed + self.restart_ahead_s(now)

    def run(self, n: int) -> Run:
        return self.runs[n - 1]
