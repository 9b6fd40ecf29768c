"""`kilowait forecast evaluate`: its file, its figures, and its refusals."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from forecasters.grids import FIRST, made_up
from forecasters.test_evaluate import write
from kilowait_forecasters.models.hours import hour_start

SPAN = ("--start", "2024-01-09", "--end", "2024-01-11")


@pytest.fixture
def intensity(tmp_path: Path) -> Path:
    return write(tmp_path / "XX.csv", {"carbon_intensity_direct": made_up(14).g_per_kwh})


def test_it_writes_the_forecasts_and_prints_the_scores(run: Any, intensity: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    given = ("--zone", "XX", "--intensity", str(intensity), *SPAN, "--out", str(out))
    code, printed, _ = run("forecast", "evaluate", *given, "-o", "json")
    assert code == 0
    found = json.loads(printed)
    assert found["origins"] == 2
    assert len(found["mape_pct"]) == 4
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert list(rows[0]) == ["issued_at", "datetime", "p05", "p10", "p50", "p90", "p95", "model"]
    assert len(rows) == 2 * 96
    code, printed, _ = run("forecast", "evaluate", *given, "--horizon", "48h", "--origin", "06:00")
    assert code == 0
    assert "persistence" in printed
    assert len(out.read_text().splitlines()) == 1 + 2 * 48


@pytest.mark.parametrize(
    ("days", "told", "counted"),
    [(14, "none of them went by what was announced", {}), (70, "announced: wind in 2 of them", {"wind": 2})],
)
def test_it_says_how_many_went_by_what_was_announced(
    run: Any, tmp_path: Path, days: int, told: str, counted: dict[str, int]
) -> None:
    grid = made_up(days, day_ahead=("wind",))
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_direct": grid.g_per_kwh})
    ahead = write(tmp_path / "ahead.csv", {"wind_forecast": grid.day_ahead["wind"]}, first=FIRST - 24)
    first, last = (hour_start(FIRST + (days + n) * 24).date().isoformat() for n in (-4, -2))
    given = ("--zone", "XX", "--intensity", str(intensity), "--start", first, "--end", last)
    told_by = ("--day-ahead", str(ahead), "--day-ahead-dated", "issue", "--out", str(tmp_path / "out.csv"))
    code, _, said = run("forecast", "evaluate", *given, *told_by)
    assert code == 0
    assert told in said
    code, printed, _ = run("forecast", "evaluate", *given, *told_by, "-o", "json")
    assert json.loads(printed)["went_by_announced"] == counted


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (("--origin", "6"), "--origin '6' is not a time of day"),
        (("--origin", "06:30"), "whole hour"),
        (("--horizon", "200h"), "1h to 96h"),
        (("--lag", "30m"), "whole hours"),
        (("--start", "yesterday"), "not a date"),
        (("--end", "2024-01-08"), "widen the span"),
        (("--zone", "a b"), "letters, digits"),
        (("--day-ahead-dated", "issue"), "about the rows of --day-ahead"),
        (("--column", "nope"), "no column 'nope'"),
        (("--out", "/nowhere/out.csv"), "--out /nowhere/out.csv: No such file"),
        (("--start", "2024-03-01", "--end", "2024-03-02"), "at most 72 h are bridged"),
    ],
)
def test_what_it_cannot_do_is_said_in_one_line(
    run: Any, intensity: Path, tmp_path: Path, changed: tuple[str, ...], told: str
) -> None:
    given = ("--zone", "XX", "--intensity", str(intensity), *SPAN, "--out", str(tmp_path / "out.csv"))
    code, printed, said = run("forecast", "evaluate", *given, *changed)
    assert (code, printed) == (2, "")
    assert said.startswith("kilowait: forecast evaluate: ")
    assert said.count("\n") == 1
    assert told in said
