"""The planning problem on a grid of equal slots: regions with intensity and free GPUs, tasks with windows and work.

Cost of a slot in grams: gpus x kw_per_gpu x slot_h x (PUE x intensity). A start after the first adds restart_kwh at the
slot in which it restarts, a start in another region adds that region's relocation grams.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kilowait_scheduler.core.reasons import Reason

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class RegionSlots:
    """One region: `g_per_kwh` (slots,) already multiplied by PUE, `capacity` (slots,) GPUs that may be used."""

    name: str
    g_per_kwh: Floats
    capacity: Ints


@dataclass(frozen=True)
class Task:
    """A gang of `gpus` that needs `slots` slots of work within [earliest, deadline).

    `restart_slots`: slots a resume occupies at full power before work goes on, on top of `restart_kwh`. `movable`: a
    resume may be in another region. `ran_in`: region of the last run of a job that has run before (every start is then
    a restart); with `running` it holds its GPUs there right now and may go on in slot 0 without a restart.
    """

    id: str
    gpus: int
    kw_per_gpu: float
    slots: int
    earliest: int
    deadline: int
    regions: tuple[str, ...]
    suspendable: bool = False
    movable: bool = False
    restart_kwh: float = 0.0
    restart_slots: int = 0
    relocation_g: Mapping[str, float] = field(default_factory=dict)
    wait_g_per_slot: float = 0.0
    priority: int = 0
    ran_in: str | None = None
    running: bool = False

    @property
    def kw(self) -> float:
        return self.gpus * self.kw_per_gpu


@dataclass(frozen=True, eq=False)
class Problem:
    """`slots` slots of `slot_h` hours; all tasks share the regions' capacity."""

    slot_h: float
    slots: int
    regions: tuple[RegionSlots, ...]
    tasks: tuple[Task, ...]

    def region(self, name: str) -> RegionSlots | None:
        return next((region for region in self.regions if region.name == name), None)


@dataclass(frozen=True)
class Segment:
    """Slots [start, end) in one region without a break, restart slots included."""

    region: str
    start: int
    end: int


@dataclass(frozen=True)
class Placement:
    """Where and when a task runs, and what that costs; `waiting_g` is the price on being late, not carbon."""

    task: Task
    segments: tuple[Segment, ...]
    carbon_g: float
    waiting_g: float
    restarts: int

    @property
    def objective_g(self) -> float:
        return self.carbon_g + self.waiting_g


@dataclass(frozen=True)
class Unplaced:
    """A task that cannot be done, with the constraint that binds."""

    task: Task
    reason: Reason
    detail: str


@dataclass(frozen=True)
class Plan:
    """Placements, what could not be placed, and a lower bound on the objective of the placed (docs/planner.md)."""

    placements: tuple[Placement, ...]
    unplaced: tuple[Unplaced, ...]
    lower_bound_g: float

    @property
    def carbon_g(self) -> float:
        return sum(placement.carbon_g for placement in self.placements)

    @property
    def objective_g(self) -> float:
        return sum(placement.objective_g for placement in self.placements)

    @property
    def gap_pct(self) -> float:
        """How far the plan can be from the best at most, in percent of the bound; 0 where there is nothing to lose."""
        excess = self.objective_g - self.lower_bound_g
        if excess <= 1e-9 * max(1.0, abs(self.objective_g)):
            return 0.0
        return float("inf") if self.lower_bound_g <= 0 else 100 * excess / self.lower_bound_g
