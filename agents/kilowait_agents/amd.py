"""The AMD meter: energy counters and power of AMD GPUs, read-only, by AMD's own binding (amdsmi, part of ROCm).

Written from AMD's documentation and its issues; not yet seen on a real board.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .clock import Clock
from .errors import Permanent
from .meter import Device, Process
from .reading import PowerKind, Reading
from .wire import Source

_STALL_NS = 5_000_000_000
_REOPEN_NS = 60_000_000_000
_STILL_MW = 1000  # below 1 W a counter that does not move is right

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Gpu:
    device: Device
    handle: Any
    counter_mj: int | None = None
    moved_ns: int = 0
    trouble: bool = False
    failed: bool = False
    """At its last reading."""


def open_amd(*, clock: Clock) -> AmdMeter:
    """The AMD meter of this node. Raises Permanent, saying what is missing, where it cannot be had."""
    try:
        import amdsmi
    except (ImportError, OSError, KeyError) as error:  # the binding fails in its own ways where ROCm is not there
        raise Permanent(
            f"AMD's binding cannot be imported ({error}); it comes with ROCm (pip install amdsmi)"
        ) from error
    return AmdMeter(amdsmi=amdsmi, clock=clock)


class AmdMeter:
    """All GPUs that amdsmi lists, by UUID; `amdsmi` is its module.

    On some boards counter and power stand still within a process: that is noticed, amdsmi is opened anew, and until the
    counter moves again its energy is an estimate that says so. The second half of a board with two (MI250X) counts
    nothing; the first counts for both.
    """

    def __init__(self, *, amdsmi: Any, clock: Clock) -> None:
        self._amdsmi = amdsmi
        self._clock = clock
        self._opened_ns = clock.mono_ns()
        self._gpus: list[_Gpu] = []
        try:
            amdsmi.amdsmi_init()
            for index, handle in enumerate(amdsmi.amdsmi_get_processor_handles()):
                uuid = str(amdsmi.amdsmi_get_gpu_device_uuid(handle))
                self._gpus.append(_Gpu(Device(f"AMD-{uuid}", index, self._name(handle)), handle))
        except amdsmi.AmdSmiException as error:
            raise Permanent(f"amdsmi does not work on this node: {error}; amd-smi should show the same") from error

    @property
    def source(self) -> Source:
        return "amdsmi"

    def devices(self) -> Sequence[Device]:
        return [gpu.device for gpu in self._gpus]

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        """Counters as they stand: they move every millisecond or so, which leaves nothing to draw out."""
        readings = [self._reading(gpu) for gpu in self._gpus if only is None or gpu.device.uuid in only]
        now_ns = self._clock.mono_ns()
        stalled = [gpu for gpu in self._gpus if gpu.moved_ns and now_ns - gpu.moved_ns > _STALL_NS]
        if stalled and now_ns - self._opened_ns > _REOPEN_NS:
            names = ", ".join(str(gpu.device.index) for gpu in stalled)
            _log.warning("the energy counters of AMD GPUs %s stand still under load; amdsmi is opened anew", names)
            self._reopen()
        elif any(gpu.failed for gpu in self._gpus) and now_ns - self._opened_ns > _REOPEN_NS:
            self._reopen()  # its driver may have been loaded anew
        return readings

    def processes(self) -> Mapping[str, Sequence[Process]]:
        found: dict[str, Sequence[Process]] = {}
        for gpu in self._gpus:
            try:
                listed = self._amdsmi.amdsmi_get_gpu_process_list(gpu.handle)
            except self._amdsmi.AmdSmiException as error:
                self._say(gpu, f"does not list its processes ({error}); its energy stays unattributed")
                continue
            pids = sorted({int(one["pid"]) for one in listed if _uses(one)})
            weight = self._activity(gpu) if len(pids) == 1 else None
            found[gpu.device.uuid] = [Process(pid=pid, weight=weight) for pid in pids]
        return found

    def close(self) -> None:
        try:
            self._amdsmi.amdsmi_shut_down()
        except self._amdsmi.AmdSmiException as error:
            _log.debug("amdsmi did not shut down cleanly: %s", error)

    def _name(self, handle: Any) -> str:
        try:
            return str(self._amdsmi.amdsmi_get_gpu_asic_info(handle)["market_name"])[:100]
        except self._amdsmi.AmdSmiException:
            return "an AMD GPU"

    def _reading(self, gpu: _Gpu) -> Reading:
        counter_mj = power_mw = None
        kind: PowerKind = "instant"
        try:
            counter_mj = self._counter_mj(gpu.handle)
            power_mw, kind = self._power_mw(gpu.handle)
            gpu.trouble = gpu.failed = False
        except self._amdsmi.AmdSmiException as error:
            gpu.failed = True
            self._say(gpu, f"does not answer ({error}); it is silent until it does")
        now_ns = self._clock.mono_ns()
        if counter_mj != gpu.counter_mj or counter_mj is None or (power_mw or 0) < _STILL_MW:
            gpu.counter_mj, gpu.moved_ns = counter_mj, now_ns
        return Reading(
            device_uuid=gpu.device.uuid,
            name=gpu.device.name,
            scope="gpu",
            counter_mj=counter_mj,
            power_mw=power_mw,
            t_us=self._clock.now_us(),
            mono_ns=now_ns,
            power_kind=kind,
        )

    def _counter_mj(self, handle: Any) -> int | None:
        try:
            count = self._amdsmi.amdsmi_get_energy_count(handle)
        except self._amdsmi.AmdSmiException:
            self._amdsmi.amdsmi_get_power_info(handle)  # raises where the board is gone, and not only its counter
            return None
        ticks = count.get("energy_accumulator", count.get("power"))  # its name before ROCm 6.1
        return None if ticks is None else int(ticks * count["counter_resolution"] / 1000)  # of µJ

    def _power_mw(self, handle: Any) -> tuple[int | None, PowerKind]:
        said = self._amdsmi.amdsmi_get_power_info(handle)
        kinds: tuple[tuple[str, PowerKind], ...] = (
            ("socket_power", "instant"), ("current_socket_power", "instant"), ("average_socket_power", "average"),
        )  # fmt: skip
        for name, kind in kinds:
            if type(said.get(name)) in (int, float):  # "N/A" where there is none
                return round(1000 * said[name]), kind
        return None, "instant"

    def _activity(self, gpu: _Gpu) -> int | None:
        try:
            busy = self._amdsmi.amdsmi_get_gpu_activity(gpu.handle).get("gfx_activity")
        except self._amdsmi.AmdSmiException:
            return None
        return 1000 * busy if type(busy) is int else None

    def _reopen(self) -> None:
        self._opened_ns = self._clock.mono_ns()
        self.close()
        try:
            self._amdsmi.amdsmi_init()
            handles = {
                f"AMD-{self._amdsmi.amdsmi_get_gpu_device_uuid(handle)}": handle
                for handle in self._amdsmi.amdsmi_get_processor_handles()
            }
        except self._amdsmi.AmdSmiException as error:
            _log.warning("amdsmi cannot be opened: %s; it is tried again", error)
            return
        for gpu in self._gpus:
            gpu.handle = handles.get(gpu.device.uuid, gpu.handle)

    def _say(self, gpu: _Gpu, what: str) -> None:
        if not gpu.trouble:
            _log.warning("AMD GPU %s (%s) %s", gpu.device.index, gpu.device.uuid, what)
        gpu.trouble = True


def _uses(process: Mapping[str, Any]) -> bool:
    """It has memory on this board; the driver lists processes of other boards, too."""
    memory = process.get("memory_usage", {}).get("vram_mem", process.get("mem"))
    return type(memory) is not int or memory > 0
