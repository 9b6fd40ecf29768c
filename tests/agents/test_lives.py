"""Whole stretches of an agent's life against known truth: loads, faults, and being killed at any time."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fake_nvml import LOST, UNKNOWN, FakeNode
from kilowait_agents.attribute import RunIdentity
from kilowait_agents.clock import WallClock
from kilowait_agents.errors import Permanent
from kilowait_agents.nvml import NvmlMeter
from kilowait_agents.spool import SpoolLimits
from kilowait_agents.transport import HttpTransport
from kilowait_agents.uplink import Uplink
from kilowait_agents.wire import Origin

from .conftest import Ingest
from .lives import Lives, energy_mj, in_order, of, run_mj

TICK_MJ = 70_000  # what the hungriest load here draws in one tick of 100 ms


@pytest.fixture
def lives(node: FakeNode, tmp_path: Path) -> Lives:
    node.at(10)
    return Lives(node=node, folder=tmp_path / "spool")


def test_a_minute_on_eight_boards_is_right_to_a_quarter_percent_on_every_load(lives: Lives) -> None:
    node = lives.node
    for phase in (0, 30):
        keys = {"tick_ms": 100, "phase_ms": phase}
        node.gpu(**keys).square(0, 100)
        node.gpu(**keys).ramp(0, 100)
        node.gpu(**keys).spiky(0, 100)
        node.gpu(**keys).const(0, 100, 400)
    node.write()
    lives.run(70.05)
    records = lives.finish()
    for index, board in enumerate(node.boards):
        truth_mj = node.truth_mj(index, 10, 70.05)
        assert abs(energy_mj(of(records, board.uuid)) - truth_mj) <= 0.0025 * truth_mj
    assert in_order(records)
    assert {(record.quality, record.method) for record in records} == {("measured", "counter")}


@pytest.mark.parametrize("load", ["const", "ramp"])
def test_without_a_counter_power_is_right_to_one_percent_and_says_so(lives: Lives, load: str) -> None:
    board = lives.node.gpu(energy=0)
    board.const(0, 100, 400) if load == "const" else board.ramp(0, 100)
    lives.node.write()
    lives.run(70)
    records = lives.finish()
    truth_mj = lives.node.truth_mj(0, 10, 70)
    assert abs(energy_mj(records) - truth_mj) <= 0.01 * truth_mj
    assert {(one.method, one.quality, one.uncertainty_pct) for one in records} == {("power_avg", "measured", 7.0)}


def test_killed_fifty_times_at_random_it_loses_nothing_and_counts_nothing_twice(lives: Lives) -> None:
    node, rng = lives.node, random.Random(7)
    node.gpu().square(0, 10_000)
    node.gpu().const(0, 10_000, 333)
    node.write()
    lives.start()
    for _ in range(50):
        lives.run(node.now_s + rng.uniform(0, 20))
        if rng.random() < 0.3:
            lives.deliver()
        lives.end()
        node.advance(rng.choice([0.01, 1, 30, 120]))
        lives.start()
    lives.run(node.now_s + 10)
    end_s = node.now_s
    records = lives.finish()
    for index, board in enumerate(node.boards):
        mine = of(records, board.uuid)
        assert abs(energy_mj(mine) - node.truth_mj(index, 10, end_s)) <= 2 * TICK_MJ
    assert in_order(records)
    for epoch in {record.stream_epoch for record in records}:
        seqs = [record.seq for record in records if record.stream_epoch == epoch]
        assert seqs == list(range(1, len(seqs) + 1))
    assert {one.quality for one in records} == {"measured", "recovered"}


def test_a_job_that_outlives_the_agent_pays_for_the_time_nobody_looked(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).process(11, 20, 150)
    lives.node.write()
    lives.runs = {11: RunIdentity("run-1", "job-1")}
    lives.run(40)
    lives.end()
    lives.node.at(100)
    lives.run(180)
    records = lives.finish()
    assert energy_mj(records) == 500_000 * 170
    assert abs(run_mj(records, "run-1") - 500_000 * 130) <= 2 * 500_000


def test_who_held_a_board_while_nobody_looked_is_not_guessed(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).process(11, 0, 50).process(12, 60, 200)
    lives.node.write()
    lives.runs = {11: RunIdentity("run-1", "job-1"), 12: RunIdentity("run-2", "job-2")}
    lives.run(40)
    lives.end()
    lives.node.at(100)
    lives.run(120)
    (away,) = [one for one in lives.finish() if one.note == "the agent was not running"]
    assert (away.unattributed_mj, away.quality) == (away.energy_mj, "recovered")


def test_a_counter_that_restarts_is_never_negative_and_flagged(lives: Lives) -> None:
    lives.node.gpu(base_mj=5_000_000).const(0, 200, 500).say("reset", 50.5)
    lives.node.write()
    lives.run(100)
    records = lives.finish()
    assert all(one.energy_mj >= 0 for one in records)
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, 100)) <= 500_000
    (flagged,) = [one for one in records if one.quality != "measured"]
    assert (flagged.quality, "restarted" in (flagged.note or "")) == ("estimated", True)


def test_a_counter_that_restarts_while_the_agent_is_away_counts_from_its_restart(lives: Lives) -> None:
    lives.node.gpu(base_mj=90_000_000).const(0, 200, 500).say("reset", 70)
    lives.node.write()
    lives.run(50)
    lives.end()
    lives.node.at(90)
    lives.run(100)
    records = lives.finish()
    (flagged,) = [one for one in records if one.quality == "estimated"]
    assert (flagged.energy_mj, flagged.uncertainty_pct) == (20 * 500_000, 100.0)
    assert in_order(records)


def test_another_boot_is_a_restart_even_where_the_counter_has_passed_its_old_value(lives: Lives) -> None:
    lives.node.gpu().const(0, 30, 100).const(60, 200, 500).say("reset", 50)
    lives.node.write()
    lives.run(20)  # 2,000,000 mJ counted
    lives.end()
    lives.boot_id = "boot-2"
    lives.node.at(90)  # 15,000,000 mJ since the machine was started
    booted_s = 50.0
    real_mono = lives.node.mono_ns
    lives.node.mono_ns = lambda: round((lives.node.now_s - booted_s) * 1e9)  # type: ignore[method-assign]
    lives.run(100)
    lives.node.mono_ns = real_mono  # type: ignore[method-assign]
    records = lives.finish()
    off, since = [one for one in records if one.boot_id == "boot-2" and one.quality != "measured"]
    assert (off.quality, off.note, off.energy_mj) == ("gap", "the machine was restarted", 0)
    assert (since.quality, since.energy_mj) == ("recovered", 15_000_000)
    assert in_order(records)


def test_a_driver_loaded_anew_while_the_agent_was_away_is_a_restart_even_where_the_counter_has_passed_its_old_value(
    lives: Lives,
) -> None:
    lives.node.gpu().const(0, 30, 100).const(60, 200, 500).say("reset", 50).process(11, 0, 200)
    lives.node.write()
    lives.runs, lives.driver = {11: RunIdentity("run-1", "job-1")}, "4711"
    lives.run(20)  # 2,000,000 mJ counted
    lives.end()
    lives.driver = "5822"
    lives.node.at(90)  # 15,000,000 mJ since the driver was loaded; 1,000,000 mJ before that nobody saw
    lives.run(100)
    lives.end()
    lives.run(110)
    records = lives.finish()
    (away,) = [one for one in records if one.quality == "estimated"]
    assert (away.energy_mj, away.uncertainty_pct) == (15_000_000, 100.0)
    assert away.note == "the energy counter restarted: 2000000 mJ before, 15000000 mJ now"
    assert away.unattributed_mj == away.energy_mj, "who held the board was gone before the driver could be"
    assert {one.boot_id for one in records} == {"boot-1:4711", "boot-1:5822"}
    assert energy_mj(records) == 500_000 * (110 - 60) + 100_000 * (20 - 10)
    assert in_order(records)


def test_a_driver_loaded_anew_under_the_agent_is_a_restart_too(lives: Lives) -> None:
    lives.node.gpu().const(0, 40, 10).const(50, 200, 500).say("reset", 45)
    lives.node.say("driver_down", 40, 60)
    lives.node.write()
    lives.driver = "4711"
    lives.run(39)  # 390,000 mJ counted
    lives.driver = ""  # no driver, no module
    lives.run(50)
    lives.driver = "5822"
    lives.run(100)
    lives.end()
    lives.run(110)
    records = lives.finish()
    assert [one.quality for one in records if one.quality != "measured"] == ["estimated", "recovered"]
    assert "restarted: 390000 mJ before" in next(one.note or "" for one in records if one.quality == "estimated")
    assert energy_mj(records) == 500_000 * (110 - 50) + 10_000 * (39 - 10)
    assert in_order(records)


def test_an_account_of_before_drivers_were_told_apart_goes_on(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500)
    lives.node.write()
    lives.run(20)
    lives.end()
    lives.driver = "4711"
    lives.node.at(90)
    lives.run(100)
    records = lives.finish()
    assert energy_mj(records) == 500_000 * 90
    assert {one.quality for one in records} == {"measured", "recovered"}


def test_a_board_that_is_lost_for_a_while_comes_back_with_all_its_energy(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).fault(40, 70, "all", LOST)
    lives.node.write()
    lives.run(120)
    records = lives.finish()
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, 120)) <= TICK_MJ
    assert "recovered" in {one.quality for one in records}


def test_a_board_that_is_lost_for_good_leaves_a_gap_and_not_a_zero(lives: Lives) -> None:
    lives.node.gpu().const(0, 2000, 500).fault(40, 9999, "all", LOST)
    lives.node.gpu().const(0, 2000, 300)
    lives.node.write()
    lives.run(1200)
    records = lives.finish()
    lost = of(records, lives.node.boards[0].uuid)
    assert {one.quality for one in lost if one.t0_us > lost[0].t0_us + 40_000_000} == {"gap"}
    assert in_order(records), "until the end it is said that nothing is known"
    assert abs(energy_mj(of(records, lives.node.boards[1].uuid)) - 300_000 * 1190) <= TICK_MJ


def test_a_board_that_is_gone_when_the_agent_starts_anew_is_a_gap_until_it_is_back(lives: Lives) -> None:
    lives.node.gpu().const(0, 3000, 500).fault(40, 300, "all", LOST)
    lives.node.gpu().const(0, 3000, 300)
    lives.node.write()
    lives.run(30)
    lives.end()
    lives.node.at(100)
    lives.run(600)
    records = lives.finish()
    assert abs(energy_mj(of(records, lives.node.boards[0].uuid)) - 500_000 * 590) <= TICK_MJ
    assert in_order(records)


def test_a_node_whose_only_board_is_gone_at_the_start_measures_it_once_it_is_back(lives: Lives) -> None:
    lives.node.gpu().const(0, 400, 500).fault(0, 60, "all", LOST)
    lives.node.write()
    lives.run(120)
    records = lives.finish()
    assert records[0].t0_us / 1e6 - lives.node.epoch_s == pytest.approx(60, abs=15)
    seconds = 120 - (records[0].t0_us / 1e6 - lives.node.epoch_s)
    assert energy_mj(records) == pytest.approx(500_000 * seconds, abs=TICK_MJ)


def test_a_driver_that_is_away_for_a_minute_costs_nothing_while_the_counter_goes_on(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500)
    lives.node.say("driver_down", 40, 100)
    lives.node.write()
    lives.run(150)
    assert abs(energy_mj(lives.finish()) - lives.node.truth_mj(0, 10, 150)) <= TICK_MJ


def test_a_driver_that_no_longer_fits_the_library_ends_the_process_for_a_restart(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500)
    lives.node.say("mismatch", 40)
    lives.node.write()
    with pytest.raises(Permanent, match="restart the agent"):
        lives.run(60)


@pytest.mark.parametrize("catch_up", [True, False], ids=["catches up", "goes on"])
def test_a_counter_that_stands_still_is_stood_in_for_by_power_once(lives: Lives, catch_up: bool) -> None:
    lives.node.gpu().const(0, 200, 500).say("stall", 40, 70, int(catch_up))
    lives.node.write()
    lives.run(120)
    records = lives.finish()
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, 120)) <= 0.02 * lives.node.truth_mj(0, 10, 120)
    assert any("stands still" in (one.note or "") for one in records)


def test_a_counter_that_stood_still_through_a_kill_is_not_counted_twice(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).say("stall", 40, 90, 1)
    lives.node.write()
    lives.run(70)
    lives.end()
    lives.node.at(80)
    lives.run(120)
    records = lives.finish()
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, 120)) <= 0.03 * lives.node.truth_mj(0, 10, 120)


def test_a_jump_that_no_board_can_draw_is_put_aside_and_both_values_are_said(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).say("jump", 50.5, 10**9)
    lives.node.write()
    lives.run(100)
    records = lives.finish()
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, 100)) <= 500_000
    (flagged,) = [one for one in records if one.quality != "measured"]
    assert "implausible" in (flagged.note or "")


def test_a_counter_that_fails_for_a_moment_is_waited_for(lives: Lives) -> None:
    lives.node.gpu().const(0, 200, 500).fault(40, 45, "energy", UNKNOWN)
    lives.node.write()
    lives.run(100)
    records = lives.finish()
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, 100)) <= TICK_MJ
    assert {one.method for one in records} == {"counter"}


def test_a_job_is_charged_to_the_tick_at_both_its_ends_however_rarely_counters_are_read(lives: Lives) -> None:
    """Thirty jobs of 5 s each: the process's start is known, its end is told when it happens."""
    rng = random.Random(3)
    lives.interval_s = 30.0
    board, at = lives.node.gpu(tick_ms=100, phase_ms=40), 12.0
    spans = []
    for number in range(30):
        begin, length = at + rng.uniform(0.2, 2), 5.0
        board.const(at, begin, 90).const(begin, begin + length, 690).process(100 + number, begin, begin + length)
        lives.runs[100 + number] = RunIdentity(f"run-{number}", f"job-{number}")
        spans.append((begin, begin + length))
        at = begin + length
    board.const(at, 1000, 90)
    board.const(0, 12, 90)
    lives.node.write()
    for _, end in spans:
        lives.run(end)  # the kernel tells the end: the loop looks at that moment
    lives.run(at + 40)
    records = lives.finish()
    errors = []
    for number, (begin, end) in enumerate(spans):
        truth_mj = lives.node.truth_mj(0, begin, end)
        errors.append(abs(run_mj(records, f"run-{number}") - truth_mj) / truth_mj)
    assert sorted(errors)[int(0.95 * len(errors))] <= 0.01
    assert in_order(records)
    assert abs(energy_mj(records) - lives.node.truth_mj(0, 10, at + 40)) <= TICK_MJ


def test_jobs_that_share_a_board_pay_by_their_work_and_ranks_count_once(lives: Lives) -> None:
    board = lives.node.gpu().const(0, 40, 100).const(40, 200, 500)
    board.process(11, 40, 200, sm=20).process(12, 40, 200, sm=20).process(13, 40, 200, sm=20)
    lives.node.write()
    lives.runs = {11: RunIdentity("a", "a"), 12: RunIdentity("a", "a"), 13: RunIdentity("b", "b")}
    lives.run(140)
    records = lives.finish()
    shared_s = (run_mj(records, "a") + run_mj(records, "b")) / 500_000
    assert shared_s == pytest.approx(100, abs=1)
    assert run_mj(records, "a") == pytest.approx(shared_s * (50_000 + 400_000 * 2 / 3), rel=0.01)
    assert run_mj(records, "b") == pytest.approx(shared_s * (50_000 + 400_000 / 3), rel=0.01)
    assert {share.basis for one in records for share in one.shares} == {"weight"}


def test_a_run_that_holds_a_board_and_does_nothing_pays_for_it_on_a_line_of_its_own(lives: Lives) -> None:
    board = lives.node.gpu().const(0, 40, 80).const(40, 100, 120).const(100, 160, 600).const(160, 300, 80)
    board.process(11, 40, 100, sm=0).process(12, 100, 160, sm=90)
    lives.node.write()
    lives.runs = {11: RunIdentity("a", "a"), 12: RunIdentity("a", "a")}
    lives.run(200)
    records = lives.finish()
    shares = [share for one in records for share in one.shares]
    by_basis = {basis: sum(s.energy_mj for s in shares if s.basis == basis) for basis in {s.basis for s in shares}}
    assert by_basis.keys() == {"held_idle", "exclusive"}
    look_mj = 600_000  # that it has begun to work is seen at the next look
    assert by_basis["held_idle"] == pytest.approx(60 * 120_000, abs=look_mj)
    assert by_basis["exclusive"] == pytest.approx(60 * 600_000, abs=look_mj)
    assert sum(one.idle_mj for one in records) == pytest.approx(70 * 80_000, abs=2 * TICK_MJ)


@pytest.mark.parametrize("tick_ms", [20, 50, 100, 120])
def test_how_far_apart_a_board_s_ticks_are_is_learned(node: FakeNode, tick_ms: int) -> None:
    node.gpu(tick_ms=tick_ms, phase_ms=7).square(0, 1e6)
    node.write()
    meter = NvmlMeter(nvml=node.pynvml(), clock=node, wait=node.advance)
    meter.learn_ticks()
    rng, errors = random.Random(1), []
    for _ in range(40):
        t0 = rng.uniform(100, 900_000)
        counters = []
        for edge in (t0, t0 + 1):
            node.at(edge)
            counters.append(meter.read(exact=True)[0].counter_mj or 0)
        truth = node.truth_mj(0, t0, t0 + 1)
        errors.append(abs(counters[1] - counters[0] - truth) / truth)
    (learned_ns,) = meter.tick_ns.values()
    assert learned_ns == pytest.approx(tick_ms * 1e6, rel=0.04)
    assert sorted(errors)[int(0.95 * len(errors))] < 0.03 * tick_ms / 100 + 0.01


def test_clients_of_mps_are_the_parties_and_not_their_server(lives: Lives) -> None:
    board = lives.node.gpu().const(0, 200, 500).process(10, 0, 200, sm=90)
    board.process(11, 0, 200, sm=30, mps=True).process(12, 0, 200, sm=10, mps=True)
    lives.node.write()
    lives.runs = {11: RunIdentity("a", "a"), 12: RunIdentity("b", "b")}
    lives.run(60)
    records = lives.finish()
    assert (run_mj(records, "a"), run_mj(records, "b")) == (3 * run_mj(records, "b"), energy_mj(records) // 4)


def test_parts_of_a_board_pay_by_their_slices_and_the_board_s_energy_is_counted_once(lives: Lives) -> None:
    board = lives.node.gpu().const(0, 60, 70).const(60, 300, 490)
    board.say("mig", 1, 3, 40_000, 60).say("mig", 2, 2, 20_000, 32)
    board.process(11, 60, 300, instance=1).process(12, 60, 300, instance=2)
    lives.node.write()
    lives.runs = {11: RunIdentity("a", "a"), 12: RunIdentity("b", "b")}
    lives.run(160)
    records = lives.finish()
    assert energy_mj(records) == pytest.approx(lives.node.truth_mj(0, 10, 160), abs=TICK_MJ)
    shared_s = 100
    assert run_mj(records, "a") == pytest.approx(shared_s * (30_000 + 420_000 * 3 / 5), rel=0.02)
    assert run_mj(records, "b") == pytest.approx(shared_s * (20_000 + 420_000 * 2 / 5), rel=0.02)
    assert {share.basis for one in records for share in one.shares} == {"slice"}
    assert {record.device_uuid for record in records} == {board.uuid}


def test_clock_steps_and_suspend_leave_records_in_order_and_energy_whole(lives: Lives) -> None:
    lives.node.gpu().const(0, 30_000, 500)
    lives.node.write()
    step_us = 0
    real_now = lives.node.now_us
    clock = WallClock(wall_ns=lambda: (real_now() + step_us) * 1000, mono_ns=lives.node.mono_ns)
    lives.node.now_us = clock.now_us  # type: ignore[method-assign]
    lives.run(60)
    step_us = 3_600_000_000
    lives.run(120)
    step_us = -3_600_000_000
    lives.run(180)
    lives.node.at(8000)  # suspended for two hours; the board went on counting
    lives.run(8030)
    records = lives.finish()
    assert energy_mj(records) == 500_000 * (8030 - 10)
    assert in_order(records)
    assert all(one.t0_us < one.t1_us for one in records)


def test_three_days_without_a_server_fit_in_the_bound_and_arrive_to_the_millijoule(
    lives: Lives, ingest: Ingest
) -> None:
    node = lives.node
    node.gpu().const(0, 1e6, 500)
    node.gpu().square(0, 1e6)
    node.write()
    lives.interval_s, lives.limits = 30.0, SpoolLimits(whole=400_000, segment=100_000, free_share=0)
    agent = lives.start()
    for at in range(10, 3 * 86_400 + 10, 30):
        node.at(at)
        agent.tick()
        agent.flush()
        assert lives.spool is not None
    assert lives.spool.bytes <= 400_000 + 100_000 + 2_000
    agent.close()
    rng = random.Random(5)
    transport = HttpTransport(server=ingest.url, token=lambda: "t")
    uplink = Uplink(
        outbox=lives.spool,
        transport=transport,
        origin=Origin(agent_id="agent-1", node="n1", region=None, source="nvml"),
        clock=node,
        rng=rng,
        set_aside=lambda records, reason: pytest.fail(reason),
    )
    while uplink.step() is not None:
        ingest.script = ["lose-ack"] if rng.random() < 0.3 else []
    transport.close()
    lives.end()
    assert ingest.duplicates > 0
    for index, board in enumerate(node.boards):
        mine = sorted(of(list(ingest.stored.values()), board.uuid), key=lambda one: one.t0_us)
        assert mine[-1].counter_end_mj is not None
        assert energy_mj(mine) == mine[-1].counter_end_mj - round(node.truth_mj(index, 0, 10))
        assert in_order(mine)


def test_eight_boards_cost_at_most_forty_calls_a_second_of_the_driver(lives: Lives) -> None:
    for index in range(8):
        lives.node.gpu().const(0, 200, 500).process(10 + index, 0, 200)
    lives.node.write()
    lives.runs = {10 + index: RunIdentity("a", "a") for index in range(8)}
    lives.start()
    lives.run(11)
    before = lives.node.calls
    lives.run(71)
    assert (lives.node.calls - before) / 60 <= 40
