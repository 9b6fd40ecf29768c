"""Evaluation: rows as promised, scores by hand, files as people have them, and no leak through the files."""

from __future__ import annotations

import csv
import gzip
import io
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from forecasters.grids import FIRST, made_up
from kilowait_forecasters import evaluate, scores
from kilowait_forecasters.errors import Refused
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.models.hours import HOUR, Hours, hour_number, hour_start, hours_of
from kilowait_forecasters.providers.recorded_hours import read_hours
from kilowait_forecasters.signal import AVERAGE_DIRECT
from kilowait_forecasters.zone import Zone

ZONE = Zone("XX")


def write(path: Path, columns: dict[str, np.ndarray], *, first: int = FIRST) -> Path:
    with gzip.open(path, "wt") if path.suffix == ".gz" else path.open("w") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["datetime", *columns])
        for i in range(max(map(len, columns.values()))):
            cells = [f"{values[i]:.4f}" if i < len(values) else "" for values in columns.values()]
            rows.writerow([hour_start(first + i).strftime("%Y-%m-%dT%H:%M:%SZ"), *cells])
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path, Hours]:
    grid = made_up(12)
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_direct": grid.g_per_kwh})
    mix = write(tmp_path / "XX_mix.csv.gz", {**grid.mix, "price": grid.g_per_kwh, **grid.weather})
    return intensity, mix, grid


def test_files_are_read_as_generation_and_weather_by_their_columns(files: tuple[Path, Path, Hours]) -> None:
    intensity, mix, grid = files
    read = read_hours(ZONE, intensity, mix=mix)
    assert read.first == grid.first
    assert read.g_per_kwh == pytest.approx(grid.g_per_kwh, abs=1e-3)
    assert set(read.mix) == set(grid.mix)
    assert set(read.weather) == set(grid.weather)
    assert len(read.weather["wf_dswrf"]) == len(grid.weather["wf_dswrf"])
    assert all(len(values) == len(grid.g_per_kwh) for values in read.mix.values())


def test_a_mix_that_starts_later_leaves_its_first_hours_without_values(tmp_path: Path) -> None:
    grid = made_up(3)
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_lifecycle": grid.g_per_kwh})
    mix = write(tmp_path / "m.csv", {"wind": grid.mix["wind"][5:]}, first=FIRST + 5)
    read = read_hours(ZONE, intensity, mix=mix)
    assert np.isnan(read.mix["wind"][:5]).all()
    assert read.mix["wind"][5:] == pytest.approx(grid.mix["wind"][5:72], abs=1e-3)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("datetime,price\n2024-01-01T00:00:00Z,1\n", "no column named after a source"),
        ("time,wind\n2024-01-01T00:00:00Z,1\n", "no column 'datetime'"),
        ("datetime,wind\n2024-01-01T00:00:00,1\n", "line 2.*not a time with its zone"),
        ("datetime,wind\n0001-01-01T00:00:00+05:00,1\n", "line 2.*not a time with its zone"),
        ("datetime,wind\n2024-01-01T00:30:00Z,1\n", "line 2.*does not start an hour"),
        ("datetime,wind,wind\n2024-01-01T00:00:00Z,1,2\n", "occurs twice"),
        ("datetime,wind\n2024-01-01T00:00:00Z,much\n", "line 2, column 'wind'.*not a number"),
        ("datetime,wind\n2024-01-01T00:00:00Z,1\n2024-01-01T00:00:00Z,2\n", "line 3.*occurs twice"),
        ("datetime,wind\n2024-01-01T00:00:00Z,1,2\n", "line 2: 3 columns"),
    ],
)
def test_a_bad_mix_file_is_named_with_line_and_remedy(tmp_path: Path, text: str, told: str) -> None:
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_direct": made_up(2).g_per_kwh})
    (tmp_path / "m.csv").write_text(text)
    with pytest.raises(Refused, match=told):
        read_hours(ZONE, intensity, mix=tmp_path / "m.csv")


def test_intensity_without_a_column_of_known_name_asks_for_one(tmp_path: Path) -> None:
    path = write(tmp_path / "XX.csv", {"grams": made_up(2).g_per_kwh})
    with pytest.raises(Refused, match="--column"):
        read_hours(ZONE, path)
    assert len(read_hours(ZONE, path, column="grams").g_per_kwh) == 48


def test_rows_are_issue_time_hour_and_ordered_quantiles(files: tuple[Path, Path, Hours]) -> None:
    _, _, grid = files
    issued = evaluate.origins(hour_start(FIRST + 240), hour_start(FIRST + 288), origin=timedelta(hours=6))
    assert issued == [FIRST + 246, FIRST + 270]
    out = io.StringIO()
    for outlook in evaluate.outlooks(grid, issued):
        evaluate.write(out, outlook, horizon_h=48)
    rows = list(csv.DictReader(io.StringIO(out.getvalue()), evaluate.COLUMNS))
    assert len(rows) == 96
    assert rows[0]["issued_at"] == rows[0]["datetime"] == hour_start(FIRST + 246).strftime("%Y-%m-%dT%H:%M:%SZ")
    assert rows[95]["datetime"] == hour_start(FIRST + 270 + 47).strftime("%Y-%m-%dT%H:%M:%SZ")
    for row in rows:
        values = [float(row[name]) for name in ("p05", "p10", "p50", "p90", "p95")]
        assert values == sorted(values)
        assert row["model"].startswith("own (")


def test_a_publication_lag_hides_the_last_hours() -> None:
    grid = made_up(12)
    lied = Hours(grid.first, grid.g_per_kwh.copy())
    issued = FIRST + 240
    lied.g_per_kwh[240 - 5 : 240] *= 3
    honest = Hours(grid.first, grid.g_per_kwh)
    late = [next(evaluate.outlooks(one, [issued], lag_h=5)).quantiles for one in (honest, lied)]
    prompt = [next(evaluate.outlooks(one, [issued])).quantiles for one in (honest, lied)]
    assert np.array_equal(*late)
    assert not np.array_equal(*prompt)


def test_spans_without_an_issue_time_are_refused() -> None:
    with pytest.raises(Refused, match="whole hour"):
        evaluate.origins(hour_start(FIRST), hour_start(FIRST + 48), origin=timedelta(minutes=30))
    with pytest.raises(Refused, match="widen the span"):
        evaluate.origins(hour_start(FIRST + 1), hour_start(FIRST + 2), origin=timedelta())


def test_a_verdict_leaves_out_what_never_came(files: tuple[Path, Path, Hours]) -> None:
    _, _, grid = files
    issued = evaluate.origins(hour_start(FIRST + 216), hour_start(FIRST + 288), origin=timedelta())
    found = evaluate.verdict(grid, list(evaluate.outlooks(grid, issued)))
    assert found.origins == 3
    assert len(found.mape_pct) == 4
    assert math.isfinite(found.mape_pct[0])
    assert math.isnan(found.mape_pct[3]), "the fourth day is beyond the file for all three"
    assert set(found.simple_mape_pct) == {"persistence", "hour-of-day", "hour-of-week"}


def test_percentage_errors_are_by_day_and_skip_hours_without_truth_or_at_zero() -> None:
    truth = np.array([[100.0] * 24 + [200.0] * 24])
    truth[0, 0], truth[0, 1] = np.nan, 0.0
    assert scores.mape_pct_by_day(np.full((1, 48), 150.0), truth) == [50.0, 25.0]


def test_pinball_loss_and_coverage_are_those_of_the_textbook() -> None:
    quantiles = np.array([[[8.0]], [[10.0]], [[14.0]]])
    assert scores.pinball_g_per_kwh(quantiles, np.array([[12.0]]), (0.1, 0.5, 0.9)) == pytest.approx(
        (0.1 * 4 + 0.5 * 2 + 0.1 * 2) / 3
    )
    low, high = np.array([[1.0, 1.0, 1.0]]), np.array([[2.0, 2.0, 2.0]])
    assert scores.coverage_pct(low, high, np.array([[1.0, 2.5, np.nan]])) == 50.0


def test_decisions_get_all_of_the_saving_from_truth_and_none_from_a_flat_line() -> None:
    truth = 100 + np.tile(np.arange(48.0), (3, 1))[:, ::-1]
    perfect = scores.decisions(truth, truth)
    assert perfect is not None
    assert perfect.share_pct == pytest.approx(100)
    flat = scores.decisions(np.full_like(truth, 5.0), truth)
    assert flat is not None
    assert flat.share_pct == 0
    assert scores.decisions(truth[:, :20], truth[:, :20]) is None


def test_shorter_slots_become_the_means_of_their_hours_and_holes_stay_holes() -> None:
    start = datetime(2024, 1, 1, tzinfo=UTC)
    quarter = timedelta(minutes=15)
    slots = [Slot(start + i * quarter, start + (i + 1) * quarter, 10.0 * i) for i in range(12) if i != 5]
    read = hours_of(IntensitySeries(zone=ZONE, signal=AVERAGE_DIRECT, source="test", slots=slots))
    assert read.first == hour_number(start)
    assert read.g_per_kwh[0] == 15
    assert math.isnan(read.g_per_kwh[1])
    assert read.g_per_kwh[2] == 95
    longer = [Slot(start, start + 3 * HOUR, 7.0)]
    assert hours_of(IntensitySeries(zone=ZONE, signal=AVERAGE_DIRECT, source="t", slots=longer)).g_per_kwh.tolist() == [
        7,
        7,
        7,
    ]
