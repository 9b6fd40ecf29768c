from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.reports.units import UNKNOWN, decimal, energy_unit, mass_unit, percent

amounts = st.floats(min_value=-1e9, max_value=1e9, allow_nan=False, allow_subnormal=False)


@pytest.mark.parametrize(
    ("grams", "shown"),
    [
        (0.4, "400.0\u00a0mg"),
        (1.0, "1.00\u00a0g"),
        (999.4, "999.4\u00a0g"),
        (999.96, "1.00\u00a0kg"),
        (24800, "24.80\u00a0kg"),
        (-1472, "−1.47\u00a0kg"),
        (3.2e6, "3.20\u00a0t"),
        (4.5e9, "4\u202f500.0\u00a0t"),
        (0.0, "0\u00a0g"),
    ],
)
def test_grams_are_shown_in_a_unit_that_fits(grams: float, shown: str) -> None:
    assert mass_unit([grams]).text(grams) == shown


def test_one_table_has_one_unit_chosen_by_its_largest_number() -> None:
    unit = energy_unit([0.003, None, 12.0])
    assert [unit.number(value) for value in (0.003, None, 12.0)] == ["0.003", UNKNOWN, "12.00"]
    assert unit.name == "kWh"


def test_a_table_without_numbers_still_has_a_unit() -> None:
    assert mass_unit([]).text(None) == mass_unit([None]).text(None) == UNKNOWN


@given(st.lists(amounts, min_size=1), amounts)
def test_a_number_reads_as_zero_only_if_it_is_zero(table: list[float], value: float) -> None:
    shown = mass_unit(table).number(value)
    assert (shown == "0") == (value == 0)
    assert any(digit in shown for digit in "123456789") or value == 0


@given(amounts, amounts)
def test_what_is_shown_keeps_the_sign(value: float, other: float) -> None:
    shown = mass_unit([value, other]).number(value, signed=True)
    assert shown.startswith("−") == (value < 0)
    assert shown.startswith("+") == (value > 0)


@given(amounts)
def test_what_is_shown_is_the_value_to_its_decimals(value: float) -> None:
    shown = decimal(value, decimals=2).replace("\u202f", "").replace("−", "-")
    if "<" in shown:
        assert abs(value) < float(shown.lstrip("-<"))
    else:
        assert float(shown) == pytest.approx(value, abs=0.005000001)


def test_percentages_know_their_unknowns_too() -> None:
    assert percent(None) == UNKNOWN
    assert percent(38.76, signed=True) == "+38.8\u00a0%"
    assert percent(-1240.0) == "−1\u202f240\u00a0%"
