"""How long a year's savings report takes, and what it takes: 10,000 jobs as a server stores them, to docs/benchmarks.

    make bench-accounts

Each figure comes from a process of its own, on two cores: it opens the database and makes one report in one format.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.core.events import Promise
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState, Phase, Run, RunPhase
from kilowait_scheduler.planner.joint import warm_up
from kilowait_scheduler.reports.render import to_csv, to_html, to_json
from kilowait_scheduler.service.compose import Server, compose
from kilowait_scheduler.service.courses import keep_courses
from kilowait_scheduler.settings import Settings
from kilowait_scheduler.store.tables import JobRow, ReadingRow

HERE = Path(__file__).parent
START = datetime(2026, 1, 1, tzinfo=UTC)
YEAR = timedelta(days=365)
NOW = START + YEAR + timedelta(days=30)
JOBS = 10_000
REGIONS = ("us-west", "eu-north", "de-central")
FORMATS = {"json": to_json, "csv": to_csv, "html": to_html}
HOUR = timedelta(hours=1)


def intensity(folder: Path) -> None:
    """A year and more of hours per zone: a day's and a year's swing, and noise that lasts."""
    folder.mkdir()
    rng = random.Random(1)
    for zone, base, swing in (("AA", 240.0, 110.0), ("BB", 40.0, 8.0), ("CC", 380.0, 120.0)):
        rows, error = [], 0.0
        for hour in range(24 * 430):
            error = 0.95 * error + rng.gauss(0, 8)
            day = swing * math.cos(2 * math.pi * (hour % 24 - 3) / 24)
            value = max(5.0, base + day + 0.2 * base * math.cos(2 * math.pi * hour / 8760) + error)
            rows.append(f"{(START - timedelta(days=30) + HOUR * hour).isoformat()},{value:.2f}")
        (folder / f"{zone}.csv").write_text("datetime,carbon_intensity_lifecycle\n" + "\n".join(rows) + "\n")


def jobs(rng: random.Random, count: int) -> Iterator[JobRecord]:
    """Jobs of one to twelve hours over the year, a third with several runs, that ended before their deadlines."""
    for number in range(count):
        submitted = START + YEAR * (number / count)
        length = timedelta(hours=rng.choice((1, 2, 3, 4, 6, 8, 12)))
        runs = rng.choice((1, 1, 2, 3, 4))
        home = rng.choice(REGIONS)
        due = submitted + length + timedelta(hours=rng.choice((8, 24, 24, 48)))
        gpus = rng.choice((1, 2, 4, 8))
        job_id = f"{number:017d}"
        begin = submitted + timedelta(hours=rng.uniform(0, 4))
        made = []
        for n in range(1, runs + 1):
            end = begin + length / runs + (timedelta(minutes=5) if n > 1 else timedelta(0))
            made.append(
                Run(
                    n=n,
                    region=home if rng.random() < 0.7 else rng.choice(REGIONS),
                    submission_id=f"kw-{job_id}-{n}",
                    phase=RunPhase.SUCCEEDED if n == runs else RunPhase.STOPPED,
                    created_at=begin,
                    started_at=begin,
                    stop_wanted_at=None if n == runs else end - timedelta(seconds=20),
                    ended_at=end,
                )
            )
            begin = end + timedelta(minutes=rng.uniform(20, 60))
        spec = parse_job(
            {
                "name": f"train-{number % 400:03d}",
                "entrypoint": "python train.py",
                "resources": {"gpus": gpus},
                "duration": f"{int(length / HOUR)}h",
                "deadline": due.isoformat(),
                "team": f"team-{number % 12:02d}",
                "project": f"project-{number % 40:02d}",
                "regions": {"home": home, "any_of": list(REGIONS)},
                **({"checkpoint": {"path": "/c", "restart": "5m", "period": "10m"}} if runs > 1 else {}),
            }
        )
        state = JobState(
            job_id=job_id,
            phase=Phase.SUCCEEDED,
            work_s=length.total_seconds(),
            suspendable=runs > 1,
            restart_s=300.0 if runs > 1 else 0.0,
            runs=tuple(made),
            finished_at=made[-1].ended_at,
            first_promise=Promise(carbon_g=900, carbon_p90_g=1200, run_now_g=1400, energy_kwh=4),
        )
        yield JobRecord(
            id=job_id,
            spec=spec,
            submitted_at=submitted,
            home=home,
            regions=REGIONS,
            power_per_gpu_w=500,
            state=state,
        )


def readings(record: JobRecord, *, first: int, every: timedelta) -> list[Reading]:
    """One record per device and `every`, cut at the ends of runs."""
    found = []
    for run in record.state.runs:
        assert run.started_at is not None
        assert run.ended_at is not None
        begin = run.started_at
        while begin < run.ended_at:
            end = min(begin + every, run.ended_at)
            energy_mj = round(500_000 * record.gpus * (end - begin).total_seconds())
            seq = first + len(found)
            share = RunShare(run.submission_id, record.id, energy_mj)
            found.append(
                Reading(
                    agent_id=f"agent-{run.region}",
                    stream_epoch="e1",
                    seq=seq,
                    region=run.region,
                    node="node",
                    source="nvml",
                    device_uuid="GPU-0",
                    start=begin,
                    end=end,
                    energy_mj=energy_mj,
                    idle_mj=0,
                    unattributed_mj=0,
                    quality="measured",
                    method="counter",
                    uncertainty_pct=5.0,
                    digest=str(seq),
                    shares=(share,),
                )
            )
            begin = end
    return found


def server(folder: Path) -> Server:
    """The server whose database is in `folder`, at the end of the year."""
    clock = GridClock(1.0, 0, int(NOW.timestamp() * 1_000_000), wall_us=lambda: 0)
    return compose(Settings(state_dir=folder / "state", intensity=folder / "intensity"), clock=clock)


def fill(folder: Path, *, count: int, every: timedelta) -> int:
    """A database with a year of jobs; how many readings it has."""
    intensity(folder / "intensity")
    made = server(folder)
    for name, zone in zip(REGIONS, ("AA", "BB", "CC"), strict=True):
        region = Region(name=name, zone=zone, address="http://127.0.0.1:1", capacity_gpus=256, pue=1.1, gpu_type="H100")
        made.store.put_region(region)
    stored, batch = 0, []
    records = list(jobs(random.Random(7), count))
    with made.store.writing() as session:
        for record in records:
            session.add(
                JobRow(
                    id=record.id,
                    name=record.spec.name,
                    team=record.spec.team,
                    project=record.spec.project,
                    phase=record.state.phase.value,
                    submitted_at=record.submitted_at,
                    deadline=record.spec.due,
                    finished_at=record.state.finished_at,
                    version=1,
                    record=record.model_dump(mode="json"),
                )
            )
    for record in records:
        found = readings(record, first=stored + len(batch) + 1, every=every)
        batch += found
        if len(batch) >= 20_000 or record is records[-1]:
            for name in REGIONS:
                if mine := [reading for reading in batch if reading.agent_id == f"agent-{name}"]:
                    made.store.add_readings(Readings.of(mine), at=NOW)
            stored, batch = stored + len(batch), []
    asyncio.run(made.reporting.savings())  # intensity is kept by the first report that needs it
    made.close()
    return stored


def keep(folder: Path) -> float:
    """Keep the courses of all jobs, as a server does each hour of those that ended since; seconds."""
    made = server(folder)
    begin = time.perf_counter()
    asyncio.run(keep_courses(made.store, now=NOW))
    made.close()
    return time.perf_counter() - begin


def report(folder: Path, format_: str, baseline: str) -> dict[str, Any]:
    """Make one report in this process; seconds and megabytes."""
    from kilowait_scheduler.core.baseline import Baseline
    from kilowait_scheduler.service.reporting import Asked

    warm_up()  # as a server does once, when it starts
    made = server(folder)
    begin, cpu = time.perf_counter(), time.process_time()
    asked = Asked(start=START, end=START + YEAR, baseline=Baseline(baseline))
    # As on the server's loop: `asyncio.run` would spend seconds on writing out its result for nobody.
    loop = asyncio.new_event_loop()
    found = loop.run_until_complete(made.reporting.savings(asked))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    text = FORMATS[format_](found)
    seconds = time.perf_counter() - begin
    with made.store.reading() as session:
        readings_stored = session.scalar(select(func.count()).select_from(ReadingRow))
    made.close()
    return {
        "seconds": seconds,
        "cpu_seconds": time.process_time() - cpu,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "size_mb": len(text.encode()) / 1e6,
        "jobs": found.totals.jobs,
        "readings": readings_stored,
        "without": found.totals.without_figures,
        "ceilings": sum(line.ceiling_saved_g is not None for line in found.jobs),
    }


RUNS = (("json", "run-now@1"), ("csv", "run-now@1"), ("html", "run-now@1"))
GOAL_S, GOAL_MB = 10.0, 1024.0


def told(*words: str) -> Any:
    """What this script answers in a process of its own."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


WHERE = """
The planner's kernels are read from disk before, as a server does once, when it starts. Reports take five minutes of
readings as one row, which of ended jobs are kept ready (docs/method.md); to make them ready took {kept:.0f} s here,
once, one job after another. The first row is of before: every reading is read, as in the first minutes after an update
from a release that kept none.
"""


def page(every_s: int, rows: list[tuple[str, str, dict[str, Any]]], *, kept_s: float) -> str:
    """The results as Markdown."""
    count, stored = rows[0][2]["jobs"], rows[0][2]["readings"]
    lines = [
        "# A year of jobs in a savings report",
        "",
        f"`make bench-accounts`: {count:,} jobs in three regions over a year, three in five of them with several runs;",
        f"{stored:,} readings (one per run and {every_s} s), on SQLite. Each report is made in a process of its own,",
        "from the database to the text: jobs, energy, intensity, baselines, ceilings, levers, sums. Seconds of wall",
        "and of CPU (on a machine that others use too, wall says little), and the most memory it took. On average",
        f"{os.getloadavg()[2]:.0f} processes wanted the {os.cpu_count()} cores meanwhile.",
        "",
        "| format | baseline | s | CPU s | MB | size, MB | goal |",
        "|---|---|---|---|---|---|---|",
    ]
    for format_, baseline, found in rows:
        met = found["seconds"] <= GOAL_S and found["mb"] <= GOAL_MB
        held = f"{'met' if met else 'not met'}: {GOAL_S:.0f} s, {GOAL_MB / 1024:.0f} GB"
        lines.append(
            f"| {format_} | {baseline} | {found['seconds']:.1f} | {found['cpu_seconds']:.1f} | {found['mb']:.0f} | "
            f"{found['size_mb']:.1f} | {held if format_ in FORMATS else 'none'} |"
        )
    return "\n".join([*lines, WHERE.format(kept=kept_s)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--report", nargs=3, metavar=("FOLDER", "FORMAT", "BASELINE"))
    parser.add_argument("--fill", nargs=2, metavar=("FOLDER", "EVERY_S"))
    parser.add_argument("--keep", metavar="FOLDER")
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--every-s", type=int, default=30, help="Seconds between readings.")
    parser.add_argument("--folder", help="A year that --fill has made before.")
    given = parser.parse_args()
    if given.report:
        print(json.dumps(report(Path(given.report[0]), *given.report[1:])))
        return
    if given.fill:
        print(fill(Path(given.fill[0]), count=given.jobs, every=timedelta(seconds=int(given.fill[1]))))
        return
    if given.keep:
        print(keep(Path(given.keep)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or scratch
        if given.folder is None:
            print("a year of jobs is made; some minutes", file=sys.stderr)
            told("--fill", folder, str(given.every_s), "--jobs", str(given.jobs))
        rows = [("json, from all readings", "run-now@1", told("--report", folder, "json", "run-now@1"))]
        kept_s = told("--keep", folder)
        for format_, baseline in RUNS:
            rows.append((format_, baseline, told("--report", folder, format_, baseline)))
            print(f"{format_} against {baseline}: {rows[-1][2]['seconds']:.1f} s", file=sys.stderr)
    text = page(given.every_s, rows, kept_s=kept_s)
    (HERE / "accounts.md").write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
