"""One job at a time, as most tests look at them: each of these is the case of one of what is done to many together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_scheduler.core import baseline, overhead, savings
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.integral import Integral
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.stack import Stack
from kilowait_scheduler.core.state import Run
from kilowait_scheduler.reports import measured
from kilowait_scheduler.reports.measured import Measured


def useful_and_overhead(course: Course, *, runs: Sequence[Run], restart_s: float) -> tuple[Course, Course]:
    useful, lost = overhead.useful_and_overhead(Stack.of([course]), [(runs, restart_s)])
    return useful.rows, lost.rows


def split(course: Course, edges_us: Sequence[int]) -> Course:
    edges = np.array(edges_us, dtype=np.int64)
    return Stack.of([course]).split(edges, np.zeros_like(edges)).rows


def compact(course: Course) -> tuple[Course, timedelta]:
    packed, length_us = Stack.of([course]).compacted()
    return packed.rows, timedelta(microseconds=int(length_us[0]))


def laid(course: Course, places: Sequence[baseline.Stay]) -> Course:
    return baseline.laid(Stack.of([course]), [places]).rows


def saved(
    *,
    useful: Course,
    overhead: Course,
    against: baseline.Counterfactual,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
    resized: savings.Resized | None = None,
) -> savings.Savings:
    case = savings.Case(useful, overhead, against, resized)
    (found,) = savings.savings([case], intensity=intensity, pue=pue)
    if isinstance(found, ForecastersError):
        raise found
    return found


def measured_of(record: JobRecord, course: Course) -> Measured:
    (found,) = measured.measured([(record, course)])
    return found
