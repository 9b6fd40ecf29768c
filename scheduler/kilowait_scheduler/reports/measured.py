"""What was measured of jobs, as reports take it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.overhead import useful_and_overhead
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.resizing import Size, as_long_as_on, gpu_hours, on_size, stints_of
from kilowait_scheduler.core.savings import Resized
from kilowait_scheduler.core.stack import Stack
from kilowait_scheduler.core.state import Phase


@dataclass(frozen=True)
class Measured:
    """What was measured of one job: its record and the energy of its runs, of which `useful` went into the work and
    `overhead` is what being carbon-aware (or a failure) cost on top.

    `resized`: the work on other numbers of GPUs; None of a job of one size. `worked`: how long the work takes without a
    pause, on the baseline's number of GPUs; zero where none was measured.
    """

    record: JobRecord
    course: Course
    useful: Course
    overhead: Course
    resized: Resized | None
    worked: timedelta

    @property
    def through(self) -> Course:
        """The useful work as counterfactuals do it, on the baseline's number of GPUs; without pauses if resized."""
        return self.resized.through if self.resized is not None else self.useful

    @property
    def useful_gpu_h(self) -> float:
        """GPU-hours that went into the work."""
        if self.resized is None:
            return self.record.gpus * (self.worked / timedelta(hours=1))
        return gpu_hours(self.useful, stints_of(self.record.state))

    @property
    def work_known(self) -> bool:
        """Whether `worked` says how long the work took: some was measured, or it ended and by its state none was kept.

        Where some was kept although none was measured, its readings are missing, whatever else it drew.
        """
        state = self.record.state
        return bool(self.worked) or (len(self.course) > 0 and state.phase.final and not state.done_s)

    @property
    def in_time(self) -> bool:
        """Whether it succeeded by its deadline: how it ran is then one of the ways in which it could have run."""
        state = self.record.state
        finished = state.finished_at if state.phase is Phase.SUCCEEDED else None
        return finished is not None and finished <= self.record.spec.due


def measured(jobs: Sequence[tuple[JobRecord, Course]]) -> list[Measured]:
    """Jobs with the energy of their runs, in their order."""
    records = [record for record, _ in jobs]
    whole = Stack.of([course for _, course in jobs])
    useful, overhead = useful_and_overhead(whole, [(record.state.runs, record.state.restart_s) for record in records])
    work = useful.courses()
    resized = [_resized(record, course) for record, course in zip(records, work, strict=True)]
    through = [size.through if size is not None else course for size, course in zip(resized, work, strict=True)]
    _, worked_us = Stack.of(through).compacted()
    worked = (timedelta(microseconds=us) for us in worked_us.tolist())
    return [
        Measured(record, course, useful, lost, size, length)
        for (record, course), useful, lost, size, length in zip(
            jobs, work, overhead.courses(), resized, worked, strict=True
        )
    ]


def _resized(record: JobRecord, useful: Course) -> Resized | None:
    stints = stints_of(record.state) if record.elastic else ()
    if not stints:
        return None
    size, best = (Size(gpus, record.state.speed_on(gpus)) for gpus in (record.gpus, record.best_size))
    return Resized(on_size(useful, stints, size), as_long_as_on(useful, stints, size), on_size(useful, stints, best))
