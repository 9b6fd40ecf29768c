"""Our own history of what GPUs drew, which estimates are calibrated by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import Gpu, find
from kilowait_scheduler.core.measured_power import JobPower, MeasuredPower, measured_power
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.reports.measured import measured
from kilowait_scheduler.store.repository import Store

from .courses import courses_of

# So many of the last jobs say what the next will draw; more say what used to be.
_LAST = 200


def gpu_of(record: JobRecord, regions: Sequence[Region]) -> Gpu | None:
    """The type of GPU that a job had: its own, else that of the regions it ran in; None where that is not one known."""
    there = {region.name: region.gpu_type for region in regions}
    ran = [there.get(run.region) for run in record.state.runs if run.started_at is not None]
    named = {record.spec.resources.gpu_type} if record.spec.resources.gpu_type else set(ran)
    found = [_known(name) for name in named]
    same = bool(found) and all(gpu is found[0] for gpu in found)
    return found[0] if same else None


def power_history(store: Store, gpu: Gpu, *, now: datetime, name: str | None = None) -> MeasuredPower | None:
    """What GPUs of a type drew in jobs that ended, of one name where given; None where none was measured.

    Of the last 200 such jobs. Simulated energy and estimated readings are not counted, nor is what restarts took.
    """
    regions = store.regions()
    simulated = {region for region, kinds in store.energy_sources().items() if "simulated" in kinds}
    of_it = [
        record
        for record in store.jobs(phases=[phase for phase in Phase if phase.final])
        if name in (None, record.spec.name)
        and not any(run.region in simulated for run in record.state.runs)
        and gpu_of(record, regions) is gpu
    ][-_LAST:]
    courses = courses_of(store, of_it, now=now)
    jobs = measured([(record, course.rows(~course.estimated)) for record, course in zip(of_it, courses, strict=True)])
    drawn = [job for job in jobs if job.useful_gpu_h > 0]
    total_mj = sum(int(job.useful.energy_mj.sum()) for job in drawn)
    doubt = sum(float((job.useful.energy_mj * job.useful.uncertainty_pct).sum()) for job in drawn)
    what = f"jobs named {name!r} on {gpu.short}" if name is not None else f"{gpu.short} on this server"
    return measured_power(
        what,
        [JobPower(job.record.spec.name, job.useful_gpu_h, job.useful.kwh) for job in drawn],
        uncertainty_pct=doubt / total_mj if total_mj else 0.0,
    )


def history_for(store: Store, gpu_name: str, *, like: str | None, now: datetime) -> MeasuredPower | None:
    """The history that an estimate goes by: of jobs of a name, where that is enough, else of the type of GPU."""
    try:
        gpu = find(gpu_name, among=GPUS)
    except BadInput:
        return None  # the estimate itself says so
    named = power_history(store, gpu, now=now, name=like) if like is not None else None
    return named if named is not None and named.enough else power_history(store, gpu, now=now) or named


def _known(name: str | None) -> Gpu | None:
    if name is None:
        return None
    try:
        return find(name, among=GPUS)
    except BadInput:
        return None
