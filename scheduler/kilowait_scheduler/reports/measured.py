"""What was measured of one job, as reports take it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from kilowait_scheduler.core.baseline import compact
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.resizing import Size, as_long_as_on, gpu_hours, on_size, stints_of
from kilowait_scheduler.core.savings import Resized, useful_and_overhead
from kilowait_scheduler.core.state import Phase


@dataclass(frozen=True)
class Measured:
    """What was measured of one job: its record and the energy of its runs."""

    record: JobRecord
    course: Course

    @cached_property
    def useful_and_overhead(self) -> tuple[Course, Course]:
        """The energy that went into the work, and what being carbon-aware (or a failure) cost on top."""
        state = self.record.state
        return useful_and_overhead(self.course, runs=state.runs, restart_s=state.restart_s)

    @cached_property
    def resized(self) -> Resized | None:
        """Its useful work on other numbers of GPUs; None of a job of one size."""
        record, (useful, _) = self.record, self.useful_and_overhead
        stints = stints_of(record.state)
        if not record.elastic or not stints:
            return None
        size, best = (Size(gpus, record.state.speed_on(gpus)) for gpus in (record.gpus, record.best_size))
        return Resized(
            on_size(useful, stints, size), as_long_as_on(useful, stints, size), on_size(useful, stints, best)
        )

    @property
    def through(self) -> Course:
        """The useful work as counterfactuals do it, on the baseline's number of GPUs; without pauses if resized."""
        return self.resized.through if self.resized is not None else self.useful_and_overhead[0]

    @cached_property
    def worked(self) -> timedelta:
        """How long that takes without a pause; zero where none was measured."""
        return compact(self.through)[1]

    @property
    def useful_gpu_h(self) -> float:
        """GPU-hours that went into the work."""
        useful, _ = self.useful_and_overhead
        if self.resized is None:
            return self.record.gpus * (self.worked / timedelta(hours=1))
        return gpu_hours(useful, stints_of(self.record.state))

    @property
    def in_time(self) -> bool:
        """Whether it succeeded by its deadline: how it ran is then one of the ways in which it could have run."""
        state = self.record.state
        finished = state.finished_at if state.phase is Phase.SUCCEEDED else None
        return finished is not None and finished <= self.record.spec.due
