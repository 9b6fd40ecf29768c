"""A simulated meter, for machines without a GPU: real runs, real clock, invented watts, labelled as such everywhere.

It ships with the product: demonstrations and tests run on it, and `source: simulated` travels with every number.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Mapping, Sequence

from .clock import Clock
from .errors import Refused
from .meter import Device, Process
from .owners import RunProcess
from .reading import Reading
from .wire import Source

_RIPPLE = 0.02  # of the power: real boards never draw a flat line
_RIPPLE_PERIOD_S = 20.0
_GOLDEN_ANGLE = math.pi * (3 - math.sqrt(5))  # phases of neighbouring devices are far apart, for any number of them

_log = logging.getLogger(__name__)


class SimulatedMeter:
    """`gpus` devices that draw `busy_w` while a run holds them and `idle_w` while none does, with a small ripple.

    A run is alive while any of its processes is, workers kept idle apart. It holds as many devices as its
    KILOWAIT_GPUS says, as far as there are any left, and keeps them until it ends; who came first chooses first. Power
    changes only when `processes` looks: what was seen at one look holds until the next. The counter is the exact
    integral of that power over the clock's monotonic hand, from 0 at the start.
    """

    def __init__(
        self,
        *,
        node: str,
        gpus: int,
        clock: Clock,
        runs: Callable[[], Sequence[RunProcess]],
        busy_w: float = 400.0,
        idle_w: float = 60.0,
    ) -> None:
        if gpus < 1:
            raise Refused(f"a simulated node needs at least 1 GPU, got {gpus}", field="gpus")
        if not 0 <= idle_w <= busy_w < math.inf:
            raise Refused(f"simulated power must be 0 <= idle <= busy, got {idle_w} and {busy_w} W", field="busy_w")
        self._devices = tuple(
            Device(
                uuid=f"SIM-{node}-{index}",
                index=index,
                name=f"simulated GPU ({busy_w:g} W busy, {idle_w:g} W idle)",
                limit_mw=round(busy_w * (1 + _RIPPLE) * 1000) or 1,
            )
            for index in range(gpus)
        )
        self._clock = clock
        self._runs = runs
        self._busy_w = busy_w
        self._idle_w = idle_w
        self._origin_ns = self._last_ns = clock.mono_ns()
        self._energy_mj = [0.0] * gpus
        self._allotted: dict[str, list[int]] = {}
        self._pids: dict[str, list[int]] = {}
        self._silent: set[str] = set()
        self._look()

    @property
    def source(self) -> Source:
        return "simulated"

    def devices(self) -> Sequence[Device]:
        return self._devices

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        """Counters up to now by the state seen at the last look; they are always exact."""
        now_us, now_ns = self._clock.now_us(), self._count_up()
        busy = self._busy()
        return [
            Reading(
                device_uuid=device.uuid,
                name=device.name,
                scope="gpu",
                counter_mj=int(self._energy_mj[device.index]),
                power_mw=round(
                    1000 * self._power_w(device.index, watts=self._busy_w if device.index in busy else self._idle_w)
                ),
                t_us=now_us,
                mono_ns=now_ns,
            )
            for device in self._devices
            if only is None or device.uuid in only
        ]

    def processes(self) -> Mapping[str, Sequence[Process]]:
        """A look at who runs now; up to here counts the state seen before."""
        self._count_up()
        self._look()
        holders = {index: run_id for run_id, indices in self._allotted.items() for index in indices}
        return {
            device.uuid: [Process(pid=pid) for pid in self._pids[holders[device.index]]]
            if device.index in holders
            else []
            for device in self._devices
        }

    def close(self) -> None:
        """Nothing is held."""

    def _count_up(self) -> int:
        """The energy up to now; the moment in monotonic ns."""
        now_ns = self._clock.mono_ns()
        busy = self._busy()
        for index in range(len(self._devices)):
            watts = self._busy_w if index in busy else self._idle_w
            self._energy_mj[index] += 1000 * self._energy_j(index, watts=watts, from_ns=self._last_ns, to_ns=now_ns)
        self._last_ns = now_ns
        return now_ns

    def _busy(self) -> set[int]:
        return {index for indices in self._allotted.values() for index in indices}

    def _look(self) -> None:
        """Who runs now, and which devices they hold."""
        wanted: dict[str, int] = {}
        self._pids = {}
        for process in self._runs():
            if process.idle:
                continue
            run_id = process.run.run_id
            self._pids.setdefault(run_id, []).append(process.pid)
            if process.gpus is not None:
                wanted[run_id] = max(wanted.get(run_id, 0), process.gpus)
        for run_id in sorted(self._pids.keys() - wanted.keys() - self._silent):
            self._silent.add(run_id)
            _log.warning("run %s does not say how many GPUs it holds (KILOWAIT_GPUS); it is given none", run_id)
        self._silent &= self._pids.keys()
        self._allotted = {run_id: held for run_id, held in self._allotted.items() if run_id in self._pids}
        free = [device.index for device in self._devices if device.index not in self._busy()]
        for run_id in self._pids:
            held = self._allotted.setdefault(run_id, [])
            lacking = max(0, wanted.get(run_id, 0) - len(held))
            held += free[:lacking]
            free = free[lacking:]

    def _seconds(self, at_ns: int) -> float:
        return (at_ns - self._origin_ns) / 1e9

    def _power_w(self, index: int, *, watts: float) -> float:
        angle = 2 * math.pi * self._seconds(self._last_ns) / _RIPPLE_PERIOD_S + index * _GOLDEN_ANGLE
        return watts * (1 + _RIPPLE * math.sin(angle))

    def _energy_j(self, index: int, *, watts: float, from_ns: int, to_ns: int) -> float:
        """The integral of `watts * (1 + ripple * sin(omega * t + phase))` over [from, to), in closed form."""
        t0, t1 = self._seconds(from_ns), self._seconds(to_ns)
        omega, phase = 2 * math.pi / _RIPPLE_PERIOD_S, index * _GOLDEN_ANGLE
        ripple_s = _RIPPLE / omega * (math.cos(omega * t0 + phase) - math.cos(omega * t1 + phase))
        return watts * (t1 - t0 + ripple_s)
