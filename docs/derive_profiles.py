"""Derives the bundled typical days (`kilowait_forecasters/data/profiles.csv`) from hourly generation by source.

    python docs/derive_profiles.py --mix DIR --out forecasters/kilowait_forecasters/data/profiles.csv

DIR holds one `NAME.csv.gz` (or `.csv`) per zone of `ZONES` below: a `datetime` column (UTC, start of the hour) and one
column of generation per source, in any one unit. Other columns are ignored. Needs Kilowait
installed: its factors are used.
The method and its limits are described in `docs/profiles.md`.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from kilowait_forecasters.mix import FACTORS

# Our zone id by the name of the file of its generation mix.
ZONES = {
    "CC_CISO": "US-CAL-CISO",
    "CC_ERCO": "US-TEX-ERCO",
    "CC_PJM": "US-MIDA-PJM",
    "CC_DE": "DE",
    "CC_NL": "NL",
    "CC_PL": "PL",
    "CC_SE": "SE",
}

# Columns that go by another name than the factor they take.
SOURCES = {**{fuel: fuel for fuel in FACTORS}, "nat_gas": "gas", "other": "unknown"}

SCOPES = ("lifecycle", "direct")
COLUMNS = ["zone", "month", "hour", *(f"{scope}_{part}" for scope in SCOPES for part in ("mean", "p10", "p90"))]

HEADER = """\
# Typical days: mean, 10th and 90th percentile of production-average intensity by zone, month and hour of day (UTC).
# gCO2e/kWh; lifecycle and direct. Derived by docs/derive_profiles.py; method and limits in docs/profiles.md.
# Generation data: U.S. EIA-930 (public domain) and ENTSO-E Transparency Platform, as collected by CarbonCast and DACF
# (Apache-2.0). Emission factors: defaults of electricitymaps-contrib (IPCC AR5 2014 and others, listed in the method).
"""


def main(argv: list[str] | None = None) -> int:
    """Write the file; exit code 2 with one line where the input will not do."""
    parser = argparse.ArgumentParser(description="Derive typical days from hourly generation by source.")
    parser.add_argument("--mix", type=Path, required=True, help="folder with one file of generation per zone")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    parser.add_argument(
        "--factors", type=Path, help="CSV with columns fuel, lifecycle, direct (g/kWh) in place of the built-in table"
    )
    asked = parser.parse_args(argv)
    try:
        factors = read_factors(asked.factors) if asked.factors else FACTORS
        text = profiles(asked.mix, factors=factors)
    except (OSError, ValueError) as error:
        print(f"derive_profiles: {error}", file=sys.stderr)
        return 2
    asked.out.write_text(text, encoding="utf-8")
    return 0


def profiles(mix: Path, *, factors: Mapping[str, tuple[float, float]]) -> str:
    """The text of the profiles file for the zones found in folder `mix`; the same input gives the same bytes."""
    spans, lines = [], []
    for name, zone in sorted(ZONES.items(), key=lambda item: item[1]):
        path = next(
            (mix / f"{name}{suffix}" for suffix in (".csv.gz", ".csv") if (mix / f"{name}{suffix}").exists()), None
        )
        if path is None:
            raise ValueError(f"{mix} holds no {name}.csv.gz for zone {zone}")
        by_hour: dict[tuple[int, int], list[tuple[float, float]]] = defaultdict(list)
        seen: list[datetime] = []
        for start, values in intensities(path, factors=factors):
            by_hour[start.month, start.hour].append(values)
            seen.append(start)
        missing = [(month, hour) for month in range(1, 13) for hour in range(24) if (month, hour) not in by_hour]
        if missing:
            raise ValueError(
                f"{path}: no value for month {missing[0][0]}, hour {missing[0][1]}; a whole year is needed"
            )
        spans.append(f"# {zone}: {min(seen):%Y-%m-%d} to {max(seen):%Y-%m-%d}, {len(seen)} hours")
        for (month, hour), pairs in sorted(by_hour.items()):
            figures = [figure for scope in range(len(SCOPES)) for figure in spread([pair[scope] for pair in pairs])]
            lines.append(",".join([zone, str(month), str(hour), *(f"{figure:.1f}" for figure in figures)]))
    return HEADER + "\n".join([*spans, ",".join(COLUMNS), *lines]) + "\n"


def intensities(
    path: Path, *, factors: Mapping[str, tuple[float, float]]
) -> Iterator[tuple[datetime, tuple[float, float]]]:
    """Start and (lifecycle, direct) intensity of each hour of `path` that has any generation."""
    with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as text:
        rows = csv.DictReader(text)
        sources = [column for column in rows.fieldnames or () if column in SOURCES]
        if not sources:
            raise ValueError(f"{path}: none of its columns is a source of generation")
        for row in rows:
            generation = {column: float(row[column] or 0) for column in sources}
            total = sum(generation.values())
            if total <= 0:
                continue
            lifecycle, direct = (
                sum(amount * factors[SOURCES[column]][scope] for column, amount in generation.items()) / total
                for scope in range(len(SCOPES))
            )
            yield datetime.fromisoformat(row["datetime"]).astimezone(UTC), (lifecycle, direct)


def spread(values: list[float]) -> tuple[float, float, float]:
    """Mean, 10th and 90th percentile (linear between order statistics)."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    deciles = statistics.quantiles(values, n=10, method="inclusive")
    return statistics.fmean(values), deciles[0], deciles[-1]


def read_factors(path: Path) -> dict[str, tuple[float, float]]:
    """Factors by fuel; every fuel of the built-in table must be there."""
    with path.open(newline="", encoding="utf-8") as text:
        found = {row["fuel"]: (float(row["lifecycle"]), float(row["direct"])) for row in csv.DictReader(text)}
    if absent := FACTORS.keys() - found.keys():
        raise ValueError(f"{path}: no factor for {', '.join(sorted(absent))}")
    return found


if __name__ == "__main__":
    sys.exit(main())
