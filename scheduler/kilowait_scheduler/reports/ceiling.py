"""What perfect foresight would have saved: each job's best schedule on the intensity that came. Pure.

The planner's exact schedule of the job alone, at its mean power and with its restarts, within its window and its
regions, on a grid of quarters of an hour (hours where the window is longer than four days). Capacity, budgets and the
moving of data are ignored: it is a ceiling. An elastic job has its baseline's number of GPUs throughout. What it emits
is measured like all else, along the job's power profile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.baseline import laid
from kilowait_scheduler.core.carbon import Emission, EnergyInterval
from kilowait_scheduler.core.course import Course, to_us
from kilowait_scheduler.core.integral import Integral, emissions_of
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.stack import Stack
from kilowait_scheduler.planner.alone import best_alone
from kilowait_scheduler.planner.problem import Pool, Problem, Segment, Task

from .measured import Measured
from .progress import Progress
from .units import moment

_FINE, _COARSE, _FINE_UP_TO = timedelta(minutes=15), timedelta(hours=1), timedelta(days=4)
_TOGETHER = 250  # jobs planned on one grid: near each other in time, so that it is short
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FREE = 1_000_000  # GPUs of a region whose capacity is not minded
_NO_ROOM = "its work took longer than the time it had up to its deadline"


@dataclass(frozen=True)
class Stay:
    """A stretch of work in one region on [start, end), after a restart of so many seconds right before it."""

    region: str
    start: datetime
    end: datetime
    restart_s: float = 0.0

    def restart_mj(self, useful: Course, worked: timedelta) -> int:
        """Energy of the restart at the mean power of the work, in millijoules."""
        return round(int(useful.energy_mj.sum()) / worked.total_seconds() * self.restart_s)


@dataclass(frozen=True)
class Ceiling:
    """The best schedule of a job and what it would have emitted, or why there is none to compare with."""

    stays: tuple[Stay, ...] = ()
    carbon_g: float = 0.0
    why_not: str = ""


def ceilings(
    jobs: Iterable[Measured],
    *,
    regions: Sequence[Region],
    intensity: Mapping[str, IntensitySeries],
    now: datetime,
    progress: Progress | None = None,
) -> dict[str, Ceiling]:
    """The ceiling of every one of `jobs` that has worked and ended, by id."""
    pue = {region.name: region.pue for region in regions}
    found: dict[str, Ceiling] = {}
    asked: dict[timedelta, list[Measured]] = {}
    for job in sorted(jobs, key=_ready):
        if not job.worked or not job.record.state.phase.final:
            continue
        why_not = _unknown(job, intensity=intensity, pue=pue, now=now)
        found[job.record.id] = Ceiling(why_not=why_not)
        if not why_not:
            step = _FINE if job.record.spec.due - _ready(job) <= _FINE_UP_TO else _COARSE
            asked.setdefault(step, []).append(job)
    integrals = {name: Integral(series) for name, series in intensity.items()}
    progress = progress or Progress()
    progress.begin("looking for the best schedule", sum(len(some) for some in asked.values()))
    for step, some in asked.items():
        for first in range(0, len(some), _TOGETHER):
            together = some[first : first + _TOGETHER]
            found |= _planned(together, step=step, integrals=integrals, pue=pue)
            progress.done += len(together)
    return found


def _ready(job: Measured) -> datetime:
    return max(job.record.submitted_at, job.record.spec.earliest or job.record.submitted_at)


def _unknown(
    job: Measured, *, intensity: Mapping[str, IntensitySeries], pue: Mapping[str, float], now: datetime
) -> str:
    """What is missing to tell the job's best schedule, in words; empty where nothing is."""
    due = job.record.spec.due
    if due > now:
        return f"not yet: its deadline is {moment(due)} UTC"
    if _ready(job) >= due:
        return "its deadline was over before it could start"
    short = [
        name
        for name in job.record.regions
        if name not in pue or name not in intensity or not intensity[name].covers(_ready(job), due)
    ]
    return f"intensity is not known throughout its window in {', '.join(short)}" if short else ""


def _planned(
    jobs: Sequence[Measured], *, step: timedelta, integrals: Mapping[str, Integral], pue: Mapping[str, float]
) -> dict[str, Ceiling]:
    start = _EPOCH + (min(_ready(job) for job in jobs) - _EPOCH) // step * step
    slots = -((start - max(job.record.spec.due for job in jobs)) // step)
    names = sorted({name for job in jobs for name in job.record.regions})
    edges = to_us(start) + step // timedelta(microseconds=1) * np.arange(slots + 1, dtype=np.int64)
    pools = tuple(Pool(name, pue[name] * integrals[name].means(edges), np.full(slots, _FREE)) for name in names)
    tasks = tuple(_task(job, start=start, step=step) for job in jobs)
    problem = Problem(step / timedelta(hours=1), slots, pools, tasks)
    stays = [
        tuple(_stays(segments, job, start=start, step=step))
        for job, segments in zip(jobs, best_alone(problem), strict=True)
    ]
    emitted = iter(_emitted([one for one in zip(jobs, stays, strict=True) if one[1]], intensity=integrals, pue=pue))
    return {
        job.record.id: Ceiling(some, *next(emitted)) if some else Ceiling(why_not=_NO_ROOM)
        for job, some in zip(jobs, stays, strict=True)
    }


def _emitted(
    scheduled: Sequence[tuple[Measured, tuple[Stay, ...]]],
    *,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
) -> Iterator[tuple[float, str]]:
    """What jobs would have emitted in their schedules, or why that is not known: their useful work along its power, and
    restarts at the work's mean power."""
    works = Stack.of([job.through for job, _ in scheduled])
    work = laid(works, [[(stay.region, stay.start, stay.end) for stay in stays] for _, stays in scheduled])
    restarts = Stack.of([_restarts(job, stays) for job, stays in scheduled])
    for figures in zip(*(emissions_of(some, intensity=intensity, pue=pue) for some in (work, restarts)), strict=True):
        error = next((figure for figure in figures if isinstance(figure, ForecastersError)), None)
        known = [figure.carbon_g for figure in figures if isinstance(figure, Emission)]
        yield (sum(known), "") if error is None else (0.0, str(error))


_NOTHING = Course.of(())


def _restarts(job: Measured, stays: Sequence[Stay]) -> Course:
    again = [stay for stay in stays if stay.restart_s]
    if not again:
        return _NOTHING
    return Course.of(
        EnergyInterval(
            stay.start - timedelta(seconds=stay.restart_s),
            stay.start,
            stay.restart_mj(job.through, job.worked),
            stay.region,
        )
        for stay in again
    )


def _task(job: Measured, *, start: datetime, step: timedelta) -> Task:
    record, restart_s = job.record, job.record.state.restart_s
    suspendable = record.spec.suspendable
    kw = job.through.kwh / (job.worked / timedelta(hours=1))
    gap = _gap(job, step=step)
    return Task.rigid(
        record.id,
        gpus=1,  # its power is measured; how many GPUs draw it does not matter to a job alone
        kw_per_gpu=kw,
        slots=-(-job.worked // step),
        earliest=-((start - _ready(job)) // step),
        deadline=(record.spec.due - start) // step,
        regions=tuple(sorted(record.regions, key=lambda name: name != record.home)),
        suspendable=suspendable,
        movable=suspendable and len(record.regions) > 1,
        restart_slots=gap,
        restart_kwh=kw * (restart_s - gap * step.total_seconds()) / 3600 if suspendable else 0.0,
    )


def _stays(segments: Sequence[Segment], job: Measured, *, start: datetime, step: timedelta) -> Iterator[Stay]:
    restart_s = job.record.state.restart_s
    gap = _gap(job, step=step)
    for number, segment in enumerate(segments):
        begin = start + step * (segment.start + (gap if number else 0))
        yield Stay(segment.region, begin, start + step * segment.end, restart_s if number else 0.0)


def _gap(job: Measured, *, step: timedelta) -> int:
    """Slots that a restart takes up."""
    return int(-(-job.record.state.restart_s // step.total_seconds())) if job.record.spec.suspendable else 0
