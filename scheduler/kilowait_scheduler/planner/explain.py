"""Why a job's plan is what it is: what binds it, what giving way would buy, and how sure its start is.

Everything is asked of the exact single-job planner with the other jobs' windows taken out of the regions: each
constraint is relaxed alone, and the difference in forecast carbon is what it costs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.window import Window

from .alone import Alone
from .arrays import arrays_of
from .grid import Grid
from .knowledge import Knowledge, Rules
from .problem import Ints, Placement, Pool, Problem, Task
from .rows import placement_of

_LATER = (timedelta(hours=3), timedelta(hours=6), timedelta(hours=12), timedelta(days=1), timedelta(days=2))
_RELAXED_BY = timedelta(hours=12)  # what "a later deadline" means where it is compared with the other constraints
_WORTH = 0.01  # a constraint binds where relaxing it saves at least this share
_DRAWS = 40
_MEMORY = 0.9  # of a forecast's error from one hour to the next; day-ahead errors are that persistent
_Z90 = 1.2816  # the band is the 10 % and the 90 % quantile


@dataclass(frozen=True)
class Option:
    """A way of running the job: forecast carbon in grams, first start and end."""

    carbon_g: float
    start: datetime
    end: datetime
    regions: tuple[str, ...]


@dataclass(frozen=True)
class Relaxed:
    """What the job would emit if `constraint` gave way as `how` says; `saves_g` against the plan, never negative."""

    constraint: str
    how: str
    saves_g: float
    option: Option


@dataclass(frozen=True)
class Explanation:
    """`binding` is the constraint whose relaxing saves most, None where none saves a hundredth. Times are UTC.

    `next_best`: the best that starts at another time or place; `run_now`: at home without waiting, if GPUs allow.
    `start_p50`, `start_p90`: when it starts if the forecast errs as its band says and it is planned again then.
    `saved_p10_g`, `saved_p90_g`: what the plan as it is saves against running now, over the same errors.
    `curve`: the best for a series of deadlines, the job's own first.
    """

    chosen: Option | None
    next_best: Option | None
    run_now: Option | None
    binding: str | None
    relaxed: tuple[Relaxed, ...]
    start_p50: datetime | None
    start_p90: datetime | None
    saved_p10_g: float | None
    saved_p90_g: float | None
    curve: tuple[tuple[datetime, Option | None], ...]


def explain(
    record: JobRecord,
    others: Mapping[str, Sequence[Window]],
    *,
    known: Knowledge,
    rules: Rules,
    rng: np.random.Generator,
) -> Explanation:
    """An explanation for one job beside the windows of the `others`, by job id."""
    return _Asking(record, others, known=known, rules=rules).explanation(rng)


class _Asking:
    """The job on a grid that reaches beyond its deadline, and the GPUs the others leave."""

    def __init__(
        self, record: JobRecord, others: Mapping[str, Sequence[Window]], *, known: Knowledge, rules: Rules
    ) -> None:
        self.record = record
        self.grid = Grid([record], known=known, rules=rules, beyond=_LATER[-1])
        self.free = np.array([pool.capacity for pool in self.grid.pools], dtype=np.int64)
        rows = {pool.region: row for row, pool in enumerate(self.grid.pools)}
        for job_id, windows in others.items():
            for segment in self.grid.segments(windows) if job_id != record.id else ():
                if segment.region in rows:
                    self.free[rows[segment.region], segment.start : segment.end] -= segment.gpus
        self.task = self.grid.task(record, reserve=True)
        if self.best(self.task) is None:
            self.task = self.grid.task(record, reserve=False)

    def best(self, task: Task, *, free: Ints | None = None, pools: Sequence[Pool] | None = None) -> Placement | None:
        problem = Problem(self.grid.slot_h, self.grid.slots, tuple(pools or self.grid.pools), (task,))
        p = arrays_of(problem)
        value, where, size = Alone(p).best(0, self.free if free is None else free)
        return placement_of(problem, p, 0, where, size) if np.isfinite(value) else None

    def option(self, placement: Placement | None) -> Option | None:
        if placement is None:
            return None
        first, last = placement.segments[0], placement.segments[-1]
        return Option(
            carbon_g=placement.carbon_g,
            start=max(self.grid.known.now, self.grid.at(first.start)),
            end=self.grid.at(last.end),
            regions=tuple(dict.fromkeys(segment.region for segment in placement.segments)),
        )

    def explanation(self, rng: np.random.Generator) -> Explanation:
        placement = self.best(self.task)
        chosen = self.option(placement)
        relaxed = sorted(self._relaxed(chosen), key=lambda item: -item.saves_g) if chosen is not None else []
        binds = chosen is not None and relaxed and relaxed[0].saves_g >= _WORTH * abs(chosen.carbon_g)
        now = self.best(self._run_now())
        starts, saved = self._drawn(placement, now, rng) if placement is not None else ([], [])
        p50, p90 = self._quantiles(starts)
        return Explanation(
            chosen=chosen,
            next_best=self.option(self._other_than(placement)) if placement is not None else None,
            run_now=self.option(now),
            binding=relaxed[0].constraint if binds else None,
            relaxed=tuple(item for item in relaxed if item.saves_g > 0),
            start_p50=p50,
            start_p90=p90,
            saved_p10_g=float(np.quantile(saved, 0.1)) if saved else None,
            saved_p90_g=float(np.quantile(saved, 0.9)) if saved else None,
            curve=tuple(self._curve()),
        )

    def _later(self, by: timedelta) -> Task:
        slots = by // self.grid.rules.slot
        return replace(self.task, deadline=min(self.task.deadline + slots, self.grid.slots))

    def _run_now(self) -> Task:
        task = self.task
        gpus = task.ran_gpus if task.running and task.ran_gpus is not None else self.record.gpus
        size = next(size for size in task.sizes if size.gpus == gpus)
        slots = math.ceil(task.work / size.speed - 1e-9)
        return replace(
            task,
            sizes=(replace(size, speed=1.0),),
            work=slots,
            regions=(self.record.home,),
            suspendable=False,
            movable=False,
            deadline=min(self.grid.slots, task.earliest + slots),
        )

    def _other_than(self, placement: Placement) -> Placement | None:
        first = placement.segments[0]
        free = self.free.copy()
        row = next(row for row, pool in enumerate(self.grid.pools) if pool.region == first.region)
        free[row, first.start] = 0
        return self.best(replace(self.task, stays=False), free=free)

    def _relaxed(self, chosen: Option) -> list[Relaxed]:
        task, every = self.task, tuple(pool.region for pool in self.grid.pools)
        whole = np.array([pool.capacity for pool in self.grid.pools], dtype=np.int64)
        asked: list[tuple[str, str, Placement | None]] = [
            ("deadline", "a deadline 12 hours later", self.best(self._later(_RELAXED_BY))),
            ("capacity", "no other job in its regions", self.best(task, free=whole)),
        ]
        if set(every) != set(task.regions):
            regions = (*task.regions, *(name for name in every if name not in task.regions))
            anywhere = replace(task, regions=regions, movable=task.suspendable)
            asked.append(("regions", "all regions allowed", self.best(anywhere)))
        if task.suspendable and (task.restart_slots or task.restart_kwh):
            asked.append(("restart", "restarts that cost nothing", self.best(_free_restarts(task))))
        if not task.suspendable and not task.running:
            split = replace(task, suspendable=True, movable=len(task.regions) > 1 or task.resize_restarts)
            asked.append(("checkpoint", "a checkpoint, so that it can be suspended", self.best(split)))
        if any(task.relocation_g.values()) or any(task.relocation_slots.values()):
            at_hand = replace(task, relocation_g={}, relocation_slots={})
            asked.append(("data", "its data in every region already", self.best(at_hand)))
        earliest = self.record.spec.earliest
        if earliest is not None and earliest > self.grid.known.now:
            asked.append(("earliest", "a start from now on", self.best(replace(task, earliest=0))))
        found = []
        for constraint, how, placement in asked:
            option = self.option(placement)
            if option is not None:
                found.append(Relaxed(constraint, how, max(0.0, chosen.carbon_g - option.carbon_g), option))
        return found

    def _curve(self) -> list[tuple[datetime, Option | None]]:
        """Carbon by deadline, for the job's own and later ones: what an hour of patience is worth."""
        due = self.record.spec.due
        return [(due + by, self.option(self.best(self._later(by)))) for by in (timedelta(0), *_LATER)]

    def _drawn(
        self, placement: Placement, now: Placement | None, rng: np.random.Generator
    ) -> tuple[list[int], list[float]]:
        """First slots of plans made on forecasts drawn from the band, and what the standing plan saves on each.

        Errors of a zone last for hours; those of two zones have nothing to do with each other.
        """
        memory = _MEMORY**self.grid.slot_h
        starts, saved = [], []
        for _ in range(_DRAWS):
            pools = []
            for pool in self.grid.pools:
                spread = (self.grid.high[pool.region] - pool.g_per_kwh) / _Z90
                error = _lasting(rng, len(spread), memory)
                pools.append(replace(pool, g_per_kwh=pool.g_per_kwh + np.maximum(spread, 0) * error))
            other = placement if self.task.running else self.best(self.task, pools=pools)
            if other is not None:
                starts.append(other.segments[0].start)
            if now is not None:
                saved.append(self._carbon_g(now, pools) - self._carbon_g(placement, pools))
        return starts, saved

    def _carbon_g(self, placement: Placement, pools: Sequence[Pool]) -> float:
        """What a placement emits on other pools' intensity, restarts and moves left out: they hardly differ."""
        grams = {pool.region: pool.g_per_kwh for pool in pools}
        busy = ((grams[s.region][s.start : s.end].sum(), s.gpus) for s in placement.segments)
        return self.grid.slot_h * float(sum(values * self.record.power_kw(gpus) for values, gpus in busy))

    def _quantiles(self, starts: list[int]) -> tuple[datetime | None, datetime | None]:
        if not starts:
            return None, None
        p50, p90 = np.quantile(starts, [0.5, 0.9], method="higher")
        now = self.grid.known.now
        return max(now, self.grid.at(int(p50))), max(now, self.grid.at(int(p90)))


def _free_restarts(task: Task) -> Task:
    return replace(task, restart_kwh=0.0, restart_slots=0, caution_kwh=0.0)


def _lasting(rng: np.random.Generator, slots: int, memory: float) -> np.ndarray:
    """Standard normal errors of which each keeps `memory` of the one before."""
    fresh = rng.standard_normal(slots) * np.sqrt(1 - memory**2)
    error, last = np.empty(slots), rng.standard_normal()
    for slot in range(slots):
        last = memory * last + fresh[slot]
        error[slot] = last
    return error
