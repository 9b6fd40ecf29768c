"""The loop: look who holds the devices, read their counters, integrate, attribute, hand on records; for years."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from .anchors import Resume
from .attribute import RunIdentity, attribute, holders_of, parties, same_parties
from .cadence import Cadence
from .clock import boot_ns
from .coarsen import STEPS_US, coarsen
from .errors import Transient
from .idle import IdlePower
from .integrate import Limits
from .life import Life
from .meter import Device, Meter, Process
from .reading import Reading
from .stream import DeviceStream, Holders, Span
from .wire import Record

_UNSTORED = 4000  # records kept in memory while the disk takes none; above it they are coarsened

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stream:
    """What identifies this agent's records: who, in which life of the process."""

    agent_id: str
    stream_epoch: str


class Agent:
    """One node's meter, turned into interval records.

    `identify` names the run of a pid (None: not known), `alive` says whether it runs, `started` when it was started, in
    ns since boot (None: not known); `life` is that of the meter's counters, `now_us` the meter's clock; `watch` is told
    the pids on the devices. `emit` keeps finished records, in order; should it raise OSError they are offered again.
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
        life: Callable[[], Life],
        cadence: Cadence,
        now_us: Callable[[], int],
        started: Callable[[int], int | None] = lambda pid: None,
        watch: Callable[[set[int]], None] = lambda pids: None,
        resumes: Mapping[str, Resume] | None = None,
    ) -> None:
        self._meter = meter
        self._identify = identify
        self._alive = alive
        self._now_us = now_us
        self._started = started
        self._watch = watch
        self._emit = emit
        self._stream = stream
        self._ask_life = life
        self._life = life()
        self._answered = True
        self._cadence = cadence
        self._seq = 0
        self._trouble: str | None = None
        self._unstored: list[Record] = []
        self._known: dict[str, dict[int, RunIdentity]] = {}
        self._held: dict[str, Holders] = {}
        self._looked_us: int | None = None
        self._listed: dict[str, set[int]] = {}
        self._idle: defaultdict[str, IdlePower] = defaultdict(IdlePower)
        self._resumes = dict(resumes or {})
        self._devices: dict[str, DeviceStream] = {}

    def run(
        self, wait: Callable[[float], bool], *, for_s: float | None = None, now: Callable[[], int] = boot_ns
    ) -> None:
        """Tick and look until `wait(seconds)` says True (stop), or for `for_s` seconds; then settle what is open.

        `wait` may return early, to have a look at once. Ticks that were missed (a busy or suspended machine) are not
        made up for: one difference covers them. Raises Permanent from the meter, after the records so far have been
        handed on.
        """
        start_ns = now()
        end_ns = None if for_s is None else start_ns + round(for_s * 1e9)
        next_tick_ns = next_look_ns = next_flush_ns = start_ns
        try:
            while True:
                now_ns = now()
                if now_ns >= next_tick_ns or (end_ns is not None and now_ns >= end_ns):
                    self.tick()
                    next_tick_ns = _due(now_ns, start_ns, self._cadence.interval_s)
                else:
                    self.look()
                next_look_ns = _due(now_ns, start_ns, self._cadence.look_s)
                if now_ns >= next_flush_ns:
                    self.flush()
                    next_flush_ns = _due(now_ns, start_ns, self._cadence.flush_s)
                if end_ns is not None and now_ns >= end_ns:
                    return
                due_ns = min(next_tick_ns, next_look_ns, *([] if end_ns is None else [end_ns]))
                if wait(max(0, due_ns - now()) / 1e9):
                    self.tick()
                    return
        finally:
            self.close()

    def tick(self) -> None:
        """A look at who holds the devices, and a reading of all of them."""
        self._step(everything=True)

    def look(self) -> None:
        """A look at who holds the devices; a reading only where that has changed, or where there is no counter."""
        self._step(everything=False)

    def flush(self) -> None:
        """Hand on what is pending."""
        self._hand_on(span for stream in self._devices.values() for span in stream.flush())

    def close(self) -> None:
        """Hand on everything up to the last reading."""
        self._hand_on(span for stream in self._devices.values() for span in stream.close())

    def _step(self, *, everything: bool) -> None:
        devices = {device.uuid: device for device in self._meter.devices()}
        looked_us, before_us = self._now_us(), self._looked_us
        listed = self._meter.processes()
        self._watch({process.pid for processes in listed.values() for process in processes})
        holders = {uuid: self._holders(uuid, listed.get(uuid)) for uuid in devices}
        changed = {uuid for uuid, held in self._held.items() if not same_parties(held, holders.get(uuid))}
        closed: list[Span] = []
        try:
            readings: list[Reading] = []
            if changed:
                readings += self._meter.read(changed, exact=True)
            powered = [uuid for uuid, device in devices.items() if everything or not device.counter]
            rest = [uuid for uuid in powered if uuid not in changed]
            if rest or everything:  # also where there is none: one that could not be opened may be there now
                readings += self._meter.read(rest)
        except Transient as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.warning("the meter cannot be read: %s; counters make up for it when they are back", error)
            self._answered = False
            return
        if not self._answered:  # while it answers nobody can load it anew
            self._notice_restart()
        if readings:  # a look that needed none tells nothing
            self._answered = not any(reading.silent for reading in readings)
        self._trouble, self._looked_us = None, looked_us
        for reading in readings if not everything else [*readings, *self._missing(readings)]:
            uuid = reading.device_uuid
            now = holders.get(uuid)
            grown = uuid in changed and set(parties(self._held[uuid]) or ()) <= set(parties(now) or ())
            since_us = self._since(reading, listed.get(uuid, ()), looked_us=before_us) if grown else None
            idle_mw = self._idle[uuid].mw
            closed += self._stream_of(uuid, devices).push(reading, now, since_us=since_us, idle_mw=idle_mw)
            self._held[uuid] = now
        if not everything:
            for uuid in holders.keys() & self._devices.keys() - {reading.device_uuid for reading in readings}:
                self._devices[uuid].note(looked_us, holders[uuid])
        self._listed = {uuid: {one.pid for one in processes} for uuid, processes in listed.items()}
        self._hand_on(closed)

    def _notice_restart(self) -> None:
        """Counters of a driver that was loaded anew began again, though they may have passed where they stood."""
        life = self._ask_life()
        if life.reloaded_since(self._life):
            _log.warning("the driver was loaded anew; what its counters had not told before is estimated, or a gap")
            self.flush()
            for stream in self._devices.values():
                stream.restart()
        if life.driver:  # it may be away for the moment
            self._life = life

    def _since(self, reading: Reading, processes: Sequence[Process], *, looked_us: int | None) -> int | None:
        """Since when those who are new have held the device, where that can be told: at the earliest since the last
        look, or since they were started.

        Of one that was started before that look, only that it came between the two is known: half way is the best
        guess.
        """
        before = self._listed.get(reading.device_uuid, ())
        fresh = [process.pid for process in processes if process.pid not in before]
        starts = [start for pid in fresh if (start := self._started(pid)) is not None]
        if self._held[reading.device_uuid] is None or looked_us is None or not starts:
            return None
        start_us = reading.t_us - (reading.mono_ns - min(starts)) // 1000
        return start_us if start_us > looked_us else (looked_us + reading.t_us) // 2

    def _stream_of(self, uuid: str, devices: Mapping[str, Device]) -> DeviceStream:
        if uuid not in self._devices:
            limits = Limits().at_cadence(self._cadence.interval_s).at_speed(self._cadence.speed)
            self._devices[uuid] = DeviceStream(
                limits=limits.with_power_limit(devices[uuid].limit_mw if uuid in devices else None),
                # As long as from flush to flush, also where a reading comes late.
                merge_us=round((self._cadence.flush_s + self._cadence.interval_s / 2) * 1_000_000),
                resume=self._resumes.get(uuid),
                life=self._life,
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
        had here a moment ago. Where clients work through a server process, the server is none of the parties.
        """
        if not processes:
            self._known.pop(device_uuid, None)
            return None if processes is None else ()
        before = self._known.get(device_uuid, {})
        served = any(process.client for process in processes)
        now: dict[int, RunIdentity] = {}
        held: list[tuple[RunIdentity | None, Process]] = []
        for process in processes:
            run = self._identify(process.pid)
            if run is None and not self._alive(process.pid):
                run = before.get(process.pid)
            if run is not None:
                now[process.pid] = run
            elif served and not process.client:
                continue
            held.append((run, process))
        self._known[device_uuid] = now
        return holders_of(held)

    def _hand_on(self, spans: Iterable[Span]) -> None:
        records = self._unstored + [self._record(span) for span in spans]
        if not records:
            return
        try:
            self._emit(records)
        except OSError as error:
            if not self._unstored:
                _log.error("records cannot be stored: %s; they are kept in memory until they can", error)
            for longest_us in STEPS_US:
                if len(records) > _UNSTORED:
                    records = coarsen(records, longest_us=longest_us)
            self._unstored, self._seq = records, records[-1].seq
            return
        if self._unstored:
            _log.warning("records can be stored again")
        self._unstored = []

    def _record(self, span: Span) -> Record:
        self._seq += 1
        interval = span.interval
        idle = self._idle[interval.device_uuid]
        if span.holders == () and interval.quality == "measured":
            idle.see(at_us=interval.t1_us, energy_mj=interval.energy_mj, length_ns=interval.mono_dt_ns)
        split = attribute(
            interval.energy_mj,
            span.holders,
            idle_mj=None if idle.mw is None else idle.mw * interval.mono_dt_ns // 1_000_000_000,
            slices=next((one.slices for one in self._meter.devices() if one.uuid == interval.device_uuid), 0),
        )
        return Record(
            agent_id=self._stream.agent_id,
            boot_id=self._life.text,
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


def _due(now_ns: int, start_ns: int, every_s: float) -> int:
    """The next moment after now on the grid of `every_s` from the start."""
    every_ns = round(every_s * 1e9)
    return start_ns + ((now_ns - start_ns) // every_ns + 1) * every_ns
