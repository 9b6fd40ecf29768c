"""Rolls our own model through recorded grids and writes docs/benchmarks/forecast.md.

usage: python docs/benchmarks/forecast_bench.py [--data DIR]   (make bench-forecast; half an hour)

DIR holds `intensity/*.csv` and `mix/*.csv.gz`; without it the benchmark says so and ends. Each zone is forecast once a
day at 00:00 UTC for 96 h through its last months, as `kilowait forecast evaluate` does it.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import sys
import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from kilowait_forecasters.evaluate import Verdict, origins, outlooks, verdict
from kilowait_forecasters.models.hours import hour_start
from kilowait_forecasters.models.own import OwnModel
from kilowait_forecasters.providers.recorded_hours import read_hours
from kilowait_forecasters.zone import Zone

HERE = Path(__file__).resolve().parent
DAYS = {"CC": 177, "EM": 88, "EM3Y": 88}  # of forecasts: the second half-year, or the last quarter of eight months


@dataclass(frozen=True)
class Result:
    zone: str
    family: str
    weather: bool
    verdict: Verdict
    first: datetime
    last: datetime
    refit_s: float

    @property
    def losses(self) -> list[int]:
        """Days ahead on which one of the simple forecasts had the smaller error."""
        best = [min(errors) for errors in zip(*self.verdict.simple_mape_pct.values(), strict=True)]
        return [
            day for day, (own, simple) in enumerate(zip(self.verdict.mape_pct, best, strict=True), 1) if own > simple
        ]


def measure(path: Path, *, mix: Path | None, weather: bool) -> Result:
    zone, family = path.stem, path.stem.partition("_")[0]
    hours = read_hours(Zone(zone), path, mix=mix)
    hours = hours if weather else replace(hours, weather={})
    end = hour_start(hours.end) - timedelta(hours=95)
    issued = origins(end - timedelta(days=DAYS[family]), end, origin=timedelta())
    began = time.process_time()
    OwnModel().outlook(hours, issued=issued[0])
    refit_s = time.process_time() - began
    given = list(outlooks(hours, issued))
    return Result(zone, family, weather, verdict(hours, given), hour_start(issued[0]), hour_start(issued[-1]), refit_s)


def per_zone(results: list[Result]) -> list[str]:
    lines = [
        "| zone | origins | MAPE day 1/2/3/4 | best simple | oracle saving | share | p05-p95 held | refit, CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        found = result.verdict
        simple = [min(errors) for errors in zip(*found.simple_mape_pct.values(), strict=True)]
        assert found.decisions is not None
        lines.append(
            f"| {result.zone} | {found.origins} | {_days(found.mape_pct)}{' (worse)' if result.losses else ''} "
            f"| {_days(simple)} | {found.decisions.possible_pct:.1f} % | {found.decisions.share_pct:.0f} % "
            f"| {found.coverage_90_pct:.1f} % | {result.refit_s:.1f} |"
        )
    return lines


def summary(name: str, results: list[Result]) -> list[str]:
    mape = [statistics.mean(r.verdict.mape_pct[day] for r in results) for day in range(4)]
    naive = [statistics.mean(r.verdict.simple_mape_pct["persistence"][day] for r in results) for day in range(4)]
    shares = {r.zone: r.verdict.decisions.share_pct for r in results if r.verdict.decisions}
    held = [r.verdict.coverage_90_pct for r in results]
    lost = [f"{r.zone} day {', '.join(map(str, r.losses))}" for r in results if r.losses]
    worst = min(shares, key=lambda zone: shares[zone])
    inside = sum(87 <= one <= 93 for one in held)
    return [
        f"| {name} | {len(results)} | {_days(mape)} | {_days(naive)} | {'; '.join(lost) or 'none'} "
        f"| {statistics.mean(shares.values()):.0f} % | {shares[worst]:.0f} % ({worst}) "
        f"| {min(held):.1f}-{max(held):.1f} % ({inside} of {len(held)} in 87-93) |"
    ]


def text(results: list[Result], *, seconds: float) -> str:
    with_weather = [r for r in results if r.family == "CC" and r.weather]
    without = [r for r in results if r.family == "CC" and not r.weather]
    outside = [r for r in results if r.family != "CC"]
    model = next((line.partition(":")[2].strip() for line in _cpu_lines() if line.startswith("model name")), "unknown")
    rss_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    head = [
        *HEAD.splitlines(),
        "",
        f"Machine: {model}, {os.cpu_count()} cores, shared with other work; one process on one core.",
        f"Python {platform.python_version()}, numpy {version('numpy')}, scikit-learn {version('scikit-learn')}. Seed 0",
        "throughout: the same data gives the same figures. "
        f"{seconds / 60:.0f} min in all; peak memory {rss_mib:.0f} MiB.",
        "",
        *TABLE.splitlines(),
        *summary("production average, history + mix + weather", with_weather),
        *summary("production average, history + mix", without),
        *summary("consumption average, history alone", outside),
        "",
        f"A refit of one zone takes {max(r.refit_s for r in results):.1f} s of one core at most, trials included.",
        "",
    ]
    for title, part in (
        ("Production average, with weather", with_weather),
        ("Production average, without weather", without),
        ("Consumption average, eight to twenty months of history alone", outside),
    ):
        first, last = min(r.first for r in part), max(r.last for r in part)
        span = f"Issued daily from {first:%Y-%m-%d} to {last:%Y-%m-%d}."
        head += [f"## {title}", "", span, "", *per_zone(part), ""]
    return "\n".join([*head, NOTES])


HEAD = """# The own forecast model, measured

Written by `make bench-forecast`. Every figure comes from forecasts made as they would have been: from hours that had
ended, with fits, weights and band from earlier data only; `wf_*` columns, being weather forecasts, are read ahead up to
the horizon. They have one value per hour, not one per lead, so days 2 to 4 with weather are optimistic. Publication
delay is not counted."""

TABLE = """## In one table

`share`: of the saving that perfect foresight has on 6 h jobs with 24 h of slack, what decisions on the median get.
`worse`: zones and days ahead on which persistence, hour-of-day or hour-of-week had the smaller mean error.

| data | zones | MAPE day 1/2/3/4 | persistence | worse | share, mean | share, worst | p05-p95 held |
|---|---|---|---|---|---|---|---|"""

NOTES = """## How to read it

- The settings (penalties, size of the trees, trial days) were chosen on six production-average zones and the second
  half of 2020. How candidates are weighed was chosen on eight consumption-average zones and two others, on hours that
  are in these tables: for those zones they flatter a little.
- The first half of 2021 holds the Texas storm of February, which no forecast here foresaw.
- Where the mix is not known and history is short, the model leans on the mean of past days, and gains less.
"""


def _days(values: list[float]) -> str:
    return " / ".join(f"{value:.1f}" for value in values)


def _cpu_lines() -> list[str]:
    info = Path("/proc/cpuinfo")
    return info.read_text().splitlines() if info.exists() else []


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=HERE.parents[2] / "shared" / "data")
    data = parser.parse_args().data
    if not (data / "intensity").is_dir():
        sys.exit(f"{data}: no recorded grids there; give a folder with intensity/ and mix/ as --data")
    began = time.monotonic()
    results = []
    for path in sorted((data / "intensity").glob("*.csv")):
        mix = data / "mix" / f"{path.stem}.csv.gz"
        for weather in (True, False) if path.stem.startswith("CC_") else (False,):
            results.append(measure(path, mix=mix if path.stem.startswith("CC_") else None, weather=weather))
            found = results[-1].verdict
            print(f"{path.stem} {'with' if weather else 'without'} weather: {_days(found.mape_pct)}", file=sys.stderr)
    written = text(results, seconds=time.monotonic() - began)
    (HERE / "forecast.md").write_text(written, encoding="utf-8")


if __name__ == "__main__":
    main()
