"""Boards that are cut into parts (MIG), and cut anew while the agent runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from kilowait_agents.nvml import NvmlMeter

from .conftest import HandClock
from .test_nvml import LOST, NOT_SUPPORTED, UNINITIALIZED, FakeGpu, FakeNvml

NOT_FOUND = 6
NO_INSTANCE = 0xFFFFFFFF
Instance = tuple[int, int]


@dataclass
class CutGpu(FakeGpu):
    """`cut` is the size of each compute instance, `holders` the instance of each pid; None: not cut."""

    cut: dict[Instance, int] | None = field(default_factory=dict)
    holders: dict[int, Instance] = field(default_factory=dict)


class CutNvml(FakeNvml):
    def nvmlDeviceGetMigMode(self, gpu: Any) -> list[int]:
        return [int(gpu.cut is not None)] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, gpu: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, gpu: Any, index: int) -> tuple[Instance, int]:
        self._called("parts", gpu)
        if index >= len(gpu.cut or {}):
            raise pynvml.NVMLError(NOT_FOUND)
        return list(gpu.cut.items())[index]

    def nvmlDeviceGetGpuInstanceId(self, part: tuple[Instance, int]) -> int:
        return part[0][0]

    def nvmlDeviceGetComputeInstanceId(self, part: tuple[Instance, int]) -> int:
        return part[0][1]

    def nvmlDeviceGetAttributes(self, part: tuple[Instance, int]) -> Any:
        return SimpleNamespace(computeInstanceSliceCount=part[1])

    def nvmlDeviceGetUtilizationRates(self, gpu: Any) -> Any:
        raise pynvml.NVMLError(NOT_SUPPORTED)

    def nvmlDeviceGetUUID(self, gpu: Any) -> str:
        return gpu.uuid if isinstance(gpu, FakeGpu) else f"MIG-{gpu[0]}"

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: Any) -> list[Any]:
        self._called("processes", gpu)
        return [
            SimpleNamespace(pid=pid, gpuInstanceId=gi, computeInstanceId=ci) for pid, (gi, ci) in gpu.holders.items()
        ]


def sizes(meter: NvmlMeter) -> dict[int, int | None]:
    (processes,) = meter.processes().values()
    return {one.pid: None if one.part is None else one.part.slices for one in processes}


def test_a_process_pays_for_the_part_as_it_was_cut_when_it_came(clock: HandClock) -> None:
    gpu = CutGpu(cut={(1, 0): 4, (2, 0): 1}, holders={10: (1, 0), 20: (2, 0)})
    meter = NvmlMeter(nvml=CutNvml(gpu), clock=clock)
    assert sizes(meter) == {10: 4, 20: 1}
    gpu.cut, gpu.holders = {(1, 0): 2, (1, 1): 2, (2, 0): 1}, {11: (1, 0), 20: (2, 0)}
    assert sizes(meter) == {11: 2, 20: 1}
    gpu.holders = {}
    assert sizes(meter) == {}
    gpu.cut, gpu.holders = {(1, 0): 3}, {11: (1, 0)}  # a number that comes again is another process
    assert sizes(meter) == {11: 3}


def test_the_parts_are_listed_only_when_somebody_comes(clock: HandClock) -> None:
    gpu = CutGpu(cut={(1, 0): 4}, holders={10: (1, 0)})
    nvml = CutNvml(gpu)
    meter = NvmlMeter(nvml=nvml, clock=clock)
    sizes(meter)
    nvml.calls.clear()
    for _ in range(10):
        sizes(meter)
    assert "parts" not in nvml.calls


@pytest.mark.parametrize("failure", [UNINITIALIZED, LOST])
def test_a_board_that_comes_back_is_cut_as_it_is_now(clock: HandClock, failure: int) -> None:
    gpu = CutGpu(cut=None, holders={10: (NO_INSTANCE, NO_INSTANCE)})
    meter = NvmlMeter(nvml=CutNvml(gpu), clock=clock)
    assert (meter.devices()[0].slices, sizes(meter)) == (0, {10: None})

    def away_and_back(cut: dict[Instance, int] | None, holders: dict[int, Instance]) -> None:
        gpu.failures = {"fields": failure}
        assert meter.read()[0].silent
        gpu.failures, gpu.cut, gpu.holders = {}, cut, holders
        clock.advance(2)
        assert meter.read()[0].counter_mj == 1_000_000

    away_and_back({(1, 0): 4}, {10: (1, 0)})
    assert (meter.devices()[0].slices, [part.slices for part in meter.devices()[0].parts]) == (7, [4])
    assert sizes(meter) == {10: 4}
    away_and_back({(1, 0): 2}, {10: (1, 0)})
    assert sizes(meter) == {10: 2}
    away_and_back(None, {10: (NO_INSTANCE, NO_INSTANCE)})
    assert (meter.devices()[0].slices, meter.devices()[0].parts, sizes(meter)) == (0, (), {10: None})
