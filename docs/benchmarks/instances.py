"""The benchmark's instances: seeded jobs on real hourly intensity of 20 zones, and the judge that every plan passes.

An instance is named by a `Spec`, so that another process can make the same one.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.problem import Floats, Placement, Plan, Pool, Problem, Task, Unplaced

ZONES, SLOTS = 20, 168
PUE, KW, RESTART_H, KWH_PER_GB = 1.1, 0.5, 0.1, 0.02
# Second records of a zone that is there already.
TWICE = {"EM3Y_US-CAL-CISO", "EM3Y_BR", "EM3Y_NO"}
GANGS = {
    "mixed": {1: 0.3, 2: 0.2, 4: 0.2, 8: 0.2, 16: 0.06, 32: 0.03, 64: 0.01},
    "heavy": {1: 0.25, 2: 0.2, 4: 0.2, 8: 0.2, 16: 0.08, 32: 0.05, 64: 0.02},
    "few": {1: 0.2, 2: 0.3, 4: 0.3, 8: 0.2},
}


@dataclass(frozen=True)
class Spec:
    """`util`: the jobs' GPU-slots as a share of all there are; capacity is flat, at least the largest gang."""

    jobs: int
    util: float
    seed: int
    gangs: str = "mixed"
    movable: bool = False
    regions: int = ZONES
    slots: int = SLOTS
    slack: int = 72  # most slots a window has on top of the work; at least 6

    def text(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Spec:
        return cls(**json.loads(text))


def traces(folder: Path) -> dict[str, Floats]:
    """Zone to its whole record, g/kWh by hour, life cycle; stops with one line where there are not enough zones."""
    found: dict[str, Floats] = {}
    for file in sorted(folder.glob("*.csv")):
        if file.stem in TWICE:
            continue
        with file.open() as handle:
            rows = csv.DictReader(handle)
            if "carbon_intensity_lifecycle" in (rows.fieldnames or []):
                found[file.stem] = np.array([float(row["carbon_intensity_lifecycle"]) for row in rows])
        if len(found) == ZONES:
            return found
    raise SystemExit(
        f"planner_bench: {folder} holds {len(found)} zones with carbon_intensity_lifecycle, {ZONES} are needed; "
        "name a folder of hourly CSV files with --intensity DIR or KILOWAIT_INTENSITY"
    )


def instance(spec: Spec, records: dict[str, Floats]) -> Problem:
    """Lognormal work (median 8 slots, 1 to 72), 70 % suspendable, 30/40/30 % may run in one region, its group or all.

    The first half of the horizon is when jobs arrive. The week is drawn from the hours that all zones' files have: each
    zone in its own year, at the same hour of it.
    """
    rng = np.random.default_rng(spec.seed)
    names = list(records)[: spec.regions]
    count, slots = len(names), spec.slots
    hours = min(len(record) for record in records.values())
    begin = int(np.random.default_rng((spec.seed, 1)).integers(0, hours - slots))
    grams = np.array([records[name][begin : begin + slots] for name in names])
    gangs = GANGS[spec.gangs]
    work = np.clip(np.round(rng.lognormal(np.log(8), 0.9, spec.jobs)), 1, min(72, slots // 2)).astype(int)
    gpus = rng.choice(list(gangs), spec.jobs, p=list(gangs.values()))
    capacity = max(*gangs, int(np.ceil(int(work @ gpus) / spec.util / (count * slots))))
    groups = np.array_split(np.arange(count), max(1, count // 4))
    tasks = []
    for j in range(spec.jobs):
        home, reach = int(rng.integers(0, count)), rng.random()
        group = next(group for group in groups if home in group)
        others = [] if reach < 0.3 else group.tolist() if reach < 0.7 else list(range(count))
        allowed = [home, *(r for r in others if r != home)]
        gb = float(np.exp(rng.uniform(np.log(5), np.log(5000))))
        first = int(rng.integers(0, slots // 2))
        last = min(slots, first + int(work[j]) + int(rng.integers(6, spec.slack + 1)))
        if last - first < work[j]:
            first = max(0, last - int(work[j]) - 4)
        suspendable = bool(rng.random() < 0.7)
        tasks.append(
            Task.rigid(
                f"j{j}",
                gpus=int(gpus[j]),
                kw_per_gpu=KW,
                slots=int(work[j]),
                earliest=first,
                deadline=last,
                regions=tuple(names[r] for r in allowed),
                suspendable=suspendable,
                movable=spec.movable and suspendable,
                restart_kwh=RESTART_H * int(gpus[j]) * KW,
                relocation_g={
                    names[r]: gb * KWH_PER_GB * float(grams[home].mean() + grams[r].mean()) / 2 for r in allowed[1:]
                },
            )
        )
    pools = (Pool(name, grams[i] * PUE, np.full(slots, capacity)) for i, name in enumerate(names))
    return Problem(1.0, slots, tuple(pools), tuple(tasks))


def noisy(problem: Problem, *, share: float, seed: int) -> Problem:
    """The same with every intensity multiplied by 1 + N(0, share)."""
    rng = np.random.default_rng(seed)
    pools = tuple(
        Pool(pool.region, pool.g_per_kwh * (1 + rng.normal(0, share, problem.slots)), pool.capacity)
        for pool in problem.pools
    )
    return Problem(problem.slot_h, problem.slots, pools, problem.tasks)


def utilisation(problem: Problem) -> float:
    there = sum(int(pool.capacity.sum()) for pool in problem.pools)
    return sum(task.work * task.least_gpus for task in problem.tasks) / there


def as_json(problem: Problem) -> dict[str, object]:
    """The problem in the format of `kilowait plan --problem`."""
    regions = [
        {"name": p.region, "capacity_gpus": p.capacity.tolist(), "intensity_g_per_kwh": p.g_per_kwh.tolist()}
        for p in problem.pools
    ]
    jobs = [
        {
            "id": task.id,
            "gpus": task.least_gpus,
            "slots": int(task.work),
            "kw_per_gpu": task.sizes[0].kw / task.least_gpus,
            "earliest_slot": task.earliest,
            "deadline_slot": task.deadline,
            "suspendable": task.suspendable,
            "movable": task.movable,
            "restart_kwh": task.restart_kwh,
            "regions": list(task.regions),
            "relocation_g": dict(task.relocation_g),
        }
        for task in problem.tasks
    ]
    return {"slot_minutes": 60 * problem.slot_h, "slots": problem.slots, "regions": regions, "jobs": jobs}


def plan_of(placements: Sequence[Placement], problem: Problem) -> Plan:
    """A plan that was not made by the planner, checked; what it does not place is left out."""
    done = {placement.task.id for placement in placements}
    out = tuple(Unplaced(t, Reason.CAPACITY_TAKEN, "left out") for t in problem.tasks if t.id not in done)
    return checked(Plan(tuple(placements), out, 0.0), problem)


def checked(made: Plan, problem: Problem) -> Plan:
    """`made`, or the end of the benchmark where the independent checker finds anything wrong with it."""
    wrong = violations(made, problem)
    if wrong:
        raise SystemExit(f"planner_bench: {len(wrong)} violations in a plan of {len(problem.tasks)} jobs: {wrong[:3]}")
    return made
