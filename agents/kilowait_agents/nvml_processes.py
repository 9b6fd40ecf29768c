"""Who is on a GPU, by NVML: processes, clients of MPS, parts of MIG, and how much each works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .meter import Part, Process

_NOT_FOUND = 6
_INVALID_ARGUMENT = 2
_NO_INSTANCE = 0xFFFFFFFF
_ASK_EVERY_US = 10_000_000


class GpuProcesses:
    """The processes of one GPU. `now_us` is the wall clock that NVML stamps its samples with.

    The driver is asked as little as it can be: for MPS only where something runs, for the work of each process (which
    takes it milliseconds) only where several share the GPU.
    """

    def __init__(self, *, nvml: Any, partitioned: bool, now_us: Callable[[], int]) -> None:
        self._nvml = nvml
        self._partitioned = partitioned
        self._now_us = now_us
        self._parts: dict[tuple[int, int], Part] = {}
        self._held: dict[int, tuple[int, int]] = {}
        """The instance of each pid at the last look."""
        self._asked_us = self._seen_us = 0
        self._work: dict[int, int] = {}
        self.doubtful = False
        """At the last look a process held a part of a board that is taken for whole, or a whole one taken for cut."""

    def look(self, handle: Any, *, quiet: bool = False) -> list[Process]:
        """The processes now, by pid. Raises NVMLError if the driver does not say.

        A `quiet` board is asked whether it does anything; one that draws much evidently does.
        """
        running = self._nvml.nvmlDeviceGetComputeRunningProcesses(handle)
        if not running:
            self._held, self.doubtful = {}, False
            return []
        self.doubtful = any((one.gpuInstanceId in (None, _NO_INSTANCE)) == self._partitioned for one in running)
        parts = self._parts_of(handle, running)
        clients = self._clients(handle)
        pids = sorted({int(one.pid) for one in running} | clients)
        work: dict[int, int] = {}
        if len(pids) > 1 and not self._partitioned:
            work = self._work_of(handle, pids)
        elif quiet and not self._partitioned:
            work = self._work_of_board(handle, pids[0])
        return [Process(pid=pid, weight=work.get(pid), part=parts.get(pid), client=pid in clients) for pid in pids]

    def _work_of_board(self, handle: Any, pid: int) -> dict[int, int]:
        """The same where one process has the board: how much of the last second anything ran on it."""
        try:
            return {pid: 1000 * int(self._nvml.nvmlDeviceGetUtilizationRates(handle).gpu)}
        except self._nvml.NVMLError:
            return {}

    def _clients(self, handle: Any) -> set[int]:
        try:
            return {int(one.pid) for one in self._nvml.nvmlDeviceGetMPSComputeRunningProcesses(handle)}
        except self._nvml.NVMLError:
            return set()

    def _parts_of(self, handle: Any, running: Sequence[Any]) -> dict[int, Part]:
        """The part that a process holds, by pid.

        The driver lets nobody cut a part that a process holds, but gives its numbers to another one afterwards: so the
        parts are listed again whenever somebody new holds one.
        """
        held = {
            int(one.pid): (int(one.gpuInstanceId), int(one.computeInstanceId))
            for one in running
            if self._partitioned and one.gpuInstanceId not in (None, _NO_INSTANCE)
        }
        if not held.items() <= self._held.items() or not self._parts.keys() >= set(held.values()):
            self._parts = {part.instance: part for part in list_parts(self._nvml, handle)}
        self._held = held
        return {pid: self._parts[instance] for pid, instance in held.items() if instance in self._parts}

    def _work_of(self, handle: Any, pids: Sequence[int]) -> dict[int, int]:
        """The share of the multiprocessors that each process kept busy, in 1/1000 %; empty if the driver cannot tell.

        Where it has nothing new to say, what it said last holds; a process it never sampled did nothing.
        """
        now_us = self._now_us()
        if now_us - self._asked_us < _ASK_EVERY_US and self._work.keys() >= set(pids):
            return {pid: self._work[pid] for pid in pids}
        self._asked_us = now_us
        try:
            samples = self._nvml.nvmlDeviceGetProcessUtilization(handle, self._seen_us or now_us - _ASK_EVERY_US)
        except self._nvml.NVMLError as error:
            if error.value != _NOT_FOUND:
                return {}
            samples = []
        for sample in samples:
            self._seen_us = max(self._seen_us, int(sample.timeStamp))
        known = {} if samples else {pid: self._work[pid] for pid in pids if pid in self._work}
        known |= {int(sample.pid): 1000 * int(sample.smUtil) for sample in samples if int(sample.pid) in pids}
        self._work = {pid: known.get(pid, 0) for pid in pids} if known else {}
        return self._work


def list_parts(nvml: Any, handle: Any) -> list[Part]:
    """The parts into which a GPU is cut now. Raises NVMLError if the driver does not say."""
    found: list[Part] = []
    for index in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            part = nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
        except nvml.NVMLError as error:
            if error.value in (_NOT_FOUND, _INVALID_ARGUMENT):
                continue
            raise
        # A GPU instance may be cut again: what is handed out, and what processes hold, are compute instances.
        numbers = int(nvml.nvmlDeviceGetGpuInstanceId(part)), int(nvml.nvmlDeviceGetComputeInstanceId(part))
        found.append(
            Part(
                instance=numbers,
                slices=int(nvml.nvmlDeviceGetAttributes(part).computeInstanceSliceCount),
                uuid=str(nvml.nvmlDeviceGetUUID(part)),
            )
        )
    return found
