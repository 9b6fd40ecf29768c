"""A report with a bit of everything: negative, unmeasured, running, moved and suspended jobs, hostile names."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from kilowait_scheduler.core.money import Money
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.reports.model import (
    BaselineFigure,
    By,
    Foresight,
    Group,
    IntensityTrace,
    JobLine,
    Levers,
    RanWindow,
    RegionLine,
    Report,
    Totals,
    Use,
)

START = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
NOW = START + 60 * HOUR
HOSTILE = '<script>alert("x")</script>&\'"\x07'


def at(hours: float) -> datetime:
    return START + hours * HOUR


def job(
    name: str,
    *windows: tuple[str, float, float | None],
    submitted: float = 0.0,
    deadline: float = 72.0,
    state: str = "succeeded",
    energy_kwh: float | None = None,
    carbon_g: float | None = None,
    levers: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0),
    **more: object,
) -> JobLine:
    """A line whose baseline and saving follow from its carbon and levers."""
    line = JobLine(
        id=f"j{abs(hash((name, windows))) % 10**8:08d}",
        name=name,
        team="nlp",
        project="assistants",
        state=state,
        home="us-west",
        gpus=8,
        submitted_at=at(submitted),
        deadline=at(deadline),
        finished_at=at(windows[-1][2]) if state == "succeeded" and windows and windows[-1][2] else None,
        deadline_met=True if state == "succeeded" else None,
        runs=len(windows),
        windows=tuple(RanWindow(region, at(a), at(b) if b is not None else None) for region, a, b in windows),
        why="Done." if state == "succeeded" else "Waiting for a cleaner window.",
    )
    if carbon_g is not None:
        saved = sum(levers)
        baseline = carbon_g + saved
        line = replace(
            line,
            energy_kwh=energy_kwh,
            carbon_g=carbon_g,
            baseline=BaselineFigure("run-now@1", baseline),
            baseline_start=at(submitted),
            saved_g=saved,
            saved_pct=100 * saved / baseline,
            uncertainty_g=abs(saved) * 0.05,
            levers=Levers(*levers),
            uses=(Use(windows[0][0], "2026-11", energy_kwh, carbon_g, None),),
            estimated_pct=0.0,
            measured_pct=100.0,
            provisional=state != "succeeded",
        )
    return replace(line, **more)  # type: ignore[arg-type]


def jobs() -> tuple[JobLine, ...]:
    """A dozen jobs of all kinds."""
    return (
        job(
            "llama-ft",
            ("us-west", 14, 20),
            energy_kwh=24.0,
            carbon_g=4100,
            levers=(3900, 0, 0, 0),
            promised_saved_g=4200,
        ),
        job(
            "bert-base-pretraining-with-a-rather-long-name-seed-0042",
            ("us-west", 1, 3.5),
            ("eu-north", 9, 15.25),
            energy_kwh=31.0,
            carbon_g=2600,
            levers=(1200, 6100, 0, -260),
            promised_saved_g=6800,
        ),
        job("urgent-eval", ("us-west", 1, 2), submitted=1, deadline=3, energy_kwh=3.1, carbon_g=1100),
        job(
            "vision-sweep/017",
            ("de-central", 4, 9),
            home="de-central",
            energy_kwh=18.5,
            carbon_g=7900,
            levers=(-1450, 0, 0, 0),
            promised_saved_g=310,
            team="vision",
            project="sweeps",
            provisional=True,
            estimated_pct=38.0,
            uncertainty_g=420.0,
        ),
        job(
            "tokenizer",
            ("eu-north", 26, 27.5),
            energy_kwh=2.2,
            carbon_g=48,
            levers=(3, 610, 0, 0),
            promised_saved_g=590,
        ),
        job(
            "rl-agent",
            ("us-west", 30, 34),
            ("us-west", 38, 44),
            ("us-west", 54, None),
            state="running",
            energy_kwh=40.2,
            carbon_g=8800,
            levers=(5200, 0, 0, -730),
            why="Running inside its planned window.",
            promised_saved_g=6100,
        ),
        job("embedder-nightly", ("eu-north", 50, 54), energy_kwh=9.7, carbon_g=210, levers=(0, 3350, 0, 0)),
        job(
            "protein-fold",
            ("de-central", 33, 41),
            home="de-central",
            energy_kwh=55.0,
            carbon_g=14100,
            levers=(6900, 0, 0, 0),
            team="bio",
            project="fold",
            measured_pct=91.4,
            promised_saved_g=8200,
        ),
        job(
            "no-agent-here",
            ("eu-north", 20, 23),
            note="no meter readings for this job: is an agent running in its region?",
        ),
        job("waiting-for-wind", submitted=55, deadline=100, state="waiting", promised_saved_g=2100),
        job(
            HOSTILE,
            ("us-west", 40, 41),
            state="failed",
            deadline_met=False,
            finished_at=at(41),
            energy_kwh=1.1,
            carbon_g=310,
            levers=(-22, 0, 0, 0),
            why="The program ended with an error; see `kilowait logs`. exit 1",
        ),
        job("=cmd|'/c calc'!A1", submitted=56, state="cancelled", why="Cancelled by a person."),
    )


def totals(lines: tuple[JobLine, ...]) -> Totals:
    full = [line for line in lines if line.carbon_g is not None]
    levers = [line.levers for line in full if line.levers is not None]
    baseline = sum(line.baseline.carbon_g for line in full if line.baseline)
    saved = sum(line.saved_g or 0 for line in full)
    return Totals(
        jobs=len(lines),
        without_figures=len(lines) - len(full),
        energy_kwh=sum(line.energy_kwh or 0 for line in full),
        carbon_g=sum(line.carbon_g or 0 for line in full),
        baseline_g=baseline,
        saved_g=saved,
        saved_pct=100 * saved / baseline if baseline else None,
        uncertainty_g=sum(line.uncertainty_g or 0 for line in full),
        levers=Levers(
            sum(lever.time_shift_g for lever in levers),
            sum(lever.region_shift_g for lever in levers),
            sum(lever.resizing_g for lever in levers),
            sum(lever.overheads_g for lever in levers),
        ),
    )


def trace(region: str, zone: str, *, base: float, swing: float, estimated_from: float = 1e9) -> IntensityTrace:
    """Hourly intensity that is lowest around noon."""
    slots = tuple(
        (
            at(h),
            at(h + 1),
            base + swing * math.cos((h + 6) / 24 * 2 * math.pi) + 9 * math.sin(h * 1.7),
            h >= estimated_from,
        )
        for h in range(60)
    )
    return IntensityTrace(region, zone, slots)


def sample() -> Report:
    lines = jobs()
    return Report(
        title="Savings report",
        generated_at=NOW,
        start=START,
        end=NOW,
        signal="average/lifecycle",
        baseline_name="run-now@1",
        method=("slotwise@1", "run-now@1", "levers@1"),
        jobs=lines,
        totals=totals(lines),
        regions=(
            RegionLine("us-west", "US-CAL-CISO", 1.15, ("nvml",), "electricity-maps", 88.0, 14.5, 0.0),
            RegionLine(
                "eu-north", "SE-SE2", 1.08, ("nvml", "simulated"), "electricity-maps+typical-day", 41.0, 3.2, 2.4
            ),
            RegionLine("de-central", "DE", 1.3, ("nvml",), "electricity-maps", 61.0, 22.0, 0.6),
            RegionLine("us-east", "US-MIDA-PJM", 1.2, (), "none", None, None, None),
        ),
        intensity=(
            trace("us-west", "US-CAL-CISO", base=240, swing=120),
            trace("eu-north", "SE-SE2", base=26, swing=5, estimated_from=46),
            trace("de-central", "DE", base=390, swing=140),
        ),
        notes=(
            "Energy comes from the simulated meter: it shows the method, not real consumption.",
            "eu-north: 23 % of the intensity of SE-SE2 is estimated (electricity-maps+typical-day).",
        ),
    )


def by_team() -> Report:
    """The sample with its sums by team, and money."""
    report = sample()
    cost = Money(Decimal("12.40"), "EUR")
    teams = sorted({line.team for line in report.jobs})
    groups = tuple(
        Group(team, replace(totals(tuple(line for line in report.jobs if line.team == team)), carbon_cost=(cost,)))
        for team in teams
    )
    made = Range(1200.0, 3400.0, 8100.0)
    first = replace(report.jobs[0], embodied_g=made, sci_g_per_gpu_h=612.5, gpu_h=48.0, useful_gpu_h=47.5)
    first = replace(first, carbon_cost=cost, baseline_carbon_cost=cost, ceiling_saved_g=4600.0, ceiling_pct=57.5)
    second = replace(report.jobs[1], ceiling_note="intensity is not known throughout its window in eu-north")
    sums = replace(report.totals, carbon_cost=(cost,), energy_cost=(cost,), embodied_g=made, sci_g_per_gpu_h=512.3)
    sums = replace(sums, foresight=Foresight(1, 8000.0, 4200.0, 3900.0, 4600.0, 57.5))
    return replace(report, by=By.TEAM, groups=groups, totals=sums, jobs=(first, second, *report.jobs[2:]))


def empty() -> Report:
    """No jobs, no regions."""
    report = sample()
    return replace(report, jobs=(), totals=totals(()), regions=(), intensity=(), notes=())


def nothing_measured() -> Report:
    """Jobs, but not one figure."""
    report = sample()
    lines = tuple(line for line in report.jobs if line.carbon_g is None)
    regions = tuple(
        replace(r, meters=(), it_energy_kwh=None, idle_kwh=None, unattributed_kwh=None) for r in report.regions
    )
    return replace(report, jobs=lines, totals=totals(lines), regions=regions, intensity=(), notes=())


def losing() -> Report:
    """A report whose jobs emitted more than their baseline."""
    report = sample()
    lines = tuple(line for line in report.jobs if line.saved_g is not None and line.saved_g <= 0)
    return replace(report, jobs=lines, totals=totals(lines))


def small() -> Report:
    """Two jobs that drew watt-hours."""
    report = sample()
    lines = (
        job("demo-a", ("us-west", 2, 2.2), energy_kwh=0.0031, carbon_g=0.81, levers=(0.4, 0, 0, 0)),
        job("demo-b", ("eu-north", 3, 3.1), energy_kwh=0.0009, carbon_g=0.02, levers=(0, 0.21, 0, -0.001)),
    )
    return replace(report, jobs=lines, totals=totals(lines))


def many(count: int = 150) -> Report:
    """More jobs than a picture has rows for."""
    report = sample()
    lines = tuple(
        job(
            f"sweep-{n:03d}",
            (("us-west", "eu-north", "de-central")[n % 3], n % 20, n % 20 + 1 + n % 5),
            energy_kwh=1 + n % 7,
            carbon_g=100.0 + n,
            levers=(float(n % 90) - 20, 2.0 * (n % 11), 0, -(n % 3)),
        )
        for n in range(count)
    )
    return replace(report, jobs=lines, totals=totals(lines))
