"""Estimates: published figures come out, ranges stay in order, places and history change what they should."""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.embodied import embodied_g
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.estimate import Estimate, estimate
from kilowait_scheduler.core.estimate_inputs import GIVEN, Assumption
from kilowait_scheduler.core.estimate_request import read
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.measured_power import JobPower, MeasuredPower, measured_power
from kilowait_scheduler.core.places import Place
from kilowait_scheduler.core.ranges import Range, mean

LIMITED = settings(max_examples=100, deadline=None)


@dataclass(frozen=True)
class Hour:
    mean_g_per_kwh: float
    p10_g_per_kwh: float
    p90_g_per_kwh: float


def place(zone: str, mean_g: float, **more: Any) -> Place:
    """A zone whose intensity rises by 1 g/kWh a month, with a band of a tenth."""
    values = {(m, h): mean_g + m for m in range(1, 13) for h in range(24)}
    return Place(zone, {at: Hour(v, 0.9 * v, 1.1 * v) for at, v in values.items()}, **more)


PLACES = [place("CLEAN", 50), place("MIDDLE", 300), place("DIRTY", 700)]


def made(measured: MeasuredPower | None = None, places: list[Place] = PLACES, **asked: Any) -> Estimate:
    return estimate(read({"gpu": "A100", **asked}), places=places, measured=measured)


def assumption(found: Estimate, name: str) -> Assumption:
    return next(one for one in found.assumptions if one.name == name)


# Published figures


def test_gpt_3_would_take_an_rtx_8000_666_years() -> None:
    found = made(gpu="RTX 8000", params=175e9, tokens=300e9, tflops=15)
    assert found.inputs.flops == Range.exactly(3.15e23)
    assert found.years_on_one_gpu.mid == pytest.approx(665.9, abs=0.1)  # the article says 665


def test_gpt_3_would_take_a_v100_356_years() -> None:
    found = made(gpu="V100", flops=3.14e23, tflops=28)
    assert found.years_on_one_gpu.mid == pytest.approx(355.6, abs=0.1)  # published: 355


def test_the_training_of_gpt_3_comes_out_as_published() -> None:
    """Patterson et al. 2021: 1,287 MWh and 552 t."""
    hours = 10_000 * 14.8 * 24
    found = made(gpu="V100", gpu_hours=hours, gpus=10_000, power_w=330, pue=1.10, intensity_g_per_kwh=429)
    assert found.here.energy_mwh.mid == pytest.approx(1289, rel=0.002)
    assert found.here.carbon_t.mid == pytest.approx(553, rel=0.002)
    assert found.wall_h is not None and found.wall_h.mid == pytest.approx(14.8 * 24)
    for value in (found.here.energy_mwh, found.here.carbon_t):
        assert value.low == value.mid == value.high, "nothing was left to assume"


def test_bloom_s_gpu_hours_make_its_published_energy() -> None:
    found = made(gpu_hours=1_082_990, power_w=400, pue=1)
    assert 1000 * found.here.energy_mwh.mid == pytest.approx(433_196, abs=0.5)


def test_the_example_of_the_sci_specification_comes_out_around_28_g() -> None:
    """1000 kg over four years of 365 days, reserved for an hour: "around 28 g" (28.5 g)."""
    grams = embodied_g(total_kg=1000, reserved_h=1, lifespan_h=4 * 365 * 24)
    assert grams == pytest.approx(28.54, abs=0.01)
    assert math.floor(grams) == 28
    assert embodied_g(total_kg=1000, reserved_h=1, lifespan_h=4 * 365 * 24, share=0.25) == grams / 4


# What always holds

AMOUNTS = st.one_of(
    st.fixed_dictionaries({"params": st.floats(1e6, 1e13), "tokens": st.floats(1e6, 1e14)}),
    st.fixed_dictionaries({"flops": st.floats(1e12, 1e28)}),
    st.fixed_dictionaries({"gpu_hours": st.floats(0.01, 1e9)}),
)
KNOWN = st.fixed_dictionaries(
    {"gpu": st.sampled_from([gpu.name for gpu in GPUS])},
    optional={
        "gpus": st.integers(1, 100_000),
        "power_w": st.floats(10, 2000),
        "node_factor": st.floats(1, 3),
        "pue": st.floats(1, 3),
        "embodied_kg": st.floats(0, 2000),
    },
)
SPEEDS = st.one_of(st.just({}), st.builds(lambda v: {"mfu": v}, st.floats(0.01, 1)), st.just({"tflops": 20.0}))
WHERE = st.one_of(
    st.just({}), st.just({"zone": "MIDDLE"}), st.builds(lambda v: {"intensity_g_per_kwh": v}, st.floats(0, 1500))
)


@LIMITED
@given(AMOUNTS, KNOWN, SPEEDS, WHERE)
def test_every_range_is_in_order(
    amount: dict[str, Any], known: dict[str, Any], speed: dict[str, Any], where: dict[str, Any]
) -> None:
    found = made(**amount, **known, **speed, **where)
    footprints = [found.here, *(part for one in found.elsewhere for part in (one.year, *one.months))]
    ranges = [found.inputs.flops, found.inputs.gpu_hours, found.years_on_one_gpu, found.embodied_t]
    ranges += [value for part in footprints for value in (part.energy_mwh, part.carbon_t, part.intensity_g_per_kwh)]
    for value in ranges:
        assert 0 <= value.low <= value.mid <= value.high < math.inf
    for one in found.assumptions:
        assert one.source.text, one.name


def test_what_is_no_range_is_refused() -> None:
    for figures in ((2.0, 1.0, 3.0), (-1.0, 0.0, 1.0), (0.0, 1.0, math.inf), (0.0, math.nan, 1.0)):
        with pytest.raises(ValueError, match="no range"):
            Range(*figures)


def test_a_quotient_is_lowest_where_its_divisor_is_highest() -> None:
    assert Range(2, 4, 8) / Range(1, 2, 4) == Range(0.5, 2, 8)
    assert mean([Range(1, 2, 3), Range(3, 4, 5)], [1, 3]) == Range(2.5, 3.5, 4.5)


def test_a_more_efficient_gpu_never_costs_more_energy_at_equal_mfu() -> None:
    for one, other in product(GPUS, GPUS):
        for precision in set(one.tflops) & set(other.tflops):
            if one.tflops[precision] / one.tdp_w < other.tflops[precision] / other.tdp_w:
                continue
            asked = {"flops": 1e21, "mfu": 0.35, "precision": precision}
            better = made(gpu=one.name, **asked).here.energy_mwh
            worse = made(gpu=other.name, **asked).here.energy_mwh
            for end in ("low", "mid", "high"):
                assert getattr(better, end) <= getattr(worse, end) * (1 + 1e-12), (one.name, other.name)


@LIMITED
@given(st.floats(1e15, 1e25), st.floats(1.1, 10))
def test_more_work_needs_more_of_everything_in_proportion(flops: float, times: float) -> None:
    one, more = made(flops=flops, zone="CLEAN"), made(flops=flops * times, zone="CLEAN")
    assert more.here.energy_mwh.mid == pytest.approx(times * one.here.energy_mwh.mid)
    assert more.here.carbon_t.high == pytest.approx(times * one.here.carbon_t.high)
    assert more.embodied_t.low == pytest.approx(times * one.embodied_t.low)


# What was given, and what was assumed


def test_a_figure_that_was_given_stands_without_a_range() -> None:
    found = made(flops=1e21, mfu=0.4, power_w=450, pue=1.3, embodied_kg=200, intensity_g_per_kwh=100)
    assert found.inputs.gpu_hours.low == pytest.approx(1e21 / (0.4 * 312e12 * 3600))
    assert found.inputs.gpu_hours.low == found.inputs.gpu_hours.high
    assert found.inputs.power_w == Range.exactly(450)
    assert found.inputs.node_factor == Range.exactly(1), "the power given holds the host's share"
    for name in ("MFU, share of the peak achieved", "power per GPU", "PUE", "embodied, per GPU", "intensity"):
        assert assumption(found, name).source is GIVEN
    assert made(flops=1e21, power_w=450, node_factor=1.5).inputs.node_factor == Range.exactly(1.5)


def test_what_was_not_given_is_assumed_with_a_range_and_a_source() -> None:
    found = made(flops=1e21)
    for name in ("MFU, share of the peak achieved", "power per GPU, of TDP", "node factor", "PUE", "intensity"):
        one = assumption(found, name)
        assert one.value.low < one.value.mid < one.value.high
        assert one.source is not GIVEN and one.source.doubt


def test_gpu_hours_say_what_work_they_do_only_as_well_as_the_mfu_is_known() -> None:
    found = made(gpu_hours=1000)
    assert found.inputs.gpu_hours == Range.exactly(1000)
    assert found.inputs.flops.mid == pytest.approx(1000 * 3600 * 0.35 * 312e12)
    assert found.inputs.flops.low < found.inputs.flops.mid


def test_a_rate_above_every_peak_is_pointed_out() -> None:
    assert "above any dense peak" in made(flops=1e21, tflops=400).inputs.notes[-1]


def test_money_is_decimal_in_the_currency_given_and_absent_without_a_price() -> None:
    assert made(flops=1e21).here.money is None
    money = made(gpu_hours=1000, power_w=500, pue=1.2, price_per_kwh="0.1234", currency="EUR").here.money
    assert money is not None
    assert (money.currency, money.mid) == ("EUR", Decimal("74.04"))
    assert money.low == money.mid == money.high


def test_embodied_carbon_stays_apart_and_knows_no_grid() -> None:
    clean, dirty = made(flops=1e21, zone="CLEAN"), made(flops=1e21, zone="DIRTY")
    assert clean.embodied_t == dirty.embodied_t
    assert made(flops=1e21, zone="CLEAN", embodied_kg=0).here.carbon_t == clean.here.carbon_t
    hour = made(gpu_hours=1, embodied_kg=150).embodied_t
    assert 1e6 * hour.mid == pytest.approx(150_000 / (4 * 8760))
    assert 1e6 * hour.low == pytest.approx(150_000 / (6 * 8760)), "a long life makes a low charge"


# Places


def test_the_year_of_a_place_is_the_mean_of_its_months_by_their_days() -> None:
    year, *_ = [one.year for one in made(flops=1e21).elsewhere]
    days = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    expected = sum((50 + month) * count for month, count in enumerate(days, start=1)) / 365
    assert year.intensity_g_per_kwh.mid == pytest.approx(expected)
    assert year.intensity_g_per_kwh.low == pytest.approx(0.9 * expected)


def test_without_a_place_the_range_goes_from_the_cleanest_to_the_dirtiest() -> None:
    found = made(flops=1e21)
    years = {one.zone: one.year.intensity_g_per_kwh for one in found.elsewhere}
    here = found.here.intensity_g_per_kwh
    assert here == Range(years["CLEAN"].low, years["MIDDLE"].mid, years["DIRTY"].high)
    assert "no place was given" in assumption(found, "intensity").source.text


def test_a_place_asked_for_is_the_one_of_the_comparison() -> None:
    found = made(flops=1e21, zone="DIRTY")
    assert found.here == found.elsewhere[2].year
    assert "not a forecast" in assumption(found, "intensity").source.text


def test_regions_bring_their_own_pue_unless_one_is_given() -> None:
    regions = [place("CLEAN", 50, region="north", pue=1.07), place("DIRTY", 700, region="south", pue=1.5)]
    found = made(places=[*regions, *PLACES], flops=1e21, region="north")
    assert [one.region for one in found.elsewhere] == ["north", "south"]
    assert found.inputs.pue == Range.exactly(1.07)
    assert found.here == found.elsewhere[0].year
    assert found.elsewhere[1].pue == Range.exactly(1.5)
    given_pue = made(places=[*regions, *PLACES], flops=1e21, region="north", pue=1.2)
    assert {one.pue.mid for one in given_pue.elsewhere} == {1.2}
    assert made(places=[*regions, *PLACES], flops=1e21, zone="MIDDLE").place == PLACES[1]


# History

HISTORY = [JobPower("a", 100, 40), JobPower("b", 50, 25), JobPower("c", 0, 0)]


def test_history_is_the_mean_of_all_between_the_least_and_the_most_hungry_job() -> None:
    found = measured_power("A100", HISTORY, uncertainty_pct=5)
    assert found is not None
    assert (found.jobs, found.gpu_hours) == (2, 150)
    assert found.power_w.mid == pytest.approx(65_000 / 150)
    assert (found.power_w.low, found.power_w.high) == (pytest.approx(400 * 0.95), pytest.approx(500 * 1.05))
    assert measured_power("A100", [], uncertainty_pct=5) is None


def test_measured_power_replaces_the_share_of_tdp_and_says_how_far_off_that_was() -> None:
    measured = measured_power("A100 on this server", HISTORY, uncertainty_pct=5)
    assert measured is not None
    guess = made(flops=1e21, zone="CLEAN")
    better = made(measured, flops=1e21, zone="CLEAN")
    assert better.inputs.power_w == measured.power_w
    assert better.here.energy_mwh.mid == pytest.approx(guess.here.energy_mwh.mid * measured.power_w.mid / 300)
    assert better.inputs.node_factor == guess.inputs.node_factor, "a GPU's counter does not see its host"
    assert (better.inputs.flops, better.embodied_t) == (guess.inputs.flops, guess.embodied_t)
    source = assumption(better, "power per GPU").source
    assert "2 jobs, 150 GPU-hours" in source.text
    assert "300 W, -31 % off" in source.doubt


def test_given_power_stays_whatever_history_says() -> None:
    measured = measured_power("A100", HISTORY, uncertainty_pct=5)
    assert measured is not None
    found = made(measured, flops=1e21, power_w=350)
    assert found.inputs.power_w == Range.exactly(350)
    assert "433 W were measured" in found.inputs.notes[-1]


def test_too_little_history_changes_nothing_but_is_mentioned() -> None:
    measured = measured_power("A100", [JobPower("a", 1.5, 1)], uncertainty_pct=5)
    assert measured is not None and not measured.enough
    guess = made(flops=1e21)
    found = made(measured, flops=1e21)
    assert found.here == guess.here
    assert "too few" in found.inputs.notes[-1]


# What is refused


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({}, "say how much work"),
        ({"params": 1e9}, "`params` needs `tokens` too"),
        ({"tokens": 1e9}, "`tokens` needs `params` too"),
        ({"flops": 1e20, "gpu_hours": 5}, "`flops` and `gpu_hours` both"),
        ({"flops": 1e20, "params": 1e9, "tokens": 1e9}, "`params` and `flops` both"),
        ({"flops": 1e20, "mfu": 0.3, "tflops": 10}, "`mfu` and `tflops` both"),
        ({"flops": 1e20, "zone": "CLEAN", "intensity_g_per_kwh": 5}, "`zone` and `intensity_g_per_kwh` both"),
        ({"flops": 1e20, "zone": "clean"}, "did you mean 'CLEAN'?"),
        ({"flops": 1e20, "zone": "GB"}, "there are: CLEAN, MIDDLE, DIRTY"),
        ({"flops": 1e20, "region": "north"}, "`region` 'north' has no typical day here; there are: none"),
        ({"flops": 0}, "`flops`: Input should be greater than 0"),
        ({"flops": math.nan}, "`flops`"),
        ({"flops": 1e99}, "`flops`"),
        ({"flops": "many"}, "`flops`"),
        ({"flops": 1e20, "mfu": 35}, "`mfu`"),
        ({"flops": 1e20, "pue": 0.9}, "`pue`"),
        ({"flops": 1e20, "gpus": 0}, "`gpus`"),
        ({"flops": 1e20, "precision": "fp64"}, "`precision`"),
        ({"flops": 1e20, "gpu": "T4", "precision": "bf16"}, "take fp32, fp16, or give `tflops`"),
        ({"flops": 1e20, "price_per_kwh": 0.1}, "`price_per_kwh` and `currency` go together"),
        ({"flops": 1e20, "price_per_kwh": 0.1, "currency": "euro"}, "three capital letters"),
        ({"flops": 1e20, "within": 7}, "`within`: '7' is not a duration"),
        ({"flops": 1e20, "within": "0s"}, "`within`: give more than 0s"),
        ({"flop": 1e20}, "did you mean 'flops'?"),
        ({"flops": 1e20, "gpu": "RTX 8001"}, "close to it: NVIDIA Quadro RTX 8000"),
        ({"flops": 1e20, "gpu": "?"}, "`gpu` '?' is not in the table"),
        ({"flops": 1e20, "gpu": "a\nb"}, "is not in the table"),
    ],
)
def test_bad_input_is_one_line_that_says_what_to_mend(asked: dict[str, Any], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        made(**asked)
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_what_is_no_object_is_refused() -> None:
    with pytest.raises(BadInput, match="expected an object"):
        read([])  # type: ignore[arg-type]
