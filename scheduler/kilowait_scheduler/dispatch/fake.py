"""A cluster in memory that behaves as Ray does, quirks included: for tests, for what-if and for learning.

Time is whatever `now` says; the cluster catches up with it at every call. What the runs do is decided by `programs`.
Faults are set by methods: `cut`, `mute`, `lock`, `restart`, `lose_answer`. One contract suite runs against this and
against real Ray, so that neither the fake nor our picture of Ray drifts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from .executor import (
    OUR_PREFIX,
    TOMBSTONE,
    Accepted,
    AlreadyThere,
    Ambiguous,
    ClusterInfo,
    NotConnected,
    NotSent,
    ObservedRun,
    Outcome,
    Refused,
    Rejected,
    RunStatus,
    SubmitRequest,
    Unauthorized,
    UnknownRun,
    Unreachable,
)
from .ray_packages import unsendable


@dataclass(frozen=True)
class Ended:
    """How a run ended. `saved`: it was not killed, so it did whatever it does at its end. `ran_s` includes that."""

    request: SubmitRequest
    status: RunStatus
    at: datetime
    ran_s: float
    saved: bool


@dataclass(frozen=True, kw_only=True)
class Program:
    """What a run does: work for `duration_s`, then leave with `exit_code`; after a stop signal leave within `stop_s`.

    `setup_error` is one of Ray's error types: the run then fails instead of starting. `on_end` is called once, when the
    cluster catches up with the end; a program writes its checkpoint there.
    """

    duration_s: float = math.inf
    exit_code: int = 0
    stop_s: float = 0.0
    output: str = ""
    setup_error: str | None = None
    on_end: Callable[[Ended], None] = lambda _ended: None


@dataclass(eq=False)
class _Run:
    request: SubmitRequest
    program: Program
    accepted_at: datetime
    status: RunStatus = RunStatus.PENDING
    started_at: datetime | None = None
    stop_at: datetime | None = None
    ended_at: datetime | None = None
    error_type: str | None = None
    exit_code: int | None = None

    @property
    def grace(self) -> timedelta:
        return timedelta(seconds=math.ceil(self.request.grace_s))

    def end(self) -> tuple[datetime, bool]:
        """(when it ends, whether it ends by itself) if nothing more happens to it; only for a run that has started."""
        assert self.started_at is not None
        by_itself = _later(self.started_at, self.program.duration_s)
        if self.stop_at is None:
            return by_itself, True
        left, killed = _later(self.stop_at, self.program.stop_s), self.stop_at + self.grace
        return min(by_itself, left, killed), min(by_itself, left) <= killed


@dataclass(eq=False)
class _Late:
    """A submission that is still under way though its client has given up."""

    at: datetime
    request: SubmitRequest


@dataclass
class _Fault:
    until: datetime
    silent: bool


@dataclass(eq=False)
class FakeExecutor:
    """One region's cluster in memory, with `gpus` GPUs; a run starts `start_s` seconds after it was accepted.

    As in Ray, `SubmitRequest.gpus` reserves nothing: it only shows as used while the run is running. `entrypoint_gpus`
    are reserved, and a run that asks for more than are free stays PENDING, deaf to a stop, until they are.
    """

    region: str
    now: Callable[[], datetime]
    programs: Callable[[SubmitRequest], Program] = lambda _request: Program()
    gpus: int = 8
    start_s: float = 2.0
    ray_version: str = "2.60.0"
    _runs: dict[str, _Run] = field(default_factory=dict, init=False)
    _live: list[_Run] = field(default_factory=list, init=False)
    _late: list[_Late] = field(default_factory=list, init=False)
    _lost_answers: list[tuple[str, float]] = field(default_factory=list, init=False)
    _freed_at: datetime | None = field(default=None, init=False)
    _fault: _Fault | None = field(default=None, init=False)
    _locked: bool = field(default=False, init=False)
    _incarnations: itertools.count[int] = field(default_factory=lambda: itertools.count(1), init=False)
    _session_name: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._session_name = self._new_session()

    # Faults.

    def cut(self, *, for_s: float = math.inf) -> None:
        """Refuse connections for a while. Runs go on, as they do when only the network is down."""
        self._fault = _Fault(_later(self.now(), for_s), silent=False)

    def mute(self, *, for_s: float = math.inf) -> None:
        """Swallow calls for a while: they have no effect, and the client cannot know it."""
        self._fault = _Fault(_later(self.now(), for_s), silent=True)

    def mend(self) -> None:
        """Be reachable again, and accept the token again."""
        self._fault, self._locked = None, False

    def lock(self) -> None:
        """Accept no token any more."""
        self._locked = True

    def restart(self) -> None:
        """Lose everything and begin a new incarnation, as a head without persistence does."""
        self.catch_up()
        self._runs.clear()
        self._live.clear()
        self._late.clear()
        self._session_name = self._new_session()

    def lose_answer(self, how: Literal["taken", "taken_later", "dropped"], *, after_s: float = 0.0) -> None:
        """Leave the next submission without an answer: it is taken, or taken `after_s` later, or never arrives."""
        self._lost_answers.append((how, after_s if how == "taken_later" else 0.0))

    # The executor.

    async def probe(self) -> ClusterInfo:
        self._reach("read the version")
        used = sum(run.request.gpus for run in self._live if run.status is RunStatus.RUNNING)
        return ClusterInfo(
            session_name=self._session_name,
            ray_version=self.ray_version,
            nodes_alive=1,
            gpus_total=self.gpus,
            gpus_used=min(used, self.gpus),
        )

    async def submit(self, request: SubmitRequest) -> Outcome:
        zipped = request.working_dir_zip
        user_env = {key: value for key, value in request.runtime_env.items() if zipped is None or key != "working_dir"}
        problem = unsendable(user_env)
        if not problem and zipped is not None and not zipped.is_file():
            problem = f"package {zipped.name} cannot be read: No such file or directory"
        if problem:
            return Rejected(f"run {request.submission_id}: {problem}")
        try:
            self._reach(f"submit run {request.submission_id}")
        except NotConnected as error:
            return NotSent(str(error))
        except Unreachable as error:
            return Ambiguous(str(error))
        if self._lost_answers:
            how, after_s = self._lost_answers.pop(0)
            if how != "dropped":
                self._late.append(_Late(_later(self.now(), after_s), request))
                self.catch_up()
            return Ambiguous(f"region {self.region} did not answer in time to run {request.submission_id}")
        there = self._runs.get(request.submission_id)
        if there is None:
            self._take(request, self.programs(request), self.now())
            return Accepted(self._session_name)
        metadata = there.request.metadata
        mine = all(metadata.get(key) == value for key, value in request.metadata.items())
        return AlreadyThere(self._session_name, mine)

    async def observe(self, prefix: str = OUR_PREFIX) -> dict[str, ObservedRun]:
        self._reach("list the jobs")
        seen = {name: _observed(run) for name, run in self._runs.items() if name.startswith(prefix)}
        return {name: run for name, run in seen.items() if not run.is_tombstone}

    async def get(self, submission_id: str) -> ObservedRun | None:
        self._reach(f"look up run {submission_id}")
        run = self._runs.get(submission_id)
        seen = None if run is None else _observed(run)
        return None if seen is None or seen.is_tombstone else seen

    async def stop(self, submission_id: str) -> bool:
        self._reach(f"stop run {submission_id}")
        run = self._runs.get(submission_id)
        if run is None or run.status.terminal:
            return False
        run.stop_at = run.stop_at or self.now()
        return True

    async def tombstone(self, submission_id: str) -> Literal["won", "original_won"]:
        self._reach(f"settle run {submission_id}")
        there = self._runs.get(submission_id)
        if there is None:
            marker = SubmitRequest(submission_id=submission_id, entrypoint="true", metadata={TOMBSTONE: "1"})
            self._take(marker, Program(duration_s=0.0), self.now())
            return "won"
        return "won" if there.request.metadata.get(TOMBSTONE) == "1" else "original_won"

    async def logs(self, submission_id: str) -> str:
        self._reach(f"read the log of run {submission_id}")
        run = self._runs.get(submission_id)
        if run is None:
            raise UnknownRun(f"region {self.region} does not know run {submission_id}, so it has no log of it")
        return run.program.output if run.started_at is not None else ""

    async def delete(self, submission_id: str) -> None:
        self._reach(f"delete run {submission_id}")
        run = self._runs.get(submission_id)
        if run is not None and not run.status.terminal:
            message = f"region {self.region}: run {submission_id} has not ended; stop it and wait before deleting it"
            raise Refused(message, reason="run_is_live")
        self._runs.pop(submission_id, None)

    async def close(self) -> None:
        """Nothing is held open."""

    def catch_up(self) -> None:
        """Let everything happen that was due by now, in order."""
        now = self.now()
        while (due := min(self._due(now), key=lambda item: item[0], default=None)) is not None:
            due[1]()

    # What happens in the cluster.

    def _reach(self, what: str) -> None:
        self.catch_up()
        if self._fault is not None and self.now() >= self._fault.until:
            self._fault = None
        if self._fault is not None:
            error = Unreachable if self._fault.silent else NotConnected
            raise error(f"cannot {what}: region {self.region} cannot be reached")
        if self._locked:
            raise Unauthorized(f"cannot {what}: region {self.region} does not accept this region's token")

    def _due(self, now: datetime) -> list[tuple[datetime, Callable[[], None]]]:
        """What is due by `now`: (when, what to do), in no order. Doing one thing may make others due."""
        due: list[tuple[datetime, Callable[[], None]]] = [(late.at, partial(self._arrive, late)) for late in self._late]
        free = self.gpus - sum(r.request.entrypoint_gpus for r in self._live if r.status is RunStatus.RUNNING)
        for run in self._live:
            if run.status is RunStatus.RUNNING:
                due.append((run.end()[0], partial(self._end, run)))
            elif run.request.entrypoint_gpus <= free:
                at = _later(run.accepted_at, self.start_s)
                if run.request.entrypoint_gpus and self._freed_at is not None:
                    at = max(at, self._freed_at)
                due.append((at, partial(self._begin, run, at)))
        return [item for item in due if item[0] <= now]

    def _arrive(self, late: _Late) -> None:
        self._late.remove(late)
        if late.request.submission_id not in self._runs:
            self._take(late.request, self.programs(late.request), late.at)

    def _take(self, request: SubmitRequest, program: Program, at: datetime) -> None:
        run = _Run(request, program, at)
        self._runs[request.submission_id] = run
        self._live.append(run)

    def _begin(self, run: _Run, at: datetime) -> None:
        run.started_at = at
        if run.program.setup_error is not None:
            run.status, run.ended_at, run.error_type = RunStatus.FAILED, at, run.program.setup_error
            self._live.remove(run)
            return
        run.status = RunStatus.RUNNING
        # The stop of a pending run takes effect now: its program does start, and gets the signal at once.
        run.stop_at = at if run.stop_at is not None else None

    def _end(self, run: _Run) -> None:
        assert run.started_at is not None
        run.ended_at, saved = run.end()
        self._freed_at = run.ended_at
        self._live.remove(run)
        if run.stop_at is not None:
            run.status = RunStatus.STOPPED
        else:
            run.exit_code = run.program.exit_code
            run.status = RunStatus.FAILED if run.exit_code else RunStatus.SUCCEEDED
            run.error_type = "JOB_ENTRYPOINT_COMMAND_ERROR" if run.exit_code else None
        ran_s = (run.ended_at - run.started_at).total_seconds()
        run.program.on_end(Ended(run.request, run.status, run.ended_at, ran_s, saved))

    def _new_session(self) -> str:
        return f"session_{self.now():%Y-%m-%d_%H-%M-%S}_{self.region}_{next(self._incarnations)}"


def _later(at: datetime, seconds: float) -> datetime:
    """`at` plus `seconds`; the end of time for what never happens."""
    latest = datetime.max.replace(tzinfo=at.tzinfo)
    return latest if seconds > (latest - at).total_seconds() else at + timedelta(seconds=seconds)


_MESSAGES = {
    RunStatus.PENDING: "Job has not started yet. It may be waiting for resources.",
    RunStatus.RUNNING: "Job is currently running.",
    RunStatus.STOPPED: "Job was intentionally stopped.",
    RunStatus.SUCCEEDED: "Job finished successfully.",
}


def _observed(run: _Run) -> ObservedRun:
    message = _MESSAGES.get(run.status, "")
    if run.status is RunStatus.FAILED:
        message = f"Job entrypoint command failed with exit code {run.exit_code}"
        if run.exit_code is None:
            message = f"Failed to set up the job: {run.error_type}"
    return ObservedRun(
        submission_id=run.request.submission_id,
        status=run.status,
        metadata=dict(run.request.metadata),
        message=message,
        error_type=run.error_type,
        accepted_at=run.accepted_at,
        ended_at=run.ended_at,
        driver_exit_code=run.exit_code,
        driver_node_id="node" if run.started_at is not None and run.program.setup_error is None else None,
    )
