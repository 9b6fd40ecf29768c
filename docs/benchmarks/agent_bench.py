"""The node agent beside CodeCarbon and Zeus on the same fake boards, whose truth is known. Writes agent.md; `make
bench-agent`.

Everything that compares tools runs at the same time on the same scenario, in real time; see tests/fake_nvml.c. What was
measured on a real GPU (agent_gpu.py) stands in agent_gpu_*.md and is repeated in the report.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from agent_intake import intake  # noqa: E402

from fake_nvml import LOST, Board, FakeNode, build  # noqa: E402
from kilowait_agents.nvml import NvmlMeter  # noqa: E402

PEERS = ROOT / ".venv-peers" / "bin" / "python"
LOADS: dict[str, Callable[[Board], object]] = {
    "square": lambda board: board.square(0, 1e6),
    "ramp": lambda board: board.ramp(0, 7200),
    "spiky": lambda board: board.spiky(0, 1e6),
    "constant": lambda board: board.const(0, 1e6, 400),
}
TOOLS = ("kilowait", "codecarbon", "zeus")
MINUTE_S = 60.0


def say(what: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {what}", file=sys.stderr, flush=True)


class Scene:
    """A node in real time that began an hour ago, and the tools that measure it."""

    def __init__(self, library: Path, folder: Path, *, gpus: int, load: Callable[[Board], object]) -> None:
        self.folder = folder
        self.node = FakeNode(library, folder, virtual=False, epoch_s=time.time() - 3600)
        for index in range(gpus):
            load(self.node.gpu(phase_ms=12 * index))
        self.node.write()
        self.environment = self.node.environment()
        stub = folder / "bin" / "nvidia-smi"  # CodeCarbon looks for GPUs only where this can be run
        stub.parent.mkdir()
        stub.write_text("#!/bin/sh\nexit 0\n")
        stub.chmod(0o755)
        self.environment["PATH"] = f"{stub.parent}:{self.environment['PATH']}"

    def start(self, tool: str, seconds: float) -> subprocess.Popen[str]:
        if tool == "kilowait":
            words = [sys.executable, "-m", "kilowait_agents", "--sink", str(self.folder / "records.jsonl"),
                     "--meter", "nvml", "--duration", f"{seconds}s"]  # fmt: skip
        else:
            words = [str(PEERS), str(HERE / "agent_peers.py"), tool, str(seconds)]
        return subprocess.Popen(
            words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=self.folder
        )

    def answer(self, tool: str, process: subprocess.Popen[str]) -> dict[str, Any]:
        """What the tool says of its own window, with the truth of that window; `flags` are our records' doubts."""
        out, err = process.communicate(timeout=600)
        if tool == "kilowait":
            if process.returncode:
                return {"failed": (err.strip().splitlines() or ["no answer"])[-1][:120]}
            records = [json.loads(line) for line in (self.folder / "records.jsonl").read_text().splitlines()]
            found: dict[str, Any] = {
                "joules": sum(record["energy_mj"] for record in records) / 1000,
                "t0": min(record["t0_us"] for record in records) / 1e6,
                "t1": max(record["t1_us"] for record in records) / 1e6,
                "flags": sorted({record["quality"] for record in records} - {"measured"}),
            }
        else:
            lines = [line for line in out.splitlines() if line.startswith("{")]
            if process.returncode or not lines:
                return {"failed": (err.strip().splitlines() or ["no answer"])[-1][:120]}
            found = json.loads(lines[-1])
        edges = (found["t0"] - self.node.epoch_s, found["t1"] - self.node.epoch_s)
        self.node.write()  # the library of this process follows one scenario at a time
        truth_j = sum(self.node.truth_mj(index, *edges) for index in range(len(self.node.boards))) / 1000
        return {**found, "truth_j": truth_j, "error_pct": 100 * (found["joules"] - truth_j) / truth_j}


def loads(library: Path, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    scenes = {name: Scene(library, folder / name, gpus=8, load=load) for name, load in LOADS.items()}
    return _beside(scenes, seconds=MINUTE_S)


def faults(library: Path, folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    at = 3600.0

    def constant(board: Board) -> Board:
        return board.const(0, 1e6, 500)

    kinds: dict[str, Callable[[Board], object]] = {
        "counter restarts after 15 s": lambda board: constant(board).say("reset", at + 15),
        "GPU lost from 10 s to 18 s": lambda board: constant(board).fault(at + 10, at + 18, "all", LOST),
        "GPU lost for good after 10 s": lambda board: constant(board).fault(at + 10, 1e9, "all", LOST),
        "energy cannot be read before 12 s": lambda board: constant(board).fault(0, at + 12, "energy", 999),
        "no energy counter": lambda board: constant(board.without_counter()),
    }
    scenes = {
        name: Scene(library, folder / str(index), gpus=1, load=load) for index, (name, load) in enumerate(kinds.items())
    }
    return _beside(scenes, seconds=30)


def _beside(scenes: dict[str, Scene], *, seconds: float) -> dict[str, dict[str, dict[str, Any]]]:
    """All tools on all scenes at once; what each says, and its error."""
    running = {name: {tool: scene.start(tool, seconds) for tool in TOOLS} for name, scene in scenes.items()}
    return {
        name: {tool: scenes[name].answer(tool, process) for tool, process in tools.items()}
        for name, tools in running.items()
    }


def windows(library: Path, folder: Path) -> dict[float, dict[str, float]]:
    """p95 of the error (%) of 300 windows at random moments: between the ticks, and as plain differences."""
    node = FakeNode(library, folder)
    node.gpu(tick_ms=100, phase_ms=33).square(0, 1e6)
    node.write()
    meter = NvmlMeter(nvml=node.pynvml(), clock=node, wait=node.advance)
    rng, found = random.Random(4), {}
    for length in (1.0, 5.0, 60.0):
        errors: dict[str, list[float]] = {"between ticks": [], "difference": []}
        for _ in range(300):
            node.at(rng.uniform(100, 900_000))
            readings = []
            for edge in (node.now_s, node.now_s + length):
                node.at(edge)
                readings.append((edge, meter.read()[0].counter_mj or 0, meter.read(exact=True)[0].counter_mj or 0))
            (t0, raw0, exact0), (t1, raw1, exact1) = readings
            truth = node.truth_mj(0, t0, t1)
            errors["difference"].append(100 * abs(raw1 - raw0 - truth) / truth)
            errors["between ticks"].append(100 * abs(exact1 - exact0 - truth) / truth)
        found[length] = {name: sorted(values)[int(0.95 * len(values))] for name, values in errors.items()}
    return found


def footprint(library: Path, folder: Path) -> dict[str, float]:
    """CPU, memory and import of the agent on eight boards at 1 Hz, records kept on disk and offered to a server."""
    scene = Scene(library, folder, gpus=8, load=LOADS["square"])
    words = [sys.executable, "-m", "kilowait_agents", "--server", "http://127.0.0.1:9", "--meter", "nvml",
             "--state-dir", str(folder / "agent"), "--interval", "1s"]  # fmt: skip
    agent = subprocess.Popen(words, env={**scene.environment, "KILOWAIT_TOKEN": "t"}, stderr=subprocess.DEVNULL)
    time.sleep(6)
    before, calls, at = _ran_s(agent.pid), scene.node.calls, time.monotonic()
    time.sleep(MINUTE_S)
    elapsed = time.monotonic() - at
    status = dict(line.split(":", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines())
    found = {
        "cpu_s_per_h": 3600 * (_ran_s(agent.pid) - before) / elapsed,
        "calls_per_s": (scene.node.calls - calls) / elapsed,
        "rss_mb": int(status["VmRSS"].split()[0]) / 1024,
        "peak_mb": int(status["VmHWM"].split()[0]) / 1024,
    }
    agent.terminate()
    agent.wait(30)
    code = (
        "import time; before = time.process_time(); import kilowait_agents.cli, kilowait_agents.transport, pynvml; "
        "print(time.process_time() - before)"
    )
    costs = [float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(5)]
    return {**found, "import_cpu_s": statistics.median(costs)}


def _ran_s(pid: int) -> float:
    """CPU time of all threads; to the nanosecond, where /proc/PID/stat counts hundredths of a second."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def main() -> None:
    from agent_report import report

    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        library = build(folder)
        found: dict[str, Any] = {
            "machine": f"{os.cpu_count()} cores, CPython {platform.python_version()}",
            "load": [os.getloadavg()[0]],
        }
        for name, part in (("loads", loads), ("faults", faults), ("windows", windows), ("footprint", footprint)):
            say(name)
            found[name] = part(library, folder / name)
        say("intake")
        found["intake"] = intake(folder)
        found["load"].append(os.getloadavg()[0])
    (HERE / "agent.md").write_text(report(found), encoding="utf-8")
    say("docs/benchmarks/agent.md is written")


if __name__ == "__main__":
    main()
