"""A node full of GPUs that do not exist: a scenario for fake_nvml.c, and its truth in closed form.

The library is loaded by the real pynvml (ours and other people's), so binding, structures and errors are the real ones.
Time is a number in shared memory that the test turns, the same for every process that loads the library.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

EPOCH_S = 1_767_225_600  # 2026-01-01T00:00:00Z
_SLOTS = 64  # doubles shared with the library
_NOW, _CALLS, _LIMITS = 0, 1, 2

LOST, MISMATCH, UNKNOWN, NOT_SUPPORTED = 15, 18, 999, 3


def build(folder: Path) -> Path:
    """The library, compiled; fails loudly where there is no C compiler."""
    library = folder / "libnvidia-ml.so.1"
    source = Path(__file__).with_name("fake_nvml.c")
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([os.environ.get("CC", "cc"), *flags, "-o", str(library), str(source), "-lm"], check=True)
    return library


@dataclass
class Board:
    """One GPU of the scenario; what is said here follows its `gpu` line."""

    uuid: str
    keys: dict[str, float]
    lines: list[str] = field(default_factory=list)
    starts: dict[int, float] = field(default_factory=dict)

    def say(self, *words: object) -> Board:
        self.lines.append(" ".join(str(word) for word in words))
        return self

    def without_counter(self) -> Board:
        """As boards before Volta: power alone."""
        self.lines[0] += " energy 0"
        return self

    def const(self, t0: float, t1: float, watts: float) -> Board:
        return self.say("seg", t0, t1, "const", watts)

    def square(self, t0: float, t1: float, low: float = 70, high: float = 690, period: float = 1.3) -> Board:
        return self.say("seg", t0, t1, "square", low, high, period)

    def ramp(self, t0: float, t1: float, first: float = 100, last: float = 650) -> Board:
        return self.say("seg", t0, t1, "ramp", first, last)

    def spiky(self, t0: float, t1: float) -> Board:
        return self.say("seg", t0, t1, "spiky", 90, 700, 0.02, 0.333)

    def process(
        self, pid: int, t0: float, t1: float, *, sm: int = 90, instance: int | str | None = None, mps: bool = False
    ) -> Board:
        self.starts[pid] = t0
        return self.say("proc", pid, t0, t1, sm, *([] if instance is None else [instance]), *(["mps"] if mps else []))

    def fault(self, t0: float, t1: float, what: str, code: int) -> Board:
        return self.say("fault", t0, t1, what, code)


class FakeNode:
    """The scenario, its clock (`now_us`, `mono_ns`, `advance`) and its truth; also the `Clock` of a meter."""

    def __init__(self, library: Path, folder: Path, *, virtual: bool = True, epoch_s: float = EPOCH_S) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.library = library
        self.scenario = folder / "scenario"
        self.boards: list[Board] = []
        self.lines: list[str] = []
        self.epoch_s = epoch_s
        self._virtual = virtual
        self._file = folder / "state"
        self._file.write_bytes(bytes(8 * _SLOTS))
        with self._file.open("r+b") as file:
            self._state = mmap.mmap(file.fileno(), 8 * _SLOTS)
        self._lib = ctypes.CDLL(str(library))
        self._lib.fake_energy_mj.restype = ctypes.c_double
        self._lib.fake_energy_mj.argtypes = [ctypes.c_int, ctypes.c_double, ctypes.c_double]
        self._lib.fake_now.restype = ctypes.c_double

    def gpu(self, name: str = "NVIDIA_H100_80GB_HBM3", **keys: float) -> Board:
        """One more board; `keys` as fake_nvml.c lists them."""
        board = Board(uuid=f"GPU-{len(self.boards):08d}-0000-4000-8000-000000000000", keys=keys)
        board.say("gpu", board.uuid, name, *(word for pair in keys.items() for word in pair))
        self.boards.append(board)
        return board

    def say(self, *words: object) -> None:
        """A statement about the whole node."""
        self.lines.append(" ".join(str(word) for word in words))

    def write(self) -> None:
        """Put the scenario where libraries that are initialised from now on find it, and this process's at once."""
        head = [f"state {self._file}", f"virtual {int(self._virtual)}", f"epoch {self.epoch_s!r}", *self.lines]
        body = [line for board in self.boards for line in board.lines]
        self.scenario.write_text("\n".join([*head, *body, ""]))
        os.environ["FAKE_NVML"] = str(self.scenario)
        self._lib.fake_load()

    def pynvml(self) -> Any:
        """The real binding, bound to this library."""
        import pynvml

        pynvml.nvmlLib = ctypes.CDLL(str(self.library))
        return pynvml

    def environment(self) -> dict[str, str]:
        """For processes of their own that shall find this node."""
        return {**os.environ, "FAKE_NVML": str(self.scenario), "LD_LIBRARY_PATH": str(self.library.parent)}

    @property
    def now_s(self) -> float:
        return float(self._lib.fake_now())

    @property
    def calls(self) -> int:
        """Calls into the library so far, by all processes."""
        return int(self._get(_CALLS))

    def limit_w(self, gpu: int) -> float | None:
        """The power limit that somebody set, None while it is the default."""
        return self._get(_LIMITS + gpu) / 1000 or None

    def advance(self, seconds: float) -> None:
        self.at(self._get(_NOW) + seconds)

    def at(self, seconds: float) -> None:
        self._state[0:8] = struct.pack("d", seconds)

    def now_us(self) -> int:
        return round((self.epoch_s + self.now_s) * 1e6)

    def mono_ns(self) -> int:
        return round(self.now_s * 1e9) + 5_000_000_000

    def start_ns(self, pid: int) -> int | None:
        """When a process of the scenario was started, as `mono_ns` counts."""
        starts = [board.starts[pid] for board in self.boards if pid in board.starts]
        return round(min(starts) * 1e9) + 5_000_000_000 if starts else None

    def truth_mj(self, gpu: int, t0: float, t1: float) -> float:
        """What the board drew on [t0, t1), in closed form."""
        return float(self._lib.fake_energy_mj(gpu, t0, t1))

    def _get(self, slot: int) -> float:
        return float(struct.unpack_from("d", self._state, 8 * slot)[0])


if __name__ == "__main__":  # `python tests/fake_nvml.py DIR`: the library, to play with by hand
    sys.stdout.write(f"{build(Path(sys.argv[1]))}\n")
