from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.energy import MJ_PER_KWH, kwh, split_mj, trapezoid_mj
from kilowait_agents.errors import Refused

totals = st.integers(min_value=0, max_value=2**63)
weights = st.lists(st.integers(min_value=0, max_value=10**12), min_size=1, max_size=12)


@given(totals, weights)
def test_the_parts_of_a_split_add_up_to_the_whole(total: int, given_weights: list[int]) -> None:
    parts = split_mj(total, given_weights)
    assert sum(parts) == total
    assert all(part >= 0 for part in parts)


@given(totals, weights)
def test_every_part_is_within_a_millijoule_of_its_exact_share(total: int, given_weights: list[int]) -> None:
    used = given_weights if any(given_weights) else [1] * len(given_weights)
    for part, weight in zip(split_mj(total, given_weights), used, strict=True):
        assert abs(part * sum(used) - total * weight) < sum(used)


@given(totals, weights)
def test_a_larger_weight_never_gets_less(total: int, given_weights: list[int]) -> None:
    by_weight = sorted(zip(given_weights, split_mj(total, given_weights), strict=True))
    for (light, small), (heavy, large) in pairwise(by_weight):
        assert light == heavy or small <= large


def test_left_over_millijoules_go_to_the_largest_remainder_then_to_the_earlier() -> None:
    assert split_mj(10, [1, 1, 1]) == [4, 3, 3]
    assert split_mj(100, [1, 2, 3]) == [17, 33, 50]
    assert split_mj(7, [0, 0]) == [4, 3]


def test_a_weight_of_zero_gets_nothing_beside_others() -> None:
    assert split_mj(999, [0, 5, 0]) == [0, 999, 0]


def test_energy_with_nobody_to_take_it_is_refused_and_nothing_is_not() -> None:
    assert split_mj(0, []) == []
    with pytest.raises(Refused, match="among nobody"):
        split_mj(1, [])


def test_negative_totals_and_weights_are_refused() -> None:
    with pytest.raises(Refused, match="never negative"):
        split_mj(-1, [1])
    with pytest.raises(Refused, match="never negative"):
        split_mj(1, [1, -1])


def test_the_trapezoid_of_a_constant_power_is_power_times_time() -> None:
    assert trapezoid_mj([(0, 400_000), (500_000_000, 400_000), (3_000_000_000, 400_000)]) == 1_200_000
    assert trapezoid_mj([(0, 0), (2_000_000_000, 700_000)]) == 700_000


def test_a_curve_without_length_has_no_energy() -> None:
    assert trapezoid_mj([]) == trapezoid_mj([(5, 400_000)]) == 0


def test_a_kilowatt_hour_is_3_6_megajoules() -> None:
    assert kwh(MJ_PER_KWH) == 1.0
