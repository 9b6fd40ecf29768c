"""The search for a plan: greedy insertion, again at prices, then ruin and recreate; the state the kernels work on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field, replace

import numpy as np

from kilowait_scheduler.core.reasons import Reason

from . import kernels, sweeps
from .alone import Alone
from .arrays import arrays_of, left_out_g
from .check import faults
from .conflicts import tightened
from .prices import Ascent, Round, ascend, scale_of
from .problem import Floats, Ints, Plan, Prices, Problem, Segment, Unplaced
from .rows import Row, placement_of, rows_of
from .schedule import weighed


@dataclass(frozen=True)
class Effort:
    """How hard to try: `iterations` of the prices, `moves` of improvement per task that take out up to `most` others.

    `heat`: start temperature of the improvement, as a share of the mean cost of a task; `keen`: share of their cost
    that tasks must gain together for a change, so that a standing plan is not shuffled for nothing.
    """

    iterations: int = 200
    moves: int = 45
    most: int = 8
    heat: float = 0.02
    keen: float = 0.0


@dataclass(frozen=True)
class Start:
    """Where an earlier plan ended: its prices, on this problem's grid, and what it did with tasks still here.

    Without prices the search is as long as from nothing, but what stands is only given up for something better.
    """

    prices: Prices | None
    segments: Mapping[str, tuple[Segment, ...]] = field(default_factory=dict)


COLD = Effort()
WARM = Effort(iterations=10, moves=2, heat=0.0, keen=0.003)
FEW = 64  # tasks up to which it is first tried whether everyone can have their best: no kernels, no waiting
_GREEDY_ROUNDS = 12
_FITTED, _FEWEST_FITTED = 100, 500  # moves for each job they leave out: at most one per job, and at least
_LEAST_MOVES, _FEWEST_MOVES = 1500, 60  # in all, and per job: few jobs deserve no less, they cost milliseconds
_CHEAP = 4000  # steps of one job's dynamic program in one pool up to which they do; elastic ones take many more
_DEAR = 60_000  # mean steps of all jobs from which on there are fewer moves, and of those so many between two askings
_BETWEEN = 50
_STRENGTHS = (1.0, 0.7, 0.4, 0.1, 0.0)
_STAGES = 6
_HARD = 96  # of up to so many jobs some are put elsewhere, whoever is in their way, again and again:
_DISPLACED, _DISPLACED_EACH = 80, 8  # at most, and per job; each time with so many moves around it,
_AROUND, _FEWEST_AROUND = 100, 10
_MORE, _HOPEFUL = 60, 0.02  # and more where that came within this share, of what the best's jobs cost, of the best
_MEETINGS = 8  # of the two searches that do so
_WORSE = 0.01  # what is worse by this share, at first, is gone on from all the same
_TIGHTENED = 200  # fewer jobs than this have their bound tightened by gangs that exclude each other
_FEWEST_ROUNDS = 100  # by so many rounds of milliseconds, a plan made again too
_OF_PRICES = 5  # after this part of the rounds has been spent on prices alone
_DEARER = 10  # rounds in which a budget that is overdrawn raises its price
_NEAR, _NEAR_ENOUGH = 1e-7, 1e-3  # relative gap, times the jobs squared and at most, at which a plan is good enough
_CLOSED = 1e-9  # relative gap at which a plan is proven best


class Search:
    """One run of the planner: arrays, and the schedules as rows that the kernels change in place."""

    def __init__(self, problem: Problem, *, seed: int) -> None:
        self.problem, self.p = problem, arrays_of(problem)
        relaxed = arrays_of(problem, round_up=True) if any(task.elastic for task in problem.tasks) else self.p
        self.relaxed = relaxed._replace(drop_g=self.p.drop_g)
        jobs = len(problem.tasks)
        self.limits_g = np.array(list(problem.budgets_g.values()), dtype=np.float64)
        shape = (jobs, problem.slots)
        self.work = sweeps.Work(
            free=self.p.cap.copy(),
            where=np.full(shape, -1, dtype=np.int16),
            size=np.zeros(shape, dtype=np.int8),
            placed=np.zeros(jobs, dtype=np.bool_),
            cost=np.zeros(jobs),
        )
        pairs = len(self.p.pair_pool)
        self.view = sweeps.View(
            np.ones(jobs), np.zeros(pairs), np.zeros(pairs), np.zeros(jobs), left_out_g(self.p, problem.tasks)
        )
        self.state = np.array([seed % 2147483646 + 1], dtype=np.int64)
        steps = (self.p.last - self.p.first) * self.p.work * np.diff(self.p.size_at) ** 2
        self.cheap = min(1.0, _CHEAP / max(1.0, float(steps.max()))) if jobs else 1.0
        self.dear = max(1.0, float(steps.mean()) / _DEAR) if jobs else 1.0
        self.over_budget: set[int] = set()
        self.floor = np.zeros(pairs)  # of the relaxed problem, once prepared

    def everyone_has_their_best(self, enough: Callable[[], bool]) -> float | None:
        """Give every job its best as if alone; a bound where that is a plan already, which no search can better.

        The bound is the plan's cost but for the rounding of elastic work. `enough()` ends the attempt.
        """
        alone, ideal = Alone(self.p), 0.0
        rounded = Alone(self.relaxed) if not self.p.exact.all() else None
        for j in range(len(self.problem.tasks)):
            value, where, size = alone.best(j, self.p.cap)
            if not np.isfinite(value) or (j and enough()):
                break
            self._put(j, where, size)
            ideal += value if rounded is None or self.p.exact[j] else min(value, rounded.best(j, self.p.cap)[0])
        else:
            if (self.work.free >= 0).all() and self._within_budgets():
                return ideal
        self._clear()
        return None

    def _put(self, j: int, where: Row, size: Row) -> None:
        self.work.where[j], self.work.size[j], self.work.placed[j] = where, size, True
        busy = np.flatnonzero(where >= 0)
        self.work.free[where[busy], busy] -= self.p.size_gpus[self.p.size_at[j] + size[busy]]

    def _clear(self) -> None:
        work = self.work
        work.where[:], work.size[:], work.placed[:], work.free[:] = -1, 0, False, self.p.cap

    def prepare(self) -> Floats:
        """Look at every job by itself; the floors of its pairs in the relaxed problem, for the prices."""
        sweeps.floors(self.p, self.view.scale, self.view.floor, self.view.alone)
        self.floor = self.view.floor.copy()
        if self.relaxed.work is not self.p.work:
            sweeps.floors(self.relaxed, self.view.scale, self.floor, np.zeros_like(self.view.alone))
        return self.floor

    def total(self) -> float:
        """The objective of what is placed, budget prices left out."""
        carbon, other = self._grams()
        return float(carbon.sum() + other.sum())

    def _grams(self) -> tuple[Floats, Floats]:
        """Carbon and other prices of each placed job; of few jobs without kernels, which may have to be compiled."""
        work, placed = self.work, self._placed()
        if len(self.problem.tasks) <= FEW:
            found = [weighed(self.p, j, work.where[j], work.size[j]) for j in placed]
            return np.array([one[0] for one in found]), np.array([one[1] for one in found])
        carbon, other = np.zeros(len(work.placed)), np.zeros(len(work.placed))
        sweeps.costs(self.p, work.where, work.size, work.placed, carbon, other)
        return carbon[placed], other[placed]

    def worth(self) -> float:
        """What the search lowers: the scaled objective, with what is left out counted at its drop."""
        out = ~self.work.placed & np.isfinite(self.view.alone)
        return float(self.work.cost[self.work.placed].sum() + self.view.drop[out].sum())

    def snapshot(self) -> sweeps.Work:
        return sweeps.Work(*(part.copy() for part in self.work))  # type: ignore[arg-type]

    def restore(self, kept: sweeps.Work) -> None:
        for part, old in zip(self.work, kept, strict=True):
            part[:] = old

    def _placed(self) -> list[int]:
        return [int(j) for j in np.flatnonzero(self.work.placed)]

    def _insert(self, order: Ints, price: Floats, strength: float) -> None:
        sweeps.insert(self.p, self.work, order, price, strength, self.view)

    def order(self) -> Ints:
        """Running first (their GPUs are taken), then by priority, then the large."""
        tasks = self.problem.tasks
        keys = [(not t.running, -t.priority, -t.work * t.least_gpus, t.deadline - t.earliest, t.id) for t in tasks]
        return np.array(sorted(range(len(tasks)), key=keys.__getitem__), dtype=np.int64)

    def greedy(self, order: Ints, price: Floats, strength: float, enough: Callable[[], bool]) -> None:
        """Insert all; those that find no place go to the front, and again, while that helps (much, once it is enough);
        then others make room for whoever is left."""
        best: sweeps.Work | None = None
        least, left = np.inf, 2 * len(order)
        tried: set[bytes] = set()
        for _ in range(_GREEDY_ROUNDS):
            if order.tobytes() in tried:
                break
            tried.add(order.tobytes())
            self._clear()
            self._insert(order, price, strength)
            if self.worth() < least:
                best, least = self.snapshot(), self.worth()
            before, left = left, int((~self.work.placed[order]).sum())
            if not left or (2 * left > before and enough()):
                break
            waits = np.array([not self.problem.tasks[j].running for j in order])
            order = order[np.lexsort((np.arange(len(order)), self.work.placed[order], waits))]
        if best is not None:
            self.restore(best)
        if left := int((~self.work.placed[order]).sum()):
            moves = max(_FEWEST_FITTED, min(_FITTED * left, len(order)))
            self._moves(price, Effort(), int(self.cheap * moves), heat=0.0)

    def run(self, look: Round, *, start: Start | None, effort: Effort, enough: Callable[[], bool]) -> Ascent:
        """Make the plan; the prices and the bound it ends with. `look` prices all jobs at once."""
        possible = np.isfinite(self.view.alone)
        order = self.order()
        order = order[possible[order]]
        begin = self._begin(order, start, enough)
        least = self.worth()
        cold = begin is None

        near = max(_CLOSED, min(_NEAR * len(order) ** 2, _NEAR_ENOUGH))

        def closed(bound: float, search: Search = self) -> bool:
            if enough():
                return True
            good = search.work.placed[order].all() and search.worth() - bound <= near * max(1.0, abs(bound))
            return bool(good) and search._within_budgets()

        wanted = possible.astype(np.int64)
        found = self._priced(look, begin, wanted, effort.iterations, least=least, enough=closed)
        if not closed(found.bound):
            self._rescale(found.budget)
            if cold:
                self._at_prices(order, found.gpu_g, enough)
            found = self._tightened(found, wanted, effort.iterations, enough=closed)
            self._improve(found.gpu_g, effort, lambda: closed(found.bound))
            if cold and effort.moves > 1 and len(order) <= _HARD:
                self._displace(found.gpu_g, effort, lambda search: closed(found.bound, search))
        self._keep_budgets(found, order, effort, enough)
        self._let_go_on()
        if self.work.placed[order].all():
            return found
        placed = np.where(self.work.placed, 2, 0).astype(np.int64)
        theirs = float(self.work.cost[self.work.placed].sum())
        prices, iterations = (found.gpu_g, found.budget), max(2, effort.iterations // 8)
        again = self._priced(look, prices, placed, iterations, least=theirs, enough=lambda _: enough())
        again = self._tightened(again, placed, iterations, enough=lambda _: enough())
        return Ascent(found.gpu_g, found.budget, again.bound)

    def _priced(
        self,
        look: Round,
        start: tuple[Floats, Floats] | None,
        wanted: Ints,
        iterations: int,
        *,
        least: float,
        enough: Callable[[float], bool],
    ) -> Ascent:
        """Prices and a bound for the `wanted`; `least`: what a plan of theirs is known to cost."""
        few = len(wanted) <= _TIGHTENED
        rounds = max(iterations, _FEWEST_ROUNDS) // _OF_PRICES if few else iterations
        return ascend(
            look,
            self.p,
            limits_g=self.limits_g,
            start=start,
            wanted=wanted,
            iterations=rounds,
            enough=enough,
            least=least,
        )

    def _tightened(self, found: Ascent, wanted: Ints, iterations: int, *, enough: Callable[[float], bool]) -> Ascent:
        """`found` with a bound that, of few jobs, knows which gangs exclude each other; the nearer the plan already is
        to the best, the sooner."""
        if len(wanted) > _TIGHTENED or enough(found.bound):
            return found
        iterations = max(iterations, _FEWEST_ROUNDS)
        return tightened(
            self.relaxed,
            found,
            self.floor,
            limits_g=self.limits_g,
            wanted=wanted,
            least=self.total() + float(self.view.drop[(wanted == 1) & ~self.work.placed].sum()),
            iterations=iterations - iterations // _OF_PRICES,
            enough=enough,
        )

    def _begin(self, order: Ints, start: Start | None, enough: Callable[[], bool]) -> tuple[Floats, Floats] | None:
        """A first plan: greedy, or what stands with the rest put in at the old prices; the prices to start from."""
        if start is None or not (start.segments or start.prices):
            self.greedy(order, np.zeros(self.p.cap.shape), 0.0, enough)
            return None
        pools = {(pool.region, pool.gpu_type): index for index, pool in enumerate(self.problem.pools)}
        # What runs comes first: nobody else's standing windows may take its GPUs.
        for j in sorted(range(len(self.problem.tasks)), key=lambda j: not self.problem.tasks[j].running):
            task = self.problem.tasks[j]
            segments = start.segments.get(task.id)
            rows = rows_of(segments, task, pools, self.problem.slots) if segments else None
            if rows is not None and segments and self._keeps_rules(j, segments, *rows):
                self._put(j, *rows)
                self.work.cost[j] = kernels.cost_of(self.p, j, 1.0, *rows)
        rest = order[~self.work.placed[order]]
        if start.prices is None:
            self._insert(rest, np.zeros(self.p.cap.shape), 0.0)
            return None
        self._insert(rest, start.prices.gpu_g, 1.0)
        mu = np.array([start.prices.budget.get(name, 0.0) for name in self.problem.budgets_g])
        return start.prices.gpu_g, mu

    def _keeps_rules(self, j: int, segments: tuple[Segment, ...], where: Row, size: Row) -> bool:
        if faults(segments, self.problem.tasks[j], self.problem):
            return False
        busy = np.flatnonzero(where >= 0)
        return bool((self.work.free[where[busy], busy] >= self.p.size_gpus[self.p.size_at[j] + size[busy]]).all())

    def _rescale(self, mu: Floats) -> None:
        """Look at the jobs anew with budgets priced at `mu`."""
        if len(mu):
            self.view.scale[:] = scale_of(self.p, mu)
            sweeps.floors(self.p, self.view.scale, self.view.floor, self.view.alone)
            for j in self._placed():
                scale = self.view.scale[j]
                self.work.cost[j] = kernels.cost_of(self.p, j, scale, self.work.where[j], self.work.size[j])

    def _at_prices(self, order: Ints, price: Floats, enough: Callable[[], bool]) -> None:
        """Insert anew at prices, then again one by one at ever weaker ones; the best of it all is kept."""
        kept, least = self.snapshot(), self.worth()
        self.greedy(order, price, 1.0, enough)
        for strength in _STRENGTHS:
            if self.worth() < least - _CLOSED * abs(least):
                kept, least = self.snapshot(), self.worth()
            self._insert(order, price, strength)
        if self.worth() >= least - _CLOSED * abs(least):
            self.restore(kept)

    def _improve(self, price: Floats, effort: Effort, enough: Callable[[], bool]) -> None:
        """Ruin and recreate in a few stages, cooling down; the best stage end is kept."""
        jobs = max(1, len(self.problem.tasks))
        least_moves = int(self.cheap * min(_LEAST_MOVES, _FEWEST_MOVES * jobs))
        moves = max(least_moves, int(effort.moves * jobs / self.dear)) // _STAGES
        mean = float(np.abs(self.work.cost[self.work.placed]).sum()) / jobs
        kept, least = self.snapshot(), self.worth()
        at_once = moves if self.dear == 1 else math.ceil(_BETWEEN / self.dear)
        for stage in range(_STAGES):
            heat = effort.heat * mean * max(0.0, 1 - (stage + 1) / (_STAGES - 1))
            for done in range(0, moves, max(1, at_once)):
                if enough():
                    break
                self._moves(price, effort, min(at_once, moves - done), heat=heat * (1 - done / moves))
            if self.worth() < least:
                kept, least = self.snapshot(), self.worth()
        self.restore(kept)

    def _moves(self, price: Floats, effort: Effort, moves: int, *, heat: float) -> None:
        sweeps.improve(
            self.p, self.work, price, self.view, moves, effort.most, heat, effort.keen, self._typical(), self.state
        )

    def _displace(self, price: Floats, effort: Effort, closed: Callable[[Search], bool]) -> None:
        """Some jobs are put elsewhere and the rest improved around them: by two searches at once, of different luck,
        that meet a few times and then go on from the better one's plan."""
        rival = copy(self)
        rival.work, rival.state = self.snapshot(), self.state % 2147483646 + 1
        rival.view = self.view._replace(scratch=self.view.scratch.copy())
        times = math.ceil(self.cheap * min(_DISPLACED, _DISPLACED_EACH * len(self.problem.tasks)))
        both = (self, rival)
        with ThreadPoolExecutor(len(both)) as pool:
            for part in range(_MEETINGS):
                some = range(part * times // _MEETINGS, (part + 1) * times // _MEETINGS)
                done = [pool.submit(one._displaced, price, effort, some, times, closed) for one in both]
                for one in done:
                    one.result()
                better, other = sorted(both, key=Search.worth)
                other.restore(better.work)

    def _displaced(
        self, price: Floats, effort: Effort, some: range, times: int, closed: Callable[[Search], bool]
    ) -> None:
        """`some` of so many `times` a job or two are put elsewhere and the rest improved; what is worse than the best
        by more than an ever smaller share is undone, and the best of all is kept."""
        around, more = max(_FEWEST_AROUND, int(self.cheap * _AROUND)), int(self.cheap * _MORE)
        best, least = self.snapshot(), self.worth()
        kept = best
        for time in some:
            if closed(self):
                break
            for _ in range(1 + time % 2):
                sweeps.displace(self.p, self.work, price, self.view, self._typical(), self.state)
            share = float(np.abs(best.cost[best.placed]).sum())
            self._moves(price, effort, around, heat=0.0)
            if self.worth() <= least + _HOPEFUL * share:
                self._moves(price, effort, more, heat=0.0)
            if (worth := self.worth()) > least + _WORSE * share * (1 - time / times):
                self.restore(kept)
                continue
            kept = self.snapshot()
            if worth < least:
                best, least = kept, worth
        self.restore(best)

    def _typical(self) -> float:
        """Grams that a GPU emits in a slot."""
        gpu_slots = float((self.work.where >= 0).sum()) * float(self.p.size_gpus.mean()) if len(self.p.first) else 1.0
        return float(np.abs(self.work.cost[self.work.placed]).sum()) / max(1.0, gpu_slots)

    def _let_go_on(self) -> None:
        """Whoever stops in the slot that runs, though others have left its GPUs by now, goes on in it after all."""
        for j, task in enumerate(self.problem.tasks):
            home = task.home_of(self.problem.pools) if task.running and task.stays else None
            if home is None or not self.work.placed[j]:
                continue
            pool, now = self.problem.pools.index(home), int(self.p.first[j])
            here = self.work.where[j, now] == pool
            own = int(self.p.size_gpus[self.p.size_at[j] + self.work.size[j, now]]) if here else 0
            if here and (not task.resize_restarts or own == task.ran_gpus):
                continue
            if self.work.free[pool, now] + own < task.stays_on:
                continue
            kept = self.snapshot()
            self._insert(np.array([j], dtype=np.int64), np.zeros(self.p.cap.shape), 0.0)
            if not self.work.placed[j]:
                self.restore(kept)

    def _spent_g(self) -> Floats:
        budget = self.p.budget[self.work.placed]
        grams = self._grams()[0][budget >= 0]
        return np.bincount(budget[budget >= 0], grams, minlength=len(self.limits_g)).astype(np.float64)

    def _carbon_g(self, j: int) -> float:
        return weighed(self.p, j, self.work.where[j], self.work.size[j])[0]

    def _over(self) -> Row:
        return self._spent_g() > self.limits_g * (1 + 1e-12)

    def _within_budgets(self) -> bool:
        return not len(self.limits_g) or not self._over().any()

    def _keep_budgets(self, found: Ascent, order: Ints, effort: Effort, enough: Callable[[], bool]) -> None:
        """Dearer carbon for whoever is over, a few times; then leave out what cannot be afforded, the least first."""
        effort = replace(effort, moves=effort.moves // 3, keen=0.0)
        running = np.array([self.problem.tasks[j].running for j in order], dtype=np.bool_)
        mu = found.budget.copy()
        low, high = mu, None  # prices at which a budget is still overdrawn, and at which none is
        best: tuple[float, sweeps.Work] | None = None
        for _ in range(_DEARER if len(mu) and self._over().any() else 0):
            over = self._over()
            if over.any():
                low, mu = mu, np.where(over, np.maximum(0.1, mu * 2.0), mu) if high is None else (mu + high) / 2
            else:
                true_g = self.total() + float(self.view.drop[~self.work.placed].sum())
                if best is None or true_g < best[0]:
                    best = true_g, self.snapshot()
                high, mu = mu, (low + mu) / 2
            self._rescale(mu)
            theirs = (self.p.budget[order] >= 0) & over[np.maximum(self.p.budget[order], 0)]
            self._at_prices(order[np.lexsort((~theirs, ~running))], found.gpu_g, enough)
            self._improve(found.gpu_g, effort, enough)
        if best is not None and (
            self._over().any() or best[0] <= self.total() + float(self.view.drop[~self.work.placed].sum())
        ):
            self.restore(best[1])
            return
        tasks = self.problem.tasks
        for row, limit in enumerate(self.limits_g):
            grams = {j: self._carbon_g(j) for j in self._placed() if self.p.budget[j] == row and not tasks[j].running}
            spent = float(self._spent_g()[row])
            for j in sorted(grams, key=lambda j: (tasks[j].priority, -grams[j])):
                if spent <= limit:
                    break
                sweeps.leave(self.p, self.work, j)
                self.over_budget.add(j)
                spent -= grams[j]

    def made(self, impossible: Mapping[str, Unplaced], *, bound: float, prices: Prices | None) -> Plan:
        work, grams = self.work, self._grams()
        placements = tuple(
            placement_of(self.problem, self.p, j, work.where[j], work.size[j], (float(carbon), float(other)))
            for j, carbon, other in zip(self._placed(), *grams, strict=True)
        )
        unplaced = [*impossible.values()]
        for j in np.flatnonzero(~self.work.placed):
            task = self.problem.tasks[j]
            if j in self.over_budget:
                unplaced.append(Unplaced(task, Reason.BUDGET_EXHAUSTED, f"budget {task.budget} does not cover it"))
                continue
            crowded = "earlier and more urgent jobs hold the GPUs before its deadline"
            alone = "no allowed region has the GPUs free for long enough"
            detail = crowded if np.isfinite(self.view.alone[j]) else alone
            unplaced.append(Unplaced(task, Reason.CAPACITY_TAKEN, detail))
        objective = sum(placement.objective_g for placement in placements)
        return Plan(placements, tuple(unplaced), min(float(bound), objective) if placements else 0.0, prices)
