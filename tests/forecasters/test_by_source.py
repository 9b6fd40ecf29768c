"""The candidate that forecasts each source: what it learns that a unit emits, and how sources become an intensity."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasters.grids import FIRST, made_up
from kilowait_forecasters.models.by_source import BySource, departures
from kilowait_forecasters.models.features import Features, layout_of
from kilowait_forecasters.models.hours import Hours
from kilowait_forecasters.models.own import OwnModel
from kilowait_forecasters.models.ridge import Ridge, fit_ridges

EMITS = {"gas": 400.0, "wind": 10.0, "solar": 40.0}
ORIGINS, LEADS = np.array([60 * 24, 70 * 24]), np.arange(96)
# No columns: forecasts are then the levels alone.
NOTHING = np.empty((2, 96, 0), dtype=np.float32)


def always(departed: float) -> Ridge:
    """A ridge that says `departed` whatever it sees."""
    none = np.empty((96, 0))
    return Ridge(none, np.full(96, departed), none, none, none, none)


@pytest.fixture(scope="module")
def grid() -> Hours:
    """Of which all is known: emissions are those of its plants, and nothing else."""
    hours = made_up(80, ahead_h=0, weather=False)
    emitted = np.sum([EMITS[name] * values for name, values in hours.mix.items()], axis=0)
    return replace(hours, g_per_kwh=emitted / np.sum(list(hours.mix.values()), axis=0))


@pytest.fixture(scope="module")
def features(grid: Hours) -> Features:
    return Features(grid, layout_of(grid, weather=False))


def test_what_a_unit_emits_is_learned_and_never_below_nothing(grid: Hours, features: Features) -> None:
    found = BySource.fit(dict.fromkeys(features.generation, always(0.0)), features)
    assert dict(zip(found.ridges, found.emits, strict=True)) == pytest.approx(EMITS, rel=1e-6)
    upside_down = replace(grid, g_per_kwh=500 - grid.g_per_kwh)
    other = BySource.fit(found.ridges, Features(upside_down, layout_of(grid, weather=False)))
    assert (other.emits >= 0).all()


def test_without_departures_it_is_the_anchor(features: Features) -> None:
    found = BySource.fit(dict.fromkeys(features.generation, always(0.0)), features)
    assert np.array_equal(found.predict(features, NOTHING, ORIGINS, LEADS), features.anchor(ORIGINS, LEADS))


@given(st.lists(st.floats(-3, 3), min_size=3, max_size=3))
def test_intensity_is_what_all_emit_over_what_all_generate(features: Features, departed: list[float]) -> None:
    names = list(features.generation)
    found = BySource(dict(zip(names, map(always, departed), strict=True)), np.array([EMITS[name] for name in names]))
    anchors = {name: features.week_before(values, ORIGINS, LEADS) for name, values in features.generation.items()}
    total = sum(anchors.values())
    least = 1e-6 * total
    made = {name: np.maximum(anchors[name] + d * total, least) for name, d in zip(names, departed, strict=True)}

    def intensity(by_source: dict[str, np.ndarray]) -> np.ndarray:
        return sum(EMITS[name] * values for name, values in by_source.items()) / sum(by_source.values())

    expected = features.anchor(ORIGINS, LEADS) + np.log(
        intensity(made) / intensity({name: np.maximum(values, least) for name, values in anchors.items()})
    )
    told = found.predict(features, NOTHING, ORIGINS, LEADS)
    assert np.isfinite(told).all()
    assert told == pytest.approx(expected, abs=1e-9)


def test_departures_are_of_what_came_and_unknown_where_that_is(features: Features) -> None:
    origins = np.array([60 * 24, features.count - 30])
    found = departures(features, origins, LEADS)
    anchors = {name: features.week_before(values, origins, LEADS) for name, values in features.generation.items()}
    total = features.week_before(features.load, origins, LEADS)
    at = origins[0] + LEADS
    for name, departed in found.items():
        assert (anchors[name] + total * departed)[0] == pytest.approx(features.generation[name][at], abs=1e-9)
        assert np.isfinite(departed[1, :30]).all()
        assert np.isnan(departed[1, 30:]).all()


@pytest.mark.parametrize("mix", [True, False])
def test_it_is_a_candidate_where_a_mix_is_known(mix: bool) -> None:
    hours = made_up(80, ahead_h=0, weather=False, mix=mix)
    told = OwnModel().outlook(hours, issued=FIRST + 80 * 24)
    assert ("by source" in told.made_of) == mix
    assert np.isfinite(told.quantiles).all()


def changed(mix: dict[str, np.ndarray], case: str) -> dict[str, np.ndarray]:
    """`mix` of 285 days, in which something is odd from the day 246 on or in some hours of day 62."""
    count = len(mix["gas"])
    late, odd = np.arange(count) >= 246 * 24, (np.arange(count) // 24) == 62
    match case:
        case "only a small source for some hours":
            return {name: np.where(odd, 0.0, values) for name, values in mix.items()} | {"oil": np.full(count, 0.1)}
        case "every source renamed":
            old = {name: np.where(late, np.nan, values) for name, values in mix.items()}
            return old | {f"new {name}": np.where(late, values, np.nan) for name, values in mix.items()}
        case "one small source carries all":
            old = {name: np.where(late, 0.0, values) for name, values in mix.items()}
            return old | {"unknown": np.where(late, 60.0, 0.05)}
        case "more than numbers hold":
            return {name: np.where(odd, 1.5e308, values) for name, values in mix.items()}
        case "a name a candidate has":
            return {"ridge" if name == "wind" else name: values for name, values in mix.items()}
    raise ValueError(case)


@pytest.mark.parametrize("days_after", [2, 25])
@pytest.mark.parametrize(
    "case",
    [
        "only a small source for some hours",
        "every source renamed",
        "one small source carries all",
        "more than numbers hold",
        "a name a candidate has",
    ],
)
def test_odd_mixes_leave_every_quantile_a_number(case: str, days_after: int) -> None:
    hours = made_up(285, ahead_h=0, weather=False)
    hours = replace(hours, mix=changed(dict(hours.mix), case))
    told = OwnModel().outlook(hours.before(FIRST + (246 + days_after) * 24), issued=FIRST + (246 + days_after) * 24)
    assert np.isfinite(told.quantiles).all()
    if case == "a name a candidate has":
        assert "by source" in told.made_of
        assert "ridge" in told.made_of.replace("ridge on steady", "")


def test_nights_without_readings_are_forecast_all_the_same() -> None:
    hours = made_up(90, ahead_h=0)
    hour = np.arange(len(hours.g_per_kwh)) % 24
    dark = replace(hours, g_per_kwh=np.where((hour < 5) | (hour > 20), np.nan, hours.g_per_kwh), weather={})
    told = OwnModel().outlook(dark, issued=FIRST + 90 * 24)
    assert np.isfinite(told.quantiles).all()


def test_a_candidate_that_says_no_number_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(self: BySource, features: Features, x: object, origins: np.ndarray, leads: np.ndarray) -> np.ndarray:
        return np.full((len(origins), len(leads)), np.nan)

    monkeypatch.setattr(BySource, "predict", nothing)
    told = OwnModel().outlook(made_up(80, ahead_h=0, weather=False), issued=FIRST + 80 * 24)
    assert np.isfinite(told.quantiles).all()
    assert "by source" not in told.made_of


def test_a_column_is_not_followed_far_beyond_what_was_learned_from() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1, 2))
    x[..., 1] = 1e-5 * rng.normal(size=(60, 1))  # light at four in the morning, until summer comes
    y = x[..., 0] + 0.1 * rng.normal(size=(60, 1))
    ridge = fit_ridges(x, {"one": (y, 1.0)}, np.zeros(60))["one"]
    known = ridge.predict(x)
    summer = x[:1].copy()
    summer[..., 1] = 100.0
    assert np.abs(ridge.predict(summer) - known[:1]).max() < np.ptp(known)
