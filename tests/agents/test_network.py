"""The agent across a network that fails, in a network namespace of its own with nftables between it and the server."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import pytest

from fake_nvml import FakeNode

from .conftest import Ingest, running, serve
from .test_killed import TICK_MJ, WATTS, in_time, real_node, started, until

__all__ = ["real_node"]

CLONE_NEWNET = 0x40000000
CHAIN = "add chain inet lab in { type filter hook input priority 0; }"

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(120)]


class Lab:
    """A network namespace with nothing but loopback, entered by one thread; what is started there lives there."""

    def __init__(self) -> None:
        self._inside = ThreadPoolExecutor(1)
        self.inside(self._enter)

    def inside(self, do: Callable[..., Any], *arguments: Any) -> Any:
        return self._inside.submit(do, *arguments).result()

    def _enter(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise PermissionError(ctypes.get_errno(), "no network namespace of our own")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        subprocess.run(["nft", "-f", "-"], input=f"add table inet lab; {CHAIN}", text=True, check=True)

    def rule(self, text: str) -> None:
        self.inside(lambda: subprocess.run(["nft", "add", "rule", "inet", "lab", "in", *text.split()], check=True))

    def heal(self) -> None:
        self.inside(lambda: subprocess.run(["nft", "flush", "chain", "inet", "lab", "in"], check=True))

    def close(self) -> None:
        self._inside.shutdown()


@pytest.fixture
def lab(lane_missing: Callable[[str], NoReturn]) -> Iterator[Lab]:
    for tool in ("ip", "nft"):
        if shutil.which(tool) is None:
            lane_missing(f"network failures are made with {tool}, which is not here")
    if os.geteuid():
        pytest.skip("a network namespace of our own takes root")
    try:
        made = Lab()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a network namespace of our own cannot be had: {error}")
    yield made
    made.close()


@pytest.fixture
def far(lab: Lab) -> Iterator[Ingest]:
    """The server, inside the namespace."""
    state = Ingest()
    with running(lab.inside(serve, state)):
        yield state


def port(ingest: Ingest) -> str:
    return ingest.url.rpartition(":")[2]


@pytest.mark.parametrize(
    ("rule", "for_s"),
    [
        ("tcp dport {port} drop", 4.0),
        ("tcp dport {port} numgen random mod 10 < 3 drop", 5.0),
        ("tcp sport {port} drop", 19.0),  # requests arrive, answers do not; longer than the agent waits for one
    ],
    ids=["cut", "30 % lost", "one way"],
)
def test_whatever_the_network_does_every_joule_arrives_once(
    tmp_path: Path, real_node: FakeNode, lab: Lab, far: Ingest, rule: str, for_s: float
) -> None:
    real_node.write()
    agent = lab.inside(lambda: started(real_node, tmp_path / "state", far.url))
    assert until(lambda: len(far.stored) > 4)
    lab.rule(rule.format(port=port(far)))
    time.sleep(for_s)
    lab.heal()
    seen = len(far.stored)
    assert until(lambda: len(far.stored) > seen + 10, within_s=60)
    agent.send_signal(signal.SIGTERM)
    _, said = agent.communicate(timeout=30)
    assert agent.returncode == 0, said
    if "sport" in rule:
        assert far.duplicates > 0, "what was stored without an answer came again"
    for board, watts in zip(real_node.boards, WATTS, strict=True):
        mine = in_time(far, board.uuid)
        assert all(a.t1_us == b.t0_us for a, b in pairwise(mine))
        expected_mj = watts * (mine[-1].t1_us - mine[0].t0_us) / 1000
        assert abs(sum(one.energy_mj for one in mine) - expected_mj) <= 2 * TICK_MJ
    assert far.through(mine[-1].stream_epoch) == len(far.stored)
