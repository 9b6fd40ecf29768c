"""The dozen functions of NVML that the agent calls, bound by ctypes.

NVIDIA's own binding (nvidia-ml-py) declares all of NVML and takes 17 MB of memory for it, twice the rest of the agent;
on every node of a fleet that is too much for twelve functions. Names, arguments, answers and errors are as there, so
either can stand in for the other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from ctypes import Structure, Union, byref, c_char_p, c_double, c_int, c_int64, c_longlong, c_uint, c_ulonglong
from typing import Any

_SUCCESS, _TOO_SMALL, _LIBRARY_NOT_FOUND, _FUNCTION_NOT_FOUND = 0, 7, 12, 13
_TEXT = 96  # bytes; the longest that NVML writes for a name or a UUID
_Handle = ctypes.c_void_p


class NVMLError(Exception):
    """A call failed; `value` is NVML's code, the text NVML's own words for it."""

    def __init__(self, value: int, said: str = "") -> None:
        super().__init__(said or f"NVML error {value}")
        self.value = value


class _Value(Union):
    _fields_ = [
        ("dVal", c_double),
        ("uiVal", c_uint),
        ("ulVal", ctypes.c_ulong),
        ("ullVal", c_ulonglong),
        ("sllVal", c_longlong),
        ("siVal", c_int),
        ("usVal", ctypes.c_ushort),
    ]


class _Field(Structure):
    _fields_ = [
        ("fieldId", c_uint),
        ("scopeId", c_uint),
        ("timestamp", c_int64),
        ("latencyUsec", c_int64),
        ("valueType", c_uint),
        ("nvmlReturn", c_uint),
        ("value", _Value),
    ]


class _Process(Structure):
    _fields_ = [
        ("pid", c_uint),
        ("usedGpuMemory", c_ulonglong),
        ("gpuInstanceId", c_uint),
        ("computeInstanceId", c_uint),
    ]


class _Utilization(Structure):
    _fields_ = [
        ("pid", c_uint),
        ("timeStamp", c_ulonglong),
        ("smUtil", c_uint),
        ("memUtil", c_uint),
        ("encUtil", c_uint),
        ("decUtil", c_uint),
    ]


class _Attributes(Structure):
    _fields_ = [
        ("multiprocessorCount", c_uint),
        ("sharedCopyEngineCount", c_uint),
        ("sharedDecoderCount", c_uint),
        ("sharedEncoderCount", c_uint),
        ("sharedJpegCount", c_uint),
        ("sharedOfaCount", c_uint),
        ("gpuInstanceSliceCount", c_uint),
        ("computeInstanceSliceCount", c_uint),
        ("memorySizeMB", c_ulonglong),
    ]


class NvmlLibrary:
    """NVML in the shared library `path`. Raises NVMLError(12) where it is not to be had."""

    NVMLError = NVMLError

    def __init__(self, path: str = "libnvidia-ml.so.1") -> None:
        try:
            self._library = ctypes.CDLL(path)
        except OSError as error:
            raise NVMLError(_LIBRARY_NOT_FOUND, "NVML Shared Library Not Found") from error
        self._room = 32  # processes of a GPU that one call has room for; grows with need

    def nvmlInit(self) -> None:  # noqa: N802
        self._call("nvmlInitWithFlags", c_uint(0))

    def nvmlShutdown(self) -> None:  # noqa: N802
        self._call("nvmlShutdown")

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return self._number("nvmlDeviceGetCount_v2")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: N802
        return self._handle("nvmlDeviceGetHandleByIndex_v2", c_uint(index))

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:  # noqa: N802
        return self._handle("nvmlDeviceGetHandleByUUID", c_char_p(uuid.encode()))

    def nvmlDeviceGetUUID(self, handle: Any) -> str:  # noqa: N802
        return self._text("nvmlDeviceGetUUID", handle)

    def nvmlDeviceGetName(self, handle: Any) -> str:  # noqa: N802
        return self._text("nvmlDeviceGetName", handle)

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: Any) -> list[int]:  # noqa: N802
        return self._pair("nvmlDeviceGetPowerManagementLimitConstraints", handle)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:  # noqa: N802
        energy_mj = c_ulonglong()
        self._call("nvmlDeviceGetTotalEnergyConsumption", handle, byref(energy_mj))
        return energy_mj.value

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:  # noqa: N802
        return self._number("nvmlDeviceGetPowerUsage", handle)

    def nvmlDeviceGetFieldValues(self, handle: Any, wanted: Sequence[int | tuple[int, int]]) -> Sequence[Any]:  # noqa: N802
        """One value per wanted field (number, or number and scope); each with a return code of its own."""
        values = (_Field * len(wanted))()
        for value, field in zip(values, wanted, strict=True):
            value.fieldId, value.scopeId = field if isinstance(field, tuple) else (field, 0)
        self._call("nvmlDeviceGetFieldValues", handle, c_int(len(wanted)), values)
        return list(values)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Sequence[Any]:  # noqa: N802
        return self._processes("nvmlDeviceGetComputeRunningProcesses_v3", handle)

    def nvmlDeviceGetMPSComputeRunningProcesses(self, handle: Any) -> Sequence[Any]:  # noqa: N802
        return self._processes("nvmlDeviceGetMPSComputeRunningProcesses_v3", handle)

    def nvmlDeviceGetProcessUtilization(self, handle: Any, since_us: int) -> Sequence[Any]:  # noqa: N802
        """The latest sample of each process since a time stamp. Raises NVMLError(6) if there is none."""
        name, count = "nvmlDeviceGetProcessUtilization", c_uint(0)
        code = self._function(name)(handle, None, byref(count), c_ulonglong(since_us))
        if code != _TOO_SMALL:
            raise self._error(code)
        samples = (_Utilization * (count.value + 8))()
        count.value += 8
        self._call(name, handle, samples, byref(count), c_ulonglong(since_us))
        return samples[: count.value]

    def nvmlDeviceGetMigMode(self, handle: Any) -> list[int]:  # noqa: N802
        return self._pair("nvmlDeviceGetMigMode", handle)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int:  # noqa: N802
        return self._number("nvmlDeviceGetMaxMigDeviceCount", handle)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: Any, index: int) -> Any:  # noqa: N802
        return self._handle("nvmlDeviceGetMigDeviceHandleByIndex", handle, c_uint(index))

    def nvmlDeviceGetAttributes(self, handle: Any) -> Any:  # noqa: N802
        attributes = _Attributes()
        self._call("nvmlDeviceGetAttributes_v2", handle, byref(attributes))
        return attributes

    def nvmlDeviceGetGpuInstanceId(self, handle: Any) -> int:  # noqa: N802
        return self._number("nvmlDeviceGetGpuInstanceId", handle)

    def _processes(self, name: str, handle: Any) -> Sequence[Any]:
        """In one call where the room suffices; asking for the number first would be a second call each time."""
        while True:
            found, count = (_Process * self._room)(), c_uint(self._room)
            code = self._function(name)(handle, byref(count), found)
            if code == _SUCCESS:
                return found[: count.value]
            if code != _TOO_SMALL:
                raise self._error(code)
            self._room = max(2 * self._room, count.value)

    def _number(self, name: str, *arguments: Any) -> int:
        number = c_uint()
        self._call(name, *arguments, byref(number))
        return number.value

    def _pair(self, name: str, *arguments: Any) -> list[int]:
        first, second = c_uint(), c_uint()
        self._call(name, *arguments, byref(first), byref(second))
        return [first.value, second.value]

    def _handle(self, name: str, *arguments: Any) -> Any:
        handle = _Handle()
        self._call(name, *arguments, byref(handle))
        return handle

    def _text(self, name: str, handle: Any) -> str:
        text = ctypes.create_string_buffer(_TEXT)
        self._call(name, handle, text, c_uint(_TEXT))
        return text.value.decode(errors="replace")

    def _call(self, name: str, *arguments: Any) -> None:
        code = self._function(name)(*arguments)
        if code != _SUCCESS:
            raise self._error(code)

    def _function(self, name: str) -> Any:
        """Drivers older than a function do not have it: that fails when it is called, not at the start."""
        try:
            return getattr(self._library, name)
        except AttributeError:
            raise self._error(_FUNCTION_NOT_FOUND) from None

    def _error(self, code: int) -> Exception:
        said = self._library.nvmlErrorString
        said.restype, said.argtypes = c_char_p, [c_uint]
        return NVMLError(code, (said(code) or b"").decode(errors="replace"))
