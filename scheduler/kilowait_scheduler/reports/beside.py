"""What stands beside a job's carbon: where and when it was emitted, the making of its GPUs, SCI, and costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from kilowait_scheduler.core.carbon import Emission
from kilowait_scheduler.core.clean import Clean
from kilowait_scheduler.core.course import Integral
from kilowait_scheduler.core.embodied import gpu_hours_embodied_g
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import Gpu, find
from kilowait_scheduler.core.money import CarbonPrice, Tariff, energy_cost
from kilowait_scheduler.core.ranges import Range, summed

from .measured import Measured
from .model import JobLine
from .uses import Place, market_based_of, matched_of, months_of, uses_of


def beside(
    line: JobLine,
    job: Measured,
    *,
    price: CarbonPrice | None,
    tariffs: Mapping[str, Tariff | None],
    gpu_types: Mapping[str, str | None],
    pue: Mapping[str, float],
    intensity: Mapping[str, Integral],
    clean: Mapping[str, Clean],
    now: datetime,
) -> JobLine:
    """The line with what stands beside its carbon: its uses, the making of its GPUs, SCI, and costs.

    Carbon is priced as when the job was submitted.
    """
    if line.carbon_g is None or line.baseline is None:
        return line
    held = _held(job, gpu_types, now=now)
    embodied = summed(made for _, made in held.values())
    useful_h = job.useful_gpu_h
    spent = {name: job.course.rows(job.course.place == index).kwh for index, name in enumerate(job.course.regions)}
    kwh = {name: amount * pue[name] for name, amount in spent.items() if amount}
    uses = uses_of(
        job.course,
        whole=Emission(line.carbon_g, line.energy_kwh or 0.0),
        made={where: made for where, (_, made) in held.items()},
        intensity=intensity,
        pue=pue,
        tariffs=tariffs,
        clean=clean,
    )
    matched_kwh, matched_pct = matched_of(uses)
    return replace(
        line,
        uses=uses,
        market_based=market_based_of(uses),
        hourly_matched_kwh=matched_kwh,
        hourly_matched_pct=matched_pct,
        gpu_h=sum(hours for hours, _ in held.values()),
        embodied_g=embodied,
        sci_g_per_gpu_h=(line.carbon_g + embodied.mid) / useful_h if embodied is not None and useful_h else None,
        energy_cost=energy_cost((amount, tariffs[name]) for name, amount in sorted(kwh.items())),
        carbon_cost=price.of(line.carbon_g) if price is not None else None,
        baseline_carbon_cost=price.of(line.baseline.carbon_g) if price is not None else None,
    )


def _held(
    job: Measured, gpu_types: Mapping[str, str | None], *, now: datetime
) -> dict[Place, tuple[float, Range | None]]:
    """By region and month: GPU-hours that runs held, and their share of the making of these GPUs; None if not known."""
    hours: dict[Place, float] = {}
    for run in job.record.state.runs:
        if run.started_at is not None:
            for month, start, end in months_of(run.started_at, run.ended_at or now):
                where = run.region, month
                hours[where] = hours.get(where, 0.0) + job.record.gpus_of(run) * ((end - start) / timedelta(hours=1))
    found: dict[Place, tuple[float, Range | None]] = {}
    for where, held in hours.items():
        gpu = _gpu(gpu_types.get(where[0]) or job.record.spec.resources.gpu_type)
        found[where] = held, gpu_hours_embodied_g(gpu.embodied_kg, gpu_h=held) if gpu is not None else None
    return found


@cache
def _gpu(name: str | None) -> Gpu | None:
    try:
        return find(name, among=GPUS) if name is not None else None
    except BadInput:
        return None
