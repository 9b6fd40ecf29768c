"""The NVML meter against a FAKE of the pynvml module.

The fake only answers or fails as it is told: these tests are about our error branches. They say nothing about real
drivers, the loading of the library or its structures.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from kilowait_agents.errors import Permanent, Transient
from kilowait_agents.nvml import NvmlMeter, open_nvml
from kilowait_agents.nvml_processes import GpuProcesses

from .conftest import HandClock

ENERGY, AVERAGE, INSTANT = 83, 185, 186
UNINITIALIZED, NOT_SUPPORTED, NO_PERMISSION, DRIVER, MISSING, NO_FUNCTION = 1, 3, 4, 9, 12, 13
LOST, MISMATCH, UNKNOWN = 15, 18, 999
KINDS = {ENERGY: (3, "ullVal"), AVERAGE: (1, "uiVal"), INSTANT: (1, "uiVal")}


@dataclass
class FakeGpu:
    """What a board answers: values by (field, scope), or the failure of a call by its name."""

    uuid: str = "GPU-aaaa"
    values: dict[tuple[int, int], int] = field(
        default_factory=lambda: {(ENERGY, 0): 1_000_000, (INSTANT, 0): 300_000, (AVERAGE, 0): 310_000}
    )
    returns: dict[tuple[int, int], int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    pids: list[int] = field(default_factory=list)


class FakeNvml:
    """The functions of pynvml that the meter calls, with pynvml's own error class."""

    NVMLError = pynvml.NVMLError
    c_nvmlFieldValue_t = pynvml.c_nvmlFieldValue_t

    def __init__(self, *gpus: FakeGpu) -> None:
        self.gpus = list(gpus)
        self.failures: dict[str, int] = {}
        self.calls: list[str] = []
        self.asked: list[list[tuple[int, int]]] = []

    def _called(self, name: str, gpu: FakeGpu | None = None) -> None:
        self.calls.append(name)
        for failures in (self.failures, gpu.failures if gpu else {}):
            if name in failures:
                raise pynvml.NVMLError(failures[name])

    def nvmlInit(self) -> None:
        self._called("init")

    def nvmlShutdown(self) -> None:
        self._called("shutdown")

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeGpu:
        self._called("handle", self.gpus[index])
        return self.gpus[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> FakeGpu:
        (gpu,) = [gpu for gpu in self.gpus if gpu.uuid == uuid]
        self._called("handle_by_uuid", gpu)
        return gpu

    def nvmlDeviceGetUUID(self, gpu: FakeGpu) -> str:
        return gpu.uuid

    def nvmlDeviceGetName(self, gpu: FakeGpu) -> str:
        return "Fake H100"

    def nvmlDeviceGetPowerManagementLimitConstraints(self, gpu: FakeGpu) -> list[int]:
        self._called("limits", gpu)
        return [200_000, 700_000]

    def _nvmlGetFunctionPointer(self, name: str) -> Any:
        assert name == "nvmlDeviceGetFieldValues"
        return self._fields

    def _fields(self, gpu: FakeGpu, count: int, fields: Any) -> int:
        try:
            self._called("fields", gpu)
        except pynvml.NVMLError as error:
            return int(error.value)
        keys = [(one.fieldId, one.scopeId) for one in fields]
        assert len(keys) == count
        self.asked.append(keys)
        for one, key in zip(fields, keys, strict=True):
            one.valueType, member = KINDS[key[0]]
            one.nvmlReturn = gpu.returns.get(key, 0 if key in gpu.values else NOT_SUPPORTED)
            setattr(one.value, member, gpu.values.get(key, 0))
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, gpu: FakeGpu) -> int:
        self._called("energy", gpu)
        return gpu.values[ENERGY, 0]

    def nvmlDeviceGetPowerUsage(self, gpu: FakeGpu) -> int:
        self._called("usage", gpu)
        return gpu.values[INSTANT, 0]

    def nvmlDeviceGetComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        self._called("processes", gpu)
        return [SimpleNamespace(pid=pid, gpuInstanceId=0xFFFFFFFF) for pid in gpu.pids]

    def nvmlDeviceGetMPSComputeRunningProcesses(self, gpu: FakeGpu) -> list[Any]:
        return []

    def nvmlDeviceGetProcessUtilization(self, gpu: FakeGpu, since_us: int) -> list[Any]:
        raise pynvml.NVMLError(NOT_SUPPORTED)

    def nvmlDeviceGetMigMode(self, gpu: FakeGpu) -> list[int]:
        return [0, 0]


def meter(clock: HandClock, *gpus: FakeGpu) -> tuple[NvmlMeter, FakeNvml]:
    nvml = FakeNvml(*gpus)
    return NvmlMeter(nvml=nvml, clock=clock), nvml


def test_energy_and_power_come_from_one_call_per_device(clock: HandClock) -> None:
    opened, nvml = meter(clock, FakeGpu(), FakeGpu(uuid="GPU-bbbb"))
    nvml.asked.clear()
    first, second = opened.read()
    assert nvml.asked == [[(ENERGY, 0), (INSTANT, 0)]] * 2
    assert (first.device_uuid, first.counter_mj, first.power_mw) == ("GPU-aaaa", 1_000_000, 300_000)
    assert (second.device_uuid, second.scope, second.power_kind) == ("GPU-bbbb", "gpu", "instant")
    assert [device.limit_mw for device in opened.devices()] == [700_000, 700_000]
    assert opened.source == "nvml"


def test_a_board_without_a_counter_is_read_by_average_power(clock: HandClock) -> None:
    opened, _ = meter(clock, FakeGpu(values={(AVERAGE, 0): 310_000, (INSTANT, 0): 300_000}))
    (reading,) = opened.read()
    assert (reading.counter_mj, reading.power_mw, reading.power_kind) == (None, 310_000, "average")


def test_a_board_without_average_power_is_read_by_the_moment(clock: HandClock) -> None:
    opened, _ = meter(clock, FakeGpu(values={(INSTANT, 0): 300_000}))
    (reading,) = opened.read()
    assert (reading.power_mw, reading.power_kind) == (300_000, "instant")


def test_a_module_is_read_where_the_board_alone_does_not_answer_and_says_so(clock: HandClock) -> None:
    opened, _ = meter(clock, FakeGpu(values={(AVERAGE, 1): 800_000}))
    (reading,) = opened.read()
    assert (reading.scope, reading.power_mw) == ("module", 800_000)


def test_a_module_s_power_is_not_mixed_with_a_board_s_counter(clock: HandClock) -> None:
    opened, _ = meter(clock, FakeGpu(values={(ENERGY, 0): 5, (AVERAGE, 1): 800_000}, failures={"usage": NOT_SUPPORTED}))
    (reading,) = opened.read()
    assert (reading.scope, reading.counter_mj, reading.power_mw) == ("gpu", 5, None)


def test_a_driver_without_field_values_is_read_by_the_older_calls(clock: HandClock) -> None:
    opened, _ = meter(clock, FakeGpu(failures={"fields": NO_FUNCTION}))
    (reading,) = opened.read()
    assert (reading.counter_mj, reading.power_mw, reading.power_kind) == (1_000_000, 300_000, "instant")


def test_a_field_that_fails_leaves_the_other_standing(clock: HandClock) -> None:
    gpu = FakeGpu()
    opened, _ = meter(clock, gpu)
    gpu.returns[ENERGY, 0] = UNKNOWN
    (reading,) = opened.read()
    assert (reading.counter_mj, reading.power_mw) == (None, 300_000)
    del gpu.returns[ENERGY, 0]
    assert opened.read()[0].counter_mj == 1_000_000


def test_a_counter_that_fails_at_the_start_is_not_written_off(clock: HandClock) -> None:
    gpu = FakeGpu(returns={(ENERGY, 0): UNKNOWN})
    opened, _ = meter(clock, gpu)
    assert opened.read()[0].counter_mj is None
    gpu.returns.clear()
    assert opened.read()[0].counter_mj == 1_000_000


def test_a_lost_gpu_is_silent_the_others_answer_and_it_is_looked_for_ever_more_rarely(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    lost = FakeGpu()
    opened, nvml = meter(clock, lost, FakeGpu(uuid="GPU-bbbb"))
    lost.failures = {"fields": LOST, "handle_by_uuid": LOST}
    nvml.calls.clear()
    for _ in range(120):
        first, second = opened.read()
        assert first.silent
        assert second.counter_mj == 1_000_000
        clock.advance(1)
    assert nvml.calls.count("handle_by_uuid") == 6  # after 1, 3, 7, 15, 31 and 63 s
    assert len([entry for entry in caplog.records if "GPU-aaaa" in entry.getMessage()]) == 1
    lost.failures.clear()
    clock.advance(60)
    assert opened.read()[0].counter_mj == 1_000_000
    assert "answers again" in caplog.text


def test_a_driver_that_goes_away_is_opened_anew(clock: HandClock) -> None:
    gpu = FakeGpu()
    opened, nvml = meter(clock, gpu)
    gpu.failures = {"fields": UNINITIALIZED}
    assert opened.read()[0].silent
    nvml.failures = {"init": DRIVER}
    with pytest.raises(Transient, match="driver is not loaded"):
        opened.read()
    assert opened.processes() == {}
    nvml.failures, gpu.failures = {}, {}
    assert opened.read()[0].counter_mj == 1_000_000


def test_a_driver_that_comes_back_may_number_its_boards_otherwise_and_have_more(clock: HandClock) -> None:
    good, broken = FakeGpu(), FakeGpu(uuid="GPU-bbbb", failures={"handle": LOST})
    opened, nvml = meter(clock, good, broken)
    good.failures = {"fields": UNINITIALIZED}
    assert opened.read()[0].silent
    nvml.gpus = [broken, good, FakeGpu(uuid="GPU-cccc")]
    good.failures, broken.failures = {}, {}
    clock.advance(1)
    assert [reading.device_uuid for reading in opened.read()] == ["GPU-aaaa", "GPU-bbbb", "GPU-cccc"]
    assert not opened.broken


def test_a_driver_replaced_under_the_process_is_final(clock: HandClock) -> None:
    gpu = FakeGpu()
    opened, _ = meter(clock, gpu)
    gpu.failures = {"fields": MISMATCH}
    with pytest.raises(Permanent, match="restart the agent"):
        opened.read()


def test_a_dead_board_at_the_start_does_not_take_the_others_along(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    opened, _ = meter(clock, FakeGpu(failures={"handle": LOST}), FakeGpu(uuid="GPU-bbbb"))
    assert [device.uuid for device in opened.devices()] == ["GPU-bbbb"]
    assert "GPU 0 cannot be opened" in caplog.text


def test_a_board_without_any_sensor_is_said(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    opened, _ = meter(clock, FakeGpu(values={}, failures={"usage": NOT_SUPPORTED, "limits": NOT_SUPPORTED}))
    assert opened.read()[0].silent
    assert opened.devices()[0].limit_mw is None
    assert "no energy counter and no power sensor" in caplog.text


def test_processes_are_listed_once_each_and_unknown_where_the_driver_does_not_say(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    opened, _ = meter(
        clock,
        FakeGpu(pids=[30, 20, 30]),
        FakeGpu(uuid="GPU-bbbb"),
        FakeGpu(uuid="GPU-cccc", failures={"processes": NO_PERMISSION}),
    )
    listed = {uuid: [one.pid for one in processes] for uuid, processes in opened.processes().items()}
    assert listed == {"GPU-aaaa": [20, 30], "GPU-bbbb": []}
    assert "unattributed" in caplog.text


@pytest.mark.parametrize(
    ("failure", "says"), [(MISSING, "libnvidia-ml.so.1 not found"), (DRIVER, "not loaded"), (UNKNOWN, "nvidia-smi")]
)
def test_a_node_without_nvml_is_told_what_is_missing(clock: HandClock, failure: int, says: str) -> None:
    nvml = FakeNvml()
    nvml.failures = {"init": failure}
    with pytest.raises(Permanent, match=says):
        NvmlMeter(nvml=nvml, clock=clock)


def test_closing_twice_shuts_down_once(clock: HandClock) -> None:
    opened, nvml = meter(clock, FakeGpu())
    opened.close()
    opened.close()
    assert nvml.calls.count("shutdown") == 1


@pytest.mark.parametrize(("code", "error"), [(UNINITIALIZED, Transient), (MISMATCH, Permanent)])
def test_a_board_that_never_opened_does_not_hide_that_the_driver_has_gone(
    clock: HandClock, code: int, error: type[Exception]
) -> None:
    broken = FakeGpu(uuid="GPU-bbbb", failures={"handle": LOST})
    opened, _ = meter(clock, FakeGpu(), broken)
    assert len(opened.read()) == 1
    broken.failures["handle"] = code
    clock.advance(200)
    with pytest.raises(error):
        opened.read()


def test_a_process_that_does_nothing_any_more_weighs_nothing(clock: HandClock) -> None:
    """The driver samples only those that did something."""
    nvml, gpu = FakeNvml(), FakeGpu(pids=[1, 2])
    busy = {1: 95, 2: 50}
    now_us = [10**9]

    def samples(_: FakeGpu, since_us: int) -> list[Any]:
        return [SimpleNamespace(pid=pid, smUtil=share, timeStamp=now_us[0]) for pid, share in busy.items()]

    nvml.nvmlDeviceGetProcessUtilization = samples  # type: ignore[method-assign]
    processes = GpuProcesses(nvml=nvml, partitioned=False, now_us=lambda: now_us[0])
    assert [one.weight for one in processes.look(gpu)] == [95_000, 50_000]
    del busy[1]
    now_us[0] += 10_000_000
    assert [one.weight for one in processes.look(gpu)] == [0, 50_000]


@pytest.fixture
def another_pynvml() -> Iterator[None]:
    real = sys.modules["pynvml"]
    sys.modules["pynvml"] = SimpleNamespace()  # type: ignore[assignment]
    yield
    sys.modules["pynvml"] = real


@pytest.mark.usefixtures("another_pynvml")
def test_a_module_that_only_has_the_name_of_the_binding_is_refused(clock: HandClock) -> None:
    with pytest.raises(Permanent, match="not NVIDIA's"):
        open_nvml(clock=clock)
