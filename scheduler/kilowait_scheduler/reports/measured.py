"""What was measured of one job, as reports take it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property

from kilowait_scheduler.core.baseline import compact
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.savings import useful_and_overhead
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
    def worked(self) -> timedelta:
        """How long the useful work takes without a pause; zero where none was measured."""
        useful, _ = self.useful_and_overhead
        return compact(useful)[1]

    @property
    def in_time(self) -> bool:
        """Whether it succeeded by its deadline: how it ran is then one of the ways in which it could have run."""
        state = self.record.state
        finished = state.finished_at if state.phase is Phase.SUCCEEDED else None
        return finished is not None and finished <= self.record.spec.due
