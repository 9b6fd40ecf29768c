"""The course of a job's energy, in columns: what `EnergyInterval` is one row of, for jobs of many readings.

Times are whole microseconds since 1970, energy is integer millijoules; a course is never changed, only made anew. The
method is that of `carbon` (slotwise@1), on the integral of intensity over time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from kilowait_forecasters.intensity import IntensitySeries

from .carbon import MJ_PER_KWH, Emission, EnergyInterval

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

    def sorted(self) -> Course:
        """By start, end and energy."""
        if len(self) < 2 or bool((self.start_us[1:] > self.start_us[:-1]).all()):
            return self
        return self.rows(np.lexsort((self.energy_mj, self.end_us, self.start_us)))

    def shifted(self, by_us: int | Ints) -> Course:
        """The same energy at another time; each row by its own span, where there are several."""
        return self._with(self.start_us + by_us, self.end_us + by_us, self.place, self.regions)

    def at(self, region: str) -> Course:
        """The same energy in one region."""
        return self._with(self.start_us, self.end_us, np.zeros_like(self.place), (region,))

    def _with(self, start_us: Ints, end_us: Ints, place: Ints, regions: tuple[str, ...]) -> Course:
        return Course(start_us, end_us, self.energy_mj, place, self.uncertainty_pct, self.estimated, regions)

    def split(self, edges_us: Iterable[int]) -> Course:
        """The same energy in rows that no edge lies inside of, pro rata to time; as a sum to the millijoule."""
        edges = np.unique(np.fromiter(edges_us, dtype=np.int64))
        first = np.searchsorted(edges, self.start_us, side="right")
        last = np.searchsorted(edges, self.end_us, side="left")
        broken = first < last
        if not broken.any():
            return self
        pieces: list[EnergyInterval] = []
        for number in np.flatnonzero(broken).tolist():
            (one,) = self.rows(np.array([number]))
            cuts = [one.start, *(from_us(us) for us in edges[first[number] : last[number]].tolist()), one.end]
            pieces += [part for a, b in pairwise(cuts) if (part := one.cut(a, b)) is not None]
        return joined([self.rows(~broken), Course.of(pieces)])


def joined(courses: Sequence[Course]) -> Course:
    """Rows of several courses, one after the other."""
    regions = tuple(dict.fromkeys(name for course in courses for name in course.regions))
    places = [np.array([regions.index(name) for name in course.regions], dtype=np.int64) for course in courses]
    return Course(
        np.concatenate([course.start_us for course in courses]),
        np.concatenate([course.end_us for course in courses]),
        np.concatenate([course.energy_mj for course in courses]),
        np.concatenate([names[course.place] for names, course in zip(places, courses, strict=True)]),
        np.concatenate([course.uncertainty_pct for course in courses]),
        np.concatenate([course.estimated for course in courses]),
        regions,
    )


class Integral:
    """Intensity of one region's zone, integrated over time, in g/kWh times microseconds."""

    def __init__(self, series: IntensitySeries) -> None:
        self.series = series
        slots = series.slots
        self._starts = np.array([to_us(slot.start) for slot in slots], dtype=np.int64)
        self._ends = np.array([to_us(slot.end) for slot in slots], dtype=np.int64)
        self._grams = np.array([slot.g_per_kwh for slot in slots], dtype=np.float64)
        self._estimated = np.where([slot.estimated for slot in slots], self._grams, 0.0)
        lengths = (self._ends - self._starts).astype(np.float64)
        self._sums = np.concatenate(([0.0], np.cumsum(self._grams * lengths)))
        self._estimated_sums = np.concatenate(([0.0], np.cumsum(self._estimated * lengths)))
        self._any_estimated = any(slot.estimated for slot in slots)
        self._stretch = np.concatenate(([0], np.cumsum(self._starts[1:] != self._ends[:-1])))

    def over(self, start_us: Ints, end_us: Ints) -> tuple[Floats, Floats]:
        """Integrals over [start, end), and what of them rests on estimates. Raises the series' OutOfRange or Gap."""
        first = np.searchsorted(self._starts, start_us, side="right") - 1
        last = np.searchsorted(self._starts, end_us, side="left") - 1
        missing = (first < 0) | (last < 0) | (end_us > self._ends[last]) | (start_us >= self._ends[first])
        missing |= self._stretch[first] != self._stretch[last]
        if missing.any():
            number = int(np.flatnonzero(missing)[0])
            list(
                self.series.split(from_us(int(start_us[number])), from_us(int(end_us[number])))
            )  # says what is missing
        if (first == last).all():
            lengths = end_us - start_us
            return self._grams[first] * lengths, self._estimated[first] * lengths
        whole = self._between(self._grams, self._sums, first, last, start_us, end_us)
        if not self._any_estimated:
            return whole, np.zeros(len(whole))
        return whole, self._between(self._estimated, self._estimated_sums, first, last, start_us, end_us)

    def means(self, edges_us: Ints) -> Floats:
        """Mean g/kWh between edges, in order; where nothing is known, some number."""
        knots = np.column_stack((self._starts, self._ends)).ravel().astype(np.float64)
        sums = np.column_stack((self._sums[:-1], self._sums[1:])).ravel()
        integral = np.interp(edges_us.astype(np.float64), knots, sums)
        return np.asarray(np.diff(integral) / np.diff(edges_us))

    def _between(self, values: Floats, sums: Floats, first: Ints, last: Ints, start_us: Ints, end_us: Ints) -> Floats:
        """Within one slot exactly; over several the whole slots between, and the parts of the first and the last."""
        inside = values[first] * (end_us - start_us)
        head = values[first] * (self._ends[first] - start_us)
        tail = values[last] * (end_us - self._starts[last])
        found: Floats = np.where(first == last, inside, head + (sums[last] - sums[first + 1]) + tail)
        return found


def emission_of(course: Course, *, intensity: Mapping[str, Integral], pue: Mapping[str, float]) -> Emission:
    """Carbon of a course, every row on its own region's intensity and PUE. Raises the series' OutOfRange or Gap."""
    total = Emission()
    for index, name in enumerate(course.regions):
        here = course.place == index
        there = course if here.all() else course.rows(here)
        if not len(there):
            continue
        grams_us, estimated_us = intensity[name].over(there.start_us, there.end_us)
        kwh = there.energy_mj / MJ_PER_KWH * pue[name]
        per_us = kwh / (there.end_us - there.start_us)
        grams = per_us * grams_us
        total += Emission(
            float(grams.sum()),
            float(kwh.sum()),
            float(np.where(there.estimated, grams, per_us * estimated_us).sum()),
            float((np.abs(grams) * there.uncertainty_pct).sum()) / 100,
        )
    return total
