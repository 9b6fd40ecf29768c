"""What happens to a node once in years: months switched off, a driver that lies, a part that is cut again."""

from __future__ import annotations

from pathlib import Path

import pytest

from fake_nvml import FakeNode
from kilowait_agents.attribute import RunIdentity
from kilowait_agents.wire import Batch, Origin, pack, unpack

from .lives import Lives, energy_mj, in_order, run_mj

MONTHS_S = 200 * 86_400.0  # more nanoseconds than 2^53


@pytest.fixture
def lives(node: FakeNode, tmp_path: Path) -> Lives:
    node.at(10)
    return Lives(node=node, folder=tmp_path / "spool")


@pytest.mark.parametrize("boot_id", ["boot-1", "boot-2"])
def test_months_without_the_agent_are_one_record_and_it_starts_again(lives: Lives, boot_id: str) -> None:
    lives.node.gpu().const(0, 2 * MONTHS_S, 500)
    lives.node.write()
    lives.run(20)
    lives.end()
    lives.boot_id = boot_id
    real_mono = lives.node.mono_ns
    if boot_id == "boot-2":  # the machine was off all the while
        lives.node.mono_ns = lambda: round((lives.node.now_s - MONTHS_S + 5) * 1e9)  # type: ignore[method-assign]
        lives.node.boards[0].say("reset", MONTHS_S - 5)
        lives.node.write()
    lives.node.at(MONTHS_S)
    lives.run(MONTHS_S + 10)
    lives.node.mono_ns = real_mono  # type: ignore[method-assign]
    records = lives.finish()
    away = max(records, key=lambda one: one.mono_dt_ns)
    assert away.mono_dt_ns > 2**53
    assert away.quality == ("recovered" if boot_id == "boot-1" else "gap")
    assert in_order(records)
    batch = Batch(Origin("agent-1", "n1", None, "nvml"), 1, tuple(records))
    assert unpack(pack(batch)) == batch


def test_a_counter_that_is_no_number_at_all_is_stood_in_for_by_power(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).say("jump", 50, 1e19)
    lives.node.write()
    lives.run(100)
    records = lives.finish()
    assert energy_mj(records) == pytest.approx(lives.node.truth_mj(0, 10, 100), rel=0.02)
    assert {one.quality for one in records if one.t0_us > records[0].t0_us + 60_000_000} == {"estimated"}
    assert in_order(records)


def test_a_part_that_is_cut_again_pays_for_the_slices_that_it_really_has(lives: Lives) -> None:
    board = lives.node.gpu().const(0, 300, 490)
    board.say("mig", 1, 4, 40_000, 60, 0, 1).say("mig", 1, 4, 40_000, 60, 1, 3).say("mig", 2, 3, 20_000, 32)
    board.process(11, 0, 300, instance="1/0").process(12, 0, 300, instance="1/1").process(13, 0, 300, instance="2")
    lives.node.write()
    lives.runs = {pid: RunIdentity(f"run-{pid}") for pid in (11, 12, 13)}
    lives.run(110)
    records = lives.finish()
    whole_mj = energy_mj(records)
    parts = [run_mj(records, f"run-{pid}") / whole_mj for pid in (11, 12, 13)]
    assert parts == pytest.approx([1 / 7, 3 / 7, 3 / 7], rel=0.01)


@pytest.mark.parametrize("cut_first", [True, False])
def test_a_board_that_is_cut_or_made_whole_while_it_answers_is_shared_as_it_is_from_then_on(
    lives: Lives, cut_first: bool
) -> None:
    """Hopper does it without a reset, so that no reading fails."""
    board = lives.node.gpu().const(0, 300, 490).say("whole", *((115, 300) if cut_first else (0, 115)))
    board.say("mig", 1, 3, 40_000, 60).say("mig", 2, 2, 20_000, 32)
    for pid in (11, 12):  # before, and after
        board.process(pid, 10, 110, sm=50, instance=pid - 10 if cut_first else None)
        board.process(pid + 10, 120, 200, sm=50, instance=None if cut_first else pid - 10)
    lives.node.write()
    lives.runs = {pid: RunIdentity(f"run-{pid}") for pid in (11, 12, 21, 22)}
    lives.run(210)
    records = lives.finish()
    before = run_mj(records, "run-11") / (run_mj(records, "run-11") + run_mj(records, "run-12"))
    after = run_mj(records, "run-21") / (run_mj(records, "run-21") + run_mj(records, "run-22"))
    assert (before, after) == pytest.approx((3 / 5, 1 / 2) if cut_first else (1 / 2, 3 / 5), rel=0.01)
    assert energy_mj(records) == pytest.approx(lives.node.truth_mj(0, 10, 210), abs=49_000)
    bases = {share.run_id: share.basis for one in records for share in one.shares}
    assert bases["run-21"] == ("weight" if cut_first else "slice")
