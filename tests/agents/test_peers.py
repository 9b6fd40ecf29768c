"""Side by side: CodeCarbon, Zeus and the agent on the same stretch of the same boards, whose truth is known."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fake_nvml import LOST, Board, FakeNode

from .lives import Lives, energy_mj

pytestmark = pytest.mark.peers

PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
T0, T1 = 10.0, 130.0

Say = Callable[[str], float | None]


@pytest.fixture
def peers(lane_missing: Callable[[str], None], node: FakeNode, tmp_path: Path) -> Say:
    """What a tool says of [T0, T1), in J; None where it gives up."""
    if not PYTHON.exists():
        lane_missing("CodeCarbon and Zeus live in .venv-peers (make prepare-peers)")
    stub = tmp_path / "bin" / "nvidia-smi"  # CodeCarbon looks for GPUs only where this can be run
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\nexit 0\n")
    stub.chmod(0o755)

    def say(tool: str) -> float | None:
        node.at(T0)
        environment = node.environment()
        words = [str(PYTHON), str(Path(__file__).with_name("peer_window.py")), tool, str(tmp_path / "node" / "state")]
        done = subprocess.run(
            [*words, str(T1)],
            env={**environment, "PATH": f"{stub.parent}:{environment['PATH']}"},
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
        found = re.search(r"^joules (\S+)$", done.stdout, re.MULTILINE)
        return float(found[1]) if found else None

    return say


def ours(node: FakeNode, folder: Path) -> tuple[float, set[str]]:
    """Joules of the agent, and the qualities of its records."""
    node.at(T0)
    lives = Lives(node=node, folder=folder)
    lives.run(T1)
    records = lives.finish()
    return energy_mj(records) / 1000, {record.quality for record in records}


def test_on_boards_in_order_all_three_agree(peers: Say, node: FakeNode, tmp_path: Path) -> None:
    for load in (Board.square, Board.ramp, Board.spiky):
        load(node.gpu(), 0, 1000)
    node.write()
    joules, qualities = ours(node, tmp_path / "spool")
    truth = sum(node.truth_mj(index, T0, T1) for index in range(3)) / 1000
    assert qualities == {"measured"}
    for said in (joules, peers("codecarbon"), peers("zeus")):
        assert said == pytest.approx(truth, rel=0.003)


def test_where_a_counter_restarts_the_agent_is_right_and_says_so(peers: Say, node: FakeNode, tmp_path: Path) -> None:
    node.gpu(base_mj=5e9).const(0, 1000, 500).say("reset", 70)
    node.write()
    joules, qualities = ours(node, tmp_path / "spool")
    truth = node.truth_mj(0, T0, T1) / 1000
    assert joules == pytest.approx(truth, rel=0.01)
    assert "estimated" in qualities
    zeus = peers("zeus")
    assert zeus is None or zeus < 0, "a plain difference"


def test_where_a_board_is_lost_the_agent_says_that_nothing_is_known(peers: Say, node: FakeNode, tmp_path: Path) -> None:
    node.gpu().const(0, 1000, 500).fault(70, 1e9, "all", LOST)
    node.write()
    joules, qualities = ours(node, tmp_path / "spool")
    assert "gap" in qualities
    assert joules == pytest.approx(500 * 60, rel=0.02)
    assert peers("zeus") is None, "it gives up, and the energy before is gone with it"
    codecarbon = peers("codecarbon")
    assert codecarbon is None or codecarbon < 500 * 60 * 1.02, "and no word that anything is missing"
