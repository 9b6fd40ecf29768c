"""Our binding of NVML beside NVIDIA's own, on the same library: the same answers and the same errors."""

from __future__ import annotations

from typing import Any

import pytest

from fake_nvml import LOST, FakeNode
from kilowait_agents.nvml_library import NVMLError, NvmlLibrary


def plain(value: Any) -> Any:
    """A structure as its numbers, so that those of two bindings compare."""
    names = [name for name, *_ in getattr(type(value), "_fields_", [])]
    return {name: getattr(value, name) for name in names if isinstance(getattr(value, name), int)} if names else value


def asked(nvml: Any) -> list[tuple[str, Any]]:
    """Everything the agent asks, of a node with a shared and a partitioned board, answers and failures."""
    said: list[tuple[str, Any]] = []

    def ask(name: str, *arguments: Any) -> Any:
        try:
            answer = getattr(nvml, name)(*arguments)
        except nvml.NVMLError as error:
            said.append((name, ("fails", error.value)))
            return None
        many = isinstance(answer, list) or hasattr(answer, "_length_")
        if "Handle" not in name:
            said.append((name, [plain(one) for one in answer] if many else plain(answer)))
        return answer

    ask("nvmlInit")
    for index in range(ask("nvmlDeviceGetCount") + 1):
        handle = ask("nvmlDeviceGetHandleByIndex", index)
        if handle is None:
            continue
        uuid = ask("nvmlDeviceGetUUID", handle)
        ask("nvmlDeviceGetHandleByUUID", uuid if isinstance(nvml, NvmlLibrary) else uuid.encode())
        for name in (
            "nvmlDeviceGetName", "nvmlDeviceGetPowerManagementLimitConstraints", "nvmlDeviceGetTotalEnergyConsumption",
            "nvmlDeviceGetPowerUsage", "nvmlDeviceGetMigMode",
            "nvmlDeviceGetMaxMigDeviceCount", "nvmlDeviceGetGpuInstanceId", "nvmlDeviceGetAttributes",
        ):  # fmt: skip
            ask(name, handle)
        running = [
            *nvml.nvmlDeviceGetComputeRunningProcesses(handle),
            *nvml.nvmlDeviceGetMPSComputeRunningProcesses(handle),
        ]
        said.append(("pids", [(one.pid, one.gpuInstanceId) for one in running]))
        fields = nvml.nvmlDeviceGetFieldValues(handle, [83, (186, 0), (185, 1), 9999])
        said.append(("fields", [(one.nvmlReturn, one.valueType, one.value.ullVal) for one in fields]))
        ask("nvmlDeviceGetProcessUtilization", handle, 0)
        part = ask("nvmlDeviceGetMigDeviceHandleByIndex", handle, 0)
        if part is not None:
            ask("nvmlDeviceGetGpuInstanceId", part)
            ask("nvmlDeviceGetAttributes", part)
    ask("nvmlShutdown")
    ask("nvmlShutdown")
    return said


def test_it_answers_and_fails_as_nvidias_own_binding_does(node: FakeNode) -> None:
    node.gpu().const(0, 100, 400).process(11, 0, 100, sm=20).process(12, 0, 100, sm=30, mps=True)
    node.gpu().const(0, 100, 300).say("mig", 3, 2, 20_000, 32).process(13, 0, 100, instance=3)
    node.gpu(energy=0).const(0, 100, 200).fault(0, 100, "power", LOST)
    node.write()
    node.at(20)
    assert asked(node.nvml()) == asked(node.pynvml())


def test_more_processes_than_there_is_room_for_are_all_listed(node: FakeNode) -> None:
    board = node.gpu().const(0, 100, 400)
    for pid in range(100, 200):
        board.process(pid, 0, 100)
    node.write()
    nvml = node.nvml()
    nvml.nvmlInit()
    running = nvml.nvmlDeviceGetComputeRunningProcesses(nvml.nvmlDeviceGetHandleByIndex(0))
    assert [one.pid for one in running] == list(range(100, 200))


def test_what_an_old_driver_does_not_have_fails_when_it_is_called(node: FakeNode) -> None:
    node.gpu()
    node.write()
    nvml = node.nvml()
    with pytest.raises(NVMLError) as failed:
        nvml._call("nvmlDeviceOfTheFuture")
    assert failed.value.value == 13


def test_a_library_that_is_not_there_is_said() -> None:
    with pytest.raises(NVMLError, match="Not Found") as failed:
        NvmlLibrary("libnvidia-of-nowhere.so.1")
    assert failed.value.value == 12
