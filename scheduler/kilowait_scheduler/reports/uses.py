"""Energy and carbon by region and month: what books that are kept per account, region and month ask for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

import numpy as np

from kilowait_scheduler.core.carbon import Emission
from kilowait_scheduler.core.clean import Clean, MarketBased, Scope2, by_hour, scope2
from kilowait_scheduler.core.course import Course, Integral, emission_of, from_us, to_us
from kilowait_scheduler.core.money import Tariff
from kilowait_scheduler.core.ranges import Range

from .model import JobLine, Scope2Line, Use

Place = tuple[str, str]
"""Region and month of UTC, `2026-11`."""


def months_of(start: datetime, end: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    """The months of UTC that [start, end) touches, each with its part of it; none where it has no length."""
    while start < end:
        following = month_after(start)
        yield f"{start:%Y-%m}", start, min(following, end)
        start = following


def month_after(moment: datetime) -> datetime:
    """The first moment of the month that follows."""
    year, month = moment.year + moment.month // 12, moment.month % 12 + 1
    return datetime(year, month, 1, tzinfo=UTC)


def uses_of(
    course: Course,
    *,
    whole: Emission,
    made: Mapping[Place, Range | None],
    intensity: Mapping[str, Integral],
    pue: Mapping[str, float],
    tariffs: Mapping[str, Tariff | None],
    clean: Mapping[str, Clean],
) -> tuple[Use, ...]:
    """By region and month, in order; `whole` is the emission of all of the course together.

    `made` is the embodied carbon by place, and names the places where GPUs were held; `clean` is what contracts cover,
    of the regions that have any.

    Raises the series' Gap or OutOfRange where realised values are missing.
    """
    parts = _by_place(course)
    # Nearly every job is in one place, and then what is known of it as a whole is all there is to know.
    total = dict.fromkeys(parts, whole) if len(parts) == 1 else {}
    hours: dict[Place, list[tuple[datetime, float, float]]] = {}
    for where, part in parts.items():
        if where not in total:
            total[where] = emission_of(part, intensity=intensity, pue=pue)
        if where[0] in clean:
            series, factor = intensity[where[0]].series, pue[where[0]]
            hours[where] = [piece for one in part for piece in by_hour(one, intensity=series, pue=factor)]
    contracted = {where: scope2(pieces, clean[where[0]]) for where, pieces in hours.items()}
    return tuple(
        _use(where, total.get(where), contracted.get(where), made=made.get(where), tariff=tariffs.get(where[0]))
        for where in sorted({*total, *made}, key=lambda place: (place[1], place[0]))
    )


def _by_place(course: Course) -> dict[Place, Course]:
    """The rows of each region and month, those over the turn of a month in two."""
    if not len(course):
        return {}
    months = list(months_of(from_us(int(course.start_us.min())), from_us(int(course.end_us.max()))))
    edges = [to_us(start) for _, start, _ in months[1:]]
    pieces = course.split(edges) if edges else course
    number = np.searchsorted(np.array(edges, dtype=np.int64), pieces.start_us, side="right")
    found = {}
    for place, region in enumerate(pieces.regions):
        for index, (month, _, _) in enumerate(months):
            rows = (pieces.place == place) & (number == index)
            if rows.any():
                found[region, month] = pieces.rows(rows)
    return found


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
