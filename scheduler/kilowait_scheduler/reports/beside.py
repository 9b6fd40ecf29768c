"""What stands beside a job's carbon: where and when it was emitted, the making of its GPUs, SCI, and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache

from kilowait_scheduler.core.clean import Clean
from kilowait_scheduler.core.embodied import gpu_hours_embodied_g
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import Gpu, find
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.money import CarbonPrice, Tariff, energy_cost, price_of
from kilowait_scheduler.core.months import months_of
from kilowait_scheduler.core.ranges import Range, summed
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.savings import Savings

from .measured import Measured
from .model import Use
from .uses import Drawn, Place, market_based_of, matched_of, uses_of


def beside(
    jobs: Sequence[tuple[Measured, Savings]],
    *,
    prices: Sequence[CarbonPrice],
    regions: Sequence[Region],
    intensity: Mapping[str, Integral],
    clean: Mapping[str, Clean],
    now: datetime,
    timezone: str,
) -> list[dict[str, object]]:
    """Of each job that has figures what stands beside its carbon, as fields of its line.

    Carbon is priced as when the job was submitted.
    """
    pue, tariffs = {region.name: region.pue for region in regions}, {region.name: region.tariff for region in regions}
    gpu_types = {region.name: region.gpu_type for region in regions}
    held = [_held(job, gpu_types, now=now, timezone=timezone) for job, _ in jobs]
    uses = uses_of(
        [
            Drawn(job.course, figures.actual, {where: made for where, (_, made) in there.items()})
            for (job, figures), there in zip(jobs, held, strict=True)
        ],
        intensity=intensity,
        pue=pue,
        tariffs=tariffs,
        clean=clean,
        timezone=timezone,
    )
    return [
        _fields(job, figures, there, some, pue=pue, tariffs=tariffs, prices=prices)
        for (job, figures), there, some in zip(jobs, held, uses, strict=True)
    ]


def _fields(
    job: Measured,
    figures: Savings,
    held: Mapping[Place, tuple[float, Range | None]],
    uses: tuple[Use, ...],
    *,
    pue: Mapping[str, float],
    tariffs: Mapping[str, Tariff | None],
    prices: Sequence[CarbonPrice],
) -> dict[str, object]:
    carbon_g, useful_h = figures.actual.carbon_g, job.useful_gpu_h
    embodied = summed(made for _, made in held.values())
    price = price_of(prices, project=job.record.spec.project, at=job.record.submitted_at)
    kwh = {name: amount * pue[name] for name, amount in job.course.kwh_by_region.items() if amount}
    matched_kwh, matched_pct = matched_of(uses)
    return {
        "uses": uses,
        "market_based": market_based_of(uses),
        "hourly_matched_kwh": matched_kwh,
        "hourly_matched_pct": matched_pct,
        "gpu_h": sum(hours for hours, _ in held.values()),
        "useful_gpu_h": useful_h,
        "embodied_g": embodied,
        "sci_g_per_gpu_h": (carbon_g + embodied.mid) / useful_h if embodied is not None and useful_h else None,
        "energy_cost": energy_cost((amount, tariffs[name]) for name, amount in sorted(kwh.items())),
        "carbon_cost": price.of(carbon_g) if price is not None else None,
        "baseline_carbon_cost": price.of(figures.baseline.carbon_g) if price is not None else None,
    }


def _held(
    job: Measured, gpu_types: Mapping[str, str | None], *, now: datetime, timezone: str
) -> dict[Place, tuple[float, Range | None]]:
    """By region and month: GPU-hours that runs held, and their share of the making of these GPUs; None if not known."""
    hours: dict[Place, float] = {}
    for run in job.record.state.runs:
        if run.started_at is not None:
            for month, start, end in months_of(run.started_at, run.ended_at or now, timezone):
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
