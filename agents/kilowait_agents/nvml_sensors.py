"""What a GPU says of its energy and power, by NVML: which of its sensors answer, and their values, in one call."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal

from .reading import PowerKind
from .wire import Scope

# Field and scope numbers of nvml.h, API 13.
_TOTAL_ENERGY = (83, 0)
_POWER_AVERAGE = 185
_POWER_INSTANT = 186
_SCOPE_GPU = 0
_SCOPE_MODULE = 1

_SUCCESS = 0
_INVALID_ARGUMENT = 2
_NOT_SUPPORTED = 3
_FUNCTION_NOT_FOUND = 13

_FIELD = struct.Struct("@2I2q2I8s")
"""nvmlFieldValue_t: field, scope, time stamp, latency, kind of value, nvmlReturn_t, value."""
_KINDS = {kind: struct.Struct(f"@{letter}") for kind, letter in enumerate("dILQqiH")}
"""How the value is to be read, by nvmlValueType_t."""

PowerField = tuple[int, int]


class Sensors:
    """The sensors of one GPU that answer: its energy counter (`counter`), and one power.

    `power` is a field and its scope, "usage" for the call of old drivers, None where no power is told; `fields` says
    whether the driver knows fields at all.
    """

    def __init__(
        self, *, nvml: Any, counter: bool, power: PowerField | Literal["usage"] | None, fields: bool = True
    ) -> None:
        self._nvml = nvml
        self.counter = counter
        self.power = power
        # The counter is the board's; the power of a module is kept only where there is no counter.
        module = isinstance(power, tuple) and power[1] == _SCOPE_MODULE
        self.scope: Scope = "module" if module else "gpu"
        averaged = isinstance(power, tuple) and power[0] == _POWER_AVERAGE
        self.power_kind: PowerKind = "average" if averaged else "instant"
        self._asks_counter = counter and not fields
        asked = [*([_TOTAL_ENERGY] if counter else []), *([power] if isinstance(power, tuple) else [])]
        self._fields = _Fields(nvml, asked) if asked and fields else None

    def values(self, handle: Any) -> tuple[int | None, int | None]:
        """(counter in mJ, power in mW) now, None for what does not answer. Raises NVMLError if nothing can."""
        counter_mj = power_mw = None
        if self._fields is not None:
            told = self._fields.values(handle)
            if told.count(None) == len(told):
                raise self._nvml.NVMLError(self._fields.returned[0])
            if self.counter:
                counter_mj = told[0]
            if self.power is not None and self.power != "usage":
                power_mw = told[-1]
        elif self._asks_counter:
            counter_mj = int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle))
        if self.power == "usage":
            try:
                power_mw = int(self._nvml.nvmlDeviceGetPowerUsage(handle))
            except self._nvml.NVMLError:
                if counter_mj is None:
                    raise
        return counter_mj, power_mw


class _Fields:
    """Fields of a GPU, all asked in one call.

    By the structure that pynvml's own wrapper fills anew each time, which takes five times as long as the call.
    """

    def __init__(self, nvml: Any, fields: Sequence[PowerField]) -> None:
        self._nvml = nvml
        self._asked = (nvml.c_nvmlFieldValue_t * len(fields))()
        for asked, (field, scope) in zip(self._asked, fields, strict=True):
            asked.fieldId, asked.scopeId = field, scope
        self.returned: list[int] = []
        """What became of each field when they were last asked (nvmlReturn_t)."""

    def values(self, handle: Any) -> list[int | None]:
        """Each as a whole number (mJ or mW), None for what was not given. Raises NVMLError where the call failed."""
        ask = self._nvml._nvmlGetFunctionPointer("nvmlDeviceGetFieldValues")
        failed = ask(handle, len(self._asked), self._asked)
        if failed:
            raise self._nvml.NVMLError(failed)
        told = list(_FIELD.iter_unpack(self._asked))
        self.returned = [returned for *_, returned, _ in told]
        return [
            int(_KINDS[kind].unpack_from(value)[0]) if returned == _SUCCESS and kind in _KINDS else None
            for _, _, _, _, kind, returned, value in told
        ]


def find_sensors(nvml: Any, handle: Any) -> Sensors:
    """Which of the GPU's sensors answer. Raises NVMLError if the driver does not say.

    With a counter, power only serves as a check, so the moment's is read; without one it is the measurement, so the
    average is preferred, and the module's is better than none.
    """
    tried: list[PowerField] = [
        (_POWER_AVERAGE, _SCOPE_GPU),
        (_POWER_INSTANT, _SCOPE_GPU),
        (_POWER_AVERAGE, _SCOPE_MODULE),
        (_POWER_INSTANT, _SCOPE_MODULE),
    ]
    fields = _Fields(nvml, [_TOTAL_ENERGY, *tried])
    try:
        _, *powers = fields.values(handle)
    except nvml.NVMLError as error:
        if error.value != _FUNCTION_NOT_FOUND:
            raise
        return Sensors(
            nvml=nvml,
            counter=_answers(nvml, "nvmlDeviceGetTotalEnergyConsumption", handle),
            power="usage" if _answers(nvml, "nvmlDeviceGetPowerUsage", handle) else None,
            fields=False,
        )
    # Any other failure may pass; a sensor is written off only where the driver says that there is none.
    counter = fields.returned[0] not in (_INVALID_ARGUMENT, _NOT_SUPPORTED, _FUNCTION_NOT_FOUND)
    answering = [field for field, value in zip(tried, powers, strict=True) if value is not None]
    if counter:
        answering = sorted(
            (field for field in answering if field[1] == _SCOPE_GPU), key=lambda field: field[0] != _POWER_INSTANT
        )
    if not answering and _answers(nvml, "nvmlDeviceGetPowerUsage", handle):
        return Sensors(nvml=nvml, counter=counter, power="usage")
    return Sensors(nvml=nvml, counter=counter, power=answering[0] if answering else None)


def _answers(nvml: Any, name: str, handle: Any) -> bool:
    try:
        getattr(nvml, name)(handle)
    except nvml.NVMLError:
        return False
    return True
