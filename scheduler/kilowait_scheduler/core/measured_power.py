"""What GPUs of one type really drew in past jobs: our own history, which is better than any share of a TDP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .ranges import Range

# Less history than this, a quarter of an hour of a node of eight, says more about starting up than about training.
ENOUGH_GPU_HOURS = 2.0


@dataclass(frozen=True)
class JobPower:
    """Energy that one job drew on GPUs of the type, and for how many GPU-hours; measured, nothing estimated."""

    name: str
    gpu_hours: float
    energy_kwh: float


@dataclass(frozen=True)
class MeasuredPower:
    """Mean power of a busy GPU by its own counter, without its host: over all jobs, and of the least and most hungry.

    `what` says in words whose history it is, e.g. a GPU type or a job's name.
    """

    what: str
    power_w: Range
    gpu_hours: float
    jobs: int

    @property
    def enough(self) -> bool:
        return self.gpu_hours >= ENOUGH_GPU_HOURS and self.power_w.mid > 0


def measured_power(what: str, jobs: Sequence[JobPower], *, uncertainty_pct: float) -> MeasuredPower | None:
    """History as one figure; None where no job ran. The meter's uncertainty widens it on both sides."""
    ran = [job for job in jobs if job.gpu_hours > 0]
    if not ran:
        return None
    hours = sum(job.gpu_hours for job in ran)
    means_w = [1000 * job.energy_kwh / job.gpu_hours for job in ran]
    mid = 1000 * sum(job.energy_kwh for job in ran) / hours
    doubt = uncertainty_pct / 100
    low, high = min(*means_w, mid), max(*means_w, mid)
    return MeasuredPower(what, Range(low * (1 - doubt), mid, high * (1 + doubt)), hours, len(ran))
