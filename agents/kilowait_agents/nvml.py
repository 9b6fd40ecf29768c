"""The NVML meter: energy counters and power of NVIDIA GPUs, read-only, one driver call per device and reading."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .clock import Clock
from .errors import Permanent, Transient
from .meter import Device, Part, Process
from .nvml_processes import GpuProcesses, list_parts
from .nvml_sensors import Sensors, find_sensors
from .reading import Reading
from .wire import Source

_UNINITIALIZED = 1
_DRIVER_NOT_LOADED = 9
_LIBRARY_NOT_FOUND = 12
_GPU_IS_LOST = 15
_RESET_REQUIRED = 16
_VERSION_MISMATCH = 18

_FIRST_RETRY_NS = 1_000_000_000  # a lost GPU is looked for after 1 s, then at doubling distances
_LAST_RETRY_NS = 60_000_000_000  # ... up to this

# What time stamp a field carries is that of the call, not of the tick, so ticks have to be watched for.
_TICK_NS = 100_000_000  # until it is learned: that of an H200 (docs/benchmarks/agent.md); older boards tick faster
_PATIENCE_NS = 250_000_000  # a counter that has not moved by then (an idle board of old) is taken as it stands
_GLANCE_NS = 8_000_000  # between two looks for the tick: each costs the driver 3 ms
_CLOSE_GLANCE_S = 0.002  # ... while the distance of the ticks is learned
_LEARNED_FROM = 3  # ticks in a row

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Gpu:
    device: Device
    handle: Any
    sensors: Sensors
    processes: GpuProcesses
    power_mw: int | None = None
    """When it was last read."""
    failing: bool = False
    retry_at_ns: int = 0
    retry_after_ns: int = 0

    @property
    def quiet(self) -> bool:
        """It may be doing nothing: it draws less than half of what it could, or does not say."""
        return self.power_mw is None or self.device.limit_mw is None or 2 * self.power_mw < self.device.limit_mw


def open_nvml(*, clock: Clock) -> NvmlMeter:
    """The NVML meter of this node. Raises Permanent, saying what is missing, where NVML cannot be used."""
    try:
        import pynvml
    except ImportError as error:
        raise Permanent(f"the NVML binding cannot be imported ({error}); install nvidia-ml-py") from error
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        raise Permanent("the module `pynvml` is not NVIDIA's; uninstall it and install nvidia-ml-py")
    return NvmlMeter(nvml=pynvml, clock=clock)


class NvmlMeter:
    """All GPUs that NVML lists, by UUID; `nvml` is the pynvml module.

    A device that fails is silent in that reading and is looked for again by its UUID; when the driver goes away, NVML
    is opened anew. Only a driver that was replaced under this process is final: the old library stays loaded.
    """

    def __init__(self, *, nvml: Any, clock: Clock, wait: Callable[[float], object] = time.sleep) -> None:
        self._nvml = nvml
        self._clock = clock
        self._wait = wait
        self._open = False
        self._said: set[tuple[str, int]] = set()
        self._gpus: list[_Gpu] = []
        self.tick_ns: dict[str, int] = {}
        """How far apart the counter's ticks are, by the name of the board, as far as it was learned."""
        self._broken: dict[int, tuple[int, int]] = {}
        """By index: when to try the board that is not open again, and the distance to the time after that."""
        try:
            self._start()
            for index in range(nvml.nvmlDeviceGetCount()):
                self._take_in(index)
        except nvml.NVMLError as error:
            self.close()
            raise Permanent(_why_not(error)) from error

    @property
    def source(self) -> Source:
        return "nvml"

    def devices(self) -> Sequence[Device]:
        return [gpu.device for gpu in self._gpus]

    @property
    def broken(self) -> bool:
        """There are boards that could not be opened; each reading looks whether they can be now."""
        return bool(self._broken)

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        if not self._open:
            self._restart()
        try:
            self._look_for_broken()
        except self._nvml.NVMLError as error:
            if error.value == _VERSION_MISMATCH:
                raise Permanent(_why_not(error)) from error
            self.close()
            raise Transient(_why_not(error)) from error
        asked = [gpu for gpu in self._gpus if only is None or gpu.device.uuid in only]
        readings = [self._reading(gpu) for gpu in asked]
        return self._drawn_out(asked, readings) if exact else readings

    def _reading(self, gpu: _Gpu) -> Reading:
        counter_mj = power_mw = None
        before_ns = self._clock.mono_ns()
        if before_ns >= gpu.retry_at_ns:
            try:
                if gpu.retry_after_ns:
                    gpu.handle = self._nvml.nvmlDeviceGetHandleByUUID(gpu.device.uuid)
                counter_mj, power_mw = gpu.sensors.values(gpu.handle)
                gpu.power_mw = power_mw
                if gpu.retry_after_ns:  # a reset or another driver may have cut it, or made it whole
                    gpu.device = self._cut(gpu.device, gpu.handle)
                    gpu.processes = self._processes_of(gpu.device)
                self._answered(gpu)
            except self._nvml.NVMLError as error:
                self._failed(gpu, error=error, now_ns=before_ns)
        # The driver answered somewhere between the two looks at the clock: the middle halves the doubt.
        after_ns = self._clock.mono_ns()
        return Reading(
            device_uuid=gpu.device.uuid,
            name=gpu.device.name,
            scope=gpu.sensors.scope,
            counter_mj=counter_mj,
            power_mw=power_mw,
            t_us=self._clock.now_us() - (after_ns - before_ns) // 2000,
            mono_ns=(before_ns + after_ns) // 2,
            power_kind=gpu.sensors.power_kind,
        )

    def _drawn_out(self, gpus: Sequence[_Gpu], readings: Sequence[Reading]) -> Sequence[Reading]:
        """The same moments, each counter on the straight line between its ticks before and after.

        The tick after is waited for; the one before was a period earlier. Boards tick apart, so each is watched alone.
        """
        open_at = {place for place, reading in enumerate(readings) if reading.counter_mj is not None}
        last = dict(enumerate(readings))
        ticked: dict[int, tuple[Reading, int]] = {}
        glance_s = min([_GLANCE_NS, *(self._tick_of(gpu) // 4 for gpu in gpus)]) / 1e9
        while open_at and last[min(open_at)].mono_ns - readings[0].mono_ns < _PATIENCE_NS:
            self._wait(glance_s)
            for place in sorted(open_at):
                now, before = self._reading(gpus[place]), last[place]
                last[place] = now
                if now.counter_mj is None:
                    open_at.discard(place)
                elif now.counter_mj != before.counter_mj:
                    open_at.discard(place)
                    ticked[place] = (now, (before.mono_ns + now.mono_ns) // 2)
        drawn = dict(enumerate(readings))
        for place, (now, tick_ns) in ticked.items():
            drawn[place] = _between_ticks(readings[place], now, tick_ns=tick_ns, period_ns=self._tick_of(gpus[place]))
        return [drawn[place] for place in range(len(readings))]

    def _tick_of(self, gpu: _Gpu) -> int:
        return self.tick_ns.get(gpu.device.name, _TICK_NS)

    def learn_ticks(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Watch the counter of one board of each name closely for some ticks, a third of a second, or until `stop`.

        Boards of the same name tick alike. Without it their ticks are taken to be as far apart as those of an H200.
        """
        for gpu in {gpu.device.name: gpu for gpu in self._gpus if gpu.sensors.counter}.values():
            last = self._reading(gpu)
            ticks: list[int] = []
            since_ns = last.mono_ns
            while len(ticks) < _LEARNED_FROM and last.mono_ns - since_ns < _PATIENCE_NS and not stop():
                self._wait(_CLOSE_GLANCE_S)
                now = self._reading(gpu)
                if now.counter_mj is None or last.counter_mj is None:
                    break
                if now.counter_mj != last.counter_mj:
                    since_ns = (last.mono_ns + now.mono_ns) // 2
                    ticks.append(since_ns)
                last = now
            if len(ticks) == _LEARNED_FROM:
                self.tick_ns[gpu.device.name] = (ticks[-1] - ticks[0]) // (_LEARNED_FROM - 1)
                _log.info("the counter of %s ticks every %d ms", gpu.device.name, round(self._tick_of(gpu) / 1e6))

    def processes(self) -> Mapping[str, Sequence[Process]]:
        found: dict[str, Sequence[Process]] = {}
        for gpu in self._gpus:
            if not self._open or gpu.retry_after_ns:
                continue
            try:
                found[gpu.device.uuid] = gpu.processes.look(gpu.handle, quiet=gpu.quiet)
                if gpu.processes.doubtful and self._cut_anew(gpu):
                    found[gpu.device.uuid] = gpu.processes.look(gpu.handle, quiet=gpu.quiet)
            except self._nvml.NVMLError as error:
                self._say(gpu, error=error, what="its processes are not known and its energy stays unattributed")
        return found

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        try:
            self._nvml.nvmlShutdown()
        except self._nvml.NVMLError as error:
            _log.debug("NVML did not shut down cleanly: %s", error)

    def _start(self) -> None:
        self._nvml.nvmlInit()
        self._open = True

    def _restart(self) -> None:
        try:
            self._start()
            count = self._nvml.nvmlDeviceGetCount()
        except self._nvml.NVMLError as error:
            self.close()
            if error.value == _VERSION_MISMATCH:
                raise Permanent(_why_not(error)) from error
            raise Transient(_why_not(error)) from error
        # Another driver may number the boards otherwise, and find others.
        self._broken = dict.fromkeys(range(count), (0, _FIRST_RETRY_NS))
        for gpu in self._gpus:  # handles do not outlive a session with the driver
            gpu.retry_at_ns, gpu.retry_after_ns = 0, _FIRST_RETRY_NS

    def _look_for_broken(self) -> None:
        now_ns = self._clock.mono_ns()
        for index, (retry_at_ns, retry_after_ns) in list(self._broken.items()):
            if now_ns >= retry_at_ns:
                self._take_in(index, retry_after_ns=min(_LAST_RETRY_NS, 2 * retry_after_ns))

    def _take_in(self, index: int, *, retry_after_ns: int = _FIRST_RETRY_NS) -> None:
        """Open the GPU at `index`; a broken one is tried again later and does not take the others along."""
        nvml = self._nvml
        try:
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            uuid = str(nvml.nvmlDeviceGetUUID(handle))
            if any(gpu.device.uuid == uuid for gpu in self._gpus):
                self._broken.pop(index, None)
                return
            device = Device(
                uuid=uuid, index=index, name=str(nvml.nvmlDeviceGetName(handle)), limit_mw=self._limit_mw(handle)
            )
            sensors = find_sensors(nvml, handle)
            device = replace(self._cut(device, handle), counter=sensors.counter)
        except nvml.NVMLError as error:
            if error.value in (_UNINITIALIZED, _DRIVER_NOT_LOADED, _VERSION_MISMATCH):
                raise
            if index not in self._broken:
                _log.warning("GPU %s cannot be opened: %s; it is tried again", index, error)
            self._broken[index] = (self._clock.mono_ns() + retry_after_ns, retry_after_ns)
            return
        self._broken.pop(index, None)
        self._gpus.append(_Gpu(device, handle, sensors, self._processes_of(device)))
        if not sensors.counter and sensors.power is None:
            _log.warning("GPU %s (%s) has no energy counter and no power sensor; its time is a gap", index, device.uuid)

    def _limit_mw(self, handle: Any) -> int | None:
        try:
            _, highest_mw = self._nvml.nvmlDeviceGetPowerManagementLimitConstraints(handle)
        except self._nvml.NVMLError:
            return None
        return int(highest_mw) or None

    def _cut(self, device: Device, handle: Any) -> Device:
        """`device` with the parts into which it is cut now."""
        slices = self._slices(handle)
        return replace(device, slices=slices, parts=self._parts(handle) if slices else ())

    def _cut_anew(self, gpu: _Gpu) -> bool:
        """Some boards are cut, and made whole, without a reset: whether this one was, of which nobody told us."""
        current, _ = self._nvml.nvmlDeviceGetMigMode(gpu.handle)
        if bool(current) == (gpu.device.slices > 0):
            return False
        gpu.device = self._cut(gpu.device, gpu.handle)
        gpu.processes = self._processes_of(gpu.device)
        _log.info("GPU %s (%s) is %s now", gpu.device.index, gpu.device.uuid, "cut" if current else "whole")
        return True

    def _slices(self, handle: Any) -> int:
        """Into how many slices the GPU can be cut, if it is cut at all."""
        try:
            current, _ = self._nvml.nvmlDeviceGetMigMode(handle)
            return int(self._nvml.nvmlDeviceGetMaxMigDeviceCount(handle)) if current else 0
        except self._nvml.NVMLError:
            return 0

    def _parts(self, handle: Any) -> tuple[Part, ...]:
        try:
            return tuple(list_parts(self._nvml, handle))
        except self._nvml.NVMLError:
            return ()

    def _processes_of(self, device: Device) -> GpuProcesses:
        return GpuProcesses(nvml=self._nvml, partitioned=device.slices > 0, now_us=self._clock.now_us)

    def _answered(self, gpu: _Gpu) -> None:
        if gpu.failing:
            _log.warning("GPU %s (%s) answers again", gpu.device.index, gpu.device.uuid)
            self._said = {key for key in self._said if key[0] != gpu.device.uuid}
        gpu.failing = False
        gpu.retry_at_ns = gpu.retry_after_ns = 0

    def _failed(self, gpu: _Gpu, *, error: Any, now_ns: int) -> None:
        if error.value == _VERSION_MISMATCH:
            raise Permanent(_why_not(error)) from error
        self._say(gpu, error=error, what="it is silent until it answers again")
        gpu.failing = True
        if error.value in (_UNINITIALIZED, _DRIVER_NOT_LOADED):
            self.close()
        if error.value in (_GPU_IS_LOST, _RESET_REQUIRED) or gpu.retry_after_ns:
            gpu.retry_after_ns = min(_LAST_RETRY_NS, max(_FIRST_RETRY_NS, 2 * gpu.retry_after_ns))
            gpu.retry_at_ns = now_ns + gpu.retry_after_ns

    def _say(self, gpu: _Gpu, *, error: Any, what: str) -> None:
        """Each kind of failure of a device once; a meter read every second must not fill the log."""
        key = (gpu.device.uuid, int(error.value))
        if key not in self._said:
            self._said.add(key)
            _log.warning("GPU %s (%s): %s; %s", gpu.device.index, gpu.device.uuid, error, what)


def _between_ticks(at: Reading, after: Reading, *, tick_ns: int, period_ns: int) -> Reading:
    """`at` with the counter of its own moment; `after` is the first reading that saw the next tick, at `tick_ns`."""
    assert at.counter_mj is not None
    assert after.counter_mj is not None
    gained_mj = after.counter_mj - at.counter_mj
    since_ns = min(max(0, at.mono_ns - (tick_ns - period_ns)), period_ns)
    return at._replace(counter_mj=at.counter_mj + max(0, gained_mj) * since_ns // period_ns)


def _why_not(error: Any) -> str:
    if error.value == _LIBRARY_NOT_FOUND:
        return (
            "NVML is not on this node (libnvidia-ml.so.1 not found); install the NVIDIA driver or mount its libraries"
        )
    if error.value == _DRIVER_NOT_LOADED:
        return "the NVIDIA driver is not loaded; load it (nvidia-smi shows the cause)"
    if error.value == _VERSION_MISMATCH:
        return "the NVIDIA driver was replaced while its old library is loaded; restart the agent"
    return f"NVML does not work on this node: {error}; nvidia-smi should show the same"
