"""Energy times intensity: slot by slot, without gaps, and to the millijoule."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.errors import Gap, OutOfRange
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Counterfactual
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval, emission, emissions
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.integral import Integral
from one_job import laid, saved

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
LIMITED = settings(max_examples=60, deadline=None)


def series(values: list[float], *, step: timedelta = HOUR, holes: tuple[int, ...] = ()) -> IntensitySeries:
    slots = [
        Slot(T0 + step * index, T0 + step * (index + 1), value, estimated=index % 3 == 0)
        for index, value in enumerate(values)
        if index not in holes
    ]
    return IntensitySeries(zone=Zone("XX"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


def interval(begin_s: int, length_s: int, energy_mj: int, *, region: str = "aa") -> EnergyInterval:
    start = T0 + timedelta(seconds=begin_s)
    return EnergyInterval(start, start + timedelta(seconds=length_s), energy_mj, region)


VALUES = st.lists(st.floats(-50, 1500), min_size=4, max_size=8)
INTERVALS = st.builds(interval, st.integers(0, 3 * 3600), st.integers(1, 3600), st.integers(0, 10**13))


@LIMITED
@given(VALUES, INTERVALS, st.floats(1, 3))
def test_an_interval_emits_the_sum_of_its_seconds(values: list[float], one: EnergyInterval, pue: float) -> None:
    seconds = round((one.end - one.start).total_seconds())
    begin = round((one.start - T0).total_seconds())
    truth = math.fsum(one.kwh * pue / seconds * values[(begin + s) // 3600] for s in range(seconds))
    found = emission(one, intensity=series(values), pue=pue)
    assert found.carbon_g == pytest.approx(truth, rel=1e-9, abs=1e-9)
    assert found.energy_kwh == pytest.approx(one.kwh * pue)


@LIMITED
@given(VALUES, INTERVALS, st.lists(st.integers(0, 4 * 3600 * 10**6), max_size=12))
def test_cutting_an_interval_loses_no_millijoule_and_changes_no_emission(
    values: list[float], one: EnergyInterval, cuts_us: list[int]
) -> None:
    edges = sorted({one.start, one.end, *(T0 + timedelta(microseconds=us) for us in cuts_us)})
    pieces = [one.cut(a, b) for a, b in pairwise(edges)]
    parts = [piece for piece in pieces if piece is not None]
    assert sum(part.energy_mj for part in parts) == one.energy_mj
    again = [half for part in parts for half in halves(part)]
    assert sum(part.energy_mj for part in again) == one.energy_mj
    grid = series(values)
    whole = emission(one, intensity=grid, pue=1.2)
    total = emissions(again, intensity={"aa": grid}, pue={"aa": 1.2})
    # A piece's energy is whole millijoules, so each may be off by less than one.
    assert total.carbon_g == pytest.approx(whole.carbon_g, rel=1e-9, abs=2 * len(again) / MJ_PER_KWH * 1500 * 1.2)


def halves(one: EnergyInterval) -> list[EnergyInterval]:
    middle = one.start + (one.end - one.start) / 3
    return [half for half in (one.cut(one.start, middle), one.cut(middle, one.end)) if half is not None]


def test_a_missing_hour_is_an_error_and_never_a_zero() -> None:
    with pytest.raises(Gap):
        emission(interval(1800, 7200, 10**9), intensity=series([100.0] * 4, holes=(1,)), pue=1.0)
    with pytest.raises(OutOfRange):
        emission(interval(3 * 3600, 3601, 10**9), intensity=series([100.0] * 4), pue=1.0)


def test_grams_on_estimated_values_or_readings_are_counted_as_such() -> None:
    grid = series([100.0, 200.0])  # the first hour is an estimate
    found = emission(interval(0, 7200, 2 * MJ_PER_KWH), intensity=grid, pue=1.0)
    assert found.carbon_g == pytest.approx(300.0)
    assert found.estimated_g == pytest.approx(100.0)
    guessed = EnergyInterval(T0, T0 + 2 * HOUR, 2 * MJ_PER_KWH, "aa", estimated=True)
    assert emission(guessed, intensity=grid, pue=1.0).estimated_g == pytest.approx(300.0)


def test_negative_intensity_stays_negative_and_its_uncertainty_positive() -> None:
    found = emission(interval(0, 3600, MJ_PER_KWH), intensity=series([-20.0]), pue=1.0)
    assert found.carbon_g == pytest.approx(-20.0)
    assert found.meter_uncertainty_g == pytest.approx(1.0)


def german_year(seed: int) -> list[float]:
    """120 days of hourly values shaped like Germany 2020: solar dip at noon, evening peak, windy and calm spells."""
    rng = np.random.default_rng(seed)
    hours = np.arange(24 * 120)
    spell = np.zeros(len(hours))
    for hour in range(1, len(hours)):
        spell[hour] = 0.985 * spell[hour - 1] + rng.normal(0, 16)
    day = 45 * np.cos(2 * np.pi * (hours - 20) / 24) + 25 * np.cos(4 * np.pi * (hours - 7) / 24)
    return [float(value) for value in np.clip(340 + day + spell + rng.normal(0, 8, len(hours)), 80, 700)]


def test_the_start_intensity_shortcut_gets_the_sign_wrong_where_the_slots_do_not() -> None:
    """(intensity at submission - intensity at start) x energy says nothing about a job that runs for many hours."""
    values = german_year(2020)
    grid = series(values)
    rng = np.random.default_rng(7)
    wrong = wrong_ours = delayed = 0
    for _ in range(300):
        submit, length = int(rng.integers(0, 24 * 110)), int(rng.integers(6, 31))
        starts = range(submit, submit + 25)
        # A scheduler that looks for the cleanest whole run within a day.
        start = min(starts, key=lambda h: sum(values[h : h + length]))
        if start == submit:
            continue
        delayed += 1
        ran = [interval((start + h) * 3600, 3600, MJ_PER_KWH) for h in range(length)]
        truth = sum(values[submit : submit + length]) - sum(values[start : start + length])
        shortcut = (values[submit] - values[start]) * length
        ours = saved(
            useful=Course.of(ran),
            overhead=Course.of([]),
            against=Counterfactual("aa", ((T0 + submit * HOUR, T0 + submit * HOUR),)),
            intensity={"aa": Integral(grid)},
            pue={"aa": 1.0},
        ).saved_g
        assert ours == pytest.approx(truth, rel=1e-9, abs=1e-6)
        wrong += (shortcut > 0) != (truth > 0)
        wrong_ours += (ours > 0) != (truth > 0)
    assert delayed > 200
    assert wrong_ours == 0
    assert wrong / delayed > 0.25, f"the shortcut was wrong for {wrong} of {delayed} delayed jobs"


def test_the_counterfactual_keeps_the_profile_and_moves_only_in_time_and_place() -> None:
    ran = [interval(0, 600, 10), interval(600, 600, 30), interval(4000, 600, 50)]
    moved = list(laid(Course.of(ran), [("bb", T0 + 5 * HOUR, T0 + 6 * HOUR)]))
    assert [(i.energy_mj, i.region) for i in moved] == [(10, "bb"), (30, "bb"), (50, "bb")]
    assert moved[0].start == T0 + 5 * HOUR
    assert [b.start for b in moved[1:]] == [a.end for a in moved[:-1]], "the pause is not part of it"
