"""The three pictures of a savings report: when and where jobs ran, what each saved, what took the energy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TypeVar

from markupsafe import Markup

from . import bars, timeline
from .model import JobLine, Levers, RegionLine, Report
from .slots import Slot, padded
from .units import Unit, energy_unit, mass_unit, moment, percent

TIME_SHIFT = bars.Kind("time shift", "time")
REGION_SHIFT = bars.Kind("region shift", "region", "lines")
RESIZING = bars.Kind("resizing", "resizing", "dots")
OVERHEADS = bars.Kind("overheads", "overheads", "cross")
JOBS = bars.Kind("jobs", "energy")
IDLE = bars.Kind("idle devices", "idle", "back")
UNATTRIBUTED = bars.Kind("not attributed to a run", "unattributed", "dots")

_T = TypeVar("_T")

# More rows than this are no picture any more; the rest is one sum.
_MOST_ROWS = 30


def windows(report: Report) -> Markup:
    """Intensity per region over the period, with the windows in which jobs really ran."""
    start, end = _span(report)
    traces = {trace.region: trace for trace in report.intensity}
    panels = []
    for region in report.regions:
        trace = traces.get(region.name)
        slots = [Slot(*slot) for slot in trace.slots] if trace else []
        panels.append(timeline.Panel(region.name, _about(region, slots), slots, _ran(report, region.name)))
    ran = sum(len(panel.spans) for panel in panels)
    return timeline.draw(
        timeline.Timeline(
            id_="windows",
            title="Grid intensity and the windows in which jobs ran",
            desc=f"Intensity of {len(panels)} regions in grams CO2e per kWh from {moment(start)} to "
            f"{moment(end)} UTC, one panel each, with the {ran} windows in which jobs ran. The table of jobs "
            "lists the windows.",
            start=start,
            end=end,
            panels=panels,
        )
    )


def _span(report: Report) -> tuple[datetime, datetime]:
    """The period as far as there is something to draw in it."""
    ends = [trace.slots[-1][1] for trace in report.intensity if trace.slots]
    ends += [window.end or report.generated_at for job in report.jobs for window in job.windows]
    return padded(report.start, max(ends, default=report.end))


def _about(region: RegionLine, slots: Sequence[Slot]) -> str:
    if not slots:
        return f"zone {region.zone}"
    hours = [(slot.end - slot.start).total_seconds() for slot in slots]
    mean = sum(slot.g_per_kwh * span for slot, span in zip(slots, hours, strict=True)) / sum(hours)
    return f"zone {region.zone}, mean {mean:.0f} g/kWh"


def _ran(report: Report, region: str) -> list[timeline.Span]:
    return [
        timeline.Span(job.name, window.start, window.end or report.generated_at, ongoing=window.end is None)
        for job in report.jobs
        for window in job.windows
        if window.region == region and (window.end or report.generated_at) > window.start
    ]


def saved(report: Report) -> Markup | None:
    """Saved per job with its levers, largest first; None where no job has figures."""
    lines = [job for job in report.jobs if job.saved_g is not None and job.levers is not None]
    if not lines:
        return None
    unit = mass_unit(job.saved_g for job in lines)
    ranked = sorted(lines, key=lambda job: -(job.saved_g or 0.0))
    shown, rest = _drawn(ranked, by=lambda job: abs(job.saved_g or 0.0))
    rows = [_saved_row(job, unit) for job in shown]
    if rest:
        rows.append(_rest(f"{len(rest)} other jobs", unit.text(sum(job.saved_g or 0.0 for job in rest), signed=True)))
    return bars.draw(
        bars.Bars(
            id_="saved",
            title=f"Carbon saved per job against {report.baseline_name}",
            desc=f"One bar per job in {unit.name} CO2e, split into levers; bars to the left of zero are jobs that "
            f"emitted more than the baseline. {'; '.join(f'{row.name} {row.words}' for row in rows[:12])}.",
            rows=rows,
            unit=f"{unit.name} CO₂e",
            show=unit.axis,
            size=unit.size,
        )
    )


def saved_by(report: Report) -> Markup | None:
    """Saved per group with its levers, largest first; None where the report has no groups with figures."""
    groups = [group for group in report.groups if group.totals.jobs > group.totals.without_figures]
    if not groups:
        return None
    unit = mass_unit(group.totals.saved_g for group in groups)
    ranked = sorted(groups, key=lambda group: -group.totals.saved_g)
    shown, rest = _drawn(ranked, by=lambda group: abs(group.totals.saved_g))
    rows = [
        bars.Row(
            group.name,
            _levers(group.totals.levers),
            f"{unit.text(group.totals.saved_g, signed=True)} ({percent(group.totals.saved_pct, signed=True)})",
            net=group.totals.saved_g,
            error=group.totals.uncertainty_g,
        )
        for group in shown
    ]
    if rest:
        words = unit.text(sum(group.totals.saved_g for group in rest), signed=True)
        rows.append(_rest(f"{len(rest)} other {report.by}s", words))
    return bars.draw(
        bars.Bars(
            id_="saved-by",
            title=f"Carbon saved by {report.by} against {report.baseline_name}",
            desc=f"One bar per {report.by} in {unit.name} CO2e, split into levers; bars left of zero emitted more than "
            f"the baseline. {'; '.join(f'{row.name} {row.words}' for row in rows[:12])}.",
            rows=rows,
            unit=f"{unit.name} CO₂e",
            show=unit.axis,
            size=unit.size,
        )
    )


def _drawn(ranked: Sequence[_T], *, by: Callable[[_T], float]) -> tuple[list[_T], list[_T]]:
    """Those that get a row of their own, in their order, and those that share one: the smallest `by`."""
    if len(ranked) <= _MOST_ROWS:
        return list(ranked), []
    large = set(sorted(range(len(ranked)), key=lambda place: by(ranked[place]), reverse=True)[: _MOST_ROWS - 1])
    places = list(enumerate(ranked))
    return [one for place, one in places if place in large], [one for place, one in places if place not in large]


def _saved_row(job: JobLine, unit: Unit) -> bars.Row:
    assert job.levers is not None
    words = f"{unit.text(job.saved_g, signed=True)} ({percent(job.saved_pct, signed=True)})"
    mark = "*" if job.provisional else ""
    return bars.Row(job.name, _levers(job.levers), words + mark, net=job.saved_g, error=job.uncertainty_g)


def _levers(levers: Levers) -> tuple[tuple[bars.Kind, float], ...]:
    return (
        (TIME_SHIFT, levers.time_shift_g),
        (REGION_SHIFT, levers.region_shift_g),
        (RESIZING, levers.resizing_g),
        (OVERHEADS, levers.overheads_g),
    )


def _rest(name: str, words: str) -> bars.Row:
    """What has no row of its own, as a sum in words: a bar of hundreds would leave the others too short to compare."""
    return bars.Row(f"{name}, not drawn", (), words)


def energy_of_jobs(report: Report) -> Markup | None:
    """Facility energy per job, largest first; None where nothing was measured."""
    lines = [job for job in report.jobs if job.energy_kwh is not None]
    if not lines:
        return None
    unit = energy_unit(job.energy_kwh for job in lines)
    ranked = sorted(lines, key=lambda job: -(job.energy_kwh or 0.0))
    shown, rest = _drawn(ranked, by=lambda job: job.energy_kwh or 0.0)
    rows = [bars.Row(job.name, ((JOBS, job.energy_kwh or 0.0),), unit.text(job.energy_kwh)) for job in shown]
    if rest:
        rows.append(_rest(f"{len(rest)} other jobs", unit.text(sum(job.energy_kwh or 0.0 for job in rest))))
    return bars.draw(
        bars.Bars(
            id_="energy-jobs",
            title="Energy per job",
            desc=f"One bar per job, facility energy in {unit.name}. "
            f"{'; '.join(f'{row.name} {row.words}' for row in rows[:12])}.",
            rows=rows,
            unit=unit.name,
            show=unit.axis,
            size=unit.size,
        )
    )


def energy_of_regions(report: Report) -> Markup | None:
    """Energy at the meters per region: jobs, idle, not attributed; None where no region was measured."""
    energies = [
        (region.name, region.it_energy_kwh, region.idle_kwh, region.unattributed_kwh) for region in report.regions
    ]
    unit = energy_unit(whole for _, whole, _, _ in energies)
    rows = []
    for name, whole, idle, unattributed in energies:
        if whole is not None and idle is not None and unattributed is not None:
            parts = ((JOBS, whole - idle - unattributed), (IDLE, idle), (UNATTRIBUTED, unattributed))
            rows.append(bars.Row(name, parts, unit.text(whole)))
    if not rows:
        return None
    return bars.draw(
        bars.Bars(
            id_="energy-regions",
            title="Energy per region at the meters",
            desc=f"One bar per region in {unit.name}, split into jobs, idle devices and energy of no known run.",
            rows=rows,
            unit=unit.name,
            show=unit.axis,
            size=unit.size,
        )
    )
