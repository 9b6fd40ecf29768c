"""An estimate before a job runs: FLOP, GPU-hours, energy, carbon, embodied carbon and money, with their ranges.

    GPU-hours = FLOP / (achieved FLOP/s x 3600)        FLOP = 6 x parameters x tokens, or given
    energy    = GPU-hours x power per GPU x node factor x PUE
    carbon    = energy x intensity                     of the place; a month or a year of its typical day, or given
    embodied  = GPU-hours x kg per GPU / lifespan      apart, never added

Pure: typical days and history are passed in. Nothing here is measured; docs/estimate.md says what it is worth.
"""

from __future__ import annotations

import difflib
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext

from .embodied import LIFESPAN_YEARS, YEAR_H, embodied_g
from .errors import BadInput
from .estimate_inputs import GIVEN, Assumption, Inputs, inputs, pue_of
from .estimate_request import EstimateRequest
from .gpus import Source
from .measured_power import MeasuredPower
from .money import CarbonPrice
from .places import MONTHS, Place
from .ranges import Range

_TYPICAL = "typical days of 2019 to 2021, not a forecast; means of the hours' mean, p10 and p90"
_DOUBT = "own generation without imports; cleaner where much was built since (docs/profiles.md)"
_KWH_PER_MWH = 1000


@dataclass(frozen=True)
class Money:
    """Cost of electricity or of carbon, to the cent (or what a hundredth of the currency is)."""

    currency: str
    low: Decimal
    mid: Decimal
    high: Decimal


@dataclass(frozen=True)
class Footprint:
    """What a job would emit and cost where electricity has `intensity_g_per_kwh`; energy at the facility's meter."""

    intensity_g_per_kwh: Range
    energy_mwh: Range
    carbon_t: Range
    money: Money | None
    carbon_money: Money | None = None


@dataclass(frozen=True)
class PlaceEstimate:
    """The same job in one place: over its typical year, and as if all of it ran in one month (1 to 12)."""

    zone: str
    region: str | None
    source: str
    pue: Range
    year: Footprint
    months: tuple[Footprint, ...]


@dataclass(frozen=True)
class Estimate:
    """All of an estimate. `place` is the one asked for, `here` what comes of it there.

    `wall_h` is None where the number of GPUs was not given.
    """

    request: EstimateRequest
    places: tuple[Place, ...]
    place: Place | None
    inputs: Inputs
    wall_h: Range | None
    here: Footprint
    embodied_t: Range
    elsewhere: tuple[PlaceEstimate, ...]
    assumptions: tuple[Assumption, ...]

    @property
    def years_on_one_gpu(self) -> Range:
        return self.inputs.gpu_hours / YEAR_H


def estimate(
    request: EstimateRequest,
    *,
    places: Sequence[Place],
    measured: MeasuredPower | None = None,
    carbon_price: CarbonPrice | None = None,
) -> Estimate:
    """Estimate what the request asks for, and the same in each region of `places`, or each zone if there is no region.

    `measured` is the power that past jobs drew, `carbon_price` the internal price on what is emitted.

    Raises BadInput where the GPU, its rate or the place is not known.
    """
    shown = [place for place in places if place.region is not None] or list(places)
    place = _place(request, places)
    made = inputs(request, place=place, measured=measured)
    intensity, source = _intensity(request, place, shown)
    return Estimate(
        request=request,
        places=tuple(places),
        place=place,
        inputs=made,
        wall_h=made.gpu_hours / request.gpus if request.gpus is not None else None,
        here=_footprint(request, made, pue=made.pue, intensity=intensity, price=carbon_price),
        embodied_t=_embodied_t(made),
        elsewhere=tuple(_in(one, request, made, price=carbon_price) for one in shown),
        assumptions=(
            *made.assumptions,
            Assumption("intensity", intensity, "gCO2e/kWh", source),
            *_priced(carbon_price),
        ),
    )


def _in(place: Place, request: EstimateRequest, made: Inputs, *, price: CarbonPrice | None) -> PlaceEstimate:
    pue, _ = pue_of(request, place)
    year, *months = (
        _footprint(request, made, pue=pue, intensity=intensity, price=price)
        for intensity in (place.year(), *(place.month(month) for month in MONTHS))
    )
    return PlaceEstimate(place.zone, place.region, _TYPICAL, pue, year, tuple(months))


def _footprint(
    request: EstimateRequest, made: Inputs, *, pue: Range, intensity: Range, price: CarbonPrice | None
) -> Footprint:
    energy_mwh = made.gpu_hours * made.power_w * made.node_factor * pue / 1e6
    carbon_t = energy_mwh * intensity / 1000  # MWh x g/kWh = kg
    carbon_money = None
    if price is not None:
        carbon_money = _money(carbon_t, per=price.amount_per_t, currency=price.currency)
    money = None
    if request.price_per_kwh is not None and request.currency is not None:
        money = _money(energy_mwh, per=request.price_per_kwh * _KWH_PER_MWH, currency=request.currency)
    return Footprint(intensity, energy_mwh, carbon_t, money, carbon_money)


def _priced(price: CarbonPrice | None) -> tuple[Assumption, ...]:
    if price is None:
        return ()
    source = Source(
        f"carbon price {price.id!r} of this server, {'all projects' if not price.project else price.project}"
    )
    return (Assumption("carbon price", Range.exactly(float(price.amount_per_t)), f"{price.currency}/t", source),)


def _embodied_t(made: Inputs) -> Range:
    hours, kg, life_h = made.gpu_hours, made.embodied_kg, LIFESPAN_YEARS * YEAR_H
    # A long life makes a low charge.
    cases = ((kg.low, hours.low, life_h.high), (kg.mid, hours.mid, life_h.mid), (kg.high, hours.high, life_h.low))
    return Range(*(embodied_g(total_kg=one, reserved_h=h, lifespan_h=life) / 1e6 for one, h, life in cases))


def _money(amount: Range, *, per: Decimal, currency: str) -> Money:
    def cost(value: float) -> Decimal:
        with localcontext() as context:
            context.prec = 60
            return (per * Decimal(value)).quantize(Decimal("0.01"))

    return Money(currency, cost(amount.low), cost(amount.mid), cost(amount.high))


def _place(request: EstimateRequest, places: Sequence[Place]) -> Place | None:
    """The place asked for, or None where none was."""
    if request.region is not None:
        return _named("region", request.region, {p.region: p for p in places if p.region is not None})
    if request.zone is not None:
        return _named("zone", request.zone, {p.zone: p for p in places if p.region is None})
    return None


def _named(what: str, name: str, known: dict[str, Place]) -> Place:
    if name in known:
        return known[name]
    close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    there = ", ".join(known) or "none"
    raise BadInput(
        f"`{what}` {name[:40]!r} has no typical day here; {hint}there are: {there}; or give `intensity_g_per_kwh`"
    )


def _intensity(request: EstimateRequest, place: Place | None, shown: Sequence[Place]) -> tuple[Range, Source]:
    if request.intensity_g_per_kwh is not None:
        return Range.exactly(request.intensity_g_per_kwh), GIVEN
    if place is not None:
        return place.year(), Source(f"{place.zone}, whole year: {_TYPICAL}", _DOUBT)
    if not shown:
        raise BadInput("no place is known here; give `intensity_g_per_kwh`")
    years = sorted((one.year() for one in shown), key=lambda year: year.mid)
    middle = statistics.median(year.mid for year in years)
    anywhere = Range(min(year.low for year in years), middle, max(year.high for year in years))
    what = f"no place was given: from the cleanest to the dirtiest of {', '.join(one.name for one in shown)}"
    return anywhere, Source(f"{what}, in the middle their median; {_TYPICAL}", "give a place")
