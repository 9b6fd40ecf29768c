"""Domain values to put into a store, and threads that do so at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any, TypeVar

from kilowait_scheduler.core.energy import Reading, RunShare
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import JobState, Phase, Run, RunPhase

T0 = datetime(2026, 11, 23, 1, 2, 3, 456789, tzinfo=UTC)
HOUR = timedelta(hours=1)

T = TypeVar("T")


def at_once(count: int, work: Callable[[int], T]) -> list[T | BaseException]:
    """Results, or errors, of `work(0)` ... begun by `count` threads at the same moment."""
    gate = Barrier(count)

    def one(number: int) -> T | BaseException:
        gate.wait()
        try:
            return work(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def record(job_id: str = "0a1", *, name: str = "train", phase: Phase = Phase.QUEUED, **more: Any) -> JobRecord:
    spec = parse_job(
        {
            "name": name,
            "entrypoint": "x",
            "resources": {"gpus": 4},
            "deadline": (T0 + 24 * HOUR).isoformat(),
            "regions": {"home": "aa"},
            **more,
        }
    )
    state = JobState(job_id=job_id, phase=phase, work_s=3600, suspendable=True)
    return JobRecord(
        id=job_id, spec=spec, submitted_at=T0, home="aa", regions=("aa",), power_per_gpu_w=400.0, state=state
    )


def run(job_id: str, n: int, phase: RunPhase) -> Run:
    return Run(n=n, region="aa", submission_id=f"kw-{job_id}-{n}", phase=phase, created_at=T0)


def with_runs(job: JobRecord, *phases: RunPhase) -> JobState:
    return job.state.model_copy(update={"runs": tuple(run(job.id, n, p) for n, p in enumerate(phases, start=1))})


def reading(seq: int, *, epoch: str = "e1", agent: str = "node-1", digest: str = "", mj: int = 1000) -> Reading:
    start = T0 + timedelta(seconds=10 * seq)
    return Reading(
        agent_id=agent,
        stream_epoch=epoch,
        seq=seq,
        region="aa",
        node="node",
        source="simulated",
        device_uuid="GPU-0",
        start=start,
        end=start + timedelta(seconds=10),
        energy_mj=mj,
        idle_mj=mj // 4,
        unattributed_mj=0,
        quality="measured",
        method="counter",
        uncertainty_pct=5.0,
        digest=digest or f"{epoch}-{seq}-{mj}",
        shares=(RunShare("kw-0a1-1", "0a1", mj - mj // 4),),
    )
