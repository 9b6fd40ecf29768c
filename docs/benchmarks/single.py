"""The parts of docs/benchmarks/planner.md on single jobs: the time of a decision, restarts, noise, quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from instances import ZONES
from realised import PATHS, QuantileRow, Realised
from tables import prose, table

if TYPE_CHECKING:
    from planner_bench import Results


def one(found: Results) -> str:
    every, pruned, rolling = found.one

    def row(name: str, values: object) -> tuple[object, ...]:
        return (name, *(f"{value:.3f}" for value in np.percentile(np.array(values, dtype=float), [50, 95, 99])))

    rows = [
        row("ours, every allowed region tried", every),
        row("ours, regions that cannot win left out", pruned),
        row("pandas rolling mean, the same regions", rolling["ms"]),
        row("pandas rolling mean, home only", rolling["home_ms"]),
    ]
    return "\n\n".join(
        [
            "## One job",
            prose(
                f"""
                {len(every)} mixed jobs of the loose instance, 1 to 20 regions x 168 slots, called from Python. Ours
                is exact, with capacity, restarts and relocation; the rolling mean knows relocation only, and one
                unbroken window."""
            ),
            table("milliseconds | median | p95 | p99", rows),
        ]
    )


def _figure(one: Realised) -> str:
    return f"{one.saving:.1f} ({one.segments:.1f})"


def _points(one: Realised, other: Realised) -> str:
    return "{:+.2f} ± {:.2f}".format(*one.minus(other))


def restarts(found: Results) -> str:
    rows = [
        (
            f"{row.restart_h:g} h",
            *(_figure(one) for one in (*row.exact, *row.noisy)),
            _points(row.noisy[0], row.noisy[1]),
        )
        for row in found.restarts
    ]
    head = (
        "restart | ours | one window | cleanest hours | ours, noise | one window, noise | cleanest hours, "
        "noise | ours over one window, noise"
    )
    return "\n\n".join(
        [
            "## Restarts and noise, in truth",
            prose(
                f"""
                One job of 12 hours with 36 of slack, one region, {len(found.restarts[0].noisy[0].each)} runs from
                random hours of all {ZONES} zones; percent saved against running at once, mean over the runs (windows
                per job). A resume costs so many hours of the job's power at the intensity of its slot, for all alike.
                *Noise*: planned on truth x (1 + N(0, 10 %)), independent from hour to hour, which rewards false
                suspensions more than real forecasts do. The last column is in points, ± two standard errors."""
            ),
            table(head, rows),
        ]
    )


def quantiles(found: Results) -> str:
    rows = [
        (
            f"{row.work} / {row.slack} h",
            f"{row.restart_h:g} h",
            row.errors,
            *(_figure(one) for one in (row.oracle, row.window, row.median, row.cautious, row.doubled)),
            _points(row.cautious, row.median),
            _points(row.doubled, row.median),
        )
        for row in found.quantiles
    ]
    head = (
        "work / slack | restart | errors | truth known | one window | median | quantile | restart x 2 | "
        "quantile over median | x 2 over median"
    )
    return "\n\n".join(
        [
            "## Does deciding on a quantile help?",
            prose(
                f"""
                Planned on the median forecast; or a split is only taken over a less split plan where the 25th
                percentile of its gain, over {PATHS} error paths drawn from the true error model, is above 0; or
                planned on the median with restarts taken to cost twice what they do. Errors: persistent ones with a
                mean of 7 % at once to 13.7 % after four days, and independent ones."""
            ),
            table(head, rows),
            prose(_verdict(found.quantiles)),
        ]
    )


def _verdict(rows: Sequence[QuantileRow]) -> str:
    lines = []
    for errors in dict.fromkeys(row.errors for row in rows):
        mine = [row for row in rows if row.errors == errors]
        gains = [row.cautious.minus(row.median) for row in mine]
        simple = [row.doubled.minus(row.median)[0] for row in mine]
        sure = sum(gain > error for gain, error in gains)
        worse = sum(gain < -error for gain, error in gains)
        ahead = sum(row.doubled.saving >= row.cautious.saving for row in mine)
        lines.append(
            f"- {errors}: the quantile {'helps' if 2 * sure > len(mine) and not worse else 'does not clearly help'}: "
            f"{min(gain for gain, _ in gains):+.2f} to {max(gain for gain, _ in gains):+.2f} points, surely above "
            f"zero (two standard errors) in {sure} of {len(mine)} rows, surely below in {worse}. Taking restarts twice "
            f"gives {min(simple):+.2f} to {max(simple):+.2f}, at least what the quantile gives in {ahead} of "
            f"{len(mine)} rows, without any error model."
        )
    return "\n".join(lines)
