"""The course of a job's energy, in columns: what `EnergyInterval` is one row of, for jobs of many readings.

Times are whole microseconds since 1970, energy is integer millijoules; a course is never changed, only made anew. The
method is that of `carbon` (slotwise@1), on the integral of intensity over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from .carbon import MJ_PER_KWH, EnergyInterval

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


def to_us(moment: datetime) -> int:
    """Whole microseconds since 1970."""
    return (moment - _EPOCH) // _US


def from_us(us: int) -> datetime:
    """The moment so many microseconds after 1970."""
    return _EPOCH + timedelta(microseconds=us)


@dataclass(frozen=True, eq=False)
class Course:
    """Energy drawn on spans [start, end), one row each (n,); `place` is the index of its region in `regions`."""

    start_us: Ints
    end_us: Ints
    energy_mj: Ints
    place: Ints
    uncertainty_pct: Floats
    estimated: Flags
    regions: tuple[str, ...]

    @classmethod
    def of(cls, intervals: Iterable[EnergyInterval]) -> Course:
        """The course of these intervals, in their order."""
        rows = list(intervals)
        regions = tuple(dict.fromkeys(one.region for one in rows))
        return cls(
            np.array([to_us(one.start) for one in rows], dtype=np.int64),
            np.array([to_us(one.end) for one in rows], dtype=np.int64),
            np.array([one.energy_mj for one in rows], dtype=np.int64),
            np.array([regions.index(one.region) for one in rows], dtype=np.int64),
            np.array([one.uncertainty_pct for one in rows], dtype=np.float64),
            np.array([one.estimated for one in rows], dtype=np.bool_),
            regions,
        )

    def __len__(self) -> int:
        return len(self.start_us)

    def __iter__(self) -> Iterator[EnergyInterval]:
        """Its rows as intervals."""
        columns = (self.start_us, self.end_us, self.energy_mj, self.place, self.uncertainty_pct, self.estimated)
        for start, end, energy_mj, place, uncertainty_pct, estimated in zip(
            *(c.tolist() for c in columns), strict=True
        ):
            yield EnergyInterval(
                from_us(start), from_us(end), energy_mj, self.regions[place], uncertainty_pct, estimated
            )

    @property
    def kwh(self) -> float:
        """IT energy of all rows."""
        return int(self.energy_mj.sum()) / MJ_PER_KWH

    @property
    def kwh_by_region(self) -> dict[str, float]:
        """IT energy of the rows in each region."""
        return {
            self.regions[index]: int(self.energy_mj[self.place == index].sum()) / MJ_PER_KWH
            for index in np.unique(self.place).tolist()
        }

    @property
    def used(self) -> tuple[str, ...]:
        """The regions that rows are in."""
        return tuple(self.regions[index] for index in np.unique(self.place).tolist())

    def rows(self, index: Ints | Flags | slice) -> Course:
        """Some of the rows, by number, flag or slice."""
        return Course(
            self.start_us[index],
            self.end_us[index],
            self.energy_mj[index],
            self.place[index],
            self.uncertainty_pct[index],
            self.estimated[index],
            self.regions,
        )

    def shifted(self, by_us: int | Ints) -> Course:
        """The same energy at another time; each row by its own span, where there are several."""
        return replace(self, start_us=self.start_us + by_us, end_us=self.end_us + by_us)

    def placed(self, place: Ints, regions: tuple[str, ...]) -> Course:
        """The same energy elsewhere: `place` indexes `regions`, of each row."""
        return replace(self, place=place, regions=regions)


def joined(courses: Sequence[Course]) -> Course:
    """Rows of several courses, one after the other."""
    if not courses:
        return Course.of(())
    kinds = dict.fromkeys(course.regions for course in courses)
    regions = tuple(dict.fromkeys(name for names in kinds for name in names))
    places = {names: np.array([regions.index(name) for name in names], dtype=np.int64) for names in kinds}
    return Course(
        np.concatenate([course.start_us for course in courses]),
        np.concatenate([course.end_us for course in courses]),
        np.concatenate([course.energy_mj for course in courses]),
        np.concatenate([places[course.regions][course.place] for course in courses]),
        np.concatenate([course.uncertainty_pct for course in courses]),
        np.concatenate([course.estimated for course in courses]),
        regions,
    )
