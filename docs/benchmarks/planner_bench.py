"""Measures the planner and writes docs/benchmarks/planner.md (`make bench`). Absolute times are notes, not gates."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.insert import plan
from kilowait_scheduler.planner.problem import Problem, RegionSlots, Task
from kilowait_scheduler.planner.schedule import best

REGIONS, SLOTS, SEED = 20, 168, 7


def instance(jobs: int, *, rng: np.random.Generator) -> Problem:
    """Seeded: 20 regions x 168 hours of daily cycles with noise; lognormal jobs, gangs of 1 to 64, 70 % suspendable."""
    hours = np.arange(SLOTS)
    regions = []
    for index in range(REGIONS):
        level, swing = rng.uniform(60, 650), rng.uniform(0.05, 0.5)
        course = level * (
            1 + swing * np.sin(2 * np.pi * (hours - rng.uniform(0, 24)) / 24) + rng.normal(0, 0.05, SLOTS)
        )
        regions.append(RegionSlots(f"r{index}", np.maximum(course, 5.0), np.full(SLOTS, 64 + jobs // 4)))
    tasks = []
    for index in range(jobs):
        work = int(np.clip(rng.lognormal(np.log(8), 0.8), 1, 72))
        start = int(rng.integers(0, SLOTS // 2))
        home = int(rng.integers(0, REGIONS))
        allowed = [home] if rng.random() < 0.3 else sorted({home, *rng.integers(0, REGIONS, 6).tolist()})
        suspendable = bool(rng.random() < 0.7)
        tasks.append(
            Task(
                id=f"j{index}",
                gpus=int(2 ** rng.integers(0, 7)),
                kw_per_gpu=0.5,
                slots=work,
                earliest=start,
                deadline=min(SLOTS, start + 2 * work + int(rng.integers(6, 48))),
                regions=tuple(f"r{r}" for r in allowed),
                suspendable=suspendable,
                movable=suspendable,
                restart_kwh=0.5,
            )
        )
    return Problem(1.0, SLOTS, tuple(regions), tuple(tasks))


def timed(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def main() -> None:
    rng = np.random.default_rng(SEED)
    single = instance(200, rng=rng)
    free = {region.name: region.capacity for region in single.regions}
    each = [timed(lambda task=task: best(task, single, free)) * 1000 for task in single.tasks]
    rows = []
    for jobs in (10, 100, 1000):
        problem = instance(jobs, rng=rng)
        begin = time.perf_counter()
        made = plan(problem)
        seconds = time.perf_counter() - begin
        assert not violations(made, problem)
        rows.append(f"| {jobs} | {len(made.placements)} | {made.gap_pct:.2f} % | {seconds:.2f} s |")
    text = f"""# Planner, first version

Seeded instances ({REGIONS} regions x {SLOTS} hours, seed {SEED}; see `bench.py`), {platform.python_implementation()}
{platform.python_version()}, numpy {np.__version__}, one process. Absolute times depend on the machine.

One job, exact, over its allowed regions: median {statistics.median(each):.2f} ms, 95th percentile
{np.percentile(each, 95):.2f} ms, most {max(each):.2f} ms.

| jobs | placed | above the capacity-free bound at most | plan and bound |
|---|---|---|---|
{chr(10).join(rows)}

Jobs are inserted one after the other; the bound ignores capacity, so on tight instances most of the distance is the
bound's weakness. Joint planning with prices is to come.
"""
    Path(__file__).with_name("planner.md").write_text(text)
    print(text)


main()
