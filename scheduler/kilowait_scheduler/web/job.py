"""What the page of one job shows: why it is where it is, its plan, its runs and its journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from markupsafe import Markup

from kilowait_forecasters.errors import ForecastersError
from kilowait_scheduler.core.events import Event
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Run
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.reports import timeline
from kilowait_scheduler.reports.model import JobLine, Report
from kilowait_scheduler.reports.slots import Slot, padded
from kilowait_scheduler.service.compose import Server

from .journal import Entry, entries
from .overview import JobRow, forecast_slots, job_row

# A journal of a job that was replanned for weeks is long; the newest entries are what one looks for.
_NEWEST = 200


@dataclass(frozen=True)
class PlannedWindow:
    """A window ahead, and the forecast's mean in it (None where the forecast does not reach)."""

    window: Window
    g_per_kwh: float | None


@dataclass(frozen=True)
class JobPage:
    """`line` are the job's figures, None where no report could be had; `earlier` counts entries left out."""

    now: datetime
    row: JobRow
    windows: tuple[PlannedWindow, ...]
    runs: tuple[Run, ...]
    journal: tuple[Entry, ...]
    earlier: int
    line: JobLine | None
    picture: Markup | None


def gather(server: Server, job_id: str, report: Report | None) -> JobPage:
    """All of it, as of now. Raises NotFound; reads the database, so not for an event loop."""
    now = server.clock.now()
    record = server.store.job(job_id)
    events = server.store.events(record.id)
    journal = entries(events, record)
    return JobPage(
        now=now,
        row=job_row(record, now=now),
        windows=tuple(_with_forecast(server, window) for window in record.state.windows if window.end > now),
        runs=record.state.runs,
        journal=tuple(reversed(journal[-_NEWEST:])),
        earlier=max(0, len(journal) - _NEWEST),
        line=next((job for job in report.jobs if job.id == record.id), None) if report else None,
        picture=_picture(server, record, report, events, now=now),
    )


def _with_forecast(server: Server, window: Window) -> PlannedWindow:
    zone = next((region.zone for region in server.store.regions() if region.name == window.region), "")
    forecast = server.grid.view(zone).forecast
    if forecast is None:
        return PlannedWindow(window, None)
    try:
        return PlannedWindow(window, forecast.series.mean(window.start, window.end))
    except ForecastersError:
        return PlannedWindow(window, None)


def _picture(
    server: Server, record: JobRecord, report: Report | None, events: Sequence[Event], *, now: datetime
) -> Markup | None:
    """Intensity of the allowed regions from submission to deadline: what turned out, and from now on the forecast."""
    state = record.state
    if state.phase.final:
        end = state.finished_at or (events[-1].at if events else now)
    else:
        end = max([record.spec.due, now, *(window.end for window in state.windows)])
    start, end = padded(record.submitted_at, end)
    margin = (end - start) / 40
    start, end = start - margin, end + margin
    traces = {trace.region: trace.slots for trace in report.intensity} if report else {}
    panels = []
    for region in server.store.regions():
        if region.name not in record.regions:
            continue
        past = [Slot(a, min(b, now), g, estimated) for a, b, g, estimated in traces.get(region.name, ()) if a < now]
        known = past[-1].end if past else start
        ahead = forecast_slots(server.grid.view(region.zone).forecast, start=max(known, start), end=end)
        slots = past + [_cut(slot, known) for slot in ahead]
        about = f"zone {region.zone}" + (", home" if region.name == record.home else "")
        panels.append(timeline.Panel(region.name, about, slots, _spans(record, region.name, now=now)))
    if not panels:
        return None
    return timeline.draw(
        timeline.Timeline(
            id_="job",
            title=f"Intensity where {record.spec.name} may run, with its windows",
            desc="Grams CO2e per kWh, one panel per allowed region; the tables of planned windows and of runs give the "
            "same times.",
            start=start,
            end=end,
            panels=panels,
            now=None if state.phase.final else now,
            ran="it ran",
        )
    )


def _cut(slot: Slot, start: datetime) -> Slot:
    begin = max(slot.start, start)
    return Slot(begin, slot.end, slot.g_per_kwh, slot.estimated, slot.low, slot.high)


def _spans(record: JobRecord, region: str, *, now: datetime) -> list[timeline.Span]:
    ran = [
        timeline.Span(f"run {run.n}", run.started_at, run.ended_at or now, ongoing=run.ended_at is None)
        for run in record.state.runs
        if run.region == region and run.started_at is not None and (run.ended_at or now) > run.started_at
    ]
    if record.state.phase.final:
        return ran
    # What is left of the window in which the job is running begins now: the run before it is drawn already.
    planned = [
        timeline.Span("", max(window.start, now), window.end, planned=True)
        for window in record.state.windows
        if window.region == region and window.end > now
    ]
    return ran + planned
