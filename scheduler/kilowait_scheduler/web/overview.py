"""What the overview shows: jobs, regions with their forecast, budgets. Gathered from a server, ready for a template."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

from kilowait_forecasters.forecast import Forecast
from kilowait_scheduler.core.reasons import explained
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState, Phase
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.reports import timeline
from kilowait_scheduler.reports.model import JobLine, Report
from kilowait_scheduler.reports.slots import Slot, top_of
from kilowait_scheduler.reports.units import moment
from kilowait_scheduler.service.allowances import BudgetStatus
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.grid import ZoneView

from .phrases import health_words, relative, spoken

_SHORTEST, _LONGEST = timedelta(hours=24), timedelta(hours=48)
_RECENT = 8


@dataclass(frozen=True)
class JobRow:
    """A job that has not ended. `progress` is 0..1; `late` where its plan ends after its deadline."""

    record: JobRecord
    why: str
    progress: float
    done: str
    next: Window | None
    next_words: str
    more_windows: int
    deadline_words: str
    late: bool


@dataclass(frozen=True)
class RegionCard:
    """A region: intensity now, how it will go, what is planned, and how far both words can be trusted."""

    region: Region
    now_g_per_kwh: float | None
    lowest: tuple[float, datetime] | None
    highest: tuple[float, datetime] | None
    picture: Markup | None
    health: str
    unwell: bool
    source: str
    notes: tuple[str, ...]
    problem: str


@dataclass(frozen=True)
class Overview:
    now: datetime
    speed: float
    round_words: str
    jobs: tuple[JobRow, ...]
    counts: dict[str, int]
    recent: tuple[JobLine, ...]
    regions: tuple[RegionCard, ...]
    budgets: tuple[BudgetStatus, ...]


def gather(server: Server, report: Report | None) -> Overview:
    """All of it, as of now; reads the database, so not for an event loop."""
    now = server.clock.now()
    records = sorted(server.store.active_jobs(), key=lambda record: (record.spec.due, record.id))
    counts = {phase.value: 0 for phase in Phase if not phase.final}
    for record in records:
        counts[record.state.phase.value] += 1
    ticked = server.control.ticked_at
    return Overview(
        now=now,
        speed=server.clock.speed,
        round_words=relative(ticked, now=now) if ticked else "not yet",
        jobs=tuple(job_row(record, now=now) for record in records),
        counts={word: count for word, count in counts.items() if count},
        recent=_recent(report),
        regions=_cards(server, records, now=now),
        budgets=tuple(server.allowances.statuses()),
    )


def job_row(record: JobRecord, *, now: datetime) -> JobRow:
    """How a job stands at `now`."""
    state, due = record.state, record.spec.due
    ahead = [window for window in state.windows if window.end > now]
    progress = progress_of(state, now=now)
    return JobRow(
        record=record,
        why=why(state),
        progress=progress,
        done=_done_words(progress, timedelta(seconds=state.work_s)),
        next=ahead[0] if ahead else None,
        next_words=_next_words(ahead[0], now=now) if ahead else "",
        more_windows=max(0, len(ahead) - 1),
        deadline_words=f"{spoken(due - now)} left" if due > now else f"passed {spoken(now - due)} ago",
        late=due <= now or (bool(ahead) and ahead[-1].end > due),
    )


def _done_words(progress: float, work: timedelta) -> str:
    return f"{spoken(progress * work)} of {spoken(work)}" if progress else f"{spoken(work)} of work"


def why(state: JobState) -> str:
    """The sentence for a job's state, with its particulars."""
    return explained(state.reason, state.detail)


def progress_of(state: JobState, *, now: datetime) -> float:
    """Share of the work that is done, 0..1, what the live run has got through included."""
    if state.phase is Phase.SUCCEEDED:
        return 1.0
    left = min(state.time_left_s(now), state.work_s) if state.live_run is not None else state.work_s
    return min(1.0, max(state.done_s, state.work_s - left) / state.work_s)


def _next_words(window: Window, *, now: datetime) -> str:
    if window.contains(now):
        return f"open, {spoken(window.end - now)} left"
    return relative(window.start, now=now)


def _recent(report: Report | None) -> tuple[JobLine, ...]:
    ended = [(job.finished_at, job) for job in (report.jobs if report else ()) if job.finished_at is not None]
    return tuple(job for _, job in sorted(ended, key=lambda pair: pair[0], reverse=True)[:_RECENT])


def _cards(server: Server, records: Sequence[JobRecord], *, now: datetime) -> tuple[RegionCard, ...]:
    regions = server.store.regions()
    views = {region.name: server.grid.view(region.zone) for region in regions}
    ends = [view.forecast.series.end for view in views.values() if view.forecast]
    end = min(max([*ends, now + _SHORTEST]), now + _LONGEST)
    slots = {name: forecast_slots(view.forecast, start=now, end=end) for name, view in views.items()}
    top = top_of(slot for found in slots.values() for slot in found)
    cards = []
    for number, region in enumerate(regions):
        view = views[region.name]
        panel = timeline.Panel("", "", slots[region.name], spans_in(region.name, records, now=now))
        drawn = timeline.draw(
            timeline.Timeline(
                id_=f"region-{number}",
                title=f"Forecast intensity of {region.name} and what is planned there",
                desc=f"Grams CO2e per kWh from {moment(now)} to {moment(end)} UTC, with "
                f"{len(panel.spans)} windows of jobs; the table of jobs lists them.",
                start=now,
                end=end,
                panels=[panel],
                top=top,
                ran="running",
                estimated="typical day or estimate",
            )
        )
        cards.append(_card(server, region, view, slots[region.name], drawn, now=now))
    return tuple(cards)


def _card(
    server: Server, region: Region, view: ZoneView, slots: Sequence[Slot], drawn: Markup, *, now: datetime
) -> RegionCard:
    health, unwell = health_words(server.control.health.get(region.name))
    low = min(slots, key=lambda slot: slot.g_per_kwh, default=None)
    high = max(slots, key=lambda slot: slot.g_per_kwh, default=None)
    return RegionCard(
        region=region,
        now_g_per_kwh=slots[0].g_per_kwh if slots and slots[0].start <= now < slots[0].end else None,
        lowest=(low.g_per_kwh, low.start) if low else None,
        highest=(high.g_per_kwh, high.start) if high else None,
        picture=drawn if slots else None,
        health=health,
        unwell=unwell,
        source=source_words(view, now=now),
        notes=notes_of(view),
        problem=view.problem,
    )


def source_words(view: ZoneView, *, now: datetime) -> str:
    """Where a forecast comes from and how old it is; a typical day has no age and is called what it is."""
    forecast = view.forecast
    if forecast is None:
        return "no forecast"
    if all(part.note for part in forecast.parts):
        return f"{forecast.source} ({forecast.signal})"
    return f"{forecast.source} ({forecast.signal}), issued {relative(forecast.issued_at, now=now)}"


def notes_of(view: ZoneView) -> tuple[str, ...]:
    """What is not a real forecast in it, from when on, and who did not answer."""
    forecast = view.forecast
    notes = [
        f"from {moment(part.start)} on: {part.note}" if part.start > forecast.series.start else part.note
        for part in (forecast.parts if forecast else ())
        if forecast and part.note
    ]
    return (
        *notes,
        *(f"{attempt.provider} did not answer: {attempt.error}" for attempt in view.attempts if attempt.error),
    )


def forecast_slots(forecast: Forecast | None, *, start: datetime, end: datetime) -> list[Slot]:
    """A forecast's slots that touch [start, end), with its band where it has one."""
    found = []
    for slot in forecast.series.slots if forecast else ():
        if slot.end <= start or slot.start >= end:
            continue
        low = high = None
        if forecast and forecast.low and forecast.high:
            low, high = forecast.low.mean(slot.start, slot.end), forecast.high.mean(slot.start, slot.end)
        found.append(Slot(slot.start, slot.end, slot.g_per_kwh, slot.estimated, low, high))
    return found


def spans_in(region: str, records: Sequence[JobRecord], *, now: datetime) -> list[timeline.Span]:
    """What is running and planned in a region from `now` on."""
    spans = []
    for record in records:
        name, live = record.spec.name, record.state.live_run
        here = [w for w in record.state.windows if w.region == region and w.end > now]
        runs_here = live is not None and live.region == region and live.started_at is not None
        spans += [
            timeline.Span(name, window.start, window.end, planned=not (runs_here and window.contains(now)))
            for window in here
        ]
        if runs_here and not any(window.contains(now) for window in here):
            end = now + timedelta(seconds=record.state.time_left_s(now))
            spans.append(timeline.Span(name, now, end, ongoing=True))
    return spans
