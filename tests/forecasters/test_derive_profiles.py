"""The script behind the bundled typical days: its arithmetic, and that its output is what ships."""

from __future__ import annotations

import csv
import gzip
import runpy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "derive_profiles.py"
SHIPPED = ROOT / "forecasters" / "kilowait_forecasters" / "data" / "profiles.csv"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory, script: dict[str, Any]) -> Path:
    """Six days of each month: coal 10 and 20 in turn, wind 10, at midnight another source; one hour without any."""
    folder = tmp_path_factory.mktemp("mix")
    rows = ["datetime,coal,wind,other,wf_wind_speed"]
    for day in range(72):
        for hour in range(24):
            at = datetime(2021, 1 + day // 6, 1 + day % 6, hour, tzinfo=UTC)
            amounts = "0,0,0" if (day, hour) == (3, 5) else f"{10 * (1 + day % 2)},10,{'' if hour else 10}"
            rows.append(f"{at:%Y-%m-%dT%H:%M:%SZ},{amounts},3.5")
    packed = gzip.compress("\n".join(rows).encode())
    for name in script["ZONES"]:
        (folder / f"{name}.csv.gz").write_bytes(packed)
    return folder


def test_the_figures_are_shares_times_factors(script: dict[str, Any], mix: Path, tmp_path: Path) -> None:
    out = tmp_path / "profiles.csv"
    assert script["main"](["--mix", str(mix), "--out", str(out)]) == 0

    lines = out.read_text().splitlines()
    rows = {(row["zone"], row["month"], row["hour"]): row for row in csv.DictReader(ln for ln in lines if ln[0] != "#")}
    assert len(rows) == 7 * 12 * 24
    march = rows["DE", "3", "12"]
    # Every other day half coal, on the others two thirds coal; the rest wind.
    clean, dirty = (820 + 11) / 2, (2 * 820 + 11) / 3
    assert clean < float(march["lifecycle_mean"]) < dirty
    assert (float(march["lifecycle_p10"]), float(march["lifecycle_p90"])) == (round(clean, 1), round(dirty, 1))
    assert (float(march["direct_p10"]), float(march["direct_p90"])) == (380.0, round(2 * 760 / 3, 1))
    # At midnight a third source runs, "other", which takes the factor of unknown.
    assert float(rows["DE", "3", "0"]["direct_p10"]) == round((760 + 575) / 3, 1)


def test_hours_without_generation_are_skipped_and_the_input_gives_the_same_bytes_again(
    script: dict[str, Any], mix: Path
) -> None:
    text = script["profiles"](mix, factors=script["FACTORS"])

    assert "# DE: 2021-01-01 to 2021-12-06, 1727 hours" in text
    assert text == script["profiles"](mix, factors=script["FACTORS"])


def test_other_factors_can_be_given_and_must_be_complete(
    script: dict[str, Any], mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "factors.csv"
    table.write_text("fuel,lifecycle,direct\n" + "".join(f"{fuel},100,50\n" for fuel in script["FACTORS"]))
    out = tmp_path / "profiles.csv"
    assert script["main"](["--mix", str(mix), "--factors", str(table), "--out", str(out)]) == 0
    assert "DE,1,0,100.0,100.0,100.0,50.0,50.0,50.0" in out.read_text()

    table.write_text("fuel,lifecycle,direct\ncoal,820,760\n")
    assert script["main"](["--mix", str(mix), "--factors", str(table), "--out", str(out)]) == 2
    assert "no factor for biomass, gas" in capsys.readouterr().err


def test_a_missing_zone_is_told_in_one_line(
    script: dict[str, Any], mix: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = tmp_path / "few"
    few.mkdir()
    (few / "CC_DE.csv.gz").write_bytes((mix / "CC_DE.csv.gz").read_bytes())

    assert script["main"](["--mix", str(few), "--out", str(tmp_path / "x.csv")]) == 2
    assert "holds no CC_NL.csv.gz for zone NL" in capsys.readouterr().err


def test_what_ships_has_the_header_and_columns_the_script_writes(script: dict[str, Any]) -> None:
    text = SHIPPED.read_text()

    assert text.startswith(script["HEADER"])
    assert next(line for line in text.splitlines() if line[0] != "#") == ",".join(script["COLUMNS"])
    assert len(text) < 100_000
