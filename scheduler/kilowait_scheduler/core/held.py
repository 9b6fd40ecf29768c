"""What single devices drew for one job: the rows of its course, each with its device and its run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import numpy as np

from .course import Course, Flags, Floats, Ints

_US_PER_H = timedelta(hours=1) / timedelta(microseconds=1)
# Of two rows that are less than this apart nothing is missing between them.
_SEAM_US = 1_000_000


@dataclass(frozen=True, eq=False)
class Held:
    """Energy on spans, one row each (n,): `device` and `run` are indices into `devices` and `runs`.

    `alone`: all that the device drew was the job's, so that its power is known and not a share of it.
    """

    course: Course
    device: Ints
    run: Ints
    alone: Flags
    devices: tuple[str, ...]
    runs: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.course)

    @property
    def power_w(self) -> Floats:
        """Mean power of each row, W."""
        return self.course.energy_mj / (self.course.end_us - self.course.start_us) * 1000.0

    @property
    def hours(self) -> Floats:
        """Length of each row, h."""
        return (self.course.end_us - self.course.start_us) / _US_PER_H

    @property
    def mean_w(self) -> float:
        """Mean power of a device over all rows; 0 where there is none."""
        return 1000 * self.course.kwh / float(self.hours.sum()) if len(self) else 0.0

    def rows(self, index: Ints | Flags) -> Held:
        """Some of the rows, by number or flag."""
        return Held(
            self.course.rows(index), self.device[index], self.run[index], self.alone[index], self.devices, self.runs
        )

    def by_run(self) -> Iterator[tuple[str, Held]]:
        """The rows of each run."""
        for number in np.unique(self.run).tolist():
            yield self.runs[number], self.rows(self.run == number)

    def below(self, power_w: float, *, at_least: timedelta) -> Flags:
        """Which rows belong to a stretch of one device that stays below a power for so long, or longer."""
        low = np.flatnonzero(self.power_w < power_w)
        found = np.zeros(len(self), dtype=np.bool_)
        if not len(low):
            return found
        low = low[np.lexsort((self.course.start_us[low], self.device[low]))]
        start, end, device = self.course.start_us[low], self.course.end_us[low], self.device[low]
        breaks = (device[1:] != device[:-1]) | (start[1:] > end[:-1] + _SEAM_US)
        stretch = np.concatenate(([0], np.cumsum(breaks)))
        length_us = np.bincount(stretch, weights=end - start)
        found[low] = (length_us >= at_least / timedelta(microseconds=1))[stretch]
        return found
