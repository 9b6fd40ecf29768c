"""What the planner is meant to reach, and whether it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from cells import Cell

if TYPE_CHECKING:
    from planner_bench import Results

ENOUGH_PCT = 0.1
LP_TIMES = 30  # how many times our seconds the interior point gets
GAPS = {"100": 0.1, "1 000 loose": 2.0, "1 000 tight": 4.5, "10 000 loose": 1.5, "10 000 tight": 5.0}


@dataclass(frozen=True)
class Goal:
    what: str
    bound: str
    measured: str
    reached: bool


def all_of(found: Results) -> list[Goal]:
    return [*_gaps(found), *_times(found), *_solvers(found), *_rest(found)]


def exponents(cells: Sequence[Cell]) -> dict[str, float]:
    jobs = np.log([cell.spec.jobs for cell in cells])
    parts = {
        "a round of the prices": [cell.round_seconds for cell in cells],
        "greedy insertion": [cell.insert_seconds for cell in cells],
        "plan and bound": [cell.seconds for cell in cells],
    }
    return {name: float(np.polyfit(jobs, np.log(seconds), 1)[0]) for name, seconds in parts.items()}


def searched(cells: Sequence[Cell]) -> list[Cell]:
    """Those whose plan was not ended by a gap of a thousandth, as few jobs' often is before any search."""
    return [cell for cell in cells if cell.gap > ENOUGH_PCT]


def _gaps(found: Results) -> list[Goal]:
    """The goal is for the median of the seeds; the worst is said."""
    made = []
    for name, bound in GAPS.items():
        gaps = [cell.gap for cell in found.cells.get(name, [])]
        if gaps:
            digits = 3 if bound < 1 else 2
            text = f"median {median(gaps):.{digits}f} %, worst {max(gaps):.{digits}f} %, {len(gaps)} seeds"
            made.append(Goal(f"{name} jobs: gap, median of the seeds", f"<= {bound:g} %", text, median(gaps) <= bound))
    return made


def _times(found: Results) -> list[Goal]:
    made = []
    for kind in ("loose", "tight"):
        large, small = found.cells.get(f"10 000 {kind}"), found.cells.get(f"1 000 {kind}")
        if large and small:
            ratio = median(c.seconds for c in large) / median(c.seconds for c in small)
            made.append(Goal(f"10 000 {kind}: seconds over those of 1 000", "<= 15 x", f"{ratio:.1f} x", ratio <= 15))
            first = median(c.seconds / c.first_seconds for c in large)
            made.append(Goal(f"10 000 {kind}: first valid plan", "<= 1/20 of the whole", f"1/{first:.1f}", first >= 20))
        for cell in large or []:
            if cell.warm:
                more, share = cell.warm.gap - cell.warm.cold_gap, cell.warm.cold_seconds / cell.warm.seconds
                made.append(
                    Goal(f"10 000 {kind}, again: gap over a cold plan's", "<= 0.5 points", f"{more:+.2f}", more <= 0.5)
                )
                made.append(
                    Goal(f"10 000 {kind}, again: seconds", "<= 1/8 of a cold plan's", f"1/{share:.1f}", share >= 8)
                )
    peaks = [cell.peak_gib for name, cells in found.cells.items() if name.startswith("10 000") for cell in cells]
    if peaks:
        made.append(
            Goal("10 000 jobs: peak memory of the process", "<= 2 GiB", f"{max(peaks):.2f} GiB", max(peaks) <= 2)
        )
    cells = found.cells["growth"]
    powers = exponents(cells)
    if len(later := searched(cells)) > 1:
        powers[f"plan and bound, from {later[0].spec.jobs} jobs"] = exponents(later)["plan and bound"]
    made += [
        Goal(f"growth in jobs: {name}", "exponent <= 1.2", f"{power:.2f}", power <= 1.2)
        for name, power in powers.items()
    ]
    return made


def _solvers(found: Results) -> list[Goal]:
    made = []
    if found.proofs:
        ratios = [
            (plain.solved_s or 0) / cell.seconds
            for cell, (plain, _, _) in zip(found.cells["100"], found.proofs, strict=False)
        ]
        text = f"median {median(ratios):.1f} x, worst {min(ratios):.1f} x"
        made.append(
            Goal(
                "100 jobs: faster than HiGHS solves the LP without restarts alone", ">= 5 x", text, median(ratios) >= 5
            )
        )
        ratios = [
            (whole.solved_s or 0) / cell.seconds
            for cell, (_, whole, _) in zip(found.cells["100"], found.proofs, strict=False)
        ]
        text = f"median {median(ratios):.1f} x, worst {min(ratios):.1f} x"
        made.append(
            Goal("100 jobs: faster than HiGHS solves the LP with restarts alone", ">= 5 x", text, median(ratios) >= 5)
        )
    for name, run in found.unfinished.items():
        what = f"{name}: HiGHS interior point on the LP at {LP_TIMES} times our seconds"
        text = "not finished" if run.solved_s is None else f"{run.state.lower()} after {run.solved_s:.0f} s"
        made.append(Goal(what, "not finished", text, run.solved_s is None))
    worst = max(100 * (run.ours_g / run.their_g - 1) for run in found.small)
    share = (
        min(run.their_s / run.ours_s for run in found.small if run.state != "OPTIMAL")
        if any(run.state != "OPTIMAL" for run in found.small)
        else min(run.their_s / run.ours_s for run in found.small)
    )
    made.append(
        Goal("<= 24 jobs, tight: above what CP-SAT has after 10 s, worst", "<= 1 %", f"{worst:+.2f} %", worst <= 1)
    )
    made.append(
        Goal(
            "<= 24 jobs, tight: seconds where CP-SAT used all of its own, worst",
            "<= 1/10",
            f"1/{share:.0f}",
            share >= 10,
        )
    )
    return made


def _rest(found: Results) -> list[Goal]:
    every, _, rolling = found.one
    ours, theirs = median(every), median(rolling["ms"])  # type: ignore[call-overload]
    made = [
        Goal("one job, 20 regions x 168 slots, median", "<= 0.1 ms", f"{ours:.3f} ms", ours <= 0.1),
        Goal("one job: faster than a rolling mean in pandas", ">= 10 x", f"{theirs / ours:.0f} x", theirs / ours >= 10),
    ]
    cells = [cell for cells in found.cells.values() for cell in cells]
    behind = [cell for cell in cells if cell.placed < cell.arrival_placed or cell.ratio > 1 + 1e-9]
    made.append(_never("carbon never above the arrival greedy's, at as many jobs or more", behind, cells))
    behind = [cell for cell in cells if cell.placed < cell.arrival_placed or cell.ratio_common > 1 + 1e-9]
    made.append(_never("the same, of the jobs that both place", behind, cells))
    rows = [row for row in found.restarts if row.restart_h == 0.5]
    for row in rows:
        ours_, window, cleanest = row.noisy
        text = f"{ours_.saving:.1f} % against {window.saving:.1f} %"
        made.append(
            Goal("30 min restarts, 10 % noise: saving above one window's", "above", text, ours_.saving > window.saving)
        )
        text = f"{ours_.saving:.1f} % against {cleanest.saving:.1f} %"
        made.append(
            Goal(
                "30 min restarts, 10 % noise: above the cleanest hours'", "above", text, ours_.saving > cleanest.saving
            )
        )
    return made


def _never(what: str, behind: Sequence[Cell], cells: Sequence[Cell]) -> Goal:
    if not behind:
        return Goal(what, "none above", f"none of {len(cells)} instances", True)
    worst = max(behind, key=lambda cell: cell.ratio)
    more = f"placing {worst.placed - worst.arrival_placed} jobs more, {worst.ratio:.3f} of its carbon"
    return Goal(what, "none above", f"{len(behind)} of {len(cells)} instances; worst: {more}", False)
