"""Intensity integrated over time, and what courses of energy emit on it: `carbon` (slotwise@1) in columns."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.intensity import IntensitySeries

from .carbon import MJ_PER_KWH, Emission
from .course import Course, Floats, Ints, from_us, to_us
from .stack import Stack

_ROWS_AT_ONCE = 512  # of which a matrix with the slots is made


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
        """Integrals over [start, end), and what of them rests on estimates; nan where some of it is not known."""
        first = np.searchsorted(self._starts, start_us, side="right") - 1
        last = np.searchsorted(self._starts, end_us, side="left") - 1
        known = (first >= 0) & (last >= 0)
        first, last = np.maximum(first, 0), np.maximum(last, 0)
        known &= (end_us <= self._ends[last]) & (start_us < self._ends[first])
        known &= self._stretch[first] == self._stretch[last]
        whole = self._between(self._grams, self._sums, first, last, start_us, end_us)
        if self._any_estimated:
            guessed = self._between(self._estimated, self._estimated_sums, first, last, start_us, end_us)
        else:
            guessed = np.zeros(len(whole))
        return np.where(known, whole, np.nan), guessed

    def delayed(self, start_us: Ints, end_us: Ints, *, slack_us: int) -> tuple[Floats, Floats]:
        """`over` of spans that all begin later by a time drawn evenly from [0, slack], on average, exactly.

        A moment y counts as often as delays put it inside [s, e): the integral of that count up to y is
        q(y-s) - q(y-e) - q(y-s-slack) + q(y-e-slack), with q(z) = z^2/2 where z > 0.
        """
        whole, _ = self.over(start_us, end_us + slack_us)
        guessed = np.zeros(len(whole))
        known = np.flatnonzero(~np.isnan(whole))
        for rows in np.array_split(known, len(known) // _ROWS_AT_ONCE + 1):
            if not len(rows):
                continue
            first = np.searchsorted(self._starts, start_us[rows].min(), side="right") - 1
            last = np.searchsorted(self._starts, end_us[rows].max() + slack_us, side="left")
            length = (end_us - start_us)[rows][:, None].astype(np.float64)
            reach = (self._ends[None, first:last] - start_us[rows][:, None]).astype(np.float64)
            a, b, c, d = (np.maximum(reach - less, 0.0) ** 2 / 2 for less in (0.0, length, slack_us, length + slack_us))
            spent_us = np.diff((a - b - c + d) / slack_us, axis=1, prepend=0.0)
            whole[rows] = spent_us @ self._grams[first:last]
            guessed[rows] = spent_us @ self._estimated[first:last]
        return whole, guessed

    def missing(self, start_us: int, end_us: int) -> ForecastersError:
        """What is not known of a span that `over` has no number for: the series' OutOfRange or Gap."""
        try:
            list(self.series.split(from_us(start_us), from_us(end_us)))
        except ForecastersError as error:
            return error
        raise AssertionError("all of it is known")

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


def emissions_of(
    stack: Stack, *, intensity: Mapping[str, Integral], pue: Mapping[str, float]
) -> list[Emission | ForecastersError]:
    """Carbon of each course, every row on its own region's intensity and PUE; where of a row it is not known, the
    series' OutOfRange or Gap in its place."""
    rows = stack.rows
    grams, guessed, kwh = np.zeros(len(rows)), np.zeros(len(rows)), rows.energy_mj / MJ_PER_KWH
    for index, name in enumerate(rows.regions):
        here = np.flatnonzero(rows.place == index)
        if not len(here):
            continue
        start_us, end_us = rows.start_us[here], rows.end_us[here]
        grams_us, guessed_us = intensity[name].over(start_us, end_us)
        kwh[here] *= pue[name]
        per_us = kwh[here] / (end_us - start_us)
        grams[here] = per_us * grams_us
        guessed[here] = np.where(rows.estimated[here], grams[here], per_us * guessed_us)
    doubt = np.abs(grams) * rows.uncertainty_pct
    columns = (stack.sums(values).tolist() for values in (grams, kwh, guessed, doubt))
    found: list[Emission | ForecastersError] = [
        Emission(g, e, by, d / 100) for g, e, by, d in zip(*columns, strict=True)
    ]
    unknown = np.flatnonzero(np.isnan(grams))
    for row in unknown[np.unique(stack.number[unknown], return_index=True)[1]].tolist():
        known = intensity[rows.regions[rows.place[row]]]
        found[int(stack.number[row])] = known.missing(int(rows.start_us[row]), int(rows.end_us[row]))
    return found


def emission_of(course: Course, *, intensity: Mapping[str, Integral], pue: Mapping[str, float]) -> Emission:
    """Carbon of one course. Raises the series' OutOfRange or Gap."""
    (found,) = emissions_of(Stack.of([course]), intensity=intensity, pue=pue)
    if isinstance(found, ForecastersError):
        raise found
    return found
