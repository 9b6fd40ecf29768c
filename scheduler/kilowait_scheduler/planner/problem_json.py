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

from .problem import Plan, Problem, RegionSlots, Task


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Region(_Strict):
    name: str = Field(min_length=1)
    capacity_gpus: int | list[int]
    intensity_g_per_kwh: list[float]
    pue: float = Field(default=1.0, ge=1.0)


class _Job(_Strict):
    id: str = Field(min_length=1)
    gpus: int = Field(ge=1)
    slots: int = Field(ge=0)
    earliest_slot: int = Field(default=0, ge=0)
    deadline_slot: int
    suspendable: bool = False
    movable: bool = False
    restart_kwh: float = Field(default=0.0, ge=0)
    kw_per_gpu: float = Field(ge=0)
    regions: list[str] | None = None
    relocation_g: dict[str, float] = Field(default_factory=dict)
    wait_g_per_slot: float = Field(default=0.0, ge=0)


class _Problem(_Strict):
    slot_minutes: float = Field(gt=0)
    slots: int = Field(ge=0)
    start: str | None = None
    regions: list[_Region]
    jobs: list[_Job]


def read(data: object) -> Problem:
    """A Problem from parsed JSON. Raises BadInput naming the place of the first mistake."""
    if not isinstance(data, Mapping):
        raise BadInput("problem: expected an object with slot_minutes, slots, regions and jobs")
    for job in data.get("jobs", []) if isinstance(data.get("jobs"), list) else []:
        if isinstance(job, Mapping) and isinstance(job.get("gpus"), Mapping):
            raise BadInput(f"problem: job {job.get('id')}: elastic sizes are not planned yet; give one number of gpus")
    try:
        raw = _Problem.model_validate(data)
    except ValidationError as error:
        raise BadInput(f"problem: {first_problem(error, model=_Problem)}") from None
    _require_unique("region", [region.name for region in raw.regions])
    _require_unique("job", [job.id for job in raw.jobs])
    everywhere = tuple(region.name for region in raw.regions)
    tasks = tuple(
        Task(
            id=job.id,
            gpus=job.gpus,
            kw_per_gpu=job.kw_per_gpu,
            slots=job.slots,
            earliest=job.earliest_slot,
            deadline=job.deadline_slot,
            regions=tuple(job.regions) if job.regions is not None else everywhere,
            suspendable=job.suspendable,
            movable=job.movable,
            restart_kwh=job.restart_kwh,
            relocation_g=job.relocation_g,
            wait_g_per_slot=job.wait_g_per_slot,
        )
        for job in raw.jobs
    )
    return Problem(raw.slot_minutes / 60, raw.slots, tuple(_region(r, raw.slots) for r in raw.regions), tasks)


def _region(raw: _Region, slots: int) -> RegionSlots:
    capacity = raw.capacity_gpus if isinstance(raw.capacity_gpus, list) else [raw.capacity_gpus] * slots
    for key, values in (("intensity_g_per_kwh", raw.intensity_g_per_kwh), ("capacity_gpus", capacity)):
        if len(values) != slots:
            raise BadInput(f"problem: region {raw.name}: {key} has {len(values)} values for {slots} slots")
    grams = np.array(raw.intensity_g_per_kwh, dtype=np.float64)
    if not np.isfinite(grams).all():
        raise BadInput(f"problem: region {raw.name}: intensity_g_per_kwh has values that are not numbers")
    if any(gpus < 0 for gpus in capacity):
        raise BadInput(f"problem: region {raw.name}: capacity_gpus is negative")
    return RegionSlots(raw.name, grams * raw.pue, np.array(capacity, dtype=np.int64))


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
                    {"region": s.region, "start_slot": s.start, "end_slot": s.end, "gpus": placement.task.gpus}
                    for s in placement.segments
                ],
            }
            for placement in sorted(plan.placements, key=lambda placement: placement.task.id)
        ],
    }
