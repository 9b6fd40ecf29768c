"""Measures the planner and writes docs/benchmarks/planner.md (`make bench-planner`, about half an hour).

usage: planner_bench.py [--intensity DIR] [--quick]

DIR holds hourly intensity, one CSV per zone (default: $KILOWAIT_INTENSITY, else ../shared/data/intensity beside the
repository). --quick: small cases in about a minute, printed and not written. Every plan passes the independent checker,
or the benchmark stops. Times are of a machine; compare the ratios, which are taken within one run.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import report
from cells import Cell, cell, one_job, warm_up
from goals import LP_TIMES
from instances import Spec, traces
from outside import Highs, Small, highs, oracle, small
from realised import QuantileRow, RestartRow, quantile_table, restart_table

from kilowait_scheduler.planner.problem import Floats

ROOT = Path(__file__).resolve().parent.parent.parent
MIP_S = 120.0  # how long the integer program gets


@dataclass(frozen=True)
class Size:
    """How much is measured; `growth` are numbers of jobs, seeds are 1 to the number given."""

    growth: tuple[int, ...]
    hundred: int
    thousand: int
    tens: int  # seeds of the largest
    proofs: int  # of the hundreds, how many HiGHS solves, as linear and as integer program
    small: tuple[tuple[int, int, int], ...]  # jobs, slots, seed
    small_s: float
    starts: int  # per zone


FULL = Size(
    growth=(100, 300, 1000, 3000, 10000),
    hundred=5,
    thousand=5,
    tens=2,
    proofs=3,
    small=(
        (12, 48, 1),
        (16, 56, 2),
        (20, 48, 6),
        (20, 54, 13),
        (20, 64, 3),
        (22, 60, 11),
        (24, 48, 6),
        (24, 60, 12),
        (24, 72, 4),
    ),
    small_s=10.0,
    starts=60,
)
QUICK = Size((100, 200), 1, 0, 0, 0, ((12, 48, 1),), 3.0, 3)


@dataclass(frozen=True)
class Results:
    """Everything measured, by part; `proofs`: linear program without restarts, with them, integer program."""

    size: Size
    zones: list[str]
    cells: dict[str, list[Cell]]
    proofs: list[tuple[Highs, Highs, Highs]]
    unfinished: dict[str, Highs]
    one: tuple[list[float], list[float], dict[str, object]]
    small: list[Small]
    restarts: list[RestartRow]
    quantiles: list[QuantileRow]
    minutes: float
    load: tuple[float, float]


def say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def measured(folder: Path, spec: Spec, *, warm: bool = False) -> Cell:
    """One instance in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        found = pool.submit(cell, folder, spec, warm=warm).result()
    more = f", warm {found.warm.seconds:.1f} s of {found.warm.cold_seconds:.1f} s" if found.warm else ""
    say(
        f"{spec.jobs} jobs, asked {spec.util:.2f} is {found.util:.2f}, seed {spec.seed}: placed {found.placed}, "
        f"gap {found.gap:.3f} %, {found.seconds:.2f} s, {found.peak_gib:.2f} GiB{more}"
    )
    return found


def joint(folder: Path, size: Size) -> dict[str, list[Cell]]:
    """By name of the kind: cells, one per seed."""
    kinds = {
        "100": (size.hundred, Spec(100, 0.26, 0)),
        "1 000 loose": (size.thousand, Spec(1000, 0.26, 0)),
        "1 000 tight": (size.thousand, Spec(1000, 0.37, 0, "heavy")),
        "10 000 loose": (size.tens, Spec(10000, 0.26, 0)),
        "10 000 tight": (size.tens, Spec(10000, 0.64, 0)),
        "1 000 loose, movable": (min(1, size.thousand), Spec(1000, 0.26, 0, movable=True)),
        "1 000 tight, movable": (min(1, size.thousand), Spec(1000, 0.37, 0, "heavy", movable=True)),
    }
    cells = {
        name: [
            measured(folder, replace(spec, seed=seed), warm=spec.jobs == max(size.growth) and seed == 1)
            for seed in range(1, seeds + 1)
        ]
        for name, (seeds, spec) in kinds.items()
    }
    known = {c.spec: c for found in cells.values() for c in found}
    specs = [Spec(jobs, 0.26, 1) for jobs in size.growth]
    cells["growth"] = [known.get(spec) or measured(folder, spec) for spec in specs]
    return {name: found for name, found in cells.items() if found}


def proofs(folder: Path, size: Size) -> list[tuple[Highs, Highs, Highs]]:
    found = []
    for seed in range(1, size.proofs + 1):
        spec = Spec(100, 0.26, seed)
        three = (
            highs(folder, spec, "simplex", restarts=False),
            highs(folder, spec, "simplex", restarts=True),
            highs(folder, spec, "mip", restarts=True, limit_s=MIP_S),
        )
        say(f"HiGHS, 100 jobs, seed {seed}: " + ", ".join(f"{one.state} {one.solved_s:.1f} s" for one in three))
        found.append(three)
    return found


def unfinished(folder: Path, cells: dict[str, list[Cell]]) -> dict[str, Highs]:
    """The linear program of the first thousands by interior point, given a multiple of the time that our plan took."""
    found = {}
    for name in ("1 000 loose", "1 000 tight"):
        for ours in cells.get(name, [])[:1]:
            limit = LP_TIMES * ours.seconds
            say(f"HiGHS interior point, {name}: up to {limit:.0f} s after building")
            found[name] = highs(folder, ours.spec, "ipm", restarts=False, limit_s=limit)
            say(f"  {found[name].state}")
    return found


def folder_of(given: str | None) -> Path:
    beside = ROOT.parent / "shared" / "data" / "intensity"
    return Path(given or os.environ.get("KILOWAIT_INTENSITY") or beside)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measures the planner and writes docs/benchmarks/planner.md.")
    parser.add_argument("--intensity", metavar="DIR", help="hourly intensity, one CSV per zone")
    parser.add_argument("--quick", action="store_true", help="small cases, printed and not written")
    asked = parser.parse_args()
    folder, size, begin, load = folder_of(asked.intensity), QUICK if asked.quick else FULL, time.time(), os.getloadavg()
    records = traces(folder)
    say("compiling, or reading what was compiled")
    warm_up()
    say("one job")
    every, pruned, question = one_job(folder)
    one = (every, pruned, oracle("rolling.py", question))
    cells = joint(folder, size)
    results = Results(
        size=size,
        zones=list(records),
        cells=cells,
        proofs=proofs(folder, size),
        unfinished=unfinished(folder, cells),
        one=one,
        small=small_ones(records, size),
        restarts=restart_table(records, starts=size.starts),
        quantiles=quantile_table(records, starts=size.starts),
        minutes=(time.time() - begin) / 60,
        load=(load[0], os.getloadavg()[0]),
    )
    text = report.text(results)
    if asked.quick:
        print(text)
    else:
        Path(__file__).with_name("planner.md").write_text(text)
        say("written: docs/benchmarks/planner.md")


def small_ones(records: dict[str, Floats], size: Size) -> list[Small]:
    found = []
    for jobs, slots, seed in size.small:
        spec = Spec(jobs, 0.7, seed, "few", regions=3, slots=slots, slack=24)
        found.append(small(records, spec, seconds=size.small_s))
        say(f"{jobs} jobs, 3 regions, {slots} slots: ours {found[-1].ours_g:.0f} g, CP-SAT {found[-1].their_g:.0f} g")
    return found


if __name__ == "__main__":
    main()
