"""The other solvers, each in a process of its own: HiGHS, CP-SAT, and a rolling mean in pandas."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cells import timed
from instances import Spec, as_json, checked, instance, plan_of

from kilowait_scheduler.planner.arrays import arrays_of
from kilowait_scheduler.planner.joint import plan
from kilowait_scheduler.planner.problem import Floats, Plan
from kilowait_scheduler.planner.problem_json import read
from kilowait_scheduler.planner.rows import placement_of

HERE = Path(__file__).parent
ORACLES = HERE.parent.parent / ".venv-oracles" / "bin" / "python"
NO_LIMIT, WORKERS = 1e6, 2


@dataclass(frozen=True)
class Highs:
    """`solved_s` None: stopped after `limit_s`; then `state` is where its log says it was."""

    built_s: float
    columns: int
    rows: int
    limit_s: float
    solved_s: float | None
    state: str
    objective_g: float
    bound_g: float


def highs(folder: Path, spec: Spec, solver: str, *, restarts: bool, limit_s: float = NO_LIMIT) -> Highs:
    """Build and solve; the process is killed if it goes on past the limit, which counts from the end of building."""
    with tempfile.TemporaryDirectory() as scratch:
        log = Path(scratch) / "highs.log"
        own_limit = limit_s if solver == "mip" else NO_LIMIT
        words = [str(folder), spec.text(), solver, "restarts" if restarts else "no-restarts", str(own_limit), str(log)]
        child = subprocess.Popen([sys.executable, str(HERE / "lp.py"), *words], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        try:
            built = _next(child)
            try:
                child.wait(timeout=None if solver == "mip" else limit_s)
            except subprocess.TimeoutExpired:
                state = _last_step(log)
                return Highs(**built, limit_s=limit_s, solved_s=None, state=state, objective_g=np.nan, bound_g=np.nan)
            return Highs(**built, limit_s=limit_s, **_next(child))
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _last_step(log: Path) -> str:
    """What the interior point's log last says of an iteration: number, objectives, relative gap."""
    for line in reversed(log.read_text().splitlines() if log.exists() else []):
        words = line.split()
        if len(words) == 7 and words[0].isdigit():
            primal, dual, gap = (float(words[column]) for column in (1, 2, 5))
            return f"iteration {words[0]}, primal {primal:.4g} g, dual {dual:.4g} g, relative gap {gap:.2g}"
    return "before its first iteration"


def _next(child: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line that is JSON; HiGHS greets on the same stream."""
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith("{"):
            found: dict[str, Any] = json.loads(line)
            return found
    raise SystemExit(f"planner_bench: lp.py ended with {child.wait()} before it was done")


@dataclass(frozen=True)
class Small:
    """One small instance, ours and CP-SAT's; objectives count what is left out at its drop."""

    jobs: int
    slots: int
    util: float
    ours_g: float
    ours_placed: int
    ours_s: float
    their_g: float
    their_placed: int
    their_s: float
    their_bound_g: float
    state: str
    version: str


def small(records: dict[str, Floats], spec: Spec, *, seconds: float) -> Small:
    """Both read the same JSON."""
    data = as_json(instance(spec, records))
    problem = read(data)
    made, ours_s = timed(lambda: checked(plan(problem), problem), times=3)
    p = arrays_of(problem)
    drop = dict(zip((task.id for task in problem.tasks), p.drop_g.tolist(), strict=True))
    asked = {"problem": data, "drop_g": list(drop.values()), "seconds": seconds, "workers": WORKERS}
    answer = oracle("cpsat.py", asked)
    rows = {name: index for index, name in enumerate(pool.region for pool in problem.pools)}
    placements = []
    for j, task in enumerate(problem.tasks):
        if task.id in answer["jobs"]:
            region, slots = answer["jobs"][task.id]
            where = np.full(problem.slots, -1, dtype=np.int16)
            where[slots] = rows[region]
            placements.append(placement_of(problem, p, j, where, np.zeros(problem.slots, dtype=np.int8)))
    theirs = plan_of(placements, problem)
    there = sum(int(pool.capacity.sum()) for pool in problem.pools)
    return Small(
        jobs=len(problem.tasks),
        slots=problem.slots,
        util=sum(task.work * task.least_gpus for task in problem.tasks) / there,
        ours_g=_with_drops(made, drop),
        ours_placed=len(made.placements),
        ours_s=ours_s,
        their_g=_with_drops(theirs, drop),
        their_placed=len(theirs.placements),
        their_s=answer["seconds"],
        their_bound_g=answer["bound_g"],
        state=answer["state"],
        version=answer["ortools"],
    )


def _with_drops(made: Plan, drop: dict[str, float]) -> float:
    placed = {placement.task.id for placement in made.placements}
    return made.objective_g + sum(grams for name, grams in drop.items() if name not in placed)


def oracle(script: str, asked: object) -> dict[str, Any]:
    """Ask one of the programs that run in the oracles' environment."""
    if not ORACLES.exists():
        raise SystemExit("planner_bench: no .venv-oracles; make it with: python3 requirements/prepare.py oracles")
    done = subprocess.run(
        [str(ORACLES), str(HERE / script)], input=json.dumps(asked), stdout=subprocess.PIPE, text=True, check=True
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
