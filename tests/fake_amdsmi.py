"""A stand-in for AMD's module `amdsmi`: boards whose energy is the integral of what the test says they draw.

Names, units and shapes are those of AMD's documentation (ROCm 6 and 7); values that a board does not have are "N/A".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

RESOLUTION_UJ = 15.259


class AmdSmiException(Exception):
    """The base of the binding's errors."""


@dataclass
class AmdBoard:
    uuid: str
    watts: float = 100.0
    power_name: str = "socket_power"
    energy_name: str = "energy_accumulator"
    pids: dict[int, int] = field(default_factory=dict)
    """Memory in bytes by pid; the driver lists processes of other boards with none."""
    activity: int | str = 0
    lost: bool = False
    counts: bool = True
    frozen_uj: float | None = None
    """What the counter shows in this process whatever happens, until amdsmi is opened anew."""
    energy_uj: float = 0.0


class FakeAmdSmi:
    """The functions that the meter calls; `seconds` is the time."""

    AmdSmiException = AmdSmiException

    def __init__(self, *boards: AmdBoard, seconds: Callable[[], float]) -> None:
        self.boards = list(boards)
        self._seconds = seconds
        self._counted = seconds()
        self.openings = 0
        self._loaded = True
        self._session = False

    def unload(self) -> None:
        """The driver goes; whoever was connected must initialise again once it is back."""
        self._loaded = self._session = False

    def load(self) -> None:
        self._loaded = True

    def amdsmi_init(self) -> None:
        if not self._loaded:
            raise AmdSmiException("AMDSMI_STATUS_DRIVER_NOT_LOADED")
        self._session = True
        self.openings += 1
        if self.openings > 1:
            for board in self.boards:
                board.frozen_uj = None

    def amdsmi_shut_down(self) -> None:
        pass

    def amdsmi_get_processor_handles(self) -> list[AmdBoard]:
        return self.boards

    def amdsmi_get_gpu_device_uuid(self, board: AmdBoard) -> str:
        return board.uuid

    def amdsmi_get_gpu_asic_info(self, board: AmdBoard) -> dict[str, Any]:
        return {"market_name": "Instinct MI300X"}

    def amdsmi_get_energy_count(self, board: AmdBoard) -> dict[str, Any]:
        self.draw()
        self._there(board)
        if not board.counts:
            raise AmdSmiException("AMDSMI_STATUS_NOT_SUPPORTED")
        shown = board.energy_uj if board.frozen_uj is None else board.frozen_uj
        return {board.energy_name: int(shown / RESOLUTION_UJ), "counter_resolution": RESOLUTION_UJ, "timestamp": 1}

    def amdsmi_get_power_info(self, board: AmdBoard) -> dict[str, Any]:
        self._there(board)
        names = ("socket_power", "current_socket_power", "average_socket_power")
        return {name: round(board.watts) if name == board.power_name else "N/A" for name in names}

    def amdsmi_get_gpu_process_list(self, board: AmdBoard) -> list[dict[str, Any]]:
        self._there(board)
        return [{"name": "N/A", "pid": pid, "memory_usage": {"vram_mem": used}} for pid, used in board.pids.items()]

    def amdsmi_get_gpu_activity(self, board: AmdBoard) -> dict[str, Any]:
        return {"gfx_activity": board.activity, "umc_activity": 0, "mm_activity": "N/A"}

    def draw(self) -> None:
        """Count the energy up to now; call before a board's power is changed."""
        now = self._seconds()
        for board in self.boards:
            board.energy_uj += 1e6 * board.watts * (now - self._counted)
        self._counted = now

    def _there(self, board: AmdBoard) -> None:
        if board.lost or not self._session:
            raise AmdSmiException("AMDSMI_STATUS_DRIVER_NOT_LOADED")
