"""The stand-in library itself: what it counts is what its scenario says, and the real binding reads it."""

from __future__ import annotations

import pytest

from fake_nvml import FakeNode


def test_the_truth_of_every_load_is_its_integral(node: FakeNode) -> None:
    node.gpu().const(0, 60, 400)
    node.gpu().square(0, 60, 70, 690, 1.3)
    node.gpu().ramp(0, 60, 100, 650)
    node.gpu().spiky(0, 60)
    node.write()
    assert node.truth_mj(0, 10, 20) == pytest.approx(4_000_000)
    assert node.truth_mj(1, 0, 1.3) == pytest.approx(1300 * (70 + 690) / 2)
    assert node.truth_mj(1, 1.3, 1.3 + 0.65) == pytest.approx(650 * 690)
    assert node.truth_mj(2, 0, 60) == pytest.approx(60_000 * 375)
    assert node.truth_mj(3, 0, 0.333) == pytest.approx(333 * 90 + 20 * 610)


def test_the_counter_moves_only_at_its_ticks(node: FakeNode) -> None:
    node.gpu(tick_ms=100, base_mj=5_000).const(0, 60, 400)
    node.write()
    nvml = node.pynvml()
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    seen = []
    for at in (1.0, 1.05, 1.099, 1.1):
        node.at(at)
        seen.append(nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
    assert seen == [405_000, 405_000, 405_000, 445_000]


def test_a_counter_built_from_part_time_samples_sees_only_its_windows(node: FakeNode) -> None:
    node.gpu(tick_ms=100, sampled_ms=25).square(0, 60, 0, 400, 0.1)
    node.write()
    nvml = node.pynvml()
    nvml.nvmlInit()
    node.at(10)
    assert nvml.nvmlDeviceGetTotalEnergyConsumption(nvml.nvmlDeviceGetHandleByIndex(0)) == 0, "it looks at the low half"


def test_faults_come_as_the_errors_of_the_binding(node: FakeNode) -> None:
    node.gpu().const(0, 60, 400).fault(10, 20, "all", 15).process(4242, 0, 30)
    node.say("driver_down", 30, 40)
    node.write()
    nvml = node.pynvml()
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    assert [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)] == [4242]
    node.at(15)
    with pytest.raises(nvml.NVMLError_GpuIsLost):
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    node.at(35)
    with pytest.raises(nvml.NVMLError_Uninitialized):
        nvml.nvmlDeviceGetCount()
    with pytest.raises(nvml.NVMLError_DriverNotLoaded):
        nvml.nvmlInit()
    node.at(41)
    with pytest.raises(nvml.NVMLError_Uninitialized):
        nvml.nvmlDeviceGetCount()
    nvml.nvmlInit()
    assert nvml.nvmlDeviceGetCount() == 1


def test_a_mig_part_has_no_energy_of_its_own(node: FakeNode) -> None:
    node.gpu().const(0, 60, 400).say("mig", 1, 3, 40_000, 60).say("mig", 2, 4, 40_000, 64)
    node.write()
    nvml = node.pynvml()
    nvml.nvmlInit()
    handle = nvml.nvmlDeviceGetHandleByIndex(0)
    parts = [nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index) for index in (0, 1)]
    assert [nvml.nvmlDeviceGetAttributes_v2(part).gpuInstanceSliceCount for part in parts] == [3, 4]
    with pytest.raises(nvml.NVMLError_NotSupported):
        nvml.nvmlDeviceGetTotalEnergyConsumption(parts[0])
    with pytest.raises(nvml.NVMLError_NotFound):
        nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, 2)
