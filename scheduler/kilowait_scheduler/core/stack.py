"""Many courses in one pass: their rows one after another, on one axis of time where each has a stretch of its own.

What is done to one course alone is the case of one. A course's result never depends on what else is in the stack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .course import Course, Flags, Floats, Ints, joined


def offsets(counts: Sequence[int] | Ints | Flags) -> Ints:
    """Where each of several lists of these lengths begins in one long list, and where the last one ends: (n + 1,)."""
    found: Ints = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=found[1:])
    return found


@dataclass(frozen=True, eq=False)
class Stack:
    """Rows of n courses: those of course i are [at[i], at[i + 1])."""

    rows: Course
    at: Ints

    @classmethod
    def of(cls, courses: Sequence[Course]) -> Stack:
        """These courses, in their order."""
        return cls(joined(courses), offsets([len(course) for course in courses]))

    def __len__(self) -> int:
        return len(self.at) - 1

    @cached_property
    def number(self) -> Ints:
        """Of each row, which course it belongs to."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.at))

    @property
    def full(self) -> Flags:
        """Which courses have rows."""
        return self.at[:-1] < self.at[1:]

    @property
    def firsts(self) -> Ints:
        """The first row of each course that has any."""
        return self.at[:-1][self.full]

    def courses(self) -> list[Course]:
        """Each on its own."""
        return [self.course(number) for number in range(len(self))]

    def course(self, number: int) -> Course:
        """One of them."""
        return self.rows.rows(slice(int(self.at[number]), int(self.at[number + 1])))

    def those(self, flags: Flags) -> Stack:
        """Of every course the rows that are flagged."""
        return Stack(self.rows.rows(flags), offsets(flags)[self.at])

    def sums(self, values: Floats) -> Floats:
        """The sum over each course's rows of one value per row: (n,)."""
        found = np.zeros(len(self))
        if len(values):
            found[self.full] = np.add.reduceat(values, self.firsts)
        return found

    def axis(self, times_us: Ints, of: Ints) -> Ints:
        """What to add to times of each course, (n,), so that rows and `times_us` (of the courses `of`) lie in stretches
        of one axis that do not meet, in order of the courses."""
        low, high = np.full(len(self), np.iinfo(np.int64).max), np.full(len(self), np.iinfo(np.int64).min)
        if len(self.rows):
            low[self.full] = np.minimum.reduceat(self.rows.start_us, self.firsts)
            high[self.full] = np.maximum.reduceat(self.rows.end_us, self.firsts)
        np.minimum.at(low, of, times_us)
        np.maximum.at(high, of, times_us)
        nothing = low > high
        low[nothing], high[nothing] = 0, 0
        add: Ints = offsets(high - low + 1)[:-1] - low
        return add

    def sorted(self) -> Stack:
        """Each course by start, end and energy."""
        rows, add = self.rows, self.axis(*_NO_TIMES)[self.number]
        start = rows.start_us + add
        if bool((start[1:] > start[:-1]).all()):
            return self
        return Stack(rows.rows(np.lexsort((rows.energy_mj, rows.end_us + add, start))), self.at)

    def split(self, edges_us: Ints, of: Ints) -> Stack:
        """The same energy in rows that no edge of their course lies inside of, pro rata to time; `of`: whose each edge
        is. The pieces of a row add up to it to the millijoule (see `EnergyInterval.cut`)."""
        rows, number = self.rows, self.number
        add = self.axis(edges_us, of)
        edges = np.unique(edges_us + add[of])
        first = np.searchsorted(edges, rows.start_us + add[number], side="right")
        cuts = np.maximum(np.searchsorted(edges, rows.end_us + add[number], side="left") - first, 0)
        if not cuts.any():
            return self
        at = offsets(cuts + 1)
        whole = np.repeat(np.arange(len(rows), dtype=np.int64), cuts + 1)
        nth = np.arange(len(whole)) - at[whole]
        start_us, end_us = rows.start_us[whole], rows.end_us[whole]
        energy_mj = rows.energy_mj[whole]
        begun, goes_on = nth > 0, nth < cuts[whole]
        start_us[begun] = (edges[(first[whole] + nth - 1)[begun]]) - add[number[whole[begun]]]
        end_us[goes_on] = (edges[(first[whole] + nth)[goes_on]]) - add[number[whole[goes_on]]]
        broken = begun | goes_on
        row = whole[broken]
        # Energy times microseconds does not fit 64 bits.
        long, energy = (rows.end_us - rows.start_us)[row].astype(object), rows.energy_mj[row].astype(object)
        until = energy * (end_us[broken] - rows.start_us[row]) // long
        energy_mj[broken] = (until - energy * (start_us[broken] - rows.start_us[row]) // long).astype(np.int64)
        pieces = replace(rows.rows(whole), start_us=start_us, end_us=end_us, energy_mj=energy_mj)
        return Stack(pieces, at[self.at])

    def compacted(self) -> tuple[Stack, Ints]:
        """Each course pushed together without pauses, from its first row's start on; and its length in microseconds.

        Simultaneous rows (several devices of one gang) stay so: only the time in which none is active is cut out.
        """
        ordered = self.sorted()
        rows, number, firsts = ordered.rows, ordered.number, ordered.firsts
        length = np.zeros(len(self), dtype=np.int64)
        if not len(rows):
            return ordered, length
        add = ordered.axis(*_NO_TIMES)[number]
        reach = np.maximum.accumulate(rows.end_us + add)
        pauses = np.concatenate(([0], np.maximum(rows.start_us[1:] + add[1:] - reach[:-1], 0)))
        pauses[firsts] = 0
        cut = np.cumsum(pauses)
        packed = rows.shifted(cut[ordered.at[number]] - cut)
        length[self.full] = np.maximum.reduceat(packed.end_us, firsts) - packed.start_us[firsts]
        return Stack(packed, ordered.at), length

    def placed(self, regions: Sequence[str]) -> Stack:
        """Each course as a whole in the region named for it."""
        index = {name: number for number, name in enumerate(dict.fromkeys(regions))}
        place = np.array([index[name] for name in regions], dtype=np.int64)
        return Stack(self.rows.placed(place[self.number], tuple(index)), self.at)

    def covered_us(self, start_us: Ints, end_us: Ints, of: Ints) -> Ints:
        """How much of each span [start, end) rows of its course `of` cover, counting what several cover once."""
        ordered = self.sorted()
        rows, add = ordered.rows, ordered.axis(np.concatenate((start_us, end_us)), np.concatenate((of, of)))
        if not len(rows):
            return np.zeros(len(of), dtype=np.int64)
        start, end = rows.start_us + add[ordered.number], rows.end_us + add[ordered.number]
        reach = np.maximum.accumulate(end)
        begins = np.concatenate(([True], start[1:] > reach[:-1]))
        low, high = start[begins], reach[np.concatenate((begins[1:], [True]))]
        before = offsets(high - low)

        def until(moment: Ints) -> Ints:
            index = np.searchsorted(low, moment, side="right") - 1
            known = np.maximum(index, 0)
            return np.where(index < 0, 0, before[known] + np.minimum(moment, high[known]) - low[known])

        found: Ints = until(end_us + add[of]) - until(start_us + add[of])
        return np.maximum(found, 0)


_NO_TIMES = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
