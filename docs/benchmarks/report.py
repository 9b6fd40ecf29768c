"""The measurements as docs/benchmarks/planner.md."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import goals
import single
from cells import Cell
from instances import GANGS, ZONES
from tables import prose, spread, table

if TYPE_CHECKING:
    from planner_bench import Results


def text(found: Results) -> str:
    parts = [
        _machine(found),
        _goals(found),
        _instances(found),
        _joint(found),
        _warm(found),
        _growth(found),
        _proofs(found),
        _small(found),
        single.one(found),
        single.restarts(found),
        single.quantiles(found),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _machine(found: Results) -> str:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    names = ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "highspy"))
    python = f"{platform.python_implementation()} {platform.python_version()}"
    theirs = f"ortools {found.small[0].version}, pandas {found.one[2]['pandas']}"
    told = f"""
    Written by `make bench-planner`. {cores} cores ({_processor()}), shared with other work (load average
    {found.load[0]:.1f} at the start, {found.load[1]:.1f} at the end); {python}, {names}; in the oracles' environment
    {theirs}. The run took {found.minutes:.0f} minutes. Seconds are of this machine and its neighbours; ratios were
    taken within the run. The planner uses up to two threads for the rounds of the prices and for putting few jobs
    elsewhere, one for all else; HiGHS ran with its defaults, CP-SAT with two workers. Every plan here, other solvers'
    included, passed the independent checker (`planner/check.py`)."""
    return "# Planner, measured\n\n" + prose(told)


def _goals(found: Results) -> str:
    rows = [
        (goal.what, goal.bound, goal.measured, "reached" if goal.reached else "**not reached**")
        for goal in goals.all_of(found)
    ]
    return "## Goals\n\n" + table("what | goal | measured | ", rows)


def _instances(found: Results) -> str:
    def mix(name: str) -> str:
        return ", ".join(f"{gpus}: {share:g}" for gpus, share in GANGS[name].items())

    told = f"""
    {ZONES} zones x 168 hourly slots of real life-cycle intensity ({", ".join(found.zones)}), PUE 1.1; the seed draws
    the week, each zone at the same hour of its own year. Work is lognormal with a median of 8 slots (1 to 72),
    windows have 6 to 72 slots on top of it, 0.5 kW per GPU, 70 % suspendable at a restart of 6 minutes of the gang's
    energy; 30 % may run at home only, 40 % in a group of 4 zones, 30 % anywhere, for 5 GB to 5 TB of data at 0.02
    kWh/GB. Jobs arrive in the first half of the week. Capacity is the same in all zones and slots: what makes the
    jobs' GPU-slots the wanted share of all there are ("use"), and at least the largest gang, 64. Loose: use .26;
    tight: .37 with 1 000 jobs, .64 with 10 000.

    Gangs (GPUs: share) are {mix("mixed")}. With these, 1 000 jobs cannot reach .37 above the floor of 64 GPUs; the
    tight 1 000 draw heavier ones ({mix("heavy")}). 100 jobs are loose whatever is asked for, because of the same
    floor.

    *Run-now*: at home, in order of arrival, unbroken, as soon as the GPUs are there. *Arrival greedy*: each job, as
    it arrives, exactly at its cheapest in what is free, all its regions and suspensions allowed. Both respect
    capacity; what they cannot finish in time is missed. Savings are against run-now, over the jobs that both place.
    *Gap*: how far the plan's objective can be above the best plan's at most, by the lower bound the plan ships with;
    where jobs are left out it is of those placed."""
    return "## Instances\n\n" + prose(told)


def _joint(found: Results) -> str:
    kinds = {name: cells for name, cells in found.cells.items() if name != "growth"}
    summary = [
        (
            name,
            len(cells),
            spread([cell.gap for cell in cells], 3 if name == "100" else 2),
            spread([cell.seconds for cell in cells]),
            spread([cell.first_seconds for cell in cells]),
            f"{median(cell.saving for cell in cells):.1f} %",
            f"{median(cell.arrival_saving for cell in cells):.1f} %",
            f"{median(cell.peak_gib for cell in cells):.2f}",
        )
        for name, cells in kinds.items()
    ]
    each = [_each(name, cell) for name, cells in kinds.items() for cell in cells]
    head = "jobs | seeds | gap, % | plan and bound, s | first valid plan, s | saving | arrival greedy's | peak, GiB"
    head_each = (
        "jobs | seed | use | gap, % | s | missed | run-now misses | arrival greedy misses | saving | arrival "
        "greedy's | carbon against arrival greedy's | of common jobs"
    )
    return "\n\n".join(
        [
            "## All jobs in one plan",
            "Median over the seeds (and worst).",
            table(head, summary),
            prose(
                """
                Instance by instance. The last columns are our grams over the arrival greedy's: all that each placed,
                and of the jobs that both placed."""
            ),
            table(head_each, each),
        ]
    )


def _each(name: str, cell: Cell) -> tuple[object, ...]:
    return (
        name,
        cell.spec.seed,
        f"{cell.util:.2f}",
        f"{cell.gap:.3f}",
        f"{cell.seconds:.2f}",
        cell.spec.jobs - cell.placed,
        cell.spec.jobs - cell.now_placed,
        cell.spec.jobs - cell.arrival_placed,
        f"{cell.saving:.1f} %",
        f"{cell.arrival_saving:.1f} %",
        f"{cell.ratio:.3f}",
        f"{cell.ratio_common:.3f}",
    )


def _warm(found: Results) -> str:
    rows = [
        (
            name,
            f"{w.gap:.2f}",
            f"{w.cold_gap:.2f}",
            f"{w.seconds:.2f}",
            f"{w.cold_seconds:.2f}",
            f"{w.seconds / w.cold_seconds:.3f}",
            w.cold_placed - w.placed,
        )
        for name, cells in found.cells.items()
        for cell in cells
        if (w := cell.warm) and name != "growth"
    ]
    if not rows:
        return ""
    head = "jobs | warm gap, % | cold gap, % | warm, s | cold, s | ratio | jobs fewer"
    return "\n\n".join(
        [
            "## Planning again",
            prose(
                """
                Every intensity is multiplied by 1 + N(0, 3 %); the earlier plan's prices and windows are where the
                new one starts. The cold plan is of the same perturbed problem."""
            ),
            table(head, rows),
        ]
    )


def _growth(found: Results) -> str:
    cells = found.cells["growth"]
    rows = [
        (
            cell.spec.jobs,
            f"{cell.util:.2f}",
            f"{1000 * cell.round_seconds:.2f}",
            f"{1000 * cell.insert_seconds:.2f}",
            f"{cell.seconds:.2f}",
        )
        for cell in cells
    ]
    powers = goals.exponents(cells)
    rows.append(("**exponent**", "", *(f"**{power:.2f}**" for power in powers.values())))
    head = "jobs | use | a round of the prices, ms | greedy insertion, ms | plan and bound, s"
    return "\n\n".join(
        [
            "## Growth",
            prose(
                """
                Seed 1, asked use .26; exponents by least squares on logarithms. A round prices all jobs once (mean of
                the first 30). A plan within a thousandth of the best is not searched further, which few jobs' often is
                at once: the goals have the exponent of plan and bound also without those."""
            ),
            table(head, rows),
        ]
    )


def _proofs(found: Results) -> str:
    if not found.proofs:
        return ""
    rows = []
    for cell, (plain, restarts, whole) in zip(found.cells["100"], found.proofs, strict=False):
        own = cell.lower_bound * (1 + cell.gap / 100)
        rows.append(
            (
                cell.spec.seed,
                f"{cell.seconds:.2f}",
                f"{plain.built_s:.2f} + {plain.solved_s:.2f}",
                f"{restarts.built_s:.2f} + {restarts.solved_s:.2f}",
                f"{(cell.lower_bound / restarts.objective_g - 1) * 100:+.3f} %",
                f"{whole.solved_s:.0f} ({whole.state.lower()})",
                f"{(own / whole.bound_g - 1) * 100:.3f} %",
                f"{cell.gap:.3f} %",
            )
        )
    ends = [
        f"{name}: {run.columns} columns, {run.rows} rows, built in {run.built_s:.1f} s. "
        + (
            f"Not finished after {run.limit_s:.0f} s; it was at {run.state}."
            if run.solved_s is None
            else f"{run.state} after {run.solved_s:.0f} s (limit {run.limit_s:.0f} s)."
        )
        for name, run in found.unfinished.items()
    ]
    head = (
        "seed | our plan and bound, s | LP without restarts, build + solve, s | LP with restarts | our bound "
        "against that LP's | integer program, s | our plan above its bound | gap we state"
    )
    return "\n\n".join(
        [
            "## HiGHS on the time-indexed program",
            prose(
                """
                100 jobs. The linear program is the bound alone, without a plan; the integer one is the whole problem.
                What a plan is above the integer program's bound is its true distance from the best; the rest of the
                gap is the weakness of our bound, which knows of gangs that exclude each other but not of all ways in
                which gangs do not fit together."""
            ),
            table(head, rows),
            prose(
                f"""
                Linear program without restarts by interior point, no crossover, given {goals.LP_TIMES} times our
                plan's seconds:"""
            ),
            prose("\n".join(f"- {end}" for end in ends)),
        ]
    )


def _small(found: Results) -> str:
    rows = [
        (
            run.jobs,
            run.slots,
            f"{run.util:.2f}",
            f"{run.ours_s:.2f}",
            f"{run.their_s:.2f} ({run.state.lower()})",
            f"{run.ours_placed} / {run.their_placed}",
            f"{100 * (run.ours_g / run.their_g - 1):+.3f} %",
            f"{100 * (run.their_g / run.their_bound_g - 1):.2f} %" if run.their_bound_g > 0 else "none of use",
        )
        for run in found.small
    ]
    head = "jobs | slots | use | ours, s | CP-SAT, s | placed | ours against its best | its best above its bound"
    return "\n\n".join(
        [
            "## Small and tight, against CP-SAT",
            prose(
                """
                3 zones, gangs of 1 to 8 on 8 GPUs or a few more per zone, windows up to 24 slots longer than the
                work."""
            ),
            table(head, rows),
        ]
    )
