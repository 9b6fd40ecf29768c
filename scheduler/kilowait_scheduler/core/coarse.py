"""Five minutes of readings as one row: what reports go by, however short the step of the meters is.

Agents send a reading per device every half minute: a year of them is too much to read for each report, and no grid says
its intensity for less than five minutes. Carbon on slots of five minutes and of multiples of them is the same by these
rows as by the readings, for both are integrated pro rata to time (slotwise@1).
"""

from __future__ import annotations

import numpy as np

from .course import Course, Flags, Ints
from .stack import Stack, offsets

STEP_US = 300 * 1_000_000


def coarsened(courses: Stack, edges_us: Ints, of: Ints) -> Stack:
    """The same energy in fewer rows, each course by start, end and energy; no row lies across an edge of its course
    (`edges_us`, of the courses `of`, as in `Stack.split`).

    Rows shorter than five minutes are cut at multiples of five minutes. Those within the same five minutes, of one
    region and kind (estimated or not), that touch in time become one, and so do longer ones of the same span; its
    uncertainty is their mean by energy. A course's energy stays the same to the millijoule, and so does the time that
    it covers; doing it again changes nothing.
    """
    cut = courses.split(edges_us, of)
    rows, number = cut.rows, cut.number
    last = (rows.end_us - 1) // STEP_US
    across = (rows.end_us - rows.start_us < STEP_US) & (rows.start_us // STEP_US < last)
    cut = cut.split(last[across] * STEP_US, number[across])
    rows, number = cut.rows, cut.number
    add = cut.axis(edges_us, of)
    passed = np.searchsorted(np.sort(edges_us + add[of]), rows.start_us + add[number], side="right")
    slot, last = rows.start_us // STEP_US, (rows.end_us - 1) // STEP_US
    slot[slot != last] = -1
    name = np.argsort(np.argsort(rows.regions))  # their numbers depend on what else is in the stack
    keys = (number, slot, name[rows.place], rows.estimated, passed)
    order = np.lexsort((rows.end_us, rows.start_us, *reversed(keys)))
    rows, slot = rows.rows(order), slot[order]
    new = _changes(*(key[order] for key in keys))
    new |= (slot < 0) & _changes(rows.start_us, rows.end_us)
    new |= (slot >= 0) & _apart(rows, slot, np.cumsum(new))
    counts = np.bincount(number[order][new], minlength=len(courses))
    return Stack(_summed(rows, np.flatnonzero(new)), offsets(counts)).sorted()


def _changes(*columns: Ints | Flags) -> Flags:
    """Whether each row has another value in any column than the row before it; the first one has."""
    found: Flags = np.ones(len(columns[0]), dtype=np.bool_)
    found[1:] = False
    for column in columns:
        found[1:] |= column[1:] != column[:-1]
    return found


def _apart(rows: Course, slot: Ints, group: Ints) -> Flags:
    """Whether each row begins later than all of its group before it have ended; of rows in a slot, as all of the group
    then are."""
    begin = np.where(slot >= 0, slot * STEP_US, rows.end_us) - group * (2 * STEP_US)
    start, end = rows.start_us - begin, rows.end_us - begin
    found: Flags = np.zeros(len(rows), dtype=np.bool_)
    found[1:] = start[1:] > np.maximum.accumulate(end)[:-1]
    return found


def _summed(rows: Course, firsts: Ints) -> Course:
    """One row for each group of consecutive ones, which begin at `firsts`."""
    if not len(rows):
        return rows
    energy = np.add.reduceat(rows.energy_mj, firsts)
    doubt = np.add.reduceat(rows.energy_mj * rows.uncertainty_pct, firsts)
    highest = np.maximum.reduceat(rows.uncertainty_pct, firsts)
    alike = highest == np.minimum.reduceat(rows.uncertainty_pct, firsts)
    mean = np.divide(doubt, energy, out=highest.copy(), where=~alike & (energy > 0))
    return Course(
        np.minimum.reduceat(rows.start_us, firsts),
        np.maximum.reduceat(rows.end_us, firsts),
        energy,
        rows.place[firsts],
        mean,
        rows.estimated[firsts],
        rows.regions,
    )
