"""One device's stream: readings and holders in, spans of one owner set out. Pure.

A span is as long as possible (few records) and as short as needed: it ends where the holders, the method or the
quality change, and where it would get longer than the flush.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from .anchors import Resume
from .attribute import Holder, RunIdentity, same_parties
from .energy import split_mj
from .integrate import UNKNOWN_PCT, Integrator, Interval, Limits
from .life import Life
from .reading import Reading

Holders = tuple[Holder, ...] | None
"""Who holds the device: nobody (empty), these, or not known (None)."""


class Span(NamedTuple):
    """An interval through which the holders did not change."""

    interval: Interval
    holders: Holders


class DeviceStream:
    """Adjoining spans of one device, conserving its energy; with `resume` from where an earlier life of the agent
    stopped, `life` telling whether the machine was started anew since, or the driver loaded."""

    def __init__(self, *, limits: Limits, merge_us: int, life: Life, resume: Resume | None = None) -> None:
        self._integrator = Integrator(limits=limits)
        self._merge_us = merge_us
        self._resume = resume
        self._life = life
        self._marks: list[tuple[int, Holders]] = []
        self._free_mw: int | None = None
        self._pending: list[Span] = []

    def restart(self) -> None:
        """The driver was loaded anew, and its counter began again."""
        self._integrator.restart()

    def note(self, t_us: int, holders: Holders) -> None:
        """The same parties hold the device at `t_us`; they may work otherwise than before."""
        if self._marks and self._marks[-1][0] < t_us and self._marks[-1][1] != holders:
            self._marks.append((t_us, holders))

    def push(
        self, reading: Reading, holders: Holders, *, since_us: int | None = None, idle_mw: int | None = None
    ) -> list[Span]:
        """The spans that this reading closes; `holders` hold the device from this reading on, or since `since_us`.

        What happened before belongs to the holders seen then. A change of holders closes the span. `idle_mw` is what
        the device is known to draw while nobody holds it.
        """
        closed: list[Span] = []
        if self._resume is not None:
            closed, self._resume = self._take_up(self._resume, reading, holders), None
        from_us = reading.t_us
        if since_us is not None and self._marks:
            from_us = min(reading.t_us, max(since_us, self._marks[-1][0] + 1))
        changed = bool(self._marks) and not same_parties(self._marks[-1][1], holders)
        if not self._marks:
            self._marks = [(reading.t_us, holders)]
        elif self._marks[-1][1] != holders:
            self._marks = [*(mark for mark in self._marks if mark[0] < from_us), (from_us, holders)]
        closed += self._take(self._integrator.push(reading), free_mw=self._free_mw if idle_mw is None else idle_mw)
        self._free_mw = reading.power_mw if holders == () else None
        return closed + (self.flush() if changed else [])

    def flush(self) -> list[Span]:
        """The span that is pending, closed."""
        pending, self._pending = self._pending, []
        return [_joined(pending)] if pending else []

    def close(self) -> list[Span]:
        """Everything up to the last reading; for the end of the process."""
        return self._take(self._integrator.close(), free_mw=self._free_mw) + self.flush()

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
        before = Life.of(anchor.boot_id)
        if self._life.reloaded_since(before):
            self.restart()
            held, note = None, "the driver was loaded anew"  # which no process that holds a device lives through
        elif self._life.boot != before.boot:
            # A counter of another boot says nothing of this one, even where it is lower than what we read now.
            boot_us = reading.t_us - reading.mono_ns // 1000
            if start_us < boot_us < reading.t_us:
                off = _unknown(reading, start_us, boot_us, note="the machine was restarted")
                unknown.append(off._replace(interval=off.interval._replace(counter_end_mj=0)))
                start_us = boot_us
            counter_mj, held, note = 0, None, "since the machine was restarted"
        start = reading._replace(
            counter_mj=counter_mj,
            counter_era=0,
            power_mw=None,
            t_us=start_us,
            mono_ns=reading.mono_ns - (reading.t_us - start_us) * 1000,
        )
        self._integrator.resume(start, credit_mj=anchor.credit_mj if counter_mj == anchor.counter_mj else 0, note=note)
        self._marks = [(start_us, held)]
        return unknown

    def _take(self, interval: Interval | None, *, free_mw: int | None) -> list[Span]:
        if interval is None:
            return []
        closed: list[Span] = []
        for span in cut(interval, self._marks, free_mw=free_mw):
            if self._pending and not _alike(self._pending[0], span, longest_us=self._merge_us):
                closed += self.flush()
            self._pending.append(span)
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


def cut(interval: Interval, marks: Sequence[tuple[int, Holders]], *, free_mw: int | None = None) -> list[Span]:
    """`interval` in pieces of one set of parties; `marks` are (from when, holders) in order, the first not after its
    start.

    Energy and monotonic length are divided exactly: by time, except that a piece in which nobody held the device draws
    `free_mw` (as it did before; None: not known) and the rest goes to those who did. The counter is known only at the
    end of the last piece.
    """
    if len(marks) == 1:  # nearly always
        return [Span(interval, marks[0][1])]
    pieces = _pieces(interval, marks)
    if len(pieces) == 1:
        return [Span(interval, pieces[0][2])]
    lengths = [t1 - t0 for t0, t1, _ in pieces]
    energies = _divided(interval.energy_mj, lengths, [holders == () for *_, holders in pieces], free_mw=free_mw)
    return [
        Span(
            interval._replace(
                t0_us=t0,
                t1_us=t1,
                mono_dt_ns=mono_dt_ns,
                energy_mj=energy_mj,
                counter_end_mj=interval.counter_end_mj if t1 == interval.t1_us else None,
            ),
            holders,
        )
        for (t0, t1, holders), mono_dt_ns, energy_mj in zip(
            pieces, split_mj(interval.mono_dt_ns, lengths), energies, strict=True
        )
    ]


def _pieces(interval: Interval, marks: Sequence[tuple[int, Holders]]) -> list[tuple[int, int, Holders]]:
    """(from, to, holders) of each stretch of the same parties, how much they worked averaged over it."""
    relevant = _marks_from(marks, interval.t0_us)
    inside = [(max(interval.t0_us, t_us), holders) for t_us, holders in relevant if t_us < interval.t1_us]
    ends = [*(t_us for t_us, _ in inside[1:]), interval.t1_us]
    pieces: list[tuple[int, int, list[tuple[int, Holders]]]] = []
    for (t0, holders), t1 in zip(inside, ends, strict=True):
        if pieces and same_parties(pieces[-1][2][0][1], holders):
            pieces[-1] = (pieces[-1][0], t1, [*pieces[-1][2], (t1 - t0, holders)])
        else:
            pieces.append((t0, t1, [(t1 - t0, holders)]))
    return [(t0, t1, _averaged(several)) for t0, t1, several in pieces]


def _averaged(several: Sequence[tuple[int, Holders]]) -> Holders:
    """The same parties, their weights averaged over (length, holders); not known if it is not known at any time."""
    if len(several) == 1 or several[0][1] is None:
        return several[0][1]
    whole = sum(length for length, _ in several)
    known = [(length, holders) for length, holders in several if holders is not None]
    columns = zip(*(holders for _, holders in known), strict=True)
    averaged: list[Holder] = []
    for column in columns:
        weights = [holder.weight for holder in column]
        total = sum((weight or 0) * length for weight, (length, _) in zip(weights, known, strict=True))
        averaged.append(replace(column[0], weight=None if None in weights else total // whole))
    return tuple(averaged)


def _divided(energy_mj: int, lengths: Sequence[int], free: Sequence[bool], *, free_mw: int | None) -> list[int]:
    if free_mw is None or all(free) or not any(free):
        return split_mj(energy_mj, lengths)
    still = [free_mw * length // 1_000_000 if is_free else 0 for length, is_free in zip(lengths, free, strict=True)]
    rest_mj = energy_mj - sum(still)
    if rest_mj < 0:
        return split_mj(energy_mj, lengths)
    rest = split_mj(rest_mj, [0 if is_free else length for length, is_free in zip(lengths, free, strict=True)])
    return [a + b for a, b in zip(still, rest, strict=True)]


def _marks_from(marks: Sequence[tuple[int, Holders]], t_us: int) -> list[tuple[int, Holders]]:
    """The marks that still say something about times from `t_us` on: the last one not after it, and all later ones."""
    if len(marks) == 1:
        return list(marks)
    passed = sum(1 for at_us, _ in marks if at_us <= t_us)
    return list(marks[max(0, passed - 1) :])


def _alike(first: Span, later: Span, *, longest_us: int) -> bool:
    """They differ in nothing but time and energy, and would not be too long together."""
    a, b = first.interval, later.interval
    return (
        same_parties(first.holders, later.holders)
        and b.t1_us - a.t0_us <= longest_us
        and (a.method, a.quality, a.uncertainty_pct, a.scope) == (b.method, b.quality, b.uncertainty_pct, b.scope)
        and a.note == b.note
    )


def _joined(spans: Sequence[Span]) -> Span:
    """Adjoining spans that are alike, as one."""
    first, last = spans[0], spans[-1]
    if first is last:
        return first
    whole = last.interval._replace(
        t0_us=first.interval.t0_us,
        mono_dt_ns=sum([span.interval.mono_dt_ns for span in spans]),
        energy_mj=sum([span.interval.energy_mj for span in spans]),
    )
    if all(span.holders == first.holders for span in spans):
        return Span(whole, first.holders)
    return Span(whole, _averaged([(span.interval.mono_dt_ns, span.holders) for span in spans]))
