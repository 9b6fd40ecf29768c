"""What was recorded of one job, as the levers look at it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.gpus import Gpu
from kilowait_scheduler.core.held import Held
from kilowait_scheduler.core.integral import Integral, emission_of
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.reports.measured import Measured

from .lever import Confidence, Kind, Lever, capped

# Below a quarter of what the board may draw nothing is computed: an H200 draws a sixth of it with a context that waits.
_NEAR_IDLE_PER_TDP = 0.25
# Shorter dips belong to every training: evaluation, a checkpoint, the turn of an epoch.
_STRETCH = timedelta(minutes=1)
# Where no draw without work was recorded: 76 of 700 W of an H200 without, 116 W with a context.
IDLE_PER_TDP = 0.15


@dataclass(frozen=True)
class Facts:
    """`idle_w`: what its devices drew while nobody held them. `intensity`: realised, by region name."""

    job: Measured
    held: Held
    gpu: Gpu | None
    idle_w: float | None
    regions: Sequence[Region]
    intensity: Mapping[str, IntensitySeries]
    now: datetime

    @cached_property
    def energy_kwh(self) -> float:
        """IT energy of the whole job so far."""
        return self.job.course.kwh

    @cached_property
    def carbon_g(self) -> float | None:
        """Its emission so far; None where the intensity of some of its time is not known."""
        return self.carbon_of(self.job.course)

    @cached_property
    def integrals(self) -> Mapping[str, Integral]:
        """Realised intensity, integrated, by region name."""
        return {name: Integral(series) for name, series in self.intensity.items()}

    @cached_property
    def pue(self) -> Mapping[str, float]:
        """By region name."""
        return {region.name: region.pue for region in self.regions}

    def carbon_of(self, course: Course) -> float | None:
        """Grams of a course, when and where it ran; None where that is not known."""
        try:
            return emission_of(course, intensity=self.integrals, pue=self.pue).carbon_g
        except (ForecastersError, KeyError):
            return None

    @cached_property
    def alone(self) -> Held:
        """The rows of devices that the job had for itself: of the others the power is not its own."""
        return self.held.rows(self.held.alone)

    @cached_property
    def still(self) -> Held:
        """Of those, the stretches near idle. Only where the type of GPU is known."""
        assert self.gpu is not None
        limit_w = max(_NEAR_IDLE_PER_TDP * self.gpu.tdp_w, 1.25 * (self.idle_w or 0.0))
        return self.alone.rows(self.alone.below(limit_w, at_least=_STRETCH))

    @cached_property
    def working(self) -> Held:
        """Of those, the rest."""
        assert self.gpu is not None
        limit_w = max(_NEAR_IDLE_PER_TDP * self.gpu.tdp_w, 1.25 * (self.idle_w or 0.0))
        return self.alone.rows(~self.alone.below(limit_w, at_least=_STRETCH))

    @cached_property
    def base_w(self) -> float:
        """What a GPU of the type draws without work, W: measured on the job's devices, else a share of its TDP."""
        assert self.gpu is not None
        return self.idle_w if self.idle_w is not None else IDLE_PER_TDP * self.gpu.tdp_w

    @property
    def base_source(self) -> str:
        """Where `base_w` is from."""
        return "measured" if self.idle_w is not None else "assumed"

    @cached_property
    def no_power(self) -> str:
        """Why nothing can be said from the power of its devices; empty where something can."""
        if not len(self.held):
            return "no readings of its devices"
        if not len(self.alone):
            return "it shared all of its devices, so their power is not its own"
        if self.gpu is None:
            return "the type of GPU is not known; set `gpu_type` of the job or the region"
        if self.alone.mean_w > 1.1 * self.gpu.tdp_w:
            return (
                f"{self.alone.mean_w:.0f} W are more than a {self.gpu.short} draws ({self.gpu.tdp_w:g} W): "
                "check `gpu_type`, or the meter"
            )
        return ""

    def lever(
        self,
        kind: Kind,
        what: str,
        of: Course,
        share: Range,
        *,
        confidence: Confidence,
        because: str,
        evidence: str,
        how: str,
    ) -> Lever:
        """A lever that saves a share (0..1) of the energy of some rows, and of the grams that came of them."""
        grams = self.carbon_of(of) if self.carbon_g is not None else None
        whole_g = self.carbon_g or 0.0
        carbon = None if grams is None else capped(capped(share, 1.0) * max(grams, 0.0), whole_g)
        energy = capped(capped(share, 1.0) * of.kwh, self.energy_kwh)
        return Lever(kind, what, energy, carbon, confidence, because, evidence, how)
