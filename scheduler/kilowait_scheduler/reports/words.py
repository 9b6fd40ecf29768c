"""What a report says in words: its headline, what must not be overlooked, what its names mean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC

from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.core.carbon import METHOD
from kilowait_scheduler.core.clean import METHOD as MARKET_METHOD

from .model import JobLine, RanWindow, Report
from .units import moment

# What versioned names mean, for readers who will not look them up.
MEANINGS = {
    METHOD: "every stretch of metered energy is split at the edges of the grid's intensity slots and multiplied "
    "slot by slot, with the region's PUE",
    Baseline.MEAN_START: "each job would have begun in its home region at a moment drawn evenly from all that meet its "
    "deadline, and run through: the mean over all of them",
    Baseline.RUN_NOW: "each job would have started in its home region as soon as its home had room, first come first "
    "served among the same jobs, and run through",
    Baseline.STATIC_CLEAN: "each job would have started as under run-now@1, in that of its allowed regions whose grid "
    "was cleanest, PUE included, over the year before its day, as far as that is known of all of them",
    Baseline.THRESHOLD: "each job would have started at home when its grid first came down to its mean of the week "
    "before, or when the deadline demanded it, and run through, without regard to capacity",
    Baseline.LOWEST_WINDOW: "each job would have run through at home in the window of the lowest mean intensity before "
    "its deadline, on the forecast archived at its submission where there is one, without regard to capacity",
    Baseline.WAIT_AWHILE: "each job that can be suspended would have worked at home in the cleanest hours before its "
    "deadline, with restarts that cost nothing, the others in the cleanest window; on the forecast archived at its "
    "submission where there is one, without regard to capacity",
    MARKET_METHOD: "market-based beside location-based: what contracts for clean energy do not cover, by the residual "
    "mix, or by the grid's own intensity where none is configured; matched hour by hour: the part of the energy that "
    "was supplied in the very hour in which it was drawn",
    "levers@1": "time shift, region shift, resizing and overheads add up to what was saved, exactly",
}


@dataclass(frozen=True)
class Headline:
    """The report in one line: `kind` is saved, more, even or none (no job has figures yet)."""

    kind: str
    words: str
    includes_zero: bool


def headline(report: Report) -> Headline:
    """What the totals come to, in words; a negative saving is called what it is."""
    totals = report.totals
    if totals.jobs == totals.without_figures:
        return Headline("none", "No figures yet", includes_zero=False)
    includes_zero = abs(totals.saved_g) <= totals.uncertainty_g
    if totals.saved_g > 0:
        return Headline("saved", "saved", includes_zero)
    if totals.saved_g < 0:
        return Headline("more", "saved, a negative saving: these jobs emitted more", includes_zero)
    return Headline("even", "saved: as much was emitted as in the baseline", includes_zero=False)


def loud(report: Report) -> list[str]:
    """What must not be overlooked before a figure is quoted."""
    marks = []
    if any("simulated" in region.meters for region in report.regions):
        marks.append("Simulated energy")
    if any("typical-day" in region.intensity_sources for region in report.regions):
        marks.append("Typical-day intensity")
    if any("static" in region.intensity_sources.split("+") for region in report.regions):
        marks.append("Yearly mean as intensity")
    if any(job.provisional and job.carbon_g is not None for job in report.jobs):
        marks.append("Provisional")
    return marks


def lasted(window: RanWindow) -> str:
    """When a job ran: the day is said twice only if it changed."""
    if window.end is None:
        return f"from {moment(window.start)} on"
    same = window.start.astimezone(UTC).date() == window.end.astimezone(UTC).date()
    end = f"{window.end.astimezone(UTC):%H:%M}" if same else moment(window.end)
    return f"{moment(window.start)} to {end}"


def deadline_word(job: JobLine) -> str:
    """met, missed, open, or none for a job that was cancelled before it was decided."""
    if job.deadline_met is None:
        return "none" if job.state == "cancelled" else "open"
    return "met" if job.deadline_met else "missed"


def deadlines(jobs: Iterable[JobLine]) -> dict[str, int]:
    """How many jobs have each of those words."""
    counts = dict.fromkeys(("met", "missed", "open", "none"), 0)
    for job in jobs:
        counts[deadline_word(job)] += 1
    return counts


# A best schedule that saves less than this share of the baseline leaves little to any plan, in percent.
_LITTLE_PCT = 5.0


def little_to_gain(ceiling_pct: float | None) -> bool:
    """Whether even perfect foresight would have saved next to nothing."""
    return ceiling_pct is not None and ceiling_pct < _LITTLE_PCT
