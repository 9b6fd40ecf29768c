"""The planning problem on a grid of equal slots: pools of GPUs with intensity and capacity, tasks with work.

Cost of a slot in grams: kW of the size x slot_h x g_per_kwh of the pool (PUE included). A start after the first adds
restart_kwh at the slot in which it restarts, a start in another region adds that region's relocation grams. What is
minimised is the objective: carbon (a budget's price may scale it) + other prices on energy + the price of waiting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from kilowait_scheduler.core.reasons import Reason

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """The GPUs of one type in one region.

    `g_per_kwh` (slots,) carbon of a kWh, multiplied by PUE. `capacity` (slots,) GPUs that may be used.
    `price_g_per_kwh` (slots,) or None: other prices on a kWh (electricity), PUE included, in the grams that one would
    pay as much for, or in money where the tasks' `price_factor` makes grams of it.
    """

    region: str
    g_per_kwh: Floats
    capacity: Ints
    gpu_type: str | None = None
    price_g_per_kwh: Floats | None = None

    @cached_property
    def largest(self) -> int:
        """The most GPUs that may be used in any slot."""
        return int(self.capacity.max(initial=0))


@dataclass(frozen=True)
class Size:
    """A number of GPUs a task may run on: `speed` in work per slot, `kw` for all its GPUs together."""

    gpus: int
    kw: float
    speed: float = 1.0


@dataclass(frozen=True)
class Task:
    """A gang that needs `work` within slots [earliest, deadline), one size per slot; one region unless `movable`.

    A rigid task has one size of speed 1: its work is a number of slots, all of them and no more. An elastic one has
    several and is done once the speeds of its slots add up to at least `work`; to change the size is no restart, unless
    `resize_restarts`: then it is one like any other, in the same region too.
    `restart_slots`: slots a resume occupies at full power before work goes on, on top of `restart_kwh`; `caution_kwh`:
    what it counts as beside that in the objective, not in carbon, for forecasts keep but a part of what they promise of
    a suspension. `movable`: a resume may be in another region, `relocation_slots` after the stop there. `ran_in`:
    region of the last run of a job that has run before (every start is then a restart); with `running` it holds its
    GPUs there right now, `ran_gpus` of type `ran_on`, and may go on in its first slot without a restart; if it `stays`
    it does, unless the GPUs are gone.
    `budget`: name of the row in `Problem.budgets_g` that its carbon counts towards. `price_factor` multiplies the
    pools' prices on a kWh: grams that are worth one unit of them to this task's owner; 0 where only carbon counts.
    """

    id: str
    sizes: tuple[Size, ...]
    work: float
    earliest: int
    deadline: int
    regions: tuple[str, ...]
    suspendable: bool = False
    movable: bool = False
    resize_restarts: bool = False
    gpu_type: str | None = None
    kw_factor: Mapping[str, float] = field(default_factory=dict)  # by GPU type; 1 where absent
    restart_kwh: float = 0.0
    restart_slots: int = 0
    caution_kwh: float = 0.0
    relocation_g: Mapping[str, float] = field(default_factory=dict)
    relocation_slots: Mapping[str, int] = field(default_factory=dict)
    wait_g_per_slot: float = 0.0
    price_factor: float = 1.0
    priority: int = 0
    ran_in: str | None = None
    ran_on: str | None = None
    ran_gpus: int | None = None
    running: bool = False
    stays: bool = False
    budget: str | None = None

    def __post_init__(self) -> None:
        if not self.elastic and self.work != int(self.work):
            raise ValueError(f"{self.id}: {self.work:g} slots of work; a task of one size has a whole number of them")
        if self.resize_restarts and self.suspendable and not self.movable:
            raise ValueError(f"{self.id}: may restart on another size, so it must be movable")
        if self.running and self.resize_restarts and self.ran_gpus not in {size.gpus for size in self.sizes}:
            raise ValueError(f"{self.id}: runs on {self.ran_gpus} GPUs, which is none of its sizes")

    @classmethod
    def rigid(cls, id: str, *, gpus: int, kw_per_gpu: float, slots: int, **more: object) -> Task:  # noqa: A002
        """A task of one size that needs exactly `slots` slots of work."""
        return cls(id=id, sizes=(Size(gpus, gpus * kw_per_gpu),), work=slots, **more)  # type: ignore[arg-type]

    @property
    def elastic(self) -> bool:
        return len(self.sizes) > 1 or self.sizes[0].speed != 1.0

    @property
    def least_slots(self) -> int:
        """The fewest slots of work that finish it."""
        return int(np.ceil(self.work / max(size.speed for size in self.sizes) - 1e-9))

    @property
    def least_gpus(self) -> int:
        return min(size.gpus for size in self.sizes)

    @property
    def stays_on(self) -> int:
        """The fewest GPUs on which a running task goes on."""
        return self.ran_gpus if self.resize_restarts and self.ran_gpus is not None else self.least_gpus

    def home_of(self, pools: Sequence[Pool]) -> Pool | None:
        """The pool it runs in, or ran in last: the first of its type there."""
        there = (pool for pool in pools if pool.region == self.ran_in and self.fits(pool))
        return next((pool for pool in there if self.ran_on in (None, pool.gpu_type)), None)

    def fits(self, pool: Pool) -> bool:
        """Whether the pool's region and type are among those it may run on."""
        return pool.region in self.regions and self.gpu_type in (None, pool.gpu_type)


@dataclass(frozen=True, eq=False)
class Problem:
    """`slots` slots of `slot_h` hours; all tasks share the pools' capacity and the `budgets_g` (grams, by name)."""

    slot_h: float
    slots: int
    pools: tuple[Pool, ...]
    tasks: tuple[Task, ...]
    budgets_g: Mapping[str, float] = field(default_factory=dict)

    def pool(self, region: str, gpu_type: str | None) -> Pool | None:
        return next((pool for pool in self.pools if (pool.region, pool.gpu_type) == (region, gpu_type)), None)


@dataclass(frozen=True)
class Segment:
    """Slots [start, end) in one pool on one number of GPUs, restart slots included."""

    region: str
    start: int
    end: int
    gpus: int
    gpu_type: str | None = None


@dataclass(frozen=True)
class Placement:
    """Where and when a task runs, and what that costs; `price_g` are prices on energy and waiting, not carbon."""

    task: Task
    segments: tuple[Segment, ...]
    carbon_g: float
    price_g: float
    restarts: int

    @property
    def objective_g(self) -> float:
        return self.carbon_g + self.price_g


@dataclass(frozen=True)
class Unplaced:
    """A task that cannot be done, with the constraint that binds."""

    task: Task
    reason: Reason
    detail: str


@dataclass(frozen=True, eq=False)
class Prices:
    """What scarce things cost: `gpu_g` (pools, slots) grams per GPU and slot; `budget` per budget, added to 1 g."""

    gpu_g: Floats
    budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Placements, what could not be placed, and a lower bound on the objective of the placed (docs/planner.md).

    `prices` explain the plan and start the next one where this one ended.
    """

    placements: tuple[Placement, ...]
    unplaced: tuple[Unplaced, ...]
    lower_bound_g: float
    prices: Prices | None = None

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
        return float("inf") if self.lower_bound_g == 0 else 100 * excess / abs(self.lower_bound_g)
