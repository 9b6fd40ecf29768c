"""A load for a GPU, and a trace of its sensors fast enough to see each of them tick; for agent_gpu.py."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

ENERGY, AVERAGE, INSTANT = 83, 185, 186
BOTH = [ENERGY, (INSTANT, 0), (AVERAGE, 0)]
SUCCESS = 0
SQUARE_S = 1.3  # not a multiple of any likely tick


def load() -> None:
    """`matmul S`, `square S`, `idle S` on stdin; answers each with the monotonic ns at which it began and ended."""
    import torch

    torch.cuda.init()
    a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    b = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    a @ b
    torch.cuda.synchronize()
    print(json.dumps({"ready": time.monotonic_ns(), "pid": os.getpid()}), flush=True)
    for line in sys.stdin:
        kind, seconds = line.split()
        began = time.monotonic_ns()
        end = time.monotonic() + float(seconds)
        while (now := time.monotonic()) < end:
            phase = (now - began / 1e9) % SQUARE_S
            if kind == "idle" or (kind == "square" and phase >= SQUARE_S / 2):
                time.sleep(min(0.005, max(0.0, end - now)))
                continue
            for _ in range(4):
                a @ b
            torch.cuda.synchronize()
        print(json.dumps({"began": began, "ended": time.monotonic_ns()}), flush=True)


class Load:
    """The load process, seen from here."""

    def __init__(self, **environment: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("agent_gpu.py")), "--load"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        self.ready = self._answer()

    def do(self, kind: str, seconds: float) -> dict[str, int]:
        self.begin(kind, seconds)
        return self._answer()

    def begin(self, kind: str, seconds: float) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{kind} {seconds}\n")
        self._process.stdin.flush()

    def _answer(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the load process ended; is PyTorch with CUDA installed?")
        return dict(json.loads(line))

    wait = _answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


# --- reading --------------------------------------------------------------------------------------------------------


def value_of(field: Any) -> int | None:
    members = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}
    return int(getattr(field.value, members[field.valueType])) if field.nvmlReturn == SUCCESS else None


class Trace:
    """Reads counter and powers as fast as it is worth it, in a thread; afterwards tells when which of them changed."""

    def __init__(self, nvml: Any, handle: Any, *, pause_s: float = 0.001) -> None:
        self._nvml, self._handle, self._pause_s = nvml, handle, pause_s
        self.rows: list[tuple[int, int, int, int | None, int | None, int | None]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Trace:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            before = time.monotonic_ns()
            fields = self._nvml.nvmlDeviceGetFieldValues(self._handle, BOTH)
            after = time.monotonic_ns()
            self.rows.append(((before + after) // 2, after - before, int(fields[0].timestamp), *map(value_of, fields)))
            time.sleep(self._pause_s)

    def changes(self, column: int, *, begin: int = 0, end: int = 1 << 62) -> list[tuple[int, int]]:
        """(when, new value) of a column: 3 counter, 4 instant, 5 average; `when` is half way between two looks."""
        rows = [row for row in self.rows if begin <= row[0] < end and row[column] is not None]
        return [((a[0] + b[0]) // 2, int(b[column] or 0)) for a, b in pairwise(rows) if a[column] != b[column]]

    def energy_at(self, when: int) -> float:
        """The counter (mJ) at a moment, on the straight line between the two ticks around it."""
        ticks = self.changes(3, begin=when - 2_000_000_000, end=when + 2_000_000_000)
        place = bisect_right([at for at, _ in ticks], when)
        (t0, e0), (t1, e1) = ticks[place - 1], ticks[place]
        return e0 + (e1 - e0) * (when - t0) / (t1 - t0)

    def raw_at(self, when: int) -> int:
        """The counter (mJ) as a plain read at that moment gives it."""
        return int(self.rows[bisect_right([row[0] for row in self.rows], when) - 1][3] or 0)


def spread(values: Sequence[float], digits: int = 3) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {"n": 0}
    at = lambda q: round(ordered[min(len(ordered) - 1, int(q * len(ordered)))], digits)  # noqa: E731
    return {"n": len(ordered), "min": at(0), "p05": at(0.05), "p50": at(0.5), "p95": at(0.95), "p99": at(0.99),
            "max": round(ordered[-1], digits), "mean": round(statistics.fmean(ordered), digits),
            "sd": round(statistics.pstdev(ordered), digits)}  # fmt: skip
