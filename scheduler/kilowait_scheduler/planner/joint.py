"""All tasks in one plan: prices, insertion under hard capacity guided by them, improvement, and the certificate.

`plan` is the planner's one door. It never raises for what cannot be done: such tasks are named with the constraint that
binds. The same problem, effort and seed give the same plan.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .alone import best_alone
from .arrays import Arrays
from .diagnose import diagnose
from .prices import LocalRound, Round
from .problem import Floats, Plan, Pool, Prices, Problem, Task
from .search import COLD, FEW, WARM, Effort, Search, Start

__all__ = ["COLD", "WARM", "Effort", "Start", "plan", "warm_up"]


def plan(
    problem: Problem,
    *,
    start: Start | None = None,
    effort: Effort | None = None,
    seed: int = 1,
    enough: Callable[[], bool] = lambda: False,
    rounds: Callable[[Arrays, Floats, int], Round] | None = None,
) -> Plan:
    """A plan of `problem`, never over capacity, past a deadline or over a budget, with its lower bound and prices.

    `start` makes it a re-plan. `enough()` is asked now and then; once true the best plan so far is returned. `rounds`
    makes the object that prices all jobs (arrays, floors, budgets), to have it done elsewhere than in this process.
    """
    impossible = {task.id: found for task in problem.tasks if (found := diagnose(task, problem)) is not None}
    tasks = tuple(task for task in problem.tasks if task.id not in impossible)
    possible = Problem(problem.slot_h, problem.slots, problem.pools, tasks, problem.budgets_g)
    search = Search(possible, seed=seed)
    bound = search.everyone_has_their_best(enough) if len(tasks) <= FEW else None
    if bound is not None:
        return search.made(impossible, bound=bound, prices=None)
    effort = effort or (COLD if start is None or start.prices is None else WARM)
    look = (rounds or _local)(search.relaxed, search.prepare(), len(problem.budgets_g))
    best = search.run(look, start=start, effort=effort, enough=enough)
    prices = Prices(best.gpu_g, dict(zip(problem.budgets_g, best.budget.tolist(), strict=True)))
    return search.made(impossible, bound=best.bound, prices=prices)


def warm_up() -> None:
    """Have every kernel compiled, or read from disk: some seconds once, so that nobody waits for it later.

    By a plan for more jobs than there is room for, which takes every step there is.
    """
    grams = np.arange(1.0, 13.0)
    pools = (Pool("here", grams, np.full(12, 4)), Pool("there", grams[::-1], np.full(12, 4)))
    rivals = [
        Task.rigid(
            f"{n}",
            gpus=1 + n % 4,
            kw_per_gpu=1.0,
            slots=1 + n % 3,
            earliest=n % 5,
            deadline=8 + n % 5,
            regions=("here", "there") if n % 3 else ("here",),
            suspendable=n % 2 == 0,
            movable=n % 4 == 0,
            restart_kwh=0.1,
        )
        for n in range(FEW + 1)
    ]
    crowd = Problem(1.0, 12, pools, tuple(rivals))
    plan(crowd, effort=Effort(iterations=2, moves=2))
    best_alone(crowd)


def _local(p: Arrays, floor: Floats, budgets: int) -> Round:
    return LocalRound(p, floor, budgets=budgets)
