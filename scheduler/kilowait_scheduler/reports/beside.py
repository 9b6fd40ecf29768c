"""What stands beside a job's carbon: the making of its GPUs, SCI, and what its electricity and carbon cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from kilowait_scheduler.core.embodied import gpu_hours_embodied_g
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import Gpu, find
from kilowait_scheduler.core.money import CarbonPrice, Tariff, energy_cost
from kilowait_scheduler.core.ranges import Range, summed

from .measured import Measured
from .model import JobLine


def beside(
    line: JobLine,
    job: Measured,
    *,
    price: CarbonPrice | None,
    tariffs: Mapping[str, Tariff | None],
    gpu_types: Mapping[str, str | None],
    pue: Mapping[str, float],
    now: datetime,
) -> JobLine:
    """The line with what stands beside its carbon: the making of its GPUs, SCI, and what electricity and carbon cost.

    Carbon is priced as when the job was submitted.
    """
    if line.carbon_g is None or line.baseline is None:
        return line
    held, embodied = _embodied(job, gpu_types, now=now)
    useful_h = job.record.gpus * (job.worked / timedelta(hours=1))
    kwh: dict[str, float] = {}
    for interval in job.intervals:
        kwh[interval.region] = kwh.get(interval.region, 0.0) + interval.kwh * pue[interval.region]
    return replace(
        line,
        gpu_h=held,
        embodied_g=embodied,
        sci_g_per_gpu_h=(line.carbon_g + embodied.mid) / useful_h if embodied is not None and useful_h else None,
        energy_cost=energy_cost((amount, tariffs[name]) for name, amount in sorted(kwh.items())),
        carbon_cost=price.of(line.carbon_g) if price is not None else None,
        baseline_carbon_cost=price.of(line.baseline.carbon_g) if price is not None else None,
    )


def _embodied(job: Measured, gpu_types: Mapping[str, str | None], *, now: datetime) -> tuple[float, Range | None]:
    """GPU-hours that the job's runs held, and their share of the making of these GPUs; None where one is not known."""
    hours = 0.0
    parts: list[Range | None] = []
    for run in job.record.state.runs:
        if run.started_at is not None:
            held = job.record.gpus * (((run.ended_at or now) - run.started_at) / timedelta(hours=1))
            hours += held
            gpu = _gpu(gpu_types.get(run.region) or job.record.spec.resources.gpu_type)
            parts.append(gpu_hours_embodied_g(gpu.embodied_kg, gpu_h=held) if gpu is not None else None)
    return hours, summed(parts)


def _gpu(name: str | None) -> Gpu | None:
    try:
        return find(name, among=GPUS) if name is not None else None
    except BadInput:
        return None
