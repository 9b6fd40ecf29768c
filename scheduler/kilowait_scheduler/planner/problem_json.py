"""The outside format of a planning problem (`kilowait plan --problem FILE`) and of its answer.

Formats are documented in docs/planner.md. Malformed input is BadInput with one line; infeasible jobs are part of the
answer, never an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.job import first_problem

from .problem import Plan, Pool, Problem, Size, Task


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Region(_Strict):
    name: str = Field(min_length=1)
    gpu_type: str | None = None
    capacity_gpus: int | list[int]
    intensity_g_per_kwh: list[float]
    price_g_per_kwh: list[float] | None = None
    pue: float = Field(default=1.0, ge=1.0)


class _Sizes(_Strict):
    min: int = Field(ge=1)
    max: int = Field(ge=1)


class _Job(_Strict):
    id: str = Field(min_length=1)
    gpus: int | _Sizes
    slots: int | None = Field(default=None, ge=0)
    kw_per_gpu: float | None = Field(default=None, ge=0)
    work: float | None = Field(default=None, ge=0)
    throughput: dict[int, float] | None = None
    kw: dict[int, float] | None = None
    earliest_slot: int = Field(default=0, ge=0)
    deadline_slot: int
    suspendable: bool = False
    movable: bool = False
    restart_kwh: float = Field(default=0.0, ge=0)
    regions: list[str] | None = None
    gpu_type: str | None = None
    relocation_g: dict[str, float] = Field(default_factory=dict)
    relocation_slots: dict[str, int] = Field(default_factory=dict)
    wait_g_per_slot: float = Field(default=0.0, ge=0)
    priority: int = Field(default=0, ge=-10, le=10)
    budget: str | None = None


class _Problem(_Strict):
    slot_minutes: float = Field(gt=0)
    slots: int = Field(ge=0, le=100_000)
    start: str | None = None
    regions: list[_Region]
    jobs: list[_Job]
    budgets_g: dict[str, float] = Field(default_factory=dict)


def read(data: object) -> Problem:
    """A Problem from parsed JSON. Raises BadInput naming the place of the first mistake."""
    if not isinstance(data, Mapping):
        raise BadInput("problem: expected an object with slot_minutes, slots, regions and jobs")
    try:
        raw = _Problem.model_validate(data)
    except ValidationError as error:
        raise BadInput(f"problem: {first_problem(error, model=_Problem)}") from None
    _require_unique("region", [f"{r.name} {r.gpu_type}" if r.gpu_type else r.name for r in raw.regions])
    _require_unique("job", [job.id for job in raw.jobs])
    everywhere = tuple(dict.fromkeys(region.name for region in raw.regions))
    slot_h = raw.slot_minutes / 60
    tasks = tuple(_task(job, raw, everywhere=everywhere, slot_h=slot_h) for job in raw.jobs)
    return Problem(slot_h, raw.slots, tuple(_pool(r, raw.slots) for r in raw.regions), tasks, raw.budgets_g)


def _task(job: _Job, raw: _Problem, *, everywhere: tuple[str, ...], slot_h: float) -> Task:
    if job.budget is not None and job.budget not in raw.budgets_g:
        known = ", ".join(raw.budgets_g) or "none"
        raise BadInput(f"problem: job {job.id}: budget {job.budget!r} is not in budgets_g; there are: {known}")
    sizes, work = _rigid(job) if isinstance(job.gpus, int) else _elastic(job, job.gpus, slot_h=slot_h)
    return Task(
        id=job.id,
        sizes=sizes,
        work=work,
        earliest=job.earliest_slot,
        deadline=job.deadline_slot,
        regions=tuple(dict.fromkeys(job.regions)) if job.regions is not None else everywhere,
        suspendable=job.suspendable,
        movable=job.movable,
        gpu_type=job.gpu_type,
        restart_kwh=job.restart_kwh,
        relocation_g=job.relocation_g,
        relocation_slots=job.relocation_slots,
        wait_g_per_slot=job.wait_g_per_slot,
        priority=job.priority,
        budget=job.budget,
    )


def _rigid(job: _Job) -> tuple[tuple[Size, ...], float]:
    assert isinstance(job.gpus, int)
    if job.gpus < 1:
        raise BadInput(f"problem: job {job.id}: gpus: must be 1 or more, is {job.gpus}")
    for key in ("slots", "kw_per_gpu"):
        if getattr(job, key) is None:
            raise BadInput(f"problem: job {job.id}: {key}: missing; add it")
    for key in ("work", "throughput", "kw"):
        if getattr(job, key) is not None:
            raise BadInput(f"problem: job {job.id}: {key} goes with elastic gpus, e.g. {{'min': 1, 'max': 4}}")
    assert job.slots is not None and job.kw_per_gpu is not None
    return (Size(job.gpus, job.gpus * job.kw_per_gpu),), job.slots


def _elastic(job: _Job, gpus: _Sizes, *, slot_h: float) -> tuple[tuple[Size, ...], float]:
    for key in ("slots", "kw_per_gpu"):
        if getattr(job, key) is not None:
            raise BadInput(f"problem: job {job.id}: {key} goes with one number of gpus; elastic ones give work, kw")
    for key in ("work", "throughput", "kw"):
        if getattr(job, key) is None:
            raise BadInput(f"problem: job {job.id}: {key}: missing; elastic jobs need it")
    assert job.work is not None and job.throughput is not None and job.kw is not None
    names = sorted(n for n in job.throughput if gpus.min <= n <= gpus.max)
    if not names:
        raise BadInput(f"problem: job {job.id}: throughput has no size from {gpus.min} to {gpus.max} GPUs")
    for n in names:
        if n not in job.kw:
            raise BadInput(f"problem: job {job.id}: kw has no value for {n} GPUs")
        if not (job.throughput[n] > 0 and job.kw[n] >= 0):
            raise BadInput(f"problem: job {job.id}: throughput of {n} GPUs must be above 0 and its kw not below")
    return tuple(Size(n, job.kw[n], job.throughput[n]) for n in names), job.work / slot_h


def _pool(raw: _Region, slots: int) -> Pool:
    capacity = raw.capacity_gpus if isinstance(raw.capacity_gpus, list) else [raw.capacity_gpus] * slots
    prices = raw.price_g_per_kwh
    for key, values in (
        ("intensity_g_per_kwh", raw.intensity_g_per_kwh),
        ("capacity_gpus", capacity),
        ("price_g_per_kwh", [0.0] * slots if prices is None else prices),
    ):
        if len(values) != slots:
            raise BadInput(f"problem: region {raw.name}: {key} has {len(values)} values for {slots} slots")
        if not np.isfinite(np.array(values, dtype=np.float64)).all():
            raise BadInput(f"problem: region {raw.name}: {key} has values that are not numbers")
    if any(gpus < 0 for gpus in capacity):
        raise BadInput(f"problem: region {raw.name}: capacity_gpus is negative")
    return Pool(
        raw.name,
        np.array(raw.intensity_g_per_kwh, dtype=np.float64) * raw.pue,
        np.array(capacity, dtype=np.int64),
        gpu_type=raw.gpu_type,
        price_g_per_kwh=None if prices is None else np.array(prices, dtype=np.float64) * raw.pue,
    )


def _require_unique(what: str, names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []
    if twice:
        raise BadInput(f"problem: {what} {twice[0]!r} is given twice; names must differ")


def write(plan: Plan, *, seconds: float) -> dict[str, Any]:
    """The answer in the documented shape."""
    return {
        "carbon_g": plan.carbon_g,
        "objective_g": plan.objective_g,
        "lower_bound_g": plan.lower_bound_g,
        "gap_pct": plan.gap_pct if plan.gap_pct != float("inf") else None,
        "placed": len(plan.placements),
        "unplaced": [{"id": u.task.id, "reason": u.reason.value, "detail": u.detail} for u in plan.unplaced],
        "seconds": seconds,
        "jobs": [
            {
                "id": placement.task.id,
                "region": placement.segments[0].region,
                "carbon_g": placement.carbon_g,
                "restarts": placement.restarts,
                "windows": [
                    {"region": s.region, "start_slot": s.start, "end_slot": s.end, "gpus": s.gpus}
                    | ({} if s.gpu_type is None else {"gpu_type": s.gpu_type})
                    for s in placement.segments
                ],
            }
            for placement in sorted(plan.placements, key=lambda placement: placement.task.id)
        ],
    }
