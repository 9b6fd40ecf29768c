"""The loop: read the meter, integrate, attribute, hand on records; once a second, for years."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .anchors import Resume
from .attribute import RunIdentity, attribute, holders_of
from .clock import boot_ns
from .coarsen import STEPS_US, coarsen
from .errors import Transient
from .integrate import Limits
from .meter import Meter, Process
from .reading import Reading
from .stream import DeviceStream, Holders, Span
from .wire import Record

_UNSTORED = 4000  # records kept in memory while the disk takes none; above it they are coarsened

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often, in real seconds: readings, and records at the latest. `speed` is that of the meter's clock."""

    interval_s: float = 1.0
    flush_s: float = 5.0
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Stream:
    """What identifies this agent's records: who, on which boot, in which life of the process."""

    agent_id: str
    boot_id: str
    stream_epoch: str


class Agent:
    """One node's meter, turned into interval records.

    `identify` names the run of a pid (None: not known), `alive` says whether it runs; `emit` keeps finished records,
    in order; should it raise OSError they are offered again. Between two readings the state seen at the first holds.
    Per device the records adjoin, from the first reading to the last (or from where an earlier life stopped, as
    `resumes` has it), and conserve: what the meter counted is in them, once.
    """

    def __init__(
        self,
        *,
        meter: Meter,
        identify: Callable[[int], RunIdentity | None],
        alive: Callable[[int], bool],
        emit: Callable[[Sequence[Record]], None],
        stream: Stream,
        cadence: Cadence,
        resumes: Mapping[str, Resume] | None = None,
    ) -> None:
        self._meter = meter
        self._identify = identify
        self._alive = alive
        self._emit = emit
        self._stream = stream
        self._cadence = cadence
        self._seq = 0
        self._trouble: str | None = None
        self._unstored: list[Record] = []
        self._known: dict[str, dict[int, RunIdentity]] = {}
        self._resumes = dict(resumes or {})
        self._devices: dict[str, DeviceStream] = {}

    def run(self, wait: Callable[[float], bool], *, for_s: float | None = None) -> None:
        """Tick until `wait(seconds)` says True (stop), or for `for_s` seconds; then settle the last partial interval.

        Ticks that were missed (a busy or suspended machine) are not made up for: one difference covers them.
        Raises Permanent from the meter, after the records so far have been handed on.
        """
        interval_ns, flush_ns = round(self._cadence.interval_s * 1e9), round(self._cadence.flush_s * 1e9)
        start_ns = boot_ns()
        next_flush_ns = start_ns + flush_ns
        end_ns = None if for_s is None else start_ns + round(for_s * 1e9)
        try:
            while True:
                self.tick()
                now_ns = boot_ns()
                if now_ns >= next_flush_ns:
                    self.flush()
                    next_flush_ns = now_ns + flush_ns
                due_ns = start_ns + ((now_ns - start_ns) // interval_ns + 1) * interval_ns
                if end_ns is not None:
                    if now_ns >= end_ns:
                        return
                    due_ns = min(due_ns, end_ns)
                if wait((due_ns - now_ns) / 1e9):
                    self.tick()
                    return
        finally:
            self.close()

    def tick(self) -> None:
        """One look at the meter and at who holds the devices."""
        try:
            readings = self._meter.read()
        except Transient as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("the meter cannot be read: %s; counters make up for it when they are back", error)
            return
        self._trouble = None
        processes = self._meter.processes()
        closed: list[Span] = []
        for reading in [*readings, *self._missing(readings)]:
            holders = self._holders(reading.device_uuid, processes.get(reading.device_uuid))
            closed += self._stream_of(reading.device_uuid).push(reading, holders)
        self._hand_on(closed)

    def flush(self) -> None:
        """Hand on what is pending."""
        self._hand_on(span for stream in self._devices.values() for span in stream.flush())

    def close(self) -> None:
        """Hand on everything up to the last reading."""
        self._hand_on(span for stream in self._devices.values() for span in stream.close())

    def _stream_of(self, uuid: str) -> DeviceStream:
        if uuid not in self._devices:
            limit_mw = next((device.limit_mw for device in self._meter.devices() if device.uuid == uuid), None)
            self._devices[uuid] = DeviceStream(
                limits=Limits().at_speed(self._cadence.speed).with_power_limit(limit_mw),
                merge_us=round(self._cadence.flush_s * 1_000_000),
                resume=self._resumes.get(uuid),
                boot_id=self._stream.boot_id,
            )
        return self._devices[uuid]

    def _missing(self, readings: Sequence[Reading]) -> Iterator[Reading]:
        """Silence, for each device that has an account from an earlier life and is not there."""
        there = {reading.device_uuid for reading in readings}
        for uuid, resume in self._resumes.items():
            if uuid in there or not readings:
                continue
            yield Reading(
                device_uuid=uuid,
                name=resume.anchor.device_name,
                scope=resume.anchor.scope,
                counter_mj=None,
                power_mw=None,
                t_us=readings[0].t_us,
                mono_ns=readings[0].mono_ns,
            )

    def _holders(self, device_uuid: str, processes: Sequence[Process] | None) -> Holders:
        """The parties on a device; None if its processes are not known.

        A process that has just ended is listed by the driver until it has let go of the device: it keeps the run it
        had here a moment ago.
        """
        if processes is None:
            return None
        before = self._known.get(device_uuid, {})
        now: dict[int, RunIdentity] = {}
        parties: list[tuple[RunIdentity | None, int | None]] = []
        for process in processes:
            run = self._identify(process.pid)
            if run is None and not self._alive(process.pid):
                run = before.get(process.pid)
            if run is not None:
                now[process.pid] = run
            parties.append((run, process.weight))
        self._known[device_uuid] = now
        return holders_of(parties)

    def _hand_on(self, spans: Iterable[Span]) -> None:
        records = self._unstored + [self._record(span) for span in spans]
        if not records:
            return
        try:
            self._emit(records)
        except OSError as error:
            if not self._unstored:
                _log.error("records cannot be stored: %s; they are kept in memory until they can", error)
            for longest_us in STEPS_US if len(records) > _UNSTORED else ():
                if len(records) > _UNSTORED:
                    records = coarsen(records, longest_us=longest_us)
            self._unstored, self._seq = records, records[-1].seq
            return
        if self._unstored:
            _log.warning("records can be stored again")
        self._unstored = []

    def _record(self, span: Span) -> Record:
        self._seq += 1
        interval, split = span.interval, attribute(span.interval.energy_mj, span.holders)
        return Record(
            agent_id=self._stream.agent_id,
            boot_id=self._stream.boot_id,
            stream_epoch=self._stream.stream_epoch,
            seq=self._seq,
            device_uuid=interval.device_uuid,
            device_name=interval.device_name,
            scope=interval.scope,
            t0_us=interval.t0_us,
            t1_us=interval.t1_us,
            mono_dt_ns=interval.mono_dt_ns,
            energy_mj=interval.energy_mj,
            counter_end_mj=interval.counter_end_mj,
            method=interval.method,
            quality=interval.quality,
            uncertainty_pct=interval.uncertainty_pct,
            shares=split.shares,
            idle_mj=split.idle_mj,
            unattributed_mj=split.unattributed_mj,
            note=interval.note,
        )
