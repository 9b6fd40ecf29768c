"""Money: exact, in one currency at a time, and the price that holds for a job."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kilowait_scheduler.core.money import CarbonPrice, Money, Tariff, energy_cost, price_of, totals

T0 = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def price(id_: str = "p", amount: str = "80", **more: Any) -> CarbonPrice:
    return CarbonPrice.model_validate({"id": id_, "amount_per_t": amount, "currency": "EUR", **more})


def test_a_tonne_costs_its_price_and_a_gram_a_millionth_of_it() -> None:
    assert price().of(1e6) == Money(Decimal("80.000000"), "EUR")
    assert price().of(1) == Money(Decimal("0.000080"), "EUR")
    assert price().of(-500) == Money(Decimal("-0.040000"), "EUR"), "what is saved below zero is named too"


@given(st.lists(st.decimals(-(10**6), 10**6, places=6), max_size=20))
def test_sums_are_exact_in_any_order(amounts: list[Decimal]) -> None:
    costs = [Money(amount, "EUR") for amount in amounts]
    assert totals(costs) == totals(reversed(costs)) == ((Money(sum(amounts, Decimal(0)), "EUR"),) if amounts else ())


def test_amounts_in_two_currencies_are_shown_apart_and_never_added() -> None:
    euro, dollar = Money(Decimal(2), "EUR"), Money(Decimal(3), "USD")
    assert totals([dollar, euro, None, euro]) == (Money(Decimal(4), "EUR"), dollar)
    with pytest.raises(ValueError, match="no sum"):
        euro + dollar


def test_what_is_not_zero_never_reads_as_zero() -> None:
    assert [str(Money(Decimal(text), "EUR")) for text in ("0", "0.004", "-0.000001", "0.005001", "12.5")] == [
        "0.00 EUR",
        "<0.01 EUR",
        "-<0.01 EUR",
        "0.01 EUR",
        "12.50 EUR",
    ]


def test_a_projects_own_price_goes_before_everyones_and_a_newer_one_before_an_older() -> None:
    prices = [
        price("all"),
        price("later", "90", start=T0 + DAY),
        price("chat", "10", project="chat"),
        price("short", "500", start=T0 + 2 * DAY, end=T0 + 3 * DAY),
    ]

    def id_of(project: str, at: datetime) -> str | None:
        found = price_of(prices, project=project, at=at)
        return found.id if found else None

    assert id_of("x", T0) == "all"
    assert id_of("x", T0 + DAY) == "later"
    assert id_of("x", T0 + 2 * DAY) == "short"
    assert id_of("x", T0 + 3 * DAY) == "later", "its end is not part of its period"
    assert id_of("chat", T0 + 2 * DAY) == "chat"
    assert price_of(prices[2:3], project="x", at=T0) is None


@pytest.mark.parametrize(
    "more",
    [{"amount_per_t": "0"}, {"amount_per_t": "nan"}, {"currency": "eur"}, {"start": T0, "end": T0}, {"zone": "DE"}],
)
def test_a_price_that_is_none_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        price(**more)


def test_energy_has_a_cost_only_where_every_region_has_a_tariff_in_one_currency() -> None:
    euro, dollar = Tariff(per_kwh="0.10", currency="EUR"), Tariff(per_kwh="0.2", currency="USD")  # type: ignore[arg-type]
    assert energy_cost([(10, euro), (5, euro)]) == Money(Decimal("1.5"), "EUR")
    assert energy_cost([(10, euro), (5, None)]) is None, "a missing tariff is not a free kWh"
    assert energy_cost([(10, euro), (5, dollar)]) is None
    assert energy_cost([]) is None
