"""Contracted clean energy beside the grid: market-based emissions (GHG Protocol, scope 2) and matching hour by hour.

A supply covers load of its region inside its own span and nowhere else: an hourly certificate its hour, an annual
volume its year, in which it covers the same share of everything that hourly ones left. No load is covered twice: within
a span, all jobs get the same share. Location-based emissions know nothing of any of this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from .region import NAME_PATTERN
from .window import Utc

METHOD = "market-based@1"

HOUR = timedelta(hours=1)
_LONGEST = 3 * 8784  # hours: what one supply may span
WattHours = Annotated[int, Field(ge=0, le=10**15)]


@dataclass(frozen=True)
class MarketBased:
    """Grams CO2e by the market-based method. They have no sum with location-based grams, which are plain numbers."""

    carbon_g: float

    def __add__(self, other: MarketBased) -> MarketBased:
        if not isinstance(other, MarketBased):
            return NotImplemented
        return MarketBased(self.carbon_g + other.carbon_g)


class _Spanned(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    region: str = Field(pattern=NAME_PATTERN)
    start: Utc
    end: Utc

    @model_validator(mode="after")
    def _whole_hours(self) -> Self:
        for moment in (self.start, self.end):
            if moment != hour_of(moment):
                raise ValueError(f"{moment.isoformat()} is not a full hour of UTC")
        if not timedelta(0) < self.end - self.start <= _LONGEST * HOUR:
            raise ValueError("end must be later than start, by three years at most")
        return self

    def holds(self, hour: datetime) -> bool:
        return self.start <= hour < self.end


class CleanSupply(_Spanned):
    """Clean energy that was contracted for a region on [start, end): `wh` per hour, or as one volume over all of it."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    wh: tuple[WattHours, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _one_per_hour(self) -> Self:
        if len(self.wh) not in (1, self.hours):
            raise ValueError(f"wh has {len(self.wh)} values; give one, or one for each of the {self.hours} hours")
        return self

    @property
    def hours(self) -> int:
        return (self.end - self.start) // HOUR

    @property
    def hourly(self) -> bool:
        """Whether it says what came in each hour."""
        return len(self.wh) == self.hours

    def kwh(self, hour: datetime) -> float:
        """What came in one hour of an hourly supply."""
        return self.wh[(hour - self.start) // HOUR] / 1000


class ResidualMix(_Spanned):
    """Intensity of what is left of a region's grid once all contracted clean energy is taken out of it."""

    g_per_kwh: float = Field(ge=0, le=5000)
    source: str = Field(min_length=1, max_length=200)


@dataclass(frozen=True)
class Clean:
    """What a region's contracts cover, by hour of UTC, as shares (0..1) of its load in that hour.

    `matched` has the hours for which hourly supply is known; `uncovered` is the share that no contract covers.
    """

    matched: Mapping[datetime, float]
    uncovered: Mapping[datetime, float]
    residual: Sequence[ResidualMix] = field(default=())

    def residual_of(self, hour: datetime) -> float | None:
        """The residual mix of an hour in g/kWh, of several the one that starts last; None where none is configured, and
        the grid's own stands in."""
        known = [mix for mix in self.residual if mix.holds(hour)]
        return max(known, key=lambda mix: mix.start).g_per_kwh if known else None


def cover(
    load_kwh: Mapping[datetime, float], *, supplies: Sequence[CleanSupply], residual: Sequence[ResidualMix] = ()
) -> Clean:
    """What `supplies` cover of one region's load, which is all jobs' together, by hour. In every span, what is
    covered is no more than what was supplied."""
    matched: dict[datetime, float] = {}
    uncovered: dict[datetime, float] = {}
    for hour, kwh in load_kwh.items():
        came = [supply.kwh(hour) for supply in supplies if supply.hourly and supply.holds(hour)]
        if came:
            matched[hour] = min(1.0, sum(came) / kwh) if kwh > 0 else 1.0
        uncovered[hour] = 1.0 - matched.get(hour, 0.0)
    for supply in sorted(supplies, key=lambda supply: (supply.end - supply.start, supply.id)):
        if supply.hourly:
            continue
        inside = [hour for hour in sorted(load_kwh) if supply.holds(hour)]
        left_kwh = sum(load_kwh[hour] * uncovered[hour] for hour in inside)
        share = min(1.0, supply.wh[0] / 1000 / left_kwh) if left_kwh > 0 else 0.0
        for hour in inside:
            uncovered[hour] *= 1.0 - share
    return Clean(matched, uncovered, residual)


@dataclass(frozen=True)
class Scope2:
    """Some load by the market-based method, and how much of it clean supply matched hour by hour; None if unknown."""

    market_based: MarketBased
    matched_kwh: float | None


def scope2(pieces: Iterable[tuple[datetime, float, float]], clean: Clean) -> Scope2:
    """Of (hour, kWh, location-based grams) in one region. An hour that `clean` does not know has no contract."""
    grams = 0.0
    matched: float | None = 0.0
    for hour, kwh, located_g in pieces:
        residual = clean.residual_of(hour)
        grams += clean.uncovered.get(hour, 1.0) * (located_g if residual is None else kwh * residual)
        share = clean.matched.get(hour)
        matched = None if matched is None or share is None else matched + share * kwh
    return Scope2(MarketBased(grams), matched)


def hour_of(moment: datetime) -> datetime:
    """The full hour at or before a moment."""
    return moment.replace(minute=0, second=0, microsecond=0)
