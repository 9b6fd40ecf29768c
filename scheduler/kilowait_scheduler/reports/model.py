"""A savings report as plain data. JSON names are these field names; units are in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from kilowait_scheduler.core.clean import MarketBased
from kilowait_scheduler.core.money import Money
from kilowait_scheduler.core.ranges import Range


@dataclass(frozen=True)
class RanWindow:
    """A span in which the job really ran; `end` is None while it still does."""

    region: str
    start: datetime
    end: datetime | None


@dataclass(frozen=True)
class Levers:
    """What made the saving, in grams CO2e; the four add up to it exactly. Overheads are negative or zero.

    `fixed_size_g`: the part of resizing that one other number of GPUs throughout would have brought as well.
    """

    time_shift_g: float
    region_shift_g: float
    resizing_g: float
    overheads_g: float
    fixed_size_g: float = 0.0


@dataclass(frozen=True)
class BaselineFigure:
    """The named counterfactual and its carbon; where it would have run, and what that choice rests on, if anything."""

    name: str
    carbon_g: float
    region: str = ""
    grounds: str = ""


@dataclass(frozen=True)
class Use:
    """A job's part in one region and month (`2026-11`), by when its energy was drawn; the parts add up to it.

    `energy_kwh` and `carbon_g` are None where a run held GPUs and no meter has readings, `market_based` where the
    region has neither contracts nor a residual mix, `hourly_matched_kwh` where nobody said what was supplied then.
    """

    region: str
    month: str
    energy_kwh: float | None
    carbon_g: float | None
    embodied_g: Range | None
    energy_cost: Money | None = None
    market_based: MarketBased | None = None
    hourly_matched_kwh: float | None = None


@dataclass(frozen=True)
class JobLine:
    """One job. Figures are None where nothing was measured or no baseline can be computed yet: never a zero.
    `gpus`: the most that a run of it held; of one that has not run, those that its baseline holds.

    `energy_kwh` is facility energy (IT x PUE). `estimated_pct`: share of the carbon that rests on estimated intensity
    or energy. `promised_saved_g`: what the first plan promised on the forecast of its time. `ceiling_saved_g`: what the
    best schedule on the intensity that came would have saved, `ceiling_pct` in percent of the baseline; where there is
    no such figure, `ceiling_note` says why. `measured_pct`: share
    of the running time for which a meter has readings. `provisional`: it still runs, or rests on estimates.
    `final_from`: when the last correction may have come, of a job that has ended. Costs are None where
    carbon has no price, or electricity no tariff.

    `uses`: energy and carbon by region and month, where there are figures. `gpu_h`: GPU-hours held; the useful ones
    went into work that was kept. `embodied_g`: their share of the making of the GPUs, never part of `carbon_g`; None
    where the type of GPU is not known.
    `sci_g_per_gpu_h`: ISO/IEC 21031, ((E x I) + M) / R; R is useful GPU-hours.
    """

    id: str
    name: str
    team: str
    project: str
    state: str
    home: str
    gpus: int
    submitted_at: datetime
    deadline: datetime
    finished_at: datetime | None
    deadline_met: bool | None
    runs: int
    windows: tuple[RanWindow, ...]
    why: str
    energy_kwh: float | None = None
    carbon_g: float | None = None
    baseline: BaselineFigure | None = None
    baseline_start: datetime | None = None
    saved_g: float | None = None
    saved_pct: float | None = None
    uncertainty_g: float | None = None
    levers: Levers | None = None
    uses: tuple[Use, ...] = ()
    market_based: MarketBased | None = None
    hourly_matched_kwh: float | None = None
    hourly_matched_pct: float | None = None
    gpu_h: float | None = None
    useful_gpu_h: float | None = None
    embodied_g: Range | None = None
    sci_g_per_gpu_h: float | None = None
    energy_cost: Money | None = None
    carbon_cost: Money | None = None
    baseline_carbon_cost: Money | None = None
    promised_saved_g: float | None = None
    ceiling_saved_g: float | None = None
    ceiling_pct: float | None = None
    ceiling_note: str = ""
    estimated_pct: float | None = None
    measured_pct: float | None = None
    provisional: bool = True
    final_from: datetime | None = None
    note: str = ""


@dataclass(frozen=True)
class RegionLine:
    """A region's devices: energy at the meter, and how much of it no job used or no run owned up to.

    Energies are None where no reading falls into the report's period. `meters` have read there at any time.
    """

    name: str
    zone: str
    pue: float
    meters: tuple[str, ...]
    intensity_sources: str
    it_energy_kwh: float | None
    idle_kwh: float | None
    unattributed_kwh: float | None


@dataclass(frozen=True)
class Foresight:
    """What plans promised on the forecasts of their time, what came, and what perfect foresight would have saved.

    Sums over the `jobs` that have ended and have all three; `ceiling_pct` is in percent of their baseline.
    """

    jobs: int
    baseline_g: float
    promised_saved_g: float
    saved_g: float
    ceiling_saved_g: float
    ceiling_pct: float | None


@dataclass(frozen=True)
class Totals:
    """Sums over the jobs that have both figures; `without_figures` counts those left out. Costs are per currency.

    `final_from`: when the last of the figures is final; None while a job has not ended. `embodied_g`,
    `sci_g_per_gpu_h`, `market_based`, `hourly_matched_kwh`: None unless they are known of every job that has figures.
    """

    jobs: int
    without_figures: int
    energy_kwh: float
    carbon_g: float
    baseline_g: float
    saved_g: float
    saved_pct: float | None
    uncertainty_g: float
    levers: Levers
    foresight: Foresight | None = None
    final_from: datetime | None = None
    market_based: MarketBased | None = None
    hourly_matched_kwh: float | None = None
    hourly_matched_pct: float | None = None
    embodied_g: Range | None = None
    sci_g_per_gpu_h: float | None = None
    energy_cost: tuple[Money, ...] = ()
    carbon_cost: tuple[Money, ...] = ()


class By(StrEnum):
    """What the jobs of a report are put together by: whose they are, where they ran, the month of their submission."""

    TEAM = "team"
    PROJECT = "project"
    REGION = "region"
    MONTH = "month"


@dataclass(frozen=True)
class Group:
    """The jobs of one team, project, region or month, and their sums. A job that moved is in a group of its regions."""

    name: str
    totals: Totals


@dataclass(frozen=True)
class Scope2Line:
    """Scope 2 of all jobs in one region and month, both methods side by side; `carbon_g` is location-based."""

    region: str
    month: str
    energy_kwh: float
    carbon_g: float
    market_based: MarketBased | None
    hourly_matched_kwh: float | None
    hourly_matched_pct: float | None


@dataclass(frozen=True)
class IntensityTrace:
    """Realised intensity of a region's zone as (start, end, g/kWh, estimated) slots, for the pictures."""

    region: str
    zone: str
    slots: tuple[tuple[datetime, datetime, float, bool], ...]


@dataclass(frozen=True)
class Report:
    """The whole report. `method` names every versioned rule behind the figures; months are those of `timezone`."""

    title: str
    generated_at: datetime
    start: datetime
    end: datetime
    signal: str
    baseline_name: str
    method: tuple[str, ...]
    jobs: tuple[JobLine, ...]
    totals: Totals
    regions: tuple[RegionLine, ...]
    intensity: tuple[IntensityTrace, ...]
    notes: tuple[str, ...] = field(default=())
    by: By | None = None
    groups: tuple[Group, ...] = ()
    scope2: tuple[Scope2Line, ...] = ()
    timezone: str = "UTC"
