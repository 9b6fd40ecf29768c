"""One device's stream: readings and holders in, spans of one owner set out. Pure.

A span is as long as possible (few records) and as short as needed: it ends where the holders, the method or the
quality change, and where it would get longer than the flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .anchors import Resume
from .attribute import Holder, RunIdentity
from .energy import split_mj
from .integrate import UNKNOWN_PCT, Integrator, Interval, Limits
from .reading import Reading

Holders = tuple[Holder, ...] | None
"""Who holds the device: nobody (empty), these, or not known (None)."""


@dataclass(frozen=True, slots=True)
class Span:
    """An interval through which the holders did not change."""

    interval: Interval
    holders: Holders


class DeviceStream:
    """Adjoining spans of one device, conserving its energy; with `resume` from where an earlier life of the agent
    stopped, `boot_id` telling whether the machine was started anew since."""

    def __init__(self, *, limits: Limits, merge_us: int, resume: Resume | None = None, boot_id: str = "") -> None:
        self._integrator = Integrator(limits=limits)
        self._merge_us = merge_us
        self._resume = resume
        self._boot_id = boot_id
        self._marks: list[tuple[int, Holders]] = []
        self._pending: Span | None = None

    def push(self, reading: Reading, holders: Holders) -> list[Span]:
        """The spans that this reading closes; `holders` hold the device from this reading on.

        What happened since the reading before belongs to the holders seen then. A change of holders closes the span.
        """
        closed: list[Span] = []
        if self._resume is not None:
            closed, self._resume = self._take_up(self._resume, reading, holders), None
        closed += self._take(self._integrator.push(reading))
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

    def _take_up(self, resume: Resume, reading: Reading, holders: Holders) -> list[Span]:
        """Begin where the earlier life stopped; the spans of the time of which nothing can be known."""
        anchor = resume.anchor
        if reading.t_us <= anchor.t_us:
            return []
        unknown: list[Span] = []
        if resume.doubt_from_us is not None:
            note = "records of this time were lost here after they had been sent; the server may hold them"
            unknown.append(_unknown(reading, resume.doubt_from_us, anchor.t_us, note=note))
        start_us, counter_mj, note = anchor.t_us, anchor.counter_mj, "the agent was not running"
        held = _held_throughout(anchor.runs, holders)
        if anchor.boot_id != self._boot_id:
            # A counter of another boot says nothing of this one, even where it is lower than what we read now.
            boot_us = reading.t_us - reading.mono_ns // 1000
            if start_us < boot_us < reading.t_us:
                off = _unknown(reading, start_us, boot_us, note="the machine was restarted")
                unknown.append(replace(off, interval=replace(off.interval, counter_end_mj=0)))
                start_us = boot_us
            counter_mj, held, note = 0, None, "since the machine was restarted"
        start = replace(
            reading,
            counter_mj=counter_mj,
            power_mw=None,
            t_us=start_us,
            mono_ns=reading.mono_ns - (reading.t_us - start_us) * 1000,
        )
        self._integrator.resume(start, credit_mj=anchor.credit_mj if counter_mj == anchor.counter_mj else 0, note=note)
        self._marks = [(start_us, held)]
        return unknown

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


def _held_throughout(runs: Sequence[tuple[str, str | None]] | None, holders: Holders) -> Holders:
    """Who held the device while nobody looked: those who did before and do now; otherwise it is not known."""
    if runs is None or holders is None:
        return None
    before = tuple(Holder(run=RunIdentity(run_id, job_id)) for run_id, job_id in runs)
    return before if [one.run for one in before] == [one.run for one in holders] else None


def _unknown(reading: Reading, t0_us: int, t1_us: int, *, note: str) -> Span:
    gap = Interval(
        device_uuid=reading.device_uuid,
        device_name=reading.name,
        scope=reading.scope,
        t0_us=t0_us,
        t1_us=t1_us,
        mono_dt_ns=(t1_us - t0_us) * 1000,
        energy_mj=0,
        counter_end_mj=None,
        method="counter",
        quality="gap",
        uncertainty_pct=UNKNOWN_PCT,
        note=note,
    )
    return Span(gap, None)


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
