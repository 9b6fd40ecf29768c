"""What each baseline would have done with the jobs of a report, from what was known. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError, Gap
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.baseline import Arrival, Counterfactual, Place, place, run_now_starts
from kilowait_scheduler.core.duration import format_duration
from kilowait_scheduler.core.policies import Chance, Policy, known_since
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region

from .units import dated

# How far back static-clean looks for the region that is cleanest in the long run, as far as that is known everywhere.
LONG_RUN = timedelta(days=365)

# Of what is known for less, the mean says nothing of the long run: four weeks are asked for, from the first submission
# back, so of its day a part may be missing.
_LEAST_KNOWN = timedelta(days=27)

Worked = Mapping[str, timedelta]
"""How long the useful work of each job took so far, by job id, where it is known: zero where none was kept."""


@dataclass(frozen=True)
class Known:
    """A forecast of a zone as it was issued, and by whom."""

    issued_at: datetime
    source: str
    series: IntensitySeries


# The last forecast of a job's home that had been archived when it was submitted; None where there is none.
Archive = Callable[[JobRecord], Known | None]


def queue_for(records: Iterable[JobRecord], *, start: datetime, end: datetime) -> list[JobRecord]:
    """The jobs that the baseline of those submitted in [start, end) depends on: them, and all ahead of any of them."""
    records = list(records)
    last = max((_place(record) for record in records if start <= record.submitted_at < end), default=None)
    return [record for record in records if last is not None and _place(record) <= last]


def run_now(
    worked: Worked,
    *,
    queue: Sequence[JobRecord],
    regions: Sequence[Region],
    elsewhere: Mapping[str, tuple[str, str]] | None = None,
) -> dict[str, Counterfactual]:
    """run-now@1 for every job of `queue` whose work is known, by job id.

    `queue` must hold all jobs ahead of those whose baseline is to be used (see `queue_for`), whichever period or team
    is asked about: they took home's GPUs all the same, those without readings for as long as their runs did what was
    kept. A job of no work stands in nobody's way. `elsewhere`: (region, grounds) in place of home, by job id.
    """
    capacity = {region.name: region.capacity_gpus for region in regions}
    there = elsewhere or {}
    still_open: dict[str, Place] = {}
    arrivals = []
    for record in sorted(queue, key=_place):
        region, _ = there.get(record.id, (record.home, ""))
        if not record.state.phase.final and record.gpus <= capacity.get(region, 0):
            still_open.setdefault(region, _place(record))
        length = worked[record.id] if record.id in worked else _ran(record)
        if length or record.id in worked:
            earliest = record.spec.earliest
            arrivals.append(Arrival(record.id, record.submitted_at, record.gpus, length, region, earliest))
    starts = run_now_starts(arrivals, capacity=capacity)
    return {
        arrival.job_id: Counterfactual(
            arrival.home,
            ((starts[arrival.job_id], starts[arrival.job_id] + arrival.duration),),
            settled=not arrival.duration or arrival.home not in still_open or arrival.place < still_open[arrival.home],
            grounds=there.get(arrival.job_id, ("", ""))[1],
        )
        for arrival in arrivals
        if arrival.job_id in worked
    }


def _ran(record: JobRecord) -> timedelta:
    """How long its runs that have ended did what was kept."""
    spans = [
        (run.kept_until or run.ended_at) - run.started_at
        for run in record.state.runs
        if run.started_at is not None and run.ended_at is not None
    ]
    return sum(spans, timedelta(0))


def mean_start(worked: Worked, *, queue: Sequence[JobRecord]) -> dict[str, Counterfactual]:
    """mean-start@1 for every job of `queue` whose work is known, by job id; a job that had no slack ran at once."""
    found = {}
    for record in queue:
        if record.id in worked:
            chance = _chance(record, worked[record.id])
            window = chance.ready, chance.ready + chance.length
            found[record.id] = Counterfactual(record.home, (window,), slack=chance.latest - chance.ready)
    return found


def static_clean(
    worked: Worked, *, queue: Sequence[JobRecord], regions: Sequence[Region], intensity: Mapping[str, IntensitySeries]
) -> dict[str, Counterfactual]:
    """static-clean@1: as run-now, in the allowed region with the lowest mean intensity times PUE before that day.

    `intensity`: all that is known, by region name. The mean is over the same span for all regions: up to a year before
    the day (UTC) of the submission, as far as all are known without a gap. A region of which less than four weeks are
    known by then is not looked at where another is known for longer, and one of which nothing is known never; where
    home is the only one left, the job stays there.
    """
    chosen: dict[tuple[datetime, str, tuple[str, ...]], tuple[str, str]] = {}
    elsewhere = {}
    for record in queue:
        day = record.submitted_at.replace(hour=0, minute=0, second=0, microsecond=0)
        key = day, record.home, record.regions
        if key not in chosen:
            chosen[key] = _cleanest(record, day, regions=regions, intensity=intensity)
        elsewhere[record.id] = chosen[key]
    return run_now(worked, queue=queue, regions=regions, elsewhere=elsewhere)


def _cleanest(
    record: JobRecord, day: datetime, *, regions: Sequence[Region], intensity: Mapping[str, IntensitySeries]
) -> tuple[str, str]:
    """The region, and the means that made it; home before its equals."""
    pue = {region.name: region.pue for region in regions}
    names = sorted(record.regions, key=lambda name: name != record.home)
    since = {
        name: begin
        for name in names
        if name in intensity and name in pue and (begin := known_since(intensity[name], day, most=LONG_RUN)) < day
    }
    if not since:
        return record.home, "no intensity is known from before its day: it stays at home"
    short = [name for name in since if day - since[name] < _LEAST_KNOWN]
    if len(short) < len(since):
        since = {name: begin for name, begin in since.items() if name not in short}
    else:
        short = []
    first = max(since.values())
    means = {name: intensity[name].mean(first, day) * pue[name] for name in since}
    best = min(means, key=means.__getitem__)
    said = ", ".join(f"{name} {means[name]:.0f}" for name in means)
    left_out = f"; left out, as less than four weeks are known: {', '.join(short)}" if short else ""
    span = format_duration(day - first)
    return best, f"means of {span} before {day:%Y-%m-%d}, PUE included, in g/kWh: {said}{left_out}"


def by_policy(
    worked: Worked,
    *,
    queue: Sequence[JobRecord],
    policy: Policy,
    forecasts: bool,
    intensity: Mapping[str, IntensitySeries],
    archive: Archive,
) -> tuple[dict[str, Counterfactual], dict[str, str]]:
    """What a simpler policy would have done with each job of `queue` whose work is known, or why it is unknown; by id.

    With `forecasts` it chooses on the one that was archived when the job was submitted, where that reaches to the
    deadline; else, and without, on realised intensity. Which of the two is said in the grounds.
    """
    found: dict[str, Counterfactual] = {}
    missing: dict[str, str] = {}
    for record in queue:
        if record.id not in worked:
            continue
        chance = _chance(record, worked[record.id])
        if not chance.length:  # nothing to choose for
            found[record.id] = Counterfactual(record.home, ((chance.ready, chance.ready),))
            continue
        try:
            known, on = _known(record, chance, intensity=intensity, archive=archive if forecasts else None)
            choice = policy(chance, known)
        except ForecastersError as error:
            missing[record.id] = f"no figure yet: the policy chooses on what came until its deadline: {error}"
            continue
        grounds = "; ".join(part for part in (on, choice.grounds) if part)
        found[record.id] = Counterfactual(record.home, choice.windows, grounds=grounds)
    return found, missing


def _known(
    record: JobRecord, chance: Chance, *, intensity: Mapping[str, IntensitySeries], archive: Archive | None
) -> tuple[IntensitySeries, str]:
    """What the policy chooses on, and its name. Raises OutOfRange or Gap where nothing of the kind is known."""
    forecast = archive(record) if archive is not None else None
    realised = intensity.get(record.home)
    if forecast is not None and (realised is None or realised.signal == forecast.series.signal):
        series, late = forecast.series, False
        if chance.ready < series.start and realised is not None:
            before = realised.between(chance.ready, series.start)
            late = len(before.slots) > 1  # the slot that it was made in can be known; what follows could not
            series = series.extended(before)
        if not late and series.covers(chance.ready, max(chance.due, chance.ready + chance.length)):
            return series, f"on the forecast of {dated(forecast.issued_at)} UTC by {forecast.source}"
    if realised is None:
        raise Gap(f"no intensity for region {record.home}")
    if archive is None:
        return realised, "on intensity as it came"
    return realised, f"on realised intensity, as the forecast of its time {_lacks(forecast, chance)}"


def _lacks(forecast: Known | None, chance: Chance) -> str:
    if forecast is None:
        return "is not archived"
    return "ends before its deadline" if forecast.series.end < chance.due else "begins too late"


def _chance(record: JobRecord, length: timedelta) -> Chance:
    ready, _, _ = _place(record)
    return Chance(ready, record.spec.due, length, record.spec.suspendable)


def _place(record: JobRecord) -> Place:
    return place(job_id=record.id, submitted_at=record.submitted_at, earliest=record.spec.earliest)
