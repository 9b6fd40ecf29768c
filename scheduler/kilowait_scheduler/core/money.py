"""Money: decimal amounts with their currency, the internal price of carbon, and what electricity and carbon cost."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .job import Label
from .window import Utc

_GRAMS_PER_T = 1_000_000
_PLACES = Decimal("0.000001")  # a small job costs less than a cent, and sums of many must still be right


def _code(text: str) -> str:
    if not re.fullmatch(r"[A-Z]{3}", text):
        raise ValueError("give the currency's code, three capital letters, e.g. EUR")
    return text


Currency = Annotated[str, AfterValidator(_code)]
Price = Annotated[Decimal, Field(gt=0, le=Decimal(10**6), max_digits=18)]


@dataclass(frozen=True)
class Money:
    """An amount in one currency. Amounts of two currencies have no sum."""

    amount: Decimal
    currency: str

    def __add__(self, other: Money) -> Money:
        if self.currency != other.currency:
            raise ValueError(f"{self.currency} and {other.currency} have no sum")
        return Money(self.amount + other.amount, self.currency)

    def __str__(self) -> str:
        """For people: to the hundredth; what is not zero never reads as zero."""
        tiny = self.amount and abs(self.amount) < Decimal("0.005")
        shown = f"{'-' if self.amount < 0 else ''}<0.01" if tiny else f"{self.amount:.2f}"
        return f"{shown} {self.currency}"


def totals(costs: Iterable[Money | None]) -> tuple[Money, ...]:
    """Sums per currency, by its code; what is not known is not in them."""
    found: dict[str, Money] = {}
    for cost in costs:
        if cost is not None:
            found[cost.currency] = found[cost.currency] + cost if cost.currency in found else cost
    return tuple(found[code] for code in sorted(found))


class CarbonPrice(BaseModel):
    """An internal price on carbon: per tonne CO2e, of one project or all, for jobs submitted in [start, end)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    amount_per_t: Price
    currency: Currency
    project: Label | None = None
    start: Utc | None = None
    end: Utc | None = None

    @model_validator(mode="after")
    def _has_length(self) -> Self:
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        return self

    def holds(self, *, project: str, at: datetime) -> bool:
        """Whether it is the price, or one of them, of a project's job submitted at a moment."""
        begun = self.start is None or self.start <= at
        return self.project in (None, project) and begun and (self.end is None or at < self.end)

    @property
    def per_g(self) -> float:
        """Units of the currency per gram, for the planner's weighing; costs are reckoned in decimals."""
        return float(self.amount_per_t) / _GRAMS_PER_T

    def of(self, grams: float) -> Money:
        """What some grams cost at this price; negative for negative grams."""
        amount = Decimal(repr(grams)) * self.amount_per_t / _GRAMS_PER_T
        return Money(amount.quantize(_PLACES), self.currency)


def price_of(prices: Iterable[CarbonPrice], *, project: str, at: datetime) -> CarbonPrice | None:
    """The price that holds for a project's job submitted at a moment: its own before everyone's, the newest first."""
    holding = [price for price in prices if price.holds(project=project, at=at)]

    def rank(price: CarbonPrice) -> tuple[bool, float, str]:
        return price.project is not None, price.start.timestamp() if price.start else float("-inf"), price.id

    return max(holding, key=rank, default=None)


class Tariff(BaseModel):
    """What a kWh costs at a region's meter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    per_kwh: Price
    currency: Currency

    def of(self, kwh: float) -> Money:
        """What some energy at the facility's meter costs."""
        return Money((Decimal(repr(kwh)) * self.per_kwh).quantize(_PLACES), self.currency)


def energy_cost(kwh_by_region: Iterable[tuple[float, Tariff | None]]) -> Money | None:
    """The cost of energy in several regions; None where a region has no tariff, or they have several currencies."""
    costs = [None if tariff is None else tariff.of(kwh) for kwh, tariff in kwh_by_region]
    known = totals(costs)
    return known[0] if costs and None not in costs and len(known) == 1 else None
