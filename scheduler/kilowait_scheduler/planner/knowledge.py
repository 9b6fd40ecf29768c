"""What a round of planning starts from and what it decides: rules, what is known at a moment, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from kilowait_forecasters.forecast import Forecast
from kilowait_scheduler.core.money import CarbonPrice
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.window import Window

from .problem import Floats

# Plans look no further than this, whatever the deadline: no forecast does, and time and memory grow with it.
HORIZON = timedelta(days=30)


@dataclass(frozen=True)
class Rules:
    """How to plan. `margin`: share of the work kept free before the deadline; `slot`: grid of the plan.

    `transfer_kwh_per_gb`: network energy of moving data, an assumption (published figures span 0.001 to 0.06).
    `transfer_gb_per_s`: how fast it moves. `wait_share_per_h`: what an hour of waiting costs, as a share of the job's
    run-now carbon: a tie-breaker by default, doubled by a step of priority and growing while a job waits.
    `hysteresis`: a new plan must beat the standing one by this share, so that jobs do not thrash. `restart_weight`: how
    often a restart's energy counts when it is decided on, for only a part of what a forecast promises of a suspension
    comes true (measured: docs/benchmarks/planner.md).
    """

    slot: timedelta = timedelta(minutes=15)
    margin: float = 0.15
    transfer_kwh_per_gb: float = 0.02
    transfer_gb_per_s: float = 1.0
    wait_share_per_h: float = 0.0002
    hysteresis: float = 0.01
    restart_weight: float = 2.0


@dataclass(frozen=True, eq=False)
class Standing:
    """Prices of an earlier plan: `gpu_g` per pool (region, GPU type) and slot from `start` on, grams per GPU-slot."""

    start: datetime
    slot: timedelta
    gpu_g: Mapping[tuple[str, str | None], Floats]
    budget: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Knowledge:
    """What is known at `now`. `forecasts` by zone; `down`: regions that do not answer and get nothing new.

    `gpus` says how many GPUs a cluster really has, where it told us, by region. `budgets_g`: grams that are left in
    hard budgets, by name; `budget_of`: which of them a job draws on, by job id. `carbon_prices`: the internal price
    of their carbon, by job id, where there is one. `margins`: share of the work to keep
    free before the deadline, by job name, where runtimes of earlier jobs tell. `prices` of the last plan.
    """

    now: datetime
    regions: tuple[Region, ...]
    forecasts: Mapping[str, Forecast]
    down: frozenset[str] = frozenset()
    gpus: Mapping[str, int] = field(default_factory=dict)
    budgets_g: Mapping[str, float] = field(default_factory=dict)
    budget_of: Mapping[str, str] = field(default_factory=dict)
    carbon_prices: Mapping[str, CarbonPrice] = field(default_factory=dict)
    margins: Mapping[str, float] = field(default_factory=dict)
    prices: Standing | None = None


@dataclass(frozen=True)
class Decision:
    """What to do with one job, and the promise that goes with it; grams are on forecast intensity, PUE included."""

    record: JobRecord
    windows: tuple[Window, ...]
    reason: Reason
    detail: str
    carbon_g: float = 0.0
    carbon_p90_g: float = 0.0
    run_now_g: float = 0.0
    energy_kwh: float = 0.0
    late_by: timedelta | None = None
