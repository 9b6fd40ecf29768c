"""The bench of the contract suite: two regions, real or in memory, and the same programs on either."""

from __future__ import annotations

import math
import textwrap
import zipfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from kilowait_scheduler.dispatch.executor import Executor, ObservedRun, RunStatus, SubmitRequest
from kilowait_scheduler.dispatch.fake import Ended, Program

STEP_S = 0.1

# A driver as people write them: it counts its steps, and saves where it is when it is told to stop.
TRAINER = f"""
    import os, pathlib, signal, sys, time
    folder, total, save_s = pathlib.Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    told = []
    signal.signal(getattr(signal, os.environ.get("RAY_JOB_STOP_SIGNAL", "SIGTERM")), lambda *_: told.append(1))
    checkpoint, steps = folder / "checkpoint", folder / "steps"
    step = int(checkpoint.read_text()) if checkpoint.exists() else 0
    print("starts at", step, flush=True)
    while step < total:
        if told:
            time.sleep(save_s)
            checkpoint.write_text(str(step))
            sys.exit(0)
        time.sleep({STEP_S})
        step += 1
        with steps.open("a") as file:
            print(step, file=file)
"""


class Clock:
    """A time that passes when it is told to."""

    def __init__(self) -> None:
        self.at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_s(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@dataclass
class Bench:
    """Regions a and b, a folder that both can see, and the programs to run."""

    a: Executor
    b: Executor
    folder: Path
    wait: Callable[[float], Awaitable[None]]
    name: str
    ids: list[str] = field(default_factory=list)

    def request(self, entrypoint: str, **changes: Any) -> SubmitRequest:
        submission_id = changes.pop("submission_id", None) or f"kw-{uuid4().hex[:12]}"
        metadata = changes.pop("metadata", {"kilowait_run": submission_id})
        self.ids.append(submission_id)
        return SubmitRequest(submission_id=submission_id, entrypoint=entrypoint, metadata=metadata, **changes)

    def trainer(self, *, total: int = 100_000, save_s: float = 0.0, **changes: Any) -> SubmitRequest:
        script = self.folder / "train.py"
        script.write_text(textwrap.dedent(TRAINER))
        return self.request(f"exec python {script} {self.folder} {total} {save_s}", **changes)

    def steps(self) -> list[int]:
        path = self.folder / "steps"
        return [int(line) for line in path.read_text().split()] if path.exists() else []

    def package(self, source: str) -> Path:
        path = self.folder / "package.zip"
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("main.py", source)
        return path

    async def until(
        self, executor: Executor, submission_id: str, *wanted: RunStatus, within_s: float = 60.0
    ) -> ObservedRun:
        """The run once it has one of the wanted statuses (without any: once it has ended)."""
        run = None
        for _ in range(math.ceil(within_s / STEP_S)):
            run = await executor.get(submission_id)
            if run is not None and (run.status in wanted if wanted else run.status.terminal):
                return run
            await self.wait(STEP_S)
        raise AssertionError(f"{submission_id} is not {wanted or 'over'} within {within_s} s: {run}")

    async def until_steps(self, executor: Executor, submission_id: str, count: int) -> None:
        """Until the trainer has done so many steps; the fake writes them at its end, so there time just passes."""
        await self.until(executor, submission_id, RunStatus.RUNNING)
        if self.name == "fake":
            await self.wait(count * STEP_S)
            return
        for _ in range(300):
            if len(self.steps()) >= count:
                return
            await self.wait(STEP_S)
        raise AssertionError(f"{submission_id} made {len(self.steps())} steps")


def fake_program(request: SubmitRequest) -> Program:
    """What the suite's entrypoints do, told to the fake."""
    words = request.entrypoint.split()
    if request.runtime_env.get("working_dir", "").startswith("gcs://") and request.working_dir_zip is None:
        return Program(setup_error="RUNTIME_ENV_SETUP_FAILURE")
    if "train.py" in request.entrypoint:
        return _fake_trainer(Path(words[3]), total=int(words[4]), save_s=float(words[5]))
    if words[:2] == ["exec", "sleep"]:
        return Program(duration_s=float(words[2]))
    if words[0] == "echo":
        output = " ".join(words[1:])
        for key, value in request.merged_env.items():
            output = output.replace(f"${key}", value)
        return Program(duration_s=0.1, output=output + "\n")
    if "main.py" in request.entrypoint:
        assert request.working_dir_zip is not None
        source = zipfile.ZipFile(request.working_dir_zip).read("main.py").decode()
        return Program(duration_s=0.1, output=source.split("'")[1])
    if "raise" in request.entrypoint:
        return Program(duration_s=0.1, exit_code=1, output="ValueError: no such dataset\n")
    return Program(duration_s=0.0)


def _fake_trainer(folder: Path, *, total: int, save_s: float) -> Program:
    checkpoint, steps = folder / "checkpoint", folder / "steps"
    begin = int(checkpoint.read_text()) if checkpoint.exists() else 0

    def on_end(ended: Ended) -> None:
        worked_s = ended.ran_s - (save_s if ended.status is RunStatus.STOPPED and ended.saved else 0.0)
        last = min(total, begin + round(worked_s / STEP_S))
        with steps.open("a") as file:
            file.writelines(f"{step}\n" for step in range(begin + 1, last + 1))
        if ended.status is RunStatus.STOPPED and ended.saved:
            checkpoint.write_text(str(last))

    return Program(duration_s=(total - begin) * STEP_S, stop_s=save_s, output=f"starts at {begin}\n", on_end=on_end)
