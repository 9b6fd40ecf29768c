"""`with kilowait.track("run"):` measures a piece of a program where it runs, with or without a node agent."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ContextDecorator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Self

from .attribute import Holder, RunIdentity, attribute
from .cadence import affordable
from .clock import WallClock
from .emissions_csv import append_row
from .energy import kwh
from .errors import AgentError, Permanent, Transient
from .integrate import Integrator, Interval, Limits
from .meter import Device, Meter, Part
from .nvml import NvmlMeter, open_nvml
from .rapl import RaplMeter
from .settings import host

_LAUNCHES = ("KILOWAIT_RUN_ID", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "RAY_JOB_ID")
"""What tells apart two starts of the same program; the ranks of one start share it."""

PART_UNCERTAINTY_PCT = 30.0
"""A board's energy is known, but not what each of its parts drew of it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Tracked:
    """What a tracked piece of a program used; energies are millijoules, None where they could not be measured.

    `gpu_mj` covers the GPUs in `devices` (by UUID): those that this process may use and that no other rank of the same
    start counts. `quality` is the worst of what went into it, `uncertainty_pct` the widest.
    """

    name: str
    seconds: float
    gpu_mj: int | None
    cpu_mj: int | None
    devices: tuple[str, ...]
    quality: str
    uncertainty_pct: float

    @property
    def energy_kwh(self) -> float | None:
        """Everything measured; None if nothing was."""
        parts = [part for part in (self.gpu_mj, self.cpu_mj) if part is not None]
        return kwh(sum(parts)) if parts else None


class track(ContextDecorator):  # noqa: N801 - used like a function: `with track("run"):`, `@track("run")`
    """Measures the block, or each call of the function, called `name`.

    Counters are read between their ticks at both ends, and now and then in between for the sake of boards that fail.
    Each GPU is counted once per start of the program, however many ranks see it. Nothing here ever fails the program:
    what cannot be measured is said in the log and stays None in `result`. A row goes to `csv` (None: to no file), with
    emissions if `intensity_g_per_kwh` says how clean the electricity is.
    """

    def __init__(
        self,
        name: str,
        *,
        csv: str | Path | None = "emissions.csv",
        intensity_g_per_kwh: float | None = None,
        meters: Callable[[WallClock], Sequence[Meter]] | None = None,
        locks: Path | None = None,
    ) -> None:
        self.name = name
        self.result: Tracked | None = None
        self._csv = None if csv is None else Path(csv)
        self._intensity_g_per_kwh = intensity_g_per_kwh
        self._open_meters = meters or _meters
        self._locks = locks or Path(tempfile.gettempdir()) / f"kilowait-track-{os.getuid()}"
        self._measured: list[_Measured] = []

    def _recreate_cm(self) -> Self:  # each call of a decorated function is measured anew
        return type(self)(
            self.name,
            csv=self._csv,
            intensity_g_per_kwh=self._intensity_g_per_kwh,
            meters=self._open_meters,
            locks=self._locks,
        )

    def __enter__(self) -> Self:
        self._clock = WallClock()
        try:
            meters = self._open_meters(self._clock)
            self._measured = [_Measured(meter, locks=self._locks, name=self.name) for meter in meters]
        except AgentError as error:
            _log.warning("%s is not measured: %s", self.name, error)
        for measured in self._measured:
            measured.begin()
        self._began_ns = self._clock.mono_ns()
        return self

    def __exit__(self, *_: object) -> None:
        seconds = (self._clock.mono_ns() - self._began_ns) / 1e9
        closed = [one.close() for one in self._measured]
        self._measured = []
        found = [(source, interval) for source, intervals in closed for interval in intervals]
        self.result = Tracked(
            name=self.name,
            seconds=seconds,
            gpu_mj=_sum(interval for source, interval in found if source != "rapl"),
            cpu_mj=_sum(interval for source, interval in found if source == "rapl"),
            devices=tuple(sorted({interval.device_uuid for source, interval in found if source != "rapl"})),
            quality=_worst([interval.quality for _, interval in found]),
            uncertainty_pct=max((interval.uncertainty_pct for _, interval in found), default=100.0),
        )
        if self._csv is not None:
            try:
                append_row(self._csv, self._row(self.result, found))
            except OSError as error:
                _log.warning("%s cannot be written: %s", self._csv, error)

    def _row(self, result: Tracked, found: Sequence[tuple[str, Interval]]) -> dict[str, object]:
        names = sorted({interval.device_name for source, interval in found if source != "rapl"})
        used = result.energy_kwh
        row: dict[str, object] = {
            "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
            "project_name": self.name,
            "run_id": os.environ.get("KILOWAIT_RUN_ID") or str(uuid.uuid4()),
            "duration": result.seconds,
            "gpu_count": len(result.devices),
            "gpu_model": ", ".join(names),
        }
        for kind, mj in (("gpu", result.gpu_mj), ("cpu", result.cpu_mj)):
            if mj is not None:
                row |= {f"{kind}_energy": kwh(mj), f"{kind}_power": mj / 1000 / result.seconds}
        if used is not None:
            row["energy_consumed"] = used
        if used is not None and self._intensity_g_per_kwh is not None:
            kg = used * self._intensity_g_per_kwh / 1000
            row |= {"emissions": kg, "emissions_rate": kg / result.seconds}
        return row


class _Measured:
    """One meter's devices that are ours to count, from `begin` to `close`.

    The thread takes the first reading too: to know where a counter stood at that moment, it has to watch it tick, and
    the program need not wait for that.
    """

    def __init__(self, meter: Meter, *, locks: Path, name: str) -> None:
        self._meter = meter
        self._held: list[IO[bytes]] = []
        usable = visible(meter.devices()) if meter.source == "nvml" else meter.devices()
        self._devices = {device.uuid: device for device in usable}
        own = {device.uuid: own_parts(device) for device in usable}
        self._parts = {
            board: [part for part in parts if self._take(locks, f"{name}-{part.uuid}")] for board, parts in own.items()
        }
        """Of boards that are cut, those that are ours; no energy of theirs is measured apart."""
        self._ours = {
            board for board in own if self._parts[board] or (not own[board] and self._take(locks, f"{name}-{board}"))
        }
        self._others = dict.fromkeys(self._ours, 0)
        limits = {device.uuid: device.limit_mw for device in meter.devices()}
        cadence = affordable(meter, flush_s=5.0, speed=1.0)
        self._integrators = {
            uuid: Integrator(limits=Limits().at_cadence(cadence.interval_s).with_power_limit(limits[uuid]))
            for uuid in self._ours
        }
        self._intervals: list[Interval] = []
        self._begun, self._done = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._watch, args=(cadence.interval_s,), daemon=True)
        self._thread.start()

    def begin(self) -> None:
        """Count from now on."""
        self._begun.set()

    def close(self) -> tuple[str, list[Interval]]:
        """(the meter's source, the intervals from the start to now)."""
        self._done.set()
        self._thread.join()  # the readings of a block come in their order, however short it is
        self._read(exact=True)
        rest = [one for each in self._integrators.values() if (one := each.close()) is not None]
        self._intervals += [self._our_part(one) for one in rest]
        self._meter.close()
        for file in self._held:
            file.close()
        return self._meter.source, self._intervals

    def _watch(self, interval_s: float) -> None:
        self._begun.wait()
        self._read(exact=True)
        if isinstance(self._meter, NvmlMeter):
            self._meter.learn_ticks(self._done.is_set)
        while not self._done.wait(interval_s):
            self._read(exact=False)

    def _read(self, *, exact: bool) -> None:
        if not self._ours:
            return
        try:
            readings = self._meter.read(self._ours, exact=exact)
        except (Transient, Permanent) as error:
            _log.warning("the meter cannot be read: %s", error)
            return
        for reading in readings:
            interval = self._integrators[reading.device_uuid].push(reading)
            if interval is not None:
                self._intervals.append(self._our_part(interval))
        self._look_for_others()

    def _our_part(self, interval: Interval) -> Interval:
        """Of a board that is cut, what its parts in use draw goes by their slices, as the agent has it."""
        ours = sum(part.slices for part in self._parts[interval.device_uuid])
        if not ours:
            return interval
        others = self._others[interval.device_uuid]
        holders = [Holder(RunIdentity("ours"), slices=ours), *([Holder(None, slices=others)] if others else [])]
        slices = self._devices[interval.device_uuid].slices
        (share,) = attribute(interval.energy_mj, holders, slices=slices).shares
        uncertainty_pct = max(interval.uncertainty_pct, PART_UNCERTAINTY_PCT)
        return interval._replace(energy_mj=share.energy_mj, uncertainty_pct=uncertainty_pct)

    def _look_for_others(self) -> None:
        """How many slices others hold from now on, on boards of which we have a part."""
        cut = {board for board, parts in self._parts.items() if parts}
        listed = self._meter.processes() if cut else {}
        for board in cut & listed.keys():
            held = {process.part for process in listed[board] if process.part is not None}
            self._others[board] = sum(part.slices for part in held - set(self._parts[board]))

    def _take(self, locks: Path, key: str) -> bool:
        """Whether this device is ours to count: the first rank of a start to ask gets it, until it ends."""
        launch = next((value for name in _LAUNCHES if (value := os.environ.get(name))), str(os.getppid()))
        try:
            locks.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = (locks / re.sub(r"[^A-Za-z0-9._-]", "-", f"{launch}-{key}")[:200]).open("ab")
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            return False
        except OSError as error:
            _log.warning("ranks cannot be told apart (%s); should there be several, each counts", error)
            return True
        self._held.append(file)
        return True


def _meters(clock: WallClock) -> list[Meter]:
    """What there is to measure on this machine. Raises Permanent, saying what is missing, where there is nothing."""
    found: list[Meter] = []
    reasons: list[str] = []
    openers: Sequence[Callable[[], Meter]] = (
        lambda: open_nvml(clock=clock),
        lambda: RaplMeter(node=host(), clock=clock),
    )
    for opened in openers:
        try:
            found.append(opened())
        except Permanent as error:
            reasons.append(str(error))
    if not found:
        raise Permanent("; ".join(reasons))
    return found


def visible(devices: Sequence[Device], *, environment: Mapping[str, str] = os.environ) -> list[Device]:
    """The GPUs that this process may use, by CUDA_VISIBLE_DEVICES (numbers, UUIDs or beginnings of UUIDs, also of
    parts)."""
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return list(devices)
    wanted = [word.strip() for word in named.split(",") if word.strip()]
    return [
        device
        for device in devices
        if any(
            word == str(device.index)
            or (word.startswith("GPU-") and device.uuid.startswith(word))
            or (word.startswith("MIG-") and any(part.uuid.startswith(word) for part in device.parts))
            for word in wanted
        )
    ]


def own_parts(device: Device, *, environment: Mapping[str, str] = os.environ) -> list[Part]:
    """Of a GPU that is cut (MIG) and that this process may use, its parts: those that CUDA_VISIBLE_DEVICES names, or
    else the first, which is what CUDA takes then. None of a whole GPU."""
    words = [word.strip() for word in environment.get("CUDA_VISIBLE_DEVICES", "").split(",")]
    named = [
        part for part in device.parts if any(word.startswith("MIG-") and part.uuid.startswith(word) for word in words)
    ]
    return named or list(device.parts[:1])


def _sum(intervals: Iterable[Interval]) -> int | None:
    """Energy of intervals in mJ; None if there is none, or if what they say is that nothing is known."""
    known = [one.energy_mj for one in intervals if one.quality != "gap"]
    return sum(known) if known else None


def _worst(qualities: Sequence[str]) -> str:
    order = ("measured", "recovered", "estimated", "gap")
    return max(qualities, key=order.index, default="gap")
