"""What is announced the day before: what it is worth, how far it is believed, and that nothing of it leaks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from forecasters.grids import FIRST, made_up
from forecasters.test_evaluate import ZONE, write
from kilowait_forecasters import evaluate
from kilowait_forecasters.errors import Refused
from kilowait_forecasters.models.band import LEVELS
from kilowait_forecasters.models.features import Features, layout_of
from kilowait_forecasters.models.hours import Floats, Hours
from kilowait_forecasters.models.own import HORIZON_H, OwnModel
from kilowait_forecasters.models.ridge import fit_ridges
from kilowait_forecasters.providers.recorded_hours import Dated, read_hours

ALL = ("wind", "solar", "load")
ISSUED = FIRST + 120 * 24


@pytest.fixture(scope="module")
def grid() -> Hours:
    return made_up(132, weather=False, day_ahead=ALL)


def known_at(hours: Hours, issued: int, *, announced_h: int = 24) -> Hours:
    """`hours` as they were known at `issued`, with what was announced for the next `announced_h` hours."""
    until = issued + announced_h - hours.first
    return replace(hours.before(issued), day_ahead={name: values[:until] for name, values in hours.day_ahead.items()})


def medians(hours: Hours, *, announced_h: int, days: int = 8) -> Floats:
    """Relative errors of the median by lead, shape (days, HORIZON_H)."""
    model, errors = OwnModel(), []
    for issued in range(ISSUED, ISSUED + days * 24, 24):
        outlook = model.outlook(known_at(hours, issued, announced_h=announced_h), issued=issued)
        at = issued - hours.first
        truth = hours.g_per_kwh[at : at + HORIZON_H]
        errors.append(np.abs(outlook.quantiles[LEVELS.index(0.5)] / truth - 1))
    return np.array(errors)


def test_what_is_announced_makes_its_hours_better_by_far_and_those_after_them_no_worse(grid: Hours) -> None:
    without, by_it = (medians(one, announced_h=24) for one in (replace(grid, day_ahead={}), grid))
    assert by_it[:, :24].mean() < 0.5 * without[:, :24].mean()
    assert by_it[:, 24:48].mean() < 1.02 * without[:, 24:48].mean()
    # Announced further, it is worth as much there.
    assert medians(grid, announced_h=40)[:, 24:40].mean() < 0.6 * without[:, 24:40].mean()


@pytest.mark.parametrize("names", [("wind",), ("load",), ("solar", "wind")])
def test_one_column_alone_will_do(grid: Hours, names: tuple[str, ...]) -> None:
    some = replace(grid, day_ahead={name: grid.day_ahead[name] for name in names})
    outlook = OwnModel().outlook(known_at(some, ISSUED), issued=ISSUED)
    assert np.isfinite(outlook.quantiles).all()
    assert not np.array_equal(
        outlook.quantiles, OwnModel().outlook(replace(some, day_ahead={}), issued=ISSUED).quantiles
    )


def test_nothing_announced_for_the_next_hours_is_as_nothing_at_all(grid: Hours) -> None:
    without = OwnModel().outlook(replace(grid, day_ahead={}), issued=ISSUED).quantiles
    assert np.array_equal(OwnModel().outlook(known_at(grid, ISSUED, announced_h=0), issued=ISSUED).quantiles, without)


def test_a_column_of_a_few_days_is_not_gone_by_and_one_with_holes_is(grid: Hours) -> None:
    past = ISSUED - FIRST
    known = known_at(grid, ISSUED)
    young = known.day_ahead["wind"].copy()
    young[: past - 20 * 24] = np.nan
    assert replace(known, day_ahead={"wind": young}).announced(most=96) == ()
    holed = known.day_ahead["wind"].copy()
    holed[past - 100 : past - 10] = np.nan
    some = replace(known, day_ahead={"wind": holed, "load": known.day_ahead["load"][: past + 5]})
    assert some.announced(most=96) == (("load", 5), ("wind", 24))
    assert np.isfinite(OwnModel().outlook(some, issued=ISSUED).quantiles).all()


def test_what_is_announced_later_changes_no_forecast(grid: Hours) -> None:
    issued = [ISSUED, ISSUED + 48]
    told = [outlook.quantiles for outlook in evaluate.outlooks(grid, issued)]
    today = ISSUED + 24 - FIRST
    lied = {name: np.concatenate([values[:today], 5 * values[today:]]) for name, values in grid.day_ahead.items()}
    again = [outlook.quantiles for outlook in evaluate.outlooks(replace(grid, day_ahead=lied), issued)]
    assert np.array_equal(told[0], again[0])
    assert not np.array_equal(told[1], again[1])
    alone = next(evaluate.outlooks(grid, issued[1:])).quantiles
    assert np.array_equal(told[1], alone), "what was asked before must not matter"


def test_columns_say_nothing_beyond_what_is_announced(grid: Hours) -> None:
    hours = known_at(grid, ISSUED, announced_h=30)
    layout = layout_of(hours, weather=False, announced=hours.announced(most=96))
    assert layout.announced_h == dict.fromkeys((*ALL, "left over"), 30)
    assert set(layout.day_ahead) == {*ALL, "left over"}
    leads, origins = np.arange(96), np.array([ISSUED - FIRST - 24, ISSUED - FIRST])
    without = Features(hours, layout_of(hours, weather=False))
    x, plain = Features(hours, layout).tree(origins, leads), without.tree(origins, leads)
    assert x.shape[-1] > plain.shape[-1]
    assert np.isfinite(x[:, :30]).all()
    assert np.isnan(x[:, 30:]).any(axis=-1).all()
    assert np.isfinite(Features(hours, layout).linear(origins, leads)).all()


def test_leads_that_see_different_columns_are_no_neighbours() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 4, 1))
    y = np.where(np.arange(4) < 2, 3.0 * x[..., 0], -3.0 * x[..., 0])
    near = fit_ridges(x, {"one": (y, 1e-6)}, np.zeros(40), apart=[2])["one"].predict(x)
    assert near == pytest.approx(y, abs=0.2)
    mixed = fit_ridges(x, {"one": (y, 1e-6)}, np.zeros(40))["one"].predict(x)
    assert np.abs(mixed - y)[:, 1:3].max() > 1


@pytest.mark.parametrize("dated", Dated)
def test_files_are_read_onto_the_hours_they_are_about(tmp_path: Path, dated: Dated) -> None:
    grid = made_up(80, day_ahead=("wind", "solar"))
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_direct": grid.g_per_kwh})
    columns = {
        "avg_wind_production_forecast": grid.day_ahead["wind"],
        "solar_forecast": grid.day_ahead["solar"],
        "avg_hydro_production_forecast": np.ones(9),
    }
    file = write(tmp_path / "ahead.csv.gz", columns, first=FIRST - dated)
    read = read_hours(ZONE, intensity, day_ahead=file, day_ahead_dated=dated)
    assert set(read.day_ahead) == {"wind", "solar"}
    for name, values in read.day_ahead.items():
        assert values == pytest.approx(grid.day_ahead[name], abs=1e-3)


@pytest.mark.parametrize(("really", "taken_for"), [(Dated.DAY_OF_ISSUE, Dated.HOUR), (Dated.HOUR, Dated.DAY_OF_ISSUE)])
def test_rows_that_are_dated_otherwise_are_refused_where_generation_tells(
    tmp_path: Path, really: Dated, taken_for: Dated
) -> None:
    grid = made_up(80, day_ahead=("wind", "solar"))
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_direct": grid.g_per_kwh})
    mix = write(tmp_path / "mix.csv", dict(grid.mix))
    columns = {f"{name}_forecast": values for name, values in grid.day_ahead.items()}
    file = write(tmp_path / "ahead.csv", columns, first=FIRST - really)
    assert read_hours(ZONE, intensity, mix=mix, day_ahead=file, day_ahead_dated=really).day_ahead
    remedy = "issue" if really is Dated.DAY_OF_ISSUE else "hour"
    with pytest.raises(Refused, match=f"its wind is like what came 24 h .*say --day-ahead-dated {remedy}"):
        read_hours(ZONE, intensity, mix=mix, day_ahead=file, day_ahead_dated=taken_for)


def test_a_file_of_generation_is_not_taken_for_what_was_announced(tmp_path: Path) -> None:
    grid = made_up(3)
    intensity = write(tmp_path / "XX.csv", {"carbon_intensity_direct": grid.g_per_kwh})
    with pytest.raises(Refused, match="no column wind_forecast"):
        read_hours(ZONE, intensity, day_ahead=write(tmp_path / "mix.csv", {"wind": grid.mix["wind"]}))
    twice = {"wind_forecast": grid.g_per_kwh, "avg_wind_forecast": grid.g_per_kwh}
    with pytest.raises(Refused, match="two columns of wind"):
        read_hours(ZONE, intensity, day_ahead=write(tmp_path / "twice.csv", twice))
    late = write(tmp_path / "late.csv", {"wind_forecast": grid.g_per_kwh}, first=FIRST + 10_000)
    with pytest.raises(Refused, match="no value within the time of the intensity"):
        read_hours(ZONE, intensity, day_ahead=late)


@pytest.mark.parametrize("days_known", [29, 57, 75, 115])
def test_a_column_announced_for_some_weeks_only_never_stops_a_forecast(grid: Hours, days_known: int) -> None:
    known = known_at(grid, ISSUED)
    young = {name: values.copy() for name, values in known.day_ahead.items()}
    for values in young.values():
        values[: ISSUED - FIRST - days_known * 24] = np.nan
    assert np.isfinite(OwnModel().outlook(replace(known, day_ahead=young), issued=ISSUED).quantiles).all()


@pytest.mark.parametrize("lie", [0.0, -4e4, 1e-3 * 6e4, 1e3 * 6e4, 2.0**31 - 1, 1e300])
def test_a_load_that_cannot_be_is_as_none_at_all(grid: Hours, lie: float) -> None:
    past = ISSUED - FIRST
    lied = {name: values[: past + 24].copy() for name, values in grid.day_ahead.items()}
    lied["load"][[past - 500, past + 5]] = lie
    shorter = {name: values[: past + (5 if name == "load" else 24)].copy() for name, values in grid.day_ahead.items()}
    shorter["load"][past - 500] = np.nan
    known = known_at(grid, ISSUED)
    told, honest = (OwnModel().outlook(replace(known, day_ahead=one), issued=ISSUED) for one in (lied, shorter))
    assert told.quantiles == pytest.approx(honest.quantiles, rel=2e-3)


def test_each_column_counts_as_far_as_it_is_announced(grid: Hours) -> None:
    known = known_at(grid, ISSUED, announced_h=40)
    past = ISSUED - FIRST
    some = replace(known, day_ahead={"load": known.day_ahead["load"], "wind": known.day_ahead["wind"][: past + 3]})
    assert some.announced(most=96) == (("load", 40), ("wind", 3))
    layout = layout_of(some, weather=False, announced=some.announced(most=96))
    assert layout.announced_h == {"load": 40, "wind": 3, "left over": 3}
    outlook = OwnModel().outlook(some, issued=ISSUED)
    assert set(outlook.announced) == {"load", "wind"}
    assert np.isfinite(outlook.quantiles).all()


def test_before_there_is_enough_to_learn_from_nothing_announced_is_said_to_be_seen() -> None:
    young = made_up(40, weather=False, day_ahead=ALL)
    assert OwnModel().outlook(young, issued=young.end).announced == ()


def test_a_fit_does_not_depend_on_what_was_announced_for_after_it(grid: Hours) -> None:
    corrected = {name: values.copy() for name, values in grid.day_ahead.items()}
    for values in corrected.values():
        values[ISSUED - FIRST + 2 :] *= 1.05
    fits = []
    for one in (grid, replace(grid, day_ahead=corrected)):
        model = OwnModel()
        model.outlook(known_at(one, ISSUED, announced_h=40), issued=ISSUED)
        fits.append(next(iter(model._fits.values())))
    first, other = (fit.candidates for fit in fits)
    assert np.array_equal(first.ridge.slope, other.ridge.slope)
    assert np.array_equal(first.ridge_on_steady.slope, other.ridge_on_steady.slope)
    for name, ridge in first.sources.ridges.items():
        assert np.array_equal(ridge.slope, other.sources.ridges[name].slope)


def test_a_source_that_leaves_the_mix_is_not_taken_for_one_that_gives_nothing() -> None:
    grid = made_up(130, weather=False)
    model = OwnModel()
    model.outlook(grid, issued=ISSUED)
    without = replace(grid, mix={name: values for name, values in grid.mix.items() if name != "wind"})
    again = model.outlook(without, issued=ISSUED + 24).quantiles
    assert np.array_equal(again, OwnModel().outlook(without, issued=ISSUED + 24).quantiles)


@pytest.mark.parametrize("factor", [0.0, 1000.0])
@pytest.mark.parametrize("hours_ago", [12, 24, 60, 120])
def test_a_fault_that_lasts_for_days_leads_no_forecast_astray(grid: Hours, factor: float, hours_ago: int) -> None:
    faulty = {"load": grid.day_ahead["load"].copy()}
    faulty["load"][ISSUED - FIRST - hours_ago :] *= factor
    told, without = (
        OwnModel().outlook(known_at(replace(grid, day_ahead=one), ISSUED), issued=ISSUED).quantiles[2]
        for one in (faulty, {})
    )
    assert told == pytest.approx(without, rel=0.15)


def test_a_forecast_with_announcements_does_not_depend_on_what_was_asked_before(grid: Hours) -> None:
    grown = {name: values.copy() for name, values in grid.day_ahead.items()}
    grown["solar"] *= np.linspace(1, 3, len(grown["solar"]))
    growing = replace(grid, day_ahead=grown)
    model = OwnModel()
    for issued in range(ISSUED - 6 * 24, ISSUED + 24, 24):
        told = model.outlook(known_at(growing, issued), issued=issued).quantiles
    assert np.array_equal(told, OwnModel().outlook(known_at(growing, ISSUED), issued=ISSUED).quantiles)
