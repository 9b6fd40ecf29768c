"""The agent as a process of its own on a node with fake boards, in real time: killed again and again, out of disk."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fake_nvml import FakeNode
from kilowait_agents.wire import Record

from .conftest import Ingest

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("KILOWAIT_")}
WATTS = (400, 250)
TICK_MJ = 40_000


@pytest.fixture
def real_node(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """Two boards that draw a constant power in real time, since an hour ago."""
    monkeypatch.setenv("FAKE_NVML", "")
    node = FakeNode(nvml_library, tmp_path / "node", virtual=False, epoch_s=time.time() - 3600)
    for watts in WATTS:
        node.gpu().const(0, 1e6, watts)
    return node


def started(node: FakeNode, folder: Path, url: str, **more: str) -> subprocess.Popen[bytes]:
    words = ["--server", url, "--state-dir", str(folder), "--node", "n1", "--meter", "nvml", "--interval", "50ms",
             "--flush", "100ms"]  # fmt: skip
    environment = {**CLEAN, **node.environment(), "KILOWAIT_TOKEN": "t", "NO_PROXY": "127.0.0.1", **more}
    return subprocess.Popen([sys.executable, "-m", "kilowait_agents", *words], env=environment, stderr=subprocess.PIPE)


def in_time(ingest: Ingest, uuid: str) -> list[Record]:
    return sorted((one for one in ingest.stored.values() if one.device_uuid == uuid), key=lambda one: one.t0_us)


def until(condition: Any, *, within_s: float = 20) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return False


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_fifty_times_with_acks_lost_every_joule_arrives_once(
    tmp_path: Path, real_node: FakeNode, ingest: Ingest
) -> None:
    real_node.write()
    rng = random.Random(11)
    folder = tmp_path / "state"
    for life in range(50):
        seen = len(ingest.stored)
        ingest.script += [rng.choice(["lose-ack", None]) for _ in range(3)]
        agent = started(real_node, folder, ingest.url)
        assert agent.stderr is not None
        # Some are killed before they have done anything, some in the middle of work.
        if life % 5:
            assert until(lambda seen=seen: len(ingest.stored) > seen), agent.stderr.read()
        time.sleep(rng.uniform(0, 0.1))
        agent.kill()
        agent.wait()
        agent.stderr.close()
    ingest.script.clear()
    last = started(real_node, folder, ingest.url)
    seen = len(ingest.stored)
    assert until(lambda: len(ingest.stored) > seen + 4)
    last.send_signal(signal.SIGTERM)
    _, said = last.communicate(timeout=20)
    assert last.returncode == 0, said
    assert ingest.duplicates > 0
    for board, watts in zip(real_node.boards, WATTS, strict=True):
        mine = sorted(
            (one for one in ingest.stored.values() if one.device_uuid == board.uuid), key=lambda one: one.t0_us
        )
        assert all(a.t1_us == b.t0_us for a, b in pairwise(mine)), "no hole and no overlap over fifty lives"
        expected_mj = watts * (mine[-1].t1_us - mine[0].t0_us) / 1000
        assert abs(sum(one.energy_mj for one in mine) - expected_mj) <= 2 * TICK_MJ
    for epoch in {epoch for epoch, _ in ingest.stored}:
        seqs = sorted(seq for one, seq in ingest.stored if one == epoch)
        assert seqs == list(range(1, len(seqs) + 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a file system of our own needs the right to mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_costs_nothing_once_there_is_room_again(
    small_disk: Path, real_node: FakeNode, ingest: Ingest
) -> None:
    real_node.write()
    agent = started(real_node, small_disk / "state", ingest.url)
    assert until(lambda: len(ingest.stored) > 4)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))
    time.sleep(1.5)
    filler.unlink()
    seen = len(ingest.stored)
    assert until(lambda: len(ingest.stored) > seen + 10)
    agent.send_signal(signal.SIGTERM)
    _, said = agent.communicate(timeout=20)
    assert agent.returncode == 0, said
    assert b"cannot be stored" in said
    assert b"can be stored again" in said
    for board, watts in zip(real_node.boards, WATTS, strict=True):
        mine = in_time(ingest, board.uuid)
        assert all(a.t1_us == b.t0_us for a, b in pairwise(mine))
        expected_mj = watts * (mine[-1].t1_us - mine[0].t0_us) / 1000
        assert abs(sum(one.energy_mj for one in mine) - expected_mj) <= 2 * TICK_MJ
