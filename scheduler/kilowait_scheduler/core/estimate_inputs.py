"""What an estimate rests on: every assumption with its range, its source and what speaks against it.

A figure that was given replaces ours and has no range. docs/estimate.md says why ours are what they are.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .embodied import LIFESPAN_YEARS, YEAR_H
from .estimate_request import EstimateRequest
from .gpu_table import GPUS
from .gpus import Gpu, Source, find, relatives
from .measured_power import MeasuredPower
from .places import Place
from .ranges import Range

FLOP_PER_PARAMETER_AND_TOKEN = 6.0
MFU = Range(0.25, 0.35, 0.50)
POWER_PER_TDP = Range(0.60, 0.75, 1.00)
NODE_FACTOR = Range(1.2, 1.4, 1.6)
PUE = Range(1.10, 1.20, 1.55)

GIVEN = Source("given")
_6ND = Source(
    "2 forward, 4 backward (Kaplan et al. 2020)",
    "dense transformers; attention and recomputation come on top; of a mixture of experts count the active parameters",
)
_MFU = Source(
    "published runs: BLOOM 0.32 on A100, Llama 3.1 405B 0.35 on H100",
    "worked out from figures cited from memory; small or badly fed jobs reach a tenth of it",
)
_POWER = Source("our assumption; TDP is the most a GPU draws", "measured power of past jobs is better")
_NODE = Source(
    "host, network and fans. 1.38: 7.75 kW of a training node (arXiv 2506.14551) / 8 H100 of 700 W; 1.59: BLOOM's "
    "cluster (Luccioni et al. 2022)",
    "the low end is our assumption; node agents measure GPUs alone",
)
_PUE = Source(
    "Google 1.10; our default for regions 1.2; mean of the Uptime Institute's survey 1.55", "ask the operator"
)
_LIFESPAN = Source("3 Boavizta; 4 the example of ISO/IEC 21031; 6 BLOOM and AWS", "time unused is charged to nobody")


@dataclass(frozen=True)
class Assumption:
    """A figure that went into an estimate."""

    name: str
    value: Range
    unit: str
    source: Source


@dataclass(frozen=True)
class Inputs:
    """The figures an estimate is made of, the list of them as people read it, and what they should look at twice."""

    gpu: Gpu
    flops: Range
    gpu_hours: Range
    power_w: Range
    node_factor: Range
    pue: Range
    embodied_kg: Range
    assumptions: tuple[Assumption, ...]
    notes: tuple[str, ...]


@dataclass
class _Book:
    """Writes down each figure as it is decided."""

    assumptions: list[Assumption] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def put(self, name: str, value: Range, unit: str, source: Source) -> Range:
        self.assumptions.append(Assumption(name, value, unit, source))
        return value

    def given_or(self, given: float | None, name: str, ours: Range, unit: str, source: Source) -> Range:
        return self.put(name, ours, unit, source) if given is None else self.given(given, name, unit)

    def given(self, value: float, name: str, unit: str) -> Range:
        return self.put(name, Range.exactly(value), unit, GIVEN)


def inputs(request: EstimateRequest, *, place: Place | None, measured: MeasuredPower | None) -> Inputs:
    """Every figure the request gives, or leaves to the place, to our history or to us.

    Raises BadInput where the GPU is not known or has no peak rate at the precision.
    """
    book = _Book()
    gpu = find(request.gpu, among=GPUS)
    others = relatives(gpu, among=GPUS)
    if others and request.gpu.strip().lower() not in (gpu.name.lower(), gpu.short.lower()):
        book.notes.append(
            f"{request.gpu!r} is taken for {gpu.name}; there are also {', '.join(o.short for o in others)}"
        )
    rate = _rate(request, gpu, book)
    flops, hours = _work(request, rate, book)
    book.put("year", Range.exactly(YEAR_H), "h", Source("365 days"))
    power, node = _power(request, gpu, measured, book)
    pue, pue_source = pue_of(request, place)
    book.put("PUE", pue, "", pue_source)
    embodied = book.given_or(request.embodied_kg, "embodied, per GPU", gpu.embodied_kg, "kg CO2e", gpu.embodied_source)
    book.put("lifespan", LIFESPAN_YEARS, "years", _LIFESPAN)
    return Inputs(gpu, flops, hours, power, node, pue, embodied, tuple(book.assumptions), tuple(book.notes))


def pue_of(request: EstimateRequest, place: Place | None) -> tuple[Range, Source]:
    """The PUE given, else the region's, else ours."""
    if request.pue is not None:
        return Range.exactly(request.pue), GIVEN
    if place is not None and place.pue is not None:
        return Range.exactly(place.pue), Source(f"region {place.name}")
    return PUE, _PUE


def _rate(request: EstimateRequest, gpu: Gpu, book: _Book) -> Range:
    """What one GPU achieves, FLOP/s."""
    if request.tflops is not None:
        peak = max(gpu.tflops.values())
        if request.tflops > peak:
            book.notes.append(
                f"{request.tflops:g} TFLOPS is above any dense peak rate of {gpu.name} ({peak:g}); check it"
            )
        return book.given(request.tflops, "achieved per GPU", "TFLOPS") * 1e12
    peak_tflops = gpu.peak_tflops(request.precision)
    name = f"peak per GPU, {request.precision.value}, dense"
    peak_rate = book.put(name, Range.exactly(peak_tflops), "TFLOPS", gpu.tflops_source)
    return peak_rate * book.given_or(request.mfu, "MFU, share of the peak achieved", MFU, "", _MFU) * 1e12


def _work(request: EstimateRequest, rate: Range, book: _Book) -> tuple[Range, Range]:
    """FLOP and GPU-hours, each from the other."""
    if request.gpu_hours is not None:
        hours = book.given(request.gpu_hours, "work", "GPU-hours")
        return hours * rate * 3600, hours
    if request.params is not None and request.tokens is not None:
        book.given(request.params, "parameters", "")
        book.given(request.tokens, "tokens", "")
        each = book.put("FLOP per parameter and token", Range.exactly(FLOP_PER_PARAMETER_AND_TOKEN), "FLOP", _6ND)
        flops = each * request.params * request.tokens
    else:
        assert request.flops is not None  # the request has exactly one of the three
        flops = book.given(request.flops, "work", "FLOP")
    return flops, flops / (rate * 3600)


def _power(request: EstimateRequest, gpu: Gpu, measured: MeasuredPower | None, book: _Book) -> tuple[Range, Range]:
    """Power of a busy GPU in W, and what its host makes of it."""
    guess = POWER_PER_TDP * gpu.tdp_w
    if request.power_w is not None:
        power = book.given(request.power_w, "power per GPU", "W")
        if measured is not None:
            book.notes.append(f"{measured.what}: {measured.power_w.mid:.0f} W were measured; the given power was used")
        alone = Source("the power given is taken to hold the host's share")
        return power, book.given_or(request.node_factor, "node factor", Range.exactly(1.0), "", alone)
    if measured is not None and measured.enough:
        source = Source(
            f"measured: {measured.what}, {measured.jobs} jobs, {measured.gpu_hours:.0f} GPU-hours",
            f"without it {guess.mid:.0f} W, {100 * (guess.mid / measured.power_w.mid - 1):+.0f} % off",
        )
        power = book.put("power per GPU", measured.power_w, "W", source)
    else:
        if measured is not None:
            book.notes.append(f"{measured.what}: {measured.gpu_hours:.1f} GPU-hours of history are too few to go by")
        book.put("TDP", Range.exactly(gpu.tdp_w), "W", gpu.tdp_source)
        power = book.put("power per GPU, of TDP", POWER_PER_TDP, "", _POWER) * gpu.tdp_w
    return power, book.given_or(request.node_factor, "node factor", NODE_FACTOR, "", _NODE)
