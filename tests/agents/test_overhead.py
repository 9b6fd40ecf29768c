"""What the agent costs the node that it runs on, by what it asks of driver, disk and kernel: counts, not seconds."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from fake_nvml import FakeNode
from kilowait_agents.agent import Agent, Stream
from kilowait_agents.cadence import Cadence
from kilowait_agents.life import Life
from kilowait_agents.nvml import NvmlMeter
from kilowait_agents.spool import Spool


class Counted:
    """An agent on eight boards, at 1 Hz in virtual time, and how often it went where."""

    def __init__(self, node: FakeNode, folder: Path) -> None:
        for index in range(8):
            node.gpu(phase_ms=12 * index).square(0, 1e6)
        node.write()
        node.at(10)
        self.node = node
        self.syncs = self.wakes = 0
        self.spool = Spool(folder, sync=self._sync)
        self.agent = Agent(
            meter=NvmlMeter(nvml=node.pynvml(), clock=node, wait=node.advance),
            identify=lambda pid: None,
            alive=lambda pid: False,
            emit=self.spool.append,
            stream=Stream("agent-1", "epoch-1"),
            life=lambda: Life("boot-1"),
            cadence=Cadence(),
            now_us=node.now_us,
        )
        self.live(20)

    def _sync(self, _: int) -> None:
        self.syncs += 1

    def _wait(self, seconds: float) -> bool:
        self.wakes += 1
        self.node.advance(max(seconds, 0.001))
        return False

    def live(self, seconds: float) -> None:
        """Run for so long, delivering what was made."""
        self.agent.run(self._wait, for_s=seconds, now=self.node.mono_ns)
        self.spool.done(self.spool.head(10_000))


@pytest.fixture
def counted(node: FakeNode, tmp_path: Path) -> Counted:
    return Counted(node, tmp_path / "spool")


def test_it_wakes_once_a_second_asks_each_board_twice_and_waits_for_the_disk_at_a_flush(counted: Counted) -> None:
    calls, syncs, wakes = counted.node.calls, counted.syncs, counted.wakes
    counted.live(600)
    assert counted.wakes - wakes <= 600 + 1
    assert (counted.node.calls - calls) / 600 <= 2 * 8 + 0.1, "energy and power in one call, processes in another"
    assert counted.syncs - syncs <= 600 / 5 + 10


def test_it_needs_no_more_memory_the_longer_it_runs(counted: Counted) -> None:
    counted.live(600)
    gc.collect()
    tracemalloc.start()
    try:
        counted.live(120)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        counted.live(600)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before <= 100_000


def test_its_process_stays_below_forty_megabytes(node: FakeNode, tmp_path: Path) -> None:
    for _ in range(8):
        node.gpu().const(0, 1e6, 400)
    node.write()
    sink = tmp_path / "records.jsonl"
    words = [sys.executable, "-m", "kilowait_agents", "--sink", str(sink), "--meter", "nvml", "--interval", "100ms"]
    agent = subprocess.Popen([*words, "--flush", "200ms"], env=node.environment(), stderr=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while not (sink.exists() and sink.stat().st_size):
            assert time.monotonic() < end
            node.advance(0.1)
            time.sleep(0.02)
        status = dict(line.split(":", 1) for line in Path(f"/proc/{agent.pid}/status").read_text().splitlines())
    finally:
        agent.send_signal(signal.SIGTERM)
        _, said = agent.communicate(timeout=20)
    assert agent.returncode == 0, said
    assert int(status["VmRSS"].split()[0]) * 1024 <= 40 * 10**6, os.uname()
