"""One device's stream: readings and holders in, spans of one owner set out. Pure.

A span is as long as possible (few records) and as short as needed: it ends where the holders, the method or the
quality change, and where it would get longer than the flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .attribute import Holder
from .energy import split_mj
from .integrate import Integrator, Interval, Limits
from .reading import Reading

Holders = tuple[Holder, ...] | None
"""Who holds the device: nobody (empty), these, or not known (None)."""


@dataclass(frozen=True, slots=True)
class Span:
    """An interval through which the holders did not change."""

    interval: Interval
    holders: Holders


class DeviceStream:
    """Adjoining spans of one device, conserving its energy."""

    def __init__(self, *, limits: Limits, merge_us: int) -> None:
        self._integrator = Integrator(limits=limits)
        self._merge_us = merge_us
        self._marks: list[tuple[int, Holders]] = []
        self._pending: Span | None = None

    def push(self, reading: Reading, holders: Holders) -> list[Span]:
        """The spans that this reading closes; `holders` hold the device from this reading on.

        What happened since the reading before belongs to the holders seen then. A change of holders closes the span.
        """
        closed = self._take(self._integrator.push(reading))
        if not self._marks:
            self._marks = [(reading.t_us, holders)]
        elif self._marks[-1][1] != holders:
            earlier = [mark for mark in self._marks if mark[0] < reading.t_us]
            self._marks = [*earlier, (reading.t_us, holders)]
            closed += self.flush()
        return closed

    def flush(self) -> list[Span]:
        """The span that is pending, closed."""
        pending, self._pending = self._pending, None
        return [] if pending is None else [pending]

    def close(self) -> list[Span]:
        """Everything up to the last reading; for the end of the process."""
        return self._take(self._integrator.close()) + self.flush()

    def _take(self, interval: Interval | None) -> list[Span]:
        if interval is None:
            return []
        closed: list[Span] = []
        for span in cut(interval, self._marks):
            joined = None if self._pending is None else _join(self._pending, span, longest_us=self._merge_us)
            if joined is None:
                closed += self.flush()
            self._pending = joined or span
        self._marks = _marks_from(self._marks, interval.t1_us)
        return closed


def cut(interval: Interval, marks: Sequence[tuple[int, Holders]]) -> list[Span]:
    """`interval` in pieces of one owner set; `marks` are (from when, holders) in order, the first not after its start.

    Energy and monotonic length are divided by time, exactly. The counter is known only at the end of the last piece.
    """
    relevant = _marks_from(marks, interval.t0_us)
    starts = [interval.t0_us, *(t_us for t_us, _ in relevant[1:] if t_us < interval.t1_us)]
    if len(starts) == 1:
        return [Span(interval, relevant[0][1])]
    edges = list(pairwise([*starts, interval.t1_us]))
    lengths = [t1 - t0 for t0, t1 in edges]
    return [
        Span(
            replace(
                interval,
                t0_us=t0,
                t1_us=t1,
                mono_dt_ns=mono_dt_ns,
                energy_mj=energy_mj,
                counter_end_mj=interval.counter_end_mj if t1 == interval.t1_us else None,
            ),
            holders,
        )
        for (t0, t1), mono_dt_ns, energy_mj, (_, holders) in zip(
            edges, split_mj(interval.mono_dt_ns, lengths), split_mj(interval.energy_mj, lengths), relevant, strict=False
        )
    ]


def _marks_from(marks: Sequence[tuple[int, Holders]], t_us: int) -> list[tuple[int, Holders]]:
    """The marks that still say something about times from `t_us` on: the last one not after it, and all later ones."""
    passed = sum(1 for at_us, _ in marks if at_us <= t_us)
    return list(marks[max(0, passed - 1) :])


def _join(first: Span, second: Span, *, longest_us: int) -> Span | None:
    """Adjoining spans as one; None if they differ in more than time and energy, or would be too long together."""
    a, b = first.interval, second.interval
    alike = (
        first.holders == second.holders
        and b.t1_us - a.t0_us <= longest_us
        and (a.method, a.quality, a.uncertainty_pct, a.scope) == (b.method, b.quality, b.uncertainty_pct, b.scope)
        and a.note == b.note
    )
    if not alike:
        return None
    whole = replace(b, t0_us=a.t0_us, mono_dt_ns=a.mono_dt_ns + b.mono_dt_ns, energy_mj=a.energy_mj + b.energy_mj)
    return Span(whole, second.holders)
