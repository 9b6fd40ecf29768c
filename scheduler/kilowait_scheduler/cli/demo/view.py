"""What the demonstration shows while it plays: regions and their grid, jobs and why they are where they are."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kilowait_scheduler.cli import output
from kilowait_scheduler.cli.output import grams, sparkline


@dataclass(frozen=True)
class Play:
    """What the server says at one moment."""

    now: str
    forecasts: list[dict[str, Any]]
    regions: list[dict[str, Any]]
    jobs: list[dict[str, Any]]


class View:
    """On a terminal a picture that redraws itself; elsewhere a line whenever a job changes. All on stderr."""

    def __init__(self) -> None:
        self._live = Live(console=output.err, auto_refresh=False) if sys.stderr.isatty() else None
        self._last: dict[str, tuple[str, str]] = {}

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        if self._live is not None:
            self._live.__exit__(*details)

    def show(self, play: Play) -> None:
        """Draw the state of play."""
        if self._live is not None:
            self._live.update(_picture(play), refresh=True)
            return
        now, jobs = play.now, play.jobs
        clock = datetime.fromisoformat(now).strftime("%a %H:%M")
        for job in jobs:
            seen = (job["state"], job["reason"])
            if self._last.get(job["id"]) != seen:
                self._last[job["id"]] = seen
                output.say(f"{clock}  {job['name']:<17} {job['state']:<11} {job['why']}")


def _picture(play: Play) -> Group:
    clock = datetime.fromisoformat(play.now).strftime("%a %d %b %Y %H:%M UTC")
    title = Text.assemble(("grid clock ", "dim"), (clock, "bold"))
    grid = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("region", "zone", "g/kWh", "next 18 hours"):
        grid.add_column(heading, justify="right" if heading == "g/kWh" else "left")
    courses = {one["zone"]: [slot["g_per_kwh"] for slot in one["slots"]][:18] for one in play.forecasts}
    for region in play.regions:
        course = courses.get(region["zone"]) or []
        current = region["now_g_per_kwh"]
        line = f"{sparkline(course)}  {min(course):.0f} to {max(course):.0f}" if course else "no forecast"
        grid.add_row(region["name"], region["zone"], "-" if current is None else f"{current:.0f}", line)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading in ("job", "state", "where", "work", "why"):
        table.add_column(heading, overflow="fold")
    for job in play.jobs:
        where = job["runs"][-1]["region"] if job["runs"] else f"({job['home']})"
        table.add_row(job["name"], output.state(job["state"]), where, _bar(job, play.now), job["why"])
    return Group(title, Text(), grid, Text(), table)


def _bar(job: dict[str, Any], now: str, width: int = 12) -> str:
    done = job["done_s"]
    run = job["runs"][-1] if job["runs"] else None
    if run and run["started_at"] and not run["ended_at"]:
        done += (datetime.fromisoformat(now) - datetime.fromisoformat(run["started_at"])).total_seconds()
    filled = round(width * min(1.0, done / job["work_s"]))
    return f"{'█' * filled}{'·' * (width - filled)}"


def closing(result: dict[str, Any]) -> None:
    """The last words: what each job saved, and all of them together."""
    shown = output.table(
        "job", "shown", "ran in", ">carbon", ">run now", ">saved", ">%", "deadline", title="What it saved"
    )
    for job in result["jobs"]:
        regions = " > ".join(dict.fromkeys(window["region"] for window in job["windows"]))
        shown.add_row(
            job["name"],
            job["shows"],
            regions,
            grams(job["carbon_g"]),
            grams(job["baseline"]["carbon_g"] if job["baseline"] else None),
            grams(job["saved_g"]),
            "-" if job["saved_pct"] is None else f"{job['saved_pct']:+.0f}",
            "met" if job["deadline_met"] else "MISSED",
        )
    totals = result["totals"]
    output.err.print(shown)
    pct = "" if totals["saved_pct"] is None else f" ({totals['saved_pct']:+.1f} %)"
    output.say(f"\nsaved {grams(totals['saved_g'])} of {grams(totals['baseline_g'])}{pct} against run-now@1")
    for note in result["notes"]:
        output.say(note)
    output.say(f"report: {result['report']}")
