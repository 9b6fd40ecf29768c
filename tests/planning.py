"""Small planning problems, drawn by chance, and what their best plans cost: enumerated by rules of their own.

What draws is a `Pick`: given some options it returns one of them. So the same builders serve hypothesis (which then
shrinks) and loops over a seeded generator.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from hypothesis import strategies as st

from kilowait_scheduler.planner import kernels
from kilowait_scheduler.planner.arrays import Arrays, arrays_of, left_out_g
from kilowait_scheduler.planner.problem import Floats, Ints, Plan, Pool, Problem, Size, Task

Pick = Callable[[Sequence[Any]], Any]

EXACT = 1e-9  # relative: sums in another order
GRAMS = (0.0, 10.0, 50.0, 90.0, 200.0)
BELOW_ZERO = (*GRAMS, -40.0)
CURVES = (  # sizes of elastic tasks: concave, linear, and one that gets worse
    (Size(1, 0.5, 1.0), Size(2, 0.9, 1.75)),
    (Size(1, 0.5, 1.0), Size(2, 1.0, 2.0), Size(4, 2.0, 3.0)),
    (Size(2, 1.0, 1.5), Size(4, 2.5, 1.0)),
)


def by_chance(seed: int) -> Pick:
    """A seeded pick."""
    rng = np.random.default_rng(seed)
    return lambda options: options[int(rng.integers(len(options)))]


def some_pools(
    pick: Pick,
    *,
    slots: int,
    regions: int = 2,
    gpus: Sequence[int] = (0, 4, 4, 4),
    grams: Sequence[float] = GRAMS,
    types: Sequence[str | None] = (None,),
    priced: bool = False,
) -> tuple[Pool, ...]:
    """One pool per region and type."""

    def row(options: Sequence[Any], kind: type) -> Any:
        return np.array([pick(options) for _ in range(slots)], dtype=kind)

    return tuple(
        Pool(f"r{index}", row(grams, float), row(gpus, int), gpu_type, row((0.0, 5.0, 60.0), float) if priced else None)
        for index in range(regions)
        for gpu_type in types
    )


def some_task(
    pick: Pick,
    name: str = "j",
    *,
    slots: int,
    elastic: bool = False,
    fresh: bool = False,
    regions: int = 2,
    gpus: Sequence[int] = (1, 4),
    longest: int = 4,
    types: Sequence[str | None] = (None,),
) -> Task:
    """Anything a task may be; `fresh`: it has not run before."""
    names = tuple(f"r{index}" for index in range(regions))
    suspendable = pick((False, True))
    ran_in = None if fresh else pick((None, None, *names, "gone"))
    running = ran_in in names and pick((False, True))
    kinds = types if ran_in in names else (None, *types)  # with two pools in a region it is not known which it ran in
    width = pick(tuple(gpus))
    # A restart that is shorter than its slots has the rest of their energy taken off again.
    restart_slots, restart_kwh = pick(((0, 0.0), (0, 0.2), (0, 3.0), (1, 0.0), (1, 3.0), (1, -0.1)))
    sizes = pick(CURVES) if elastic else (Size(width, 0.5 * width),)
    resize_restarts = elastic and pick((False, True))
    return Task(
        id=name,
        sizes=sizes,
        work=pick((1.0, 2.5, 3.0, 4.25)) if elastic else pick(tuple(range(1, longest + 1))),
        earliest=pick((0, 0, 1, 2)) if ran_in is None else 0,
        deadline=pick(tuple(range(slots // 2 + 1, slots + 1))),
        regions=pick((names, names, names[::-1], names[-1:])),
        suspendable=suspendable,
        movable=suspendable and (resize_restarts or pick((False, True))),
        resize_restarts=resize_restarts,
        gpu_type=pick(kinds) if len(types) > 1 else None,
        kw_factor={types[-1]: pick((0.5, 1.5))} if types[-1] is not None else {},
        restart_kwh=restart_kwh,
        restart_slots=restart_slots,
        caution_kwh=pick((0.0, 0.0, 0.4)),
        relocation_g={names[-1]: pick((0.0, 15.0)), names[0]: pick((0.0, 0.0, 4.0))},
        relocation_slots={names[-1]: pick((0, 0, 1, 2))},
        wait_g_per_slot=pick((0.0, 0.0, 7.0)),
        price_factor=pick((1.0, 1.0, 0.0, 2.5)),
        ran_in=ran_in,
        ran_gpus=pick(sizes).gpus if running else None,
        running=running,
        stays=running and pick((False, True)),
    )


def some_problem(
    pick: Pick,
    *,
    tasks: Sequence[int] = (0, 1, 2, 3, 4),
    slots: int = 6,
    elastic: Sequence[bool] = (False,),
    fresh: bool = True,
    gpus: Sequence[int] = (1, 2, 3, 4),
    budgeted: bool = False,
    **pools: Any,
) -> Problem:
    """A few tasks that compete for the same pools. `elastic` are the options of each task."""
    count = pick(tuple(tasks))
    made_pools = some_pools(pick, slots=slots, **pools)
    names, types = max(2, pools.get("regions", 2)), pools.get("types", (None,))
    made = [
        some_task(pick, f"j{i}", slots=slots, elastic=pick(elastic), fresh=fresh, gpus=gpus, regions=names, types=types)
        for i in range(count)
    ]
    if not budgeted:
        return Problem(1.0, slots, made_pools, tuple(made))
    made = [replace(task, budget=pick((None, "team", "team"))) for task in made]
    return Problem(1.0, slots, made_pools, tuple(made), {"team": pick((0.0, 60.0, 150.0, 400.0))})


@st.composite
def problems(draw: st.DrawFn, **options: Any) -> Problem:
    return some_problem(lambda of: draw(st.sampled_from(of)), **options)


@st.composite
def alone(draw: st.DrawFn, *, slots: int, elastic: bool = False, **pools: Any) -> Problem:
    """A problem of one task."""

    def pick(of: Sequence[Any]) -> Any:
        return draw(st.sampled_from(of))

    made = some_pools(pick, slots=slots, **pools)
    types = tuple(dict.fromkeys(pool.gpu_type for pool in made))
    return Problem(0.5, slots, made, (some_task(pick, slots=slots, elastic=elastic, types=types),))


@dataclass(frozen=True)
class Schedule:
    """One way of doing a task: (slot, pool, size) of each busy slot, sizes counted from the smallest."""

    cells: tuple[tuple[int, int, int], ...]
    carbon_g: float
    price_g: float

    @property
    def objective_g(self) -> float:
        return self.carbon_g + self.price_g


def every_schedule(task: Task, problem: Problem) -> Iterator[Schedule]:
    """Every way of doing the task alone. Restart slots are spent on the size that work then goes on with."""
    pools, first, last = problem.pools, max(0, task.earliest), min(task.deadline, problem.slots)
    usable = [index for index, pool in enumerate(pools) if task.fits(pool)]
    sizes = sorted(task.sizes, key=lambda size: size.gpus)
    least_gpus = sizes[0].gpus
    parked_here = any(pools[q].region == task.ran_in for q in usable)
    held = task.ran_gpus if task.resize_restarts and task.ran_gpus else least_gpus
    must_go_on = (
        task.running
        and task.stays
        and any(pools[q].region == task.ran_in and first < last and pools[q].capacity[first] >= held for q in usable)
    )

    def energy_g(q: int, size: Size, slot: int) -> tuple[float, float]:
        kwh = size.kw * task.kw_factor.get(pools[q].gpu_type or "", 1.0) * problem.slot_h
        return kwh * grams(q, slot)[0], kwh * grams(q, slot)[1]

    def grams(q: int, slot: int) -> tuple[float, float]:
        given = pools[q].price_g_per_kwh
        prices = None if given is None else task.price_factor * given
        return float(pools[q].g_per_kwh[slot]), 0.0 if prices is None else float(prices[slot])

    def entry(slot: int, q: int, home: int | None, since: int, size: Size) -> tuple[bool, float] | None:
        """(whether it restarts, grams of moving) of a start in pool q; None where that is not allowed."""
        region = pools[q].region
        moves = float(task.relocation_g.get(region, 0.0))
        ready = since + task.relocation_slots.get(region, 0)
        if home is not None:
            if not task.suspendable or (home != q and (not task.movable or slot < ready)):
                return None
            return True, 0.0 if home == q else moves
        if task.ran_in is None:
            return (False, moves) if slot >= ready else None
        if task.ran_in == region:
            goes_on = task.running and slot == first and (not task.resize_restarts or size.gpus == task.ran_gpus)
            return (not goes_on, 0.0) if goes_on or task.suspendable or not task.running else None
        stays = not task.movable and parked_here if task.suspendable else task.running
        return None if stays or slot < ready else (True, moves)

    def go(
        slot: int,
        cells: tuple[tuple[int, int, int], ...],
        home: int | None,
        since: int,
        work: float,
        carbon: float,
        price: float,
        on: int = -1,
    ) -> Iterator[Schedule]:
        """`home`: the pool of the last run, which ended at boundary `since` on size `on`."""
        if work >= task.work - 1e-9:
            late = max(0, slot - first - task.least_slots)
            yield Schedule(cells, carbon, price + task.wait_g_per_slot * late)
            return
        if slot >= last:
            return
        stuck = home is None and slot == first and must_go_on
        if (home is None or task.suspendable) and not stuck:
            yield from go(slot + 1, cells, home, since, work, carbon, price, on)
        for q in usable:
            for s, size in enumerate(sizes):
                if home == q and since == slot and (on == s or not task.resize_restarts):
                    restarts, moves = False, 0.0
                elif (found := entry(slot, q, home, since, size)) is not None:
                    restarts, moves = found
                    if stuck and restarts:
                        continue
                else:
                    continue
                until = slot + 1 + (task.restart_slots if restarts else 0)
                if until > last:
                    continue
                toll = grams(q, slot) if restarts else (0.0, 0.0)
                if any(pools[q].capacity[t] < size.gpus for t in range(slot, until)):
                    continue
                costs = [energy_g(q, size, t) for t in range(slot, until)]
                yield from go(
                    until,
                    cells + tuple((t, q, s) for t in range(slot, until)),
                    q,
                    until,
                    work + size.speed,
                    carbon + moves + task.restart_kwh * toll[0] + sum(c for c, _ in costs),
                    price
                    + task.caution_kwh * toll[0]
                    + (task.restart_kwh + task.caution_kwh) * toll[1]
                    + sum(c for _, c in costs),
                    s,
                )

    yield from go(first, (), None, first, 0.0, 0.0, 0.0)


_FIELD = 6  # bits per (pool, slot) in a packed row of GPUs; the highest is a guard


def best_joint_g(
    problem: Problem, *, drop_g: dict[str, float] | None = None, must: Collection[str] | None = None
) -> float:
    """The least objective of all plans of the tasks (of those in `must`); inf where they do not fit together.

    With `drop_g` a task may also be left out for its grams.
    """
    cells = len(problem.pools) * problem.slots
    guard = sum(1 << (_FIELD * cell + _FIELD - 1) for cell in range(cells))
    free = guard
    for q, pool in enumerate(problem.pools):
        for slot in range(problem.slots):
            free += int(pool.capacity[slot]) << (_FIELD * (q * problem.slots + slot))
    names = list(problem.budgets_g)
    left = tuple(problem.budgets_g[name] + 1e-9 for name in names)
    rows = []
    for task in problem.tasks:
        if must is not None and task.id not in must:
            continue
        gpus = [size.gpus for size in sorted(task.sizes, key=lambda size: size.gpus)]
        row = names.index(task.budget) if task.budget in names else -1
        least: dict[tuple[int, float], float] = {}
        for way in every_schedule(task, problem):
            packed = sum(gpus[s] << (_FIELD * (q * problem.slots + slot)) for slot, q, s in way.cells)
            key = (packed, way.carbon_g if row >= 0 else 0.0)
            least[key] = min(least.get(key, np.inf), way.objective_g)
        ways = sorted((costs, packed, grams) for (packed, grams), costs in least.items())
        if drop_g is not None:
            ways = sorted([*ways, (drop_g[task.id], 0, 0.0)])
        if not ways:
            return np.inf
        rows.append((ways, row))
    rows.sort(key=lambda item: len(item[0]))
    floor = [0.0] * (len(rows) + 1)
    for index in range(len(rows) - 1, -1, -1):
        floor[index] = floor[index + 1] + rows[index][0][0][0]
    best = np.inf

    def go(index: int, costs: float, free: int, left: tuple[float, ...]) -> None:
        nonlocal best
        if index == len(rows):
            best = min(best, costs)
            return
        ways, row = rows[index]
        for more, packed, grams in ways:
            if costs + more + floor[index + 1] >= best:
                return
            if (free - packed) & guard != guard or (row >= 0 and grams > left[row]):
                continue
            rest = left if row < 0 else (*left[:row], left[row] - grams, *left[row + 1 :])
            go(index + 1, costs + more, free - packed, rest)

    go(0, 0.0, free, left)
    return best


def as_json(problem: Problem) -> dict[str, Any]:
    """The problem in the outside format (docs/planner.md); rigid fresh tasks, PUE within the intensity."""
    return {
        "slot_minutes": 60 * problem.slot_h,
        "slots": problem.slots,
        "regions": [
            {
                "name": p.region,
                "capacity_gpus": p.capacity.tolist(),
                "intensity_g_per_kwh": p.g_per_kwh.tolist(),
                "pue": 1.0,
            }
            for p in problem.pools
        ],
        "jobs": [
            {
                "id": task.id,
                "gpus": task.sizes[0].gpus,
                "kw_per_gpu": task.sizes[0].kw / task.sizes[0].gpus,
                "slots": int(task.work),
                "earliest_slot": task.earliest,
                "deadline_slot": task.deadline,
                "suspendable": task.suspendable,
                "restart_kwh": task.restart_kwh,
                "regions": list(task.regions),
                "relocation_g": dict(task.relocation_g),
            }
            for task in problem.tasks
        ],
    }


def market(
    seed: int,
    *,
    jobs: int,
    regions: int,
    slots: int,
    load: float,
    restart_kwh: float = 0.0,
    suspendable: float = 1.0,
    largest: int = 4,
    longest: int = 12,
    movable: bool = False,
) -> Problem:
    """Jobs that compete: `load` is the share of all GPU-slots they need. Intensities follow a noisy day per region."""
    rng = np.random.default_rng(seed)
    hours = np.arange(slots)
    names = tuple(f"r{index}" for index in range(regions))
    tasks = []
    for index in range(jobs):
        length, gpus = int(rng.integers(1, longest + 1)), int(rng.integers(1, largest + 1))
        slack = int(rng.integers(length, slots - length + 1))
        earliest = int(rng.integers(0, slots - length - slack + 1))
        allowed = rng.permutation(regions)[: int(rng.integers(1, regions + 1))]
        tasks.append(
            Task.rigid(
                f"j{index}",
                gpus=gpus,
                kw_per_gpu=0.4,
                slots=length,
                earliest=earliest,
                deadline=earliest + length + slack,
                regions=tuple(names[r] for r in sorted(allowed)),
                suspendable=bool(rng.random() < suspendable),
                movable=movable,
                restart_kwh=restart_kwh * gpus,
            )
        )
    need = sum(task.work * task.sizes[0].gpus for task in tasks)
    each = max(largest, round(need / load / slots / regions))
    pools = []
    for name in names:
        day = 250 + 150 * np.cos(2 * np.pi * (hours / 24 + rng.random())) * rng.random()
        pools.append(Pool(name, np.maximum(5, day + rng.normal(0, 30, slots)), np.full(slots, each)))
    return Problem(1.0, slots, tuple(pools), tuple(tasks))


def compiled_rows(
    p: Arrays, j: int, free: Ints, *, price: Floats | None = None, scale: float = 1.0
) -> tuple[float, Any, Any]:
    """What `schedule.best_rows` answers, asked of the compiled kernels."""
    row, pairs = kernels.blank(p.grams.shape[1]), len(p.pair_pool)
    price = np.zeros(p.grams.shape) if price is None else price
    floor = np.full(pairs, -np.inf)
    value = kernels.cheapest(p, j, price, 1.0, free, scale, floor, np.zeros(pairs), np.inf, row)
    return value, row.where, row.size


def drops_g(problem: Problem) -> dict[str, float]:
    """What leaving a task out counts as, by task."""
    grams = left_out_g(arrays_of(problem), problem.tasks)
    return {task.id: float(of_task) for task, of_task in zip(problem.tasks, grams, strict=True)}


def worth_g(plan: Plan, drop_g: dict[str, float]) -> float:
    """The plan's objective with what it leaves out counted at `drop_g`."""
    return plan.objective_g + sum(drop_g.get(item.task.id, 0.0) for item in plan.unplaced)
