"""Our own model: what it may know, that it beats the simple forecasts, and how it makes do with little."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasters.grids import FIRST, made_up
from kilowait_forecasters.errors import Refused
from kilowait_forecasters.models.band import LEVELS, offsets
from kilowait_forecasters.models.baselines import NAMES, baselines
from kilowait_forecasters.models.blend import weights
from kilowait_forecasters.models.features import causal_fill, layout_of, shares_of, trailing_mean
from kilowait_forecasters.models.hours import Hours
from kilowait_forecasters.models.own import HORIZON_H, LATEST_H, OwnModel, priors
from kilowait_forecasters.models.steady import moved_usual, steady, usual

ISSUED = FIRST + 120 * 24


@pytest.fixture(scope="module")
def grid() -> Hours:
    return made_up(130)


@pytest.fixture(scope="module")
def learned(grid: Hours) -> OwnModel:
    model = OwnModel()
    model.outlook(grid, issued=ISSUED)
    return model


def test_what_comes_after_the_issue_changes_nothing(grid: Hours) -> None:
    told = OwnModel().outlook(grid, issued=ISSUED)
    past = ISSUED - grid.first
    until = past + HORIZON_H
    truncated = Hours(
        first=grid.first,
        g_per_kwh=grid.g_per_kwh[:past],
        mix={name: values[:past] for name, values in grid.mix.items()},
        weather={name: values[:until] for name, values in grid.weather.items()},
    )
    lies = Hours(
        first=grid.first,
        g_per_kwh=np.concatenate([grid.g_per_kwh[:past], 9 * grid.g_per_kwh[past:]]),
        mix={name: np.concatenate([values[:past], -values[past:]]) for name, values in grid.mix.items()},
        weather={name: np.concatenate([values[:until], 0 * values[until:]]) for name, values in grid.weather.items()},
    )
    for other in (truncated, lies):
        again = OwnModel().outlook(other, issued=ISSUED)
        assert np.array_equal(told.quantiles, again.quantiles)
        assert told.made_of == again.made_of


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_weather_dated_by_its_day_of_issue_is_told_from_weather_dated_by_its_hour(seed: int) -> None:
    grid = made_up(60, seed=seed)
    issued = {name: np.concatenate([values[24:], values[-24:]]) for name, values in grid.weather.items()}
    assert layout_of(grid, weather=True).weather_lag_h == 0
    assert layout_of(replace(grid, weather=issued), weather=True).weather_lag_h == 24
    assert layout_of(replace(grid, weather=issued), weather=False).weather_lag_h == 0


def test_weather_dated_by_its_day_of_issue_is_worth_as_much() -> None:
    grid = made_up(110, ahead_h=48 + HORIZON_H)
    issued = FIRST + 104 * 24
    moved = {name: np.concatenate([values[24:], np.full(24, 1e6)]) for name, values in grid.weather.items()}
    truth = grid.g_per_kwh[issued - FIRST :]
    errors = []
    for one in (grid, replace(grid, weather=moved)):
        median = OwnModel().outlook(one, issued=issued).quantiles[LEVELS.index(0.5)]
        errors.append(float(np.abs(median - truth[:HORIZON_H]).mean()))
    assert errors[1] == pytest.approx(errors[0], rel=0.05)


def test_seasons_have_columns_once_a_year_was_seen() -> None:
    assert not layout_of(made_up(399), weather=False).seasons
    assert layout_of(made_up(400), weather=False).seasons


def test_a_forecast_does_not_depend_on_what_was_asked_before(grid: Hours, learned: OwnModel) -> None:
    later = learned.outlook(grid, issued=ISSUED + 48)
    assert np.array_equal(later.quantiles, OwnModel().outlook(grid, issued=ISSUED + 48).quantiles)


def test_weather_told_later_changes_nothing_said_earlier(grid: Hours) -> None:
    until = {hours: ISSUED - grid.first + hours + HORIZON_H for hours in (0, 24)}
    told = {
        hours: replace(grid, weather={name: values[:end] for name, values in grid.weather.items()})
        for hours, end in until.items()
    }
    model = OwnModel()
    model.outlook(told[24], issued=ISSUED + 24)
    again = model.outlook(told[0], issued=ISSUED)
    assert np.array_equal(again.quantiles, OwnModel().outlook(told[0], issued=ISSUED).quantiles)


def test_quantiles_are_finite_ordered_and_never_negative(grid: Hours, learned: OwnModel) -> None:
    told = learned.outlook(grid, issued=ISSUED).quantiles
    assert told.shape == (len(LEVELS), HORIZON_H)
    assert np.isfinite(told).all()
    assert (told >= 0).all()
    assert (np.diff(told, axis=0) >= 0).all()


def test_it_beats_the_simple_forecasts_where_weather_decides(grid: Hours, learned: OwnModel) -> None:
    errors: dict[str, list[float]] = {}
    for issued in range(ISSUED, ISSUED + 6 * 24, 24):
        at = issued - grid.first
        truth = grid.g_per_kwh[at : at + HORIZON_H]
        simple = baselines(grid.g_per_kwh, np.array([at]), np.arange(HORIZON_H))
        median = learned.outlook(grid, issued=issued).quantiles[LEVELS.index(0.5)]
        for name, values in {"own": median, **{name: one[0] for name, one in simple.items()}}.items():
            errors.setdefault(name, []).append(float(np.abs(values - truth).mean()))
    mean = {name: np.mean(values) for name, values in errors.items()}
    assert mean["own"] < 0.6 * min(mean[name] for name in NAMES)


@pytest.mark.parametrize("days", [1, 3, 8, 40])
def test_it_makes_do_with_a_short_history(days: int) -> None:
    grid = made_up(days, weather=False, mix=False)
    told = OwnModel().outlook(grid, issued=grid.end)
    assert told.quantiles.shape == (len(LEVELS), HORIZON_H)
    assert (told.quantiles[0] < told.quantiles[-1]).all(), "few records must not look like certainty"
    assert any(name in told.made_of for name in NAMES)


def test_less_than_a_day_is_refused_with_what_it_takes() -> None:
    grid = made_up(1)
    with pytest.raises(Refused, match="at least a day"):
        OwnModel().outlook(grid, issued=FIRST + 23)
    with pytest.raises(Refused, match="no hour with a value"):
        OwnModel().outlook(replace(grid, g_per_kwh=np.full(24, np.nan)), issued=grid.end)


def test_late_actual_values_are_bridged_up_to_a_limit() -> None:
    grid = made_up(20, weather=False, mix=False)
    prompt = OwnModel().outlook(grid, issued=grid.end)
    late = OwnModel().outlook(grid, issued=grid.end + 5)
    assert late.first == grid.end + 5
    assert late.quantiles.shape == prompt.quantiles.shape
    with pytest.raises(Refused, match=f"at most {LATEST_H} h"):
        OwnModel().outlook(grid, issued=grid.end + LATEST_H + 1)


def test_missing_hours_and_weather_that_ends_early_do_not_stop_it(grid: Hours) -> None:
    holes = grid.g_per_kwh.copy()
    holes[500:560] = np.nan
    holes[-3:] = np.nan
    short = {name: values[: len(holes) + 10] for name, values in grid.weather.items()}
    told = OwnModel().outlook(replace(grid, g_per_kwh=holes, weather=short), issued=grid.end)
    assert np.isfinite(told.quantiles).all()


def test_weather_of_the_last_weeks_alone_is_not_learned_from(grid: Hours) -> None:
    past = len(grid.g_per_kwh)
    late = {
        name: np.concatenate([np.full(past - 480, np.nan), values[past - 480 :]])
        for name, values in grid.weather.items()
    }
    assert grid.has_weather(grid.end + HORIZON_H)
    assert not replace(grid, weather=late).has_weather(grid.end + HORIZON_H)
    told = OwnModel().outlook(replace(grid, weather=late), issued=grid.end)
    without = OwnModel().outlook(replace(grid, weather={}), issued=grid.end)
    assert np.array_equal(told.quantiles, without.quantiles)


def test_a_source_that_has_not_reported_yet_is_not_taken_for_one_that_gives_nothing(grid: Hours) -> None:
    late = {name: values.copy() for name, values in grid.mix.items()}
    late["gas"][-6:] = np.nan
    found, before = shares_of(replace(grid, mix=late)), shares_of(grid)
    for name, share in found.items():
        assert np.array_equal(share[:-6], before[name][:-6])
        assert np.array_equal(share[-6:], before[name][-30:-24]), "filled from the day before"


def test_sources_that_are_small_or_give_nothing_at_that_time_of_day_are_not_missed(grid: Hours) -> None:
    day = np.arange(len(grid.g_per_kwh)) % 24
    oil = np.where(np.arange(len(day)) % 240 == 0, 0.001 * sum(grid.mix.values()), np.nan)
    dark = np.where((day < 3) & (grid.mix["solar"] == 0), np.nan, grid.mix["solar"])
    assert np.isnan(dark).any()
    found = shares_of(replace(grid, mix={**grid.mix, "solar": dark, "oil": oil}))
    for name, share in shares_of(grid).items():
        assert found[name] == pytest.approx(share, abs=0.0011)


def test_a_source_not_reported_for_weeks_has_closed_and_one_not_reported_yet_gives_nothing(grid: Hours) -> None:
    closed = {name: values.copy() for name, values in grid.mix.items()}
    closed["solar"][1000:] = np.nan
    closed["wind"][:500] = np.nan
    found = shares_of(replace(grid, mix=closed))
    assert (found["wind"][:500] == 0).all()
    assert (found["solar"][1000 + 15 * 24 :] == 0).all()
    assert sum(found.values()) == pytest.approx(np.ones(len(grid.g_per_kwh)))


def test_a_constant_grid_is_forecast_as_that_constant() -> None:
    told = OwnModel().outlook(Hours(FIRST, np.full(24 * 70, 652.4)), issued=FIRST + 24 * 70)
    assert told.quantiles == pytest.approx(np.full((len(LEVELS), HORIZON_H), 652.4))


def test_where_nothing_can_be_known_it_is_no_worse_than_the_simple_forecasts() -> None:
    """Hours drawn by chance around a mean: over many forecasts the best simple one is the mean of many days."""
    values = 400 * np.exp(0.2 * np.random.default_rng(3).normal(size=24 * 150))
    grid, model = Hours(FIRST, values), OwnModel()
    origins = np.arange(24 * 120, 24 * 146, 24)
    truth = values[origins[:, None] + np.arange(HORIZON_H)]
    told = np.array([model.outlook(grid, issued=FIRST + at).quantiles[LEVELS.index(0.5)] for at in origins.tolist()])
    simple = baselines(values, origins, np.arange(HORIZON_H))
    assert np.abs(told - truth).mean() <= min(np.abs(one - truth).mean() for one in simple.values())


ORIGINS, LEADS = np.arange(30 * 24, 150 * 24, 24), np.arange(HORIZON_H)


def levels(*, lasting: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logs of 154 days with a daily course, whose level of each day lasts so far; and their truth at ORIGINS."""
    rng = np.random.default_rng(seed)
    level = np.zeros(154)
    for day in range(1, 154):
        level[day] = lasting * level[day - 1] + 0.2 * rng.normal()
    log = 6 + np.tile(np.sin(np.arange(24) / 4), 154) + np.repeat(level, 24)
    return log, log[ORIGINS[:, None] + LEADS]


def test_what_is_usual_is_the_course_of_the_day_and_half_of_what_a_weekday_has_of_its_own() -> None:
    course, weekend = np.tile(np.sin(np.arange(24) / 4), 42), np.repeat(np.tile([0, 0, 0, 0, 0, 1.0, 1.0], 6), 24)
    assert usual(course, np.array([840]), LEADS) == pytest.approx(course[None, 840 : 840 + HORIZON_H])
    told = usual(weekend, np.array([35 * 24]), np.arange(168)).reshape(7, 24).mean(axis=1)
    assert told[5] - told[1] == pytest.approx(0.5, abs=0.2)


def test_the_moved_usual_keeps_half_of_what_the_last_day_departed_by() -> None:
    course = np.tile(np.sin(np.arange(24) / 4), 42)
    course[839 - 23 : 840] += 0.3
    kept = moved_usual(course, np.array([840]), LEADS) - usual(course, np.array([840]), LEADS)
    assert kept == pytest.approx(np.full((1, HORIZON_H), 0.15))


def test_the_moved_usual_is_nearer_than_the_usual_where_the_level_wanders() -> None:
    log = np.repeat(np.cumsum(np.random.default_rng(0).normal(size=200)), 24) + np.tile(np.sin(np.arange(24) / 4), 200)
    origins = np.arange(40, 190) * 24
    truth = log[origins[:, None] + LEADS]
    missed = [np.abs(one(log, origins, LEADS) - truth).mean() for one in (moved_usual, usual)]
    assert missed[0] < 0.9 * missed[1]


@pytest.mark.parametrize("lag_h", [0, 30])
def test_a_steady_forecast_knows_only_what_was_known_at_its_origin(lag_h: int) -> None:
    log, _ = levels(lasting=0.8)
    leads = np.arange(HORIZON_H + lag_h)
    at = ORIGINS[:, None] + leads
    truth = np.where(at < len(log), log[np.minimum(at, len(log) - 1)], np.nan)
    told, cut = steady(log, truth, ORIGINS, leads), 90
    known = np.where(at < ORIGINS[cut], truth, np.nan)
    lies = np.concatenate([log[: ORIGINS[cut]], 9 + log[ORIGINS[cut] :]])
    assert np.array_equal(steady(lies, known, ORIGINS, leads)[: cut + 1], told[: cut + 1])
    assert np.array_equal(steady(log, truth[: cut + 1], ORIGINS[: cut + 1], leads), told[: cut + 1])


def test_a_steady_forecast_follows_departures_that_last_and_no_others() -> None:
    for lasting, worth in ((0.95, 0.75), (0.0, 1.05)):
        log, truth = levels(lasting=lasting)
        off = np.abs(steady(log, truth, ORIGINS, LEADS) - truth)[60:, :24].mean()
        plain = np.abs(usual(log, ORIGINS, LEADS) - truth)[60:, :24].mean()
        assert off < worth * plain


@given(st.lists(st.floats(0.1, 5), min_size=2, max_size=4), st.integers(0, 40), st.integers(0, 5))
def test_weights_are_shares_that_add_up_to_one(sizes: list[float], records: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    errors = {f"c{i}": size * rng.normal(size=(records, 48)) for i, size in enumerate(sizes)}
    found = weights(errors, dict.fromkeys(errors, 1.0), np.arange(records)[::-1], range(48))
    total = sum(found.values())
    assert total == pytest.approx(np.ones(48))
    assert all((share >= 0).all() for share in found.values())


def test_a_candidate_that_errs_less_counts_more() -> None:
    rng = np.random.default_rng(0)
    errors = {"good": rng.normal(size=(60, 24)), "bad": 4 * rng.normal(size=(60, 24))}
    found = weights(errors, {"good": 0.5, "bad": 0.5}, np.zeros(60), range(24))
    assert found["good"].mean() > 0.8


def test_a_candidate_clearly_better_than_all_others_counts_alone_on_the_days_ahead_it_is() -> None:
    rng = np.random.default_rng(0)
    errors = {name: rng.normal(size=(60, 48)) for name in ("yesterday", "mean", "learned")}
    errors["yesterday"][:, :24] *= 0.3
    found = weights(errors, dict.fromkeys(errors, 1.0), np.arange(60)[::-1], range(48))
    assert found["yesterday"][:24].min() > 0.99
    assert found["yesterday"][24:].max() < 0.6


def test_a_candidate_that_was_good_lately_counts_more_than_one_that_was_good_long_ago() -> None:
    rng = np.random.default_rng(0)
    size = np.repeat([1.0, 4.0], 60)[:, None]
    errors = {"once": size * rng.normal(size=(120, 24)), "lately": size[::-1] * rng.normal(size=(120, 24))}
    found = weights(errors, {"once": 0.5, "lately": 0.5}, np.arange(120)[::-1], range(24))
    assert found["lately"].mean() > 0.7


def test_a_zone_that_begins_to_repeat_itself_is_forecast_so_within_a_week() -> None:
    rng = np.random.default_rng(0)
    size = {"learned": [0.05] * 53 + [0.02] * 7, "yesterday": [0.06] * 53 + [0.001] * 7}
    errors = {name: np.array(scale)[:, None] * rng.normal(size=(60, 24)) for name, scale in size.items()}
    found = weights(errors, {"learned": 0.95, "yesterday": 0.05}, np.arange(60)[::-1], range(24))
    assert found["yesterday"].min() > 0.9


def test_a_calm_day_among_others_changes_the_weights_little() -> None:
    rng = np.random.default_rng(0)
    errors = {"a": 0.05 * rng.normal(size=(60, 24)), "b": 0.06 * rng.normal(size=(60, 24))}
    before = weights(errors, {"a": 0.5, "b": 0.5}, np.arange(60)[::-1], range(24))
    for one in errors.values():
        one[-1] *= 0.1
    after = weights(errors, {"a": 0.5, "b": 0.5}, np.arange(60)[::-1], range(24))
    assert after["a"] == pytest.approx(before["a"], abs=0.02)


def test_the_candidates_with_most_numbers_count_the_more_the_longer_the_history() -> None:
    few, many, more = priors(60.0), priors(800.0), priors(1600.0)
    for name in ("ridge", "by source"):
        assert few[name] < few["steady"] < few["ridge on steady"] < many[name] == more[name]
        del few[name]
    assert few.items() <= many.items()


def test_candidates_that_never_err_leave_the_weights_as_they_were() -> None:
    found = weights({"a": np.zeros((9, 24)), "b": np.zeros((9, 24))}, {"a": 0.7, "b": 0.3}, np.zeros(9), range(24))
    assert found["a"] == pytest.approx(np.full(24, 0.7))


def test_a_band_holds_what_it_promises_on_errors_like_those_before() -> None:
    rng = np.random.default_rng(5)
    found = offsets(0.1 * rng.standard_t(4, size=(120, 96)), np.arange(120.0)[::-1], spread=0.3)
    fresh = 0.1 * rng.standard_t(4, size=(400, 96))
    held = ((fresh >= found[0]) & (fresh <= found[-1])).mean()
    assert 0.88 < held < 0.95
    assert (found[LEVELS.index(0.5)] == 0).all()


def test_a_band_that_held_too_little_of_late_is_widened_and_one_that_held_too_much_narrowed() -> None:
    rng = np.random.default_rng(6)
    usual = 0.1 * rng.normal(size=(120, 96))
    age_days = np.arange(120.0)[::-1]
    wild, calm = usual.copy(), usual.copy()
    wild[-14:] *= 4
    calm[-14:] *= 0.2
    width = {}
    for name, misses in {"usual": usual, "wild": wild, "calm": calm}.items():
        found = offsets(misses, age_days, spread=0.3)
        assert (np.diff(found, axis=0) >= 0).all()
        width[name] = (found[-1] - found[0]).mean()
    assert width["calm"] < 0.7 * width["usual"]
    assert width["wild"] > 1.7 * width["usual"]


def test_days_not_known_yet_do_not_move_the_band() -> None:
    misses = 0.1 * np.random.default_rng(7).normal(size=(60, 96))
    more = np.concatenate([misses, np.full((1, 96), np.nan)])
    age_days = np.arange(60.0)[::-1]
    one = offsets(misses, age_days, spread=0.3)
    assert offsets(more, np.append(age_days, 0.0), spread=0.3) == pytest.approx(one)


def test_without_records_the_band_is_as_wide_as_the_zone_spreads() -> None:
    found = offsets(np.empty((0, 96)), np.empty(0), spread=0.2)
    assert found[0] == pytest.approx(np.full(96, -0.329), abs=1e-3)


def test_holes_are_filled_from_before_only() -> None:
    values = np.arange(60.0)
    values[30:33] = np.nan
    filled = causal_fill(values)
    assert filled[30:33].tolist() == [6, 7, 8]
    assert np.array_equal(filled[:30], causal_fill(values[:30]))


def test_a_trailing_mean_never_looks_ahead() -> None:
    values = np.arange(50.0)
    assert trailing_mean(values, 24)[:20] == pytest.approx(trailing_mean(values[:20], 24))
    assert trailing_mean(values, 24)[-1] == pytest.approx(values[-24:].mean())


def test_baselines_are_what_their_names_say() -> None:
    values = np.arange(24.0 * 40)
    told = baselines(values, np.array([24 * 35]), np.arange(96))
    assert set(told) == set(NAMES)
    assert told["persistence"][0, [0, 24, 95]].tolist() == [24 * 34, 24 * 34, 24 * 34 + 23]
    assert told["hour-of-day"][0, 0] == 24 * 31
    assert told["hour-of-week"][0, 0] == 24 * 35 - 168 * 2.5
    assert set(baselines(values, np.array([30]), np.arange(96))) == {"persistence", "hour-of-day"}
