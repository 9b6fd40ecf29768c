"""What a lever really saved: two jobs of one name, by the energy that each took for the same work.

    saved          = carbon - carbon of the other / work        work: the other's, in units of the job's
    by energy      = (energy - energy of the other / work) x the job's g/kWh
    by the grid    = (the job's g/kWh - the other's) x energy of the other / work

The two parts add up. A power limit shows in the first, a deadline in the second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.core.state import Phase

from .facts import Facts
from .lever import Advice, Kind

_OF_THE_GRID = (Kind.SUSPENDABLE, Kind.LATER_DEADLINE, Kind.MORE_REGIONS)
_CLEARLY_LESS = 0.95


@dataclass(frozen=True)
class Prediction:
    """What the advice on the job said of a lever that was used, and the measured part that it is to be held against.

    Ranges are None where the advice said nothing of it, the measured grams where the intensity is not known.
    """

    kind: Kind
    energy_kwh: Range | None
    carbon_g: Range | None
    measured_kwh: float
    measured_g: float | None


@dataclass(frozen=True)
class Outcome:
    """The other job beside the job. Negative savings stand. `uncertainty_kwh` is half an interval: both meters' error.

    `shown_by` says how it is known which levers were used. Where there are several, the measured figures are of all.
    """

    other_id: str
    work: float
    shown_by: str
    saved_kwh: float
    saved_pct: float
    uncertainty_kwh: float
    saved_g: float | None
    by_energy_g: float | None
    by_grid_g: float | None
    applied: tuple[Prediction, ...]


def compare(advice: Advice, facts: Facts, other: Facts, *, work: float, applied: Sequence[Kind]) -> Outcome:
    """The outcome of the levers `applied`, or of those that the two records show where none is named.

    Raises BadInput where the jobs have different names, or one of them has no energy, or has not succeeded.
    """
    one, two = facts.job.record, other.job.record
    if one.spec.name != two.spec.name:
        raise BadInput(f"compare: {two.spec.name!r} is another job; give a run of {one.spec.name!r}")
    if one.id == two.id:
        raise BadInput("compare: this is the same job; give a later one of its name")
    for each in (facts, other):
        if each.job.record.state.phase is not Phase.SUCCEEDED or not len(each.job.course):
            raise BadInput(f"compare: {each.job.record.id} has not succeeded with its energy measured")
    energy_kwh, other_kwh = facts.energy_kwh, other.energy_kwh / work
    saved_kwh = energy_kwh - other_kwh
    doubt_kwh = _doubt(facts) * energy_kwh + _doubt(other) * other_kwh
    by_energy_g = by_grid_g = None
    if facts.carbon_g is not None and other.carbon_g is not None:
        g_per_kwh = facts.carbon_g / energy_kwh
        by_energy_g = saved_kwh * g_per_kwh
        by_grid_g = g_per_kwh * other_kwh - other.carbon_g / work
    kinds = tuple(dict.fromkeys(applied)) or shown(facts, other)
    said = {lever.kind: lever for lever in advice.levers}
    return Outcome(
        other_id=two.id,
        work=work,
        shown_by="named" if applied else "seen in the two records" if kinds else "no lever is seen in the two records",
        saved_kwh=saved_kwh,
        saved_pct=100 * saved_kwh / energy_kwh,
        uncertainty_kwh=doubt_kwh,
        saved_g=None if by_energy_g is None or by_grid_g is None else by_energy_g + by_grid_g,
        by_energy_g=by_energy_g,
        by_grid_g=by_grid_g,
        applied=tuple(
            Prediction(
                kind,
                said[kind].energy_kwh if kind in said else None,
                said[kind].carbon_g if kind in said else None,
                0.0 if kind in _OF_THE_GRID else saved_kwh,
                by_grid_g if kind in _OF_THE_GRID else by_energy_g,
            )
            for kind in kinds
        ),
    )


def shown(facts: Facts, other: Facts) -> tuple[Kind, ...]:
    """The levers that the other job's record shows beside the job's."""
    one, two = facts.job.record, other.job.record
    sizes, other_sizes = ({f.job.record.gpus_of(run) for run in f.job.record.state.runs} for f in (facts, other))
    seen = {
        Kind.POWER_CAP: 0 < _top_w(other) < _CLEARLY_LESS * _top_w(facts),
        Kind.LESS_IDLE: _still_share(other) < _still_share(facts) / 2,
        Kind.ANOTHER_SIZE: sizes != other_sizes,
        Kind.SUSPENDABLE: two.spec.suspendable and not one.spec.suspendable,
        Kind.LATER_DEADLINE: _room(other) > _room(facts) + timedelta(hours=1),
        Kind.MORE_REGIONS: set(two.regions) > set(one.regions),
    }
    return tuple(kind for kind, is_seen in seen.items() if is_seen)


def _doubt(facts: Facts) -> float:
    """The meter's uncertainty of the job's energy, as a share."""
    course = facts.job.course
    return float((course.energy_mj * course.uncertainty_pct).sum() / course.energy_mj.sum()) / 100


def _top_w(facts: Facts) -> float:
    """What its GPUs hardly ever drew more than: a limit shows here."""
    return float(np.quantile(facts.alone.power_w, 0.99)) if len(facts.alone) else 0.0


def _still_share(facts: Facts) -> float:
    if facts.no_power:
        return 0.0
    return float(facts.still.hours.sum()) / float(facts.alone.hours.sum())


def _room(facts: Facts) -> timedelta:
    record = facts.job.record
    return record.spec.due - max(record.submitted_at, record.spec.earliest or record.submitted_at)
