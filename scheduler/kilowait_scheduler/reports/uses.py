"""Energy and carbon by region and month: what books that are kept per account, region and month ask for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kilowait_forecasters.errors import ForecastersError
from kilowait_scheduler.core.carbon import Emission
from kilowait_scheduler.core.clean import Clean, MarketBased, Scope2, scope2
from kilowait_scheduler.core.course import Course, from_us, to_us
from kilowait_scheduler.core.hours import by_hour
from kilowait_scheduler.core.integral import Integral, emissions_of
from kilowait_scheduler.core.money import Tariff
from kilowait_scheduler.core.months import months_of
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.core.stack import Stack

from .model import JobLine, Scope2Line, Use

Place = tuple[str, str]
"""Region and month of the report's time zone, `2026-11`."""


@dataclass(frozen=True)
class Drawn:
    """What a job drew and emitted; `made` is the embodied carbon by place, and names where GPUs were held."""

    course: Course
    whole: Emission
    made: Mapping[Place, Range | None]


def uses_of(
    jobs: Sequence[Drawn],
    *,
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
    tariffs: Mapping[str, Tariff | None],
    clean: Mapping[str, Clean],
    timezone: str,
) -> list[tuple[Use, ...]]:
    """Of each job its uses by region and month of `timezone`, in order; `clean` is what contracts cover, of the regions
    that have any.

    Raises the series' Gap or OutOfRange where realised values are missing.
    """
    parts, places, of = _by_place(Stack.of([job.course for job in jobs]), timezone)
    drawn: list[dict[Place, Emission]] = [{} for _ in jobs]
    contracted: list[dict[Place, Scope2]] = [{} for _ in jobs]
    emitted = emissions_of(parts, intensity=intensity, pue=pue)
    for job, where, emission in zip(of, places, emitted, strict=True):
        if isinstance(emission, ForecastersError):
            raise emission
        drawn[job][where] = emission
    for region in clean.keys() & {where[0] for where in places}:
        numbers = [number for number, where in enumerate(places) if where[0] == region]
        there = Stack.of([parts.course(number) for number in numbers])
        hourly = by_hour(there, intensity=intensity[region], pue=pue[region])
        for number, pieces in zip(numbers, hourly, strict=True):
            contracted[of[number]][places[number]] = scope2(pieces, clean[region])
    found = []
    for one, total, covered in zip(jobs, drawn, contracted, strict=True):
        if len(total) == 1:  # nearly every job is in one place, and then what is known of it as a whole is all there is
            total.update(dict.fromkeys(total, one.whole))
        order = sorted({*total, *one.made}, key=lambda place: (place[1], place[0]))
        found.append(
            tuple(
                _use(
                    where, total.get(where), covered.get(where), made=one.made.get(where), tariff=tariffs.get(where[0])
                )
                for where in order
            )
        )
    return found


def _by_place(courses: Stack, timezone: str) -> tuple[Stack, list[Place], list[int]]:
    """The rows of each course in each region and month, those over the turn of a month in two; of each such part where
    it is and whose."""
    if not len(courses.rows):
        return Stack.of([]), [], []
    first, last = from_us(int(courses.rows.start_us.min())), from_us(int(courses.rows.end_us.max()))
    months = list(months_of(first, last, timezone))
    edges = np.array([to_us(start) for _, start, _ in months[1:]], dtype=np.int64)
    begin = np.searchsorted(edges, courses.rows.start_us, side="right")
    crossing = np.flatnonzero(np.searchsorted(edges, courses.rows.end_us, side="left") > begin)
    turns = [
        (edge, int(courses.number[row]))
        for row in crossing.tolist()
        for edge in edges[begin[row] : np.searchsorted(edges, courses.rows.end_us[row], side="left")].tolist()
    ]
    cuts = np.array(turns, dtype=np.int64).reshape(-1, 2)
    pieces = courses.split(cuts[:, 0], cuts[:, 1])
    rows, number = pieces.rows, pieces.number
    month = np.searchsorted(edges, rows.start_us, side="right")
    order = np.lexsort((month, rows.place, number))
    keys = np.column_stack((number, rows.place, month))[order]
    firsts = np.concatenate(([0], np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1))
    parts = Stack(rows.rows(order), np.append(firsts, len(order)))
    told = keys[firsts].tolist()
    return parts, [(rows.regions[place], months[index][0]) for _, place, index in told], [job for job, _, _ in told]


def _use(
    where: Place, used: Emission | None, contracted: Scope2 | None, *, made: Range | None, tariff: Tariff | None
) -> Use:
    region, month = where
    if used is None:
        return Use(region, month, None, None, made)
    cost = tariff.of(used.energy_kwh) if tariff is not None else None
    market = contracted.market_based if contracted is not None else None
    matched = contracted.matched_kwh if contracted is not None else None
    return Use(region, month, used.energy_kwh, used.carbon_g, made, cost, market, matched)


def regions_of(line: JobLine) -> tuple[str, ...]:
    """Where a job ran, in order, each once; by its energy where none of its runs was seen to run."""
    named = [window.region for window in line.windows] or [use.region for use in line.uses]
    return tuple(dict.fromkeys(named))


def market_based_of(uses: Iterable[Use]) -> MarketBased | None:
    """The sum; None where there is none, or one with energy is not known."""
    found = [use.market_based for use in uses if use.energy_kwh is not None]
    known = [grams for grams in found if grams is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(found) else None


def matched_of(uses: Iterable[Use]) -> tuple[float | None, float | None]:
    """(kWh that clean supply matched hour by hour, its share in percent); None where of some energy it is not known."""
    drawn = [(use.energy_kwh, use.hourly_matched_kwh) for use in uses if use.energy_kwh is not None]
    known = [matched for _, matched in drawn if matched is not None]
    if not known or len(known) < len(drawn):
        return None, None
    total = sum(kwh for kwh, _ in drawn)
    return sum(known), 100 * sum(known) / total if total else None


def scope2_lines(lines: Iterable[JobLine]) -> tuple[Scope2Line, ...]:
    """By region and month, of all jobs together; none where no region has contracts or a residual mix."""
    places: dict[Place, list[Use]] = {}
    for line in lines:
        for use in line.uses:
            if use.energy_kwh is not None:
                places.setdefault((use.month, use.region), []).append(use)
    found = tuple(
        Scope2Line(
            region,
            month,
            sum(use.energy_kwh or 0.0 for use in uses),
            sum(use.carbon_g or 0.0 for use in uses),
            market_based_of(uses),
            *matched_of(uses),
        )
        for (month, region), uses in sorted(places.items())
    )
    return found if any(line.market_based is not None for line in found) else ()
