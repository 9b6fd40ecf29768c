"""Performs instructions on clusters: writes nothing itself, reports every outcome as an event.

The caller has committed the intent (the run and its id) before it calls here, and commits each event that comes back.
A crash between any two steps therefore leaves either an intent that is sent again under the same id, or an outcome that
is observed again. `on_step` is told the name of each step as it is reached (`STEPS`); fault tests stop the world there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Run, RunPhase

from .executor import (
    Accepted,
    AlreadyThere,
    Ambiguous,
    DispatchError,
    Executor,
    NotSent,
    Rejected,
    SubmitRequest,
    Unauthorized,
    WrongAddress,
)

STEPS = (
    "submit: intent committed",
    "submit: sent",
    "submit: outcome committed",
    "stop: intent committed",
    "stop: sent",
    "stop: outcome committed",
    "settle: intent committed",
    "settle: sent",
    "settle: outcome committed",
)

Step = Callable[[str], None]
Commit = Callable[[str, ev.Event], Awaitable[JobRecord]]


def request(record: JobRecord, run: Run, *, package: Path | None) -> SubmitRequest:
    """What is sent to Ray for one run: the user's own runtime_env, and what the program and the agents must know."""
    spec = record.spec
    checkpoint = spec.checkpoint
    env = {
        "KILOWAIT_JOB_ID": record.id,
        "KILOWAIT_RUN_ID": run.submission_id,
        "KILOWAIT_RUN": str(run.n),
        "KILOWAIT_REGION": run.region,
        "KILOWAIT_GPUS": str(record.gpus_of(run)),
    }
    if checkpoint is not None:
        env["KILOWAIT_CHECKPOINT_PATH"] = checkpoint.path
    return SubmitRequest(
        submission_id=run.submission_id,
        entrypoint=spec.entrypoint,
        runtime_env={key: value for key, value in spec.runtime_env.items() if key != "working_dir" or package is None},
        env=env,
        metadata={"kilowait_job": record.id, "kilowait_run": run.submission_id, "job_name": spec.name},
        gpus=record.gpus_of(run),
        working_dir_zip=package,
        stop_signal=checkpoint.signal if checkpoint else "SIGTERM",
        grace_s=checkpoint.grace.total_seconds() if checkpoint else 10.0,
    )


class Dispatcher:
    """Carries out StartRun, StopRun and SettleRun on the executors of the regions."""

    def __init__(
        self,
        *,
        executors: Mapping[str, Executor],
        commit: Commit,
        now: Callable[[], datetime],
        package_path: Callable[[str], Path],
        on_step: Step = lambda _step: None,
    ) -> None:
        self._executors = executors
        self._commit = commit
        self._now = now
        self._package_path = package_path
        self._on_step = on_step

    async def perform(self, record: JobRecord, instruction: ev.Instruction) -> None:
        """Do what is instructed for the job, and commit what came of it. Never raises for a cluster's failure."""
        match instruction:
            case ev.StartRun():
                await self._through("submit", record, record.state.run(instruction.run), self._start)
            case ev.StopRun():
                await self._through("stop", record, record.state.run(instruction.run), self._stop)
            case ev.SettleRun():
                await self._through("settle", record, record.state.run(instruction.run), self._settle)
            case ev.Replan():
                pass

    async def _through(
        self,
        verb: str,
        record: JobRecord,
        run: Run,
        act: Callable[[JobRecord, Run, Executor], Awaitable[ev.Event | None]],
    ) -> None:
        self._on_step(f"{verb}: intent committed")
        executor = self._executors.get(run.region)
        if executor is None:
            detail = f"region {run.region} is not configured any more"
            await self._commit(record.id, ev.Unreachable(at=self._now(), run=run.n, detail=detail))
            return
        try:
            outcome = await act(record, run, executor)
        except DispatchError as error:
            outcome = ev.Unreachable(at=self._now(), run=run.n, detail=str(error))
        self._on_step(f"{verb}: sent")
        if outcome is not None:
            await self._commit(record.id, outcome)
        self._on_step(f"{verb}: outcome committed")

    async def _start(self, record: JobRecord, run: Run, executor: Executor) -> ev.Event:
        package = self._package_path(record.package) if record.package else None
        try:
            outcome = await executor.submit(request(record, run, package=package))
        except (Unauthorized, WrongAddress) as error:
            # We were turned away before anyone looked at the job, so this call had no effect.
            return ev.SubmitFailed(at=self._now(), run=run.n, permanent=False, detail=str(error))
        match outcome:
            case Accepted() | AlreadyThere(mine=True):
                return ev.Submitted(at=self._now(), run=run.n, session_name=outcome.session_name)
            case AlreadyThere():
                detail = f"{run.region}: id {run.submission_id} belongs to a job that is not ours"
                return ev.SubmitFailed(at=self._now(), run=run.n, permanent=True, detail=detail)
            case Rejected():
                return ev.SubmitFailed(at=self._now(), run=run.n, permanent=True, detail=outcome.reason)
            case NotSent():
                return ev.SubmitFailed(at=self._now(), run=run.n, permanent=False, detail=outcome.detail)
            case Ambiguous():
                return ev.SubmitUnclear(at=self._now(), run=run.n, detail=outcome.detail)

    async def _stop(self, record: JobRecord, run: Run, executor: Executor) -> ev.Event | None:
        accepted = await executor.stop(run.submission_id)
        return ev.StopSent(at=self._now(), run=run.n) if accepted else None

    async def _settle(self, record: JobRecord, run: Run, executor: Executor) -> ev.Event:
        if run.phase is not RunPhase.STOPPING:
            raise ValueError(f"run {run.submission_id} is {run.phase}; only a stopping run is settled")
        if await executor.tombstone(run.submission_id) == "won":
            return ev.NeverStarted(at=self._now(), run=run.n)
        return ev.Submitted(at=self._now(), run=run.n)
