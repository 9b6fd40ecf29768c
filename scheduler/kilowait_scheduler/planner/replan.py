"""From jobs, regions and forecasts at one moment to windows for every job, deadlines first.

Work is placed with a reserve before the deadline (the runtime margin); where that does not fit, without it; where even
that does not fit, as early as GPUs allow: a late job still runs, and the answer says how late.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np

from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.window import Window

from .alone import Alone
from .arrays import arrays_of
from .check import violations
from .diagnose import diagnose
from .grid import Grid
from .joint import plan
from .knowledge import Decision, Knowledge, Rules, Standing
from .problem import Placement, Plan, Problem, Task
from .rows import placement_of


@dataclass(frozen=True)
class Replanned:
    """A decision for every record, in their order; prices to start the next plan from; how good it is at least."""

    decisions: list[Decision]
    prices: Standing | None = None
    gap_pct: float = 0.0


def replan(
    records: Sequence[JobRecord], *, known: Knowledge, rules: Rules, enough: Callable[[], bool] = lambda: False
) -> list[Decision]:
    """The decisions of `replanned` alone."""
    return replanned(records, known=known, rules=rules, enough=enough).decisions


def replanned(
    records: Sequence[JobRecord], *, known: Knowledge, rules: Rules, enough: Callable[[], bool] = lambda: False
) -> Replanned:
    """A decision for every record. Jobs without a possible window get none, and the reason why.

    `enough()` true ends the search for a better plan, never the plan.
    """
    if not records:
        return Replanned([], known.prices)
    grid = Grid(records, known=known, rules=rules)
    start = grid.start_of(records)
    tasks = [_task(grid, record) for record in records]
    made = plan(grid.problem(tasks), start=start, enough=enough)
    if made.unplaced:
        # Someone cannot have the reserve, or the budget; only they give it up, the others keep their safe distance.
        # A budget prices carbon here; whether a job may start is for the ledger to say, on what it really holds.
        poor = {item.task.id for item in made.unplaced if item.reason is Reason.BUDGET_EXHAUSTED}
        short = {item.task.id for item in made.unplaced} - poor
        tasks = [grid.task(r, reserve=r.id not in short) for r in records]
        tasks = [replace(task, budget=None) if task.id in poor else task for task in tasks]
        made = plan(grid.problem(tasks), start=start, enough=enough)
    late: list[Placement] = []
    if made.unplaced:
        rest = [grid.late(item.task) for item in made.unplaced]
        late = _as_soon_as_possible(rest, made, grid.problem(rest))
    placed = {placement.task.id: placement for placement in (*made.placements, *late)}
    everything = Plan(tuple(placed.values()), (), 0.0)
    judged = replace(grid.problem([placement.task for placement in placed.values()]), budgets_g={})
    broken = violations(everything, judged)
    if broken:
        raise AssertionError(f"the planner broke its own rules: {'; '.join(broken[:3])}")
    why = {item.task.id: item for item in made.unplaced}
    decisions = []
    for record in records:
        placement = placed.get(record.id)
        if placement is None:
            item = why[record.id]
            decisions.append(Decision(record, (), item.reason, item.detail))
        else:
            decisions.append(grid.decide(record, placement, late=placement in late))
    prices = grid.standing(made.prices)
    return Replanned(_Settling(grid).settle(decisions), prices, made.gap_pct)


def _task(grid: Grid, record: JobRecord) -> Task:
    """The job with its reserve, or without where the time it has is too short for one."""
    task = grid.task(record, reserve=True)
    return task if diagnose(task, grid.problem([task])) is None else grid.task(record, reserve=False)


def _as_soon_as_possible(tasks: Sequence[Task], made: Plan, problem: Problem) -> list[Placement]:
    """Placements of `tasks`, one after the other, in what `made` leaves free."""
    ordered = sorted(tasks, key=lambda t: (not t.running, -t.priority, t.id))
    problem = replace(problem, tasks=tuple(ordered))
    p = arrays_of(problem)
    free = p.cap.copy()
    rows = {(pool.region, pool.gpu_type): row for row, pool in enumerate(problem.pools)}
    for placement in made.placements:
        for segment in placement.segments:
            free[rows[segment.region, segment.gpu_type], segment.start : segment.end] -= segment.gpus
    found: list[Placement] = []
    alone = Alone(p)
    for j in range(len(ordered)):
        value, where, size = alone.best(j, free)
        if not np.isfinite(value):
            continue
        placement = placement_of(problem, p, j, where, size)
        for segment in placement.segments:
            free[rows[segment.region, segment.gpu_type], segment.start : segment.end] -= segment.gpus
        found.append(placement)
    return found


class _Settling:
    """Hysteresis: whether a new plan is worth giving up the standing one."""

    def __init__(self, grid: Grid) -> None:
        self.grid, self.known, self.rules = grid, grid.known, grid.rules

    def settle(self, decisions: list[Decision]) -> list[Decision]:
        """Keep every job's standing windows where the new plan as a whole gains too little to be worth a change."""
        standing = [self._standing_g(decision.record) for decision in decisions]
        if any(grams is None for grams in standing) or self._overfull(decisions):
            return decisions
        old = sum(grams for grams in standing if grams is not None)
        new = sum(decision.carbon_g for decision in decisions)
        if new < old * (1 - self.rules.hysteresis) or (new <= old * (1 + 1e-9) and self._sooner(decisions)):
            return decisions
        kept = []
        for decision, grams in zip(decisions, standing, strict=True):
            assert grams is not None
            windows = self._ahead(decision.record)
            reason, detail = self.grid.explain(decision.record, windows, None)
            p90 = max(decision.carbon_p90_g, grams)
            kept.append(
                replace(decision, windows=windows, reason=reason, detail=detail, carbon_g=grams, carbon_p90_g=p90)
            )
        return kept

    def _ahead(self, record: JobRecord) -> tuple[Window, ...]:
        """The standing windows that are not over."""
        return tuple(window for window in record.state.windows if window.end > self.known.now)

    def _overfull(self, decisions: list[Decision]) -> bool:
        """Whether the standing windows need more GPUs than a region has by now."""
        standing = [window for decision in decisions for window in self._ahead(decision.record)]
        capacity = {pool.region: int(pool.capacity.min()) for pool in self.grid.pools if self.grid.slots}
        return any(
            sum(other.gpus for other in standing if other.region == window.region and other.contains(at))
            > capacity.get(window.region, 0)
            for window in standing
            for at in (max(window.start, self.known.now),)
        )

    def _sooner(self, decisions: list[Decision]) -> bool:
        """Whether the new windows, taken together, end earlier than the standing ones: GPUs have become free."""
        ahead = [d.record.state.windows[-1].end - d.windows[-1].end for d in decisions if d.windows]
        return sum(ahead, timedelta(0)) >= self.rules.slot

    def _standing_g(self, record: JobRecord) -> float | None:
        """Forecast carbon of the windows the job has already; None where they no longer do."""
        windows = self._ahead(record)
        live = record.state.live_run
        if not windows or any(w.region in self.known.down for w in windows if live is None or w.region != live.region):
            return None
        if live is None and windows[0].start <= self.known.now:
            return None
        if live is not None and windows[0].start > self.known.now:
            return None
        if live is not None and (windows[0].region, windows[0].gpus) != (live.region, record.gpus_of(live)):
            return None
        grams = work_s = 0.0
        rates = {region.name: region for region in self.known.regions}
        for window in windows:
            region = rates.get(window.region)
            if region is None or window.region not in record.regions:
                return None
            begin = max(window.start, self.grid.start)
            mean_g = self.grid.mean_g(window.region, begin, window.end)
            if mean_g is None:
                return None
            hours = (window.end - begin) / timedelta(hours=1)
            grams += record.power_kw(window.gpus) * hours * region.pue * mean_g
            resumes = window is not windows[0] or (live is None and bool(record.state.runs))
            restart_s = record.state.restart_s if resumes else record.state.restart_ahead_s(self.known.now)
            work_s += max(0.0, hours * 3600 - restart_s) * record.state.speed_on(window.gpus)
        if work_s + 1e-6 < record.state.work_ahead_s(self.known.now) or windows[-1].end > record.spec.due:
            return None
        return grams
