"""An agent whose driver's counter begins anew or stands still: what it estimated meanwhile is counted once."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fake_nvml import FakeNode

from .lives import Lives, energy_mj, in_order

TICK_MJ = 50_000  # what the load here draws in one tick of 100 ms


@pytest.fixture
def lives(node: FakeNode, tmp_path: Path) -> Lives:
    node.at(10)
    return Lives(node=node, folder=tmp_path / "spool")


def test_a_driver_loaded_anew_where_processes_are_never_known_is_noticed_by_the_next_reading(lives: Lives) -> None:
    lives.node.gpu().const(0, 40, 10).const(50, 200, 500).say("reset", 49).fault(0, 200, "procs", 3)
    lives.node.say("driver_down", 35, 50)
    lives.node.write()
    lives.driver, lives.interval_s = "4711", 10.0
    lives.run(30)  # 300,000 mJ counted
    assert lives.agent is not None
    lives.driver = ""  # no driver, no module
    lives.node.at(40)
    lives.agent.tick()
    lives.node.at(41)
    lives.agent.look()  # which reads nothing
    lives.driver = "5822"
    lives.node.at(60)  # 5,000,000 mJ since the driver was loaded
    lives.run(100)
    records = lives.finish()
    (away,) = [one for one in records if one.quality == "estimated"]
    assert away.note == "the energy counter restarted: 300000 mJ before, 5000000 mJ now"
    assert in_order(records)


@pytest.mark.parametrize(("first", "then"), [("", "4711"), ("4711", "")])
def test_what_a_stalled_counter_catches_up_with_is_counted_once_though_the_driver_came_to_be_told_apart(
    lives: Lives, first: str, then: str
) -> None:
    lives.node.gpu().const(0, 200, 500).say("stall", 30, 80, 1)
    lives.node.write()
    lives.driver = first
    lives.run(45)
    lives.end()
    lives.driver = then
    lives.run(60)
    lives.end()  # before the counter moves again
    lives.node.at(90)
    lives.run(100)
    records = lives.finish()
    assert abs(energy_mj(records) - 500_000 * 90) <= TICK_MJ
    assert in_order(records)


def test_what_a_stalled_counter_catches_up_with_is_counted_once_though_the_agent_was_away_twice_meanwhile(
    lives: Lives,
) -> None:
    lives.node.gpu().const(0, 200, 500).say("stall", 30, 80, 1)
    lives.node.write()
    lives.run(45)
    lives.end()
    lives.node.at(55)  # the counter stands where it stood: this time is a gap until it moves
    lives.run(65)
    lives.end()
    lives.node.at(90)
    lives.run(100)
    records = lives.finish()
    assert abs(energy_mj(records) - 500_000 * 90) <= TICK_MJ
    assert in_order(records)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("caught_up", [1, 0])
def test_however_often_the_agent_is_killed_while_a_counter_stands_still_nothing_is_counted_twice(
    lives: Lives, seed: int, caught_up: int
) -> None:
    rng = random.Random(seed)
    still_s = rng.randint(20, 40)
    lives.node.gpu().const(0, 200, 500).say("stall", still_s, still_s + rng.randint(10, 50), caught_up)
    lives.node.write()
    while lives.node.now_s < 110:
        lives.driver = rng.choice(["", "4711"])
        lives.run(lives.node.now_s + rng.randint(6, 20))
        lives.end()
        lives.node.advance(rng.choice([0.1, 3, 12]))
    lives.run(150)
    records = lives.finish()
    assert energy_mj(records) <= 500_000 * 140 + TICK_MJ
    assert in_order(records)
