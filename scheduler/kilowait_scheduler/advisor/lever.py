"""Levers: one thing that could be done differently, what it would have saved, and what says so."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from kilowait_scheduler.core.ranges import Range


class Kind(StrEnum):
    """The levers there are; their names are also how a person says that one was used."""

    POWER_CAP = "power-cap"
    LESS_IDLE = "less-idle"
    EVEN_LOAD = "even-load"
    LARGER_BATCH = "larger-batch"
    ANOTHER_SIZE = "another-size"
    CHEAPER_RESTART = "cheaper-restart"
    SHORTER_PERIOD = "shorter-period"
    SUSPENDABLE = "suspendable"
    LATER_DEADLINE = "later-deadline"
    MORE_REGIONS = "more-regions"


class Confidence(StrEnum):
    """How far a prediction is to be trusted."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True)
class Lever:
    """What using it would have saved of this job: energy of its GPUs, and grams CO2e (PUE included).

    `carbon_g` is None where the intensity of the job's time is not known. Levers overlap: their figures have no sum.
    """

    kind: Kind
    what: str
    energy_kwh: Range
    carbon_g: Range | None
    confidence: Confidence
    because: str
    evidence: str
    how: str


@dataclass(frozen=True)
class Silence:
    """A lever of which nothing is said, and why."""

    kind: Kind
    why: str


@dataclass(frozen=True)
class Advice:
    """All that is said of one job. `levers` come in order of what they would have saved, the largest first.

    `energy_kwh` is that of its GPUs; None where nothing was measured. `power_w` is the mean of a GPU that it had alone.
    """

    job_id: str
    name: str
    state: str
    energy_kwh: float | None
    carbon_g: float | None
    gpu_hours: float
    power_w: float | None
    gpu: str | None
    runs: int
    levers: tuple[Lever, ...]
    silent: tuple[Silence, ...]
    notes: tuple[str, ...]


def capped(energy: Range, most: float) -> Range:
    """The range, none of it above `most`: nothing saves more than there was."""
    most = max(most, 0.0)
    return Range(min(energy.low, most), min(energy.mid, most), min(energy.high, most))
