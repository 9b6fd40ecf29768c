"""A job's journal as sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.reasons import explained
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.reports.units import moment


@dataclass(frozen=True)
class Entry:
    """A line of the journal; `again` counts how often the same was decided right after, the last time at `last`."""

    at: datetime
    words: str
    again: int = 0
    last: datetime | None = None


def entries(events: Sequence[ev.Event], record: JobRecord) -> list[Entry]:
    """The journal in order. Plans are made often; those that changed nothing are folded into the one before."""
    found: list[Entry] = []
    before: ev.Event | None = None
    for event in events:
        if isinstance(event, ev.Planned) and isinstance(before, ev.Planned) and _same(event, before):
            found[-1] = replace(found[-1], again=found[-1].again + 1, last=event.at)
        else:
            found.append(Entry(event.at, told(event, record)))
        before = event
    return found


def _same(event: ev.Planned, before: ev.Planned) -> bool:
    """Whether the later plan is what is left of the earlier one."""
    return event.reason == before.reason and _left(event, event.at) == _left(before, event.at)


def _left(event: ev.Planned, now: datetime) -> list[tuple[str, datetime, datetime]]:
    return [(window.region, max(window.start, now), window.end) for window in event.windows if window.end > now]


def told(event: ev.Event, record: JobRecord) -> str:
    """One line on what happened; particulars in the words of whoever said them."""
    match event:
        case ev.Planned():
            return f"Planned: {_windows(event)}. {_reason(event)}".strip()
        case ev.Held():
            return f"Held. {_reason(event)}"
        case ev.Ticked():
            return _moved_on(event, record)
        case ev.Submitted():
            return f"The cluster took run {event.run}."
        case ev.SubmitFailed():
            again = "will not take it" if event.permanent else "could not be asked"
            return f"The cluster {again}: run {event.run}. {event.detail}".strip()
        case ev.SubmitUnclear():
            return f"It is not clear whether the cluster took run {event.run}. {event.detail}".strip()
        case ev.StopSent():
            return f"Run {event.run} has its stop signal."
        case ev.NeverStarted():
            return f"Run {event.run} never started and never will."
        case ev.Observed():
            return f"The cluster says: run {event.run} {event.status.value}. {event.detail}".strip()
        case ev.Missing():
            why = "it has been restarted since" if event.new_session else "it answers, but has no such run"
            return f"The cluster does not know run {event.run}: {why}."
        case ev.Unreachable():
            return f"The cluster of run {event.run} does not answer. {event.detail}".strip()
        case ev.SuspendWanted():
            return "A person asked to suspend it."
        case ev.ResumeWanted():
            return "A person let it go on."
        case ev.CancelWanted():
            return "A person cancelled it."


def _windows(event: ev.Planned) -> str:
    if not event.windows:
        return "no window"
    first = event.windows[0]
    words = f"{moment(first.start)} to {moment(first.end)} in {first.region}"
    more = len(event.windows) - 1
    return words + (f" and {more} more window{'s' if more > 1 else ''}" if more else "")


def _reason(event: ev.Planned | ev.Held) -> str:
    return explained(event.reason, event.detail)


def _moved_on(event: ev.Ticked, record: JobRecord) -> str:
    """What the passing of time brought about at that moment, told from the runs it began or stopped."""
    for run in record.state.runs:
        if run.created_at == event.at:
            return f"Its window opened: run {run.n} in {run.region}."
        if run.stop_wanted_at == event.at:
            return f"Run {run.n} is to stop."
    if record.state.finished_at == event.at:
        return f"Ended: {record.state.phase.value}."
    return "Time moved it on."
