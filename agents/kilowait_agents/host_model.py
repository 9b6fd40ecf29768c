"""A model of what a machine draws besides its GPUs, where nobody can measure it; labelled as a model everywhere."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from .clock import Clock
from .errors import Permanent
from .meter import Device, Process
from .reading import Reading
from .wire import Source

# Means over the servers of a large cloud, by the Cloud Carbon Footprint methodology: watts of a logical CPU that does
# nothing and of one that is busy, and of a GB of memory.
_IDLE_W = 0.74
_BUSY_W = 3.5
_GB_W = 0.392


class HostModel:
    """One device, the machine without its GPUs: `idle_w`, and up to `busy_w` in proportion to the time that its CPUs
    worked (/proc/stat, so no moment between two readings is missed). Without the two, means of large servers.

    Whose processes it was is not told. Raises Permanent where the kernel does not say how busy the CPUs are.
    """

    def __init__(
        self,
        *,
        node: str,
        clock: Clock,
        idle_w: float | None = None,
        busy_w: float | None = None,
        proc: Path = Path("/proc"),
    ) -> None:
        self._clock = clock
        self._stat = proc / "stat"
        first = self._busy_s()
        if first is None:
            raise Permanent(f"{self._stat} does not say how busy the CPUs are")
        self._first_s, self._cpus = first
        memory_w = _GB_W * _memory_gb(proc / "meminfo")
        self._idle_w = _IDLE_W * self._cpus + memory_w if idle_w is None else idle_w
        self._busy_w = max(self._idle_w, _BUSY_W * self._cpus + memory_w if busy_w is None else busy_w)
        self._since_ns = clock.mono_ns()
        name = f"modelled: {self._cpus} CPUs and memory, {self._idle_w:.0f} to {self._busy_w:.0f} W"
        self._device = Device(uuid=f"HOST-{node}", index=0, name=name, limit_mw=round(1000 * self._busy_w) or 1)

    @property
    def source(self) -> Source:
        return "model"

    def devices(self) -> Sequence[Device]:
        return [self._device]

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        """What the model makes of the CPU time since this meter was opened."""
        if only is not None and self._device.uuid not in only:
            return []
        now = self._busy_s()
        now_ns = self._clock.mono_ns()
        counter_mj = None
        if now is not None:
            used = (now[0] - self._first_s) / self._cpus
            elapsed_s = (now_ns - self._since_ns) / 1e9
            counter_mj = int(1000 * (self._idle_w * elapsed_s + (self._busy_w - self._idle_w) * min(used, elapsed_s)))
        return [
            Reading(
                device_uuid=self._device.uuid,
                name=self._device.name,
                scope="host",
                counter_mj=counter_mj,
                power_mw=None,
                t_us=self._clock.now_us(),
                mono_ns=now_ns,
                modelled=True,
            )
        ]

    def processes(self) -> Mapping[str, Sequence[Process]]:
        return {}

    def close(self) -> None:
        """Nothing is held."""

    def _busy_s(self) -> tuple[float, int] | None:
        """(CPU seconds worked since boot by all CPUs together, how many there are)."""
        try:
            lines = self._stat.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeError):
            return None
        cpus = sum(1 for line in lines if line.startswith("cpu") and line[3:4].isdecimal())
        words = lines[0].split() if lines else []
        if not cpus or words[:1] != ["cpu"] or len(words) < 9:
            return None
        user, nice, system, _, _, irq, softirq, steal = map(int, words[1:9])
        return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK"), cpus


def _memory_gb(path: Path) -> float:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("MemTotal:")) / 1e6
    except (OSError, ValueError, StopIteration):
        return 0.0
