"""Simpler policies, by name, as baselines: when each would have run a job at home, on what it knew.

`threshold`: uninterrupted, from the first moment on at which home's intensity is not above its mean of the seven days
before (of those that are known, one at least), or when the deadline demands it; it sees the moment and no forecast.
`lowest-window`: uninterrupted, in the window of the lowest mean on the forecast. `wait-awhile`: in the cleanest slots
of the forecast, with as many pauses as that takes, if the job can be suspended; else as lowest-window.

None minds capacity, and what restarts would cost them is left out: all in their favour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kilowait_forecasters.intensity import IntensitySeries

from .baseline import Baseline, Span
from .duration import format_duration

HISTORY = timedelta(days=7)
_LEAST_HISTORY = timedelta(days=1)


@dataclass(frozen=True)
class Chance:
    """A job as a policy sees it: `length` of work, to be begun at `ready` or later and done by `due`."""

    ready: datetime
    due: datetime
    length: timedelta
    suspendable: bool

    @property
    def latest(self) -> datetime:
        """The last start that meets the deadline; `ready` where none does."""
        return max(self.ready, self.due - self.length)


@dataclass(frozen=True)
class Choice:
    """Windows at home, and what they rest on beside the intensity that was given."""

    windows: tuple[Span, ...]
    grounds: str = ""


Policy = Callable[[Chance, IntensitySeries], Choice]


def known_since(known: IntensitySeries, moment: datetime, *, most: timedelta) -> datetime:
    """Where the stretch without a gap that ends at `moment` begins, `most` before it at most; else `moment`."""
    begin = moment - most
    *_, (_, begin) = [(begin, begin), *known.gaps(begin, moment)]
    return begin


def threshold(chance: Chance, known: IntensitySeries) -> Choice:
    """`known` is what came. Raises OutOfRange or Gap where it lacks the day before, or does not reach the deadline."""
    since = min(known_since(known, chance.ready, most=HISTORY), chance.ready - _LEAST_HISTORY)
    limit = known.mean(since, chance.ready)
    start = chance.latest
    if chance.ready < start:
        clean = (slot.start for slot in known.split(chance.ready, start) if slot.g_per_kwh <= limit)
        start = next(clean, start)
    words = f"threshold {limit:.0f} g/kWh, the mean of {format_duration(chance.ready - since)} before"
    return Choice(((start, start + chance.length),), words)


def lowest_window(chance: Chance, known: IntensitySeries) -> Choice:
    """Exactly the lowest: the mean is linear between starts at which an end of the window meets the edge of a slot.

    The earliest of equals. Raises OutOfRange or Gap where `known` does not hold all from `ready` to the deadline.
    """
    ready, latest, length = chance.ready, chance.latest, chance.length
    edges = [slot.start for slot in known.split(ready, max(chance.due, latest + length))]
    starts = {ready, latest, *edges, *(edge - length for edge in edges)}
    best = min(
        (start for start in sorted(starts) if ready <= start <= latest),
        key=lambda start: known.mean(start, start + length),
    )
    return Choice(((best, best + length),))


def wait_awhile(chance: Chance, known: IntensitySeries) -> Choice:
    """The earlier of equal slots; of the dirtiest slot needed, its first part. Raises OutOfRange or Gap."""
    if not chance.suspendable or chance.ready == chance.latest:
        return lowest_window(chance, known)
    left = chance.length
    spans: list[Span] = []
    for slot in sorted(known.split(chance.ready, chance.due), key=lambda slot: (slot.g_per_kwh, slot.start)):
        spans.append((slot.start, min(slot.end, slot.start + left)))
        left -= spans[-1][1] - spans[-1][0]
        if not left:
            break
    joined: list[Span] = []
    for start, end in sorted(spans):
        if joined and joined[-1][1] == start:
            joined[-1] = (joined[-1][0], end)
        else:
            joined.append((start, end))
    return Choice(tuple(joined))


POLICIES: Mapping[Baseline, Policy] = {
    Baseline.THRESHOLD: threshold,
    Baseline.LOWEST_WINDOW: lowest_window,
    Baseline.WAIT_AWHILE: wait_awhile,
}
