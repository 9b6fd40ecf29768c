from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.attribute import RunIdentity
from kilowait_agents.errors import Refused
from kilowait_agents.owners import RunProcess
from kilowait_agents.simulated import SimulatedMeter

from .conftest import HandClock


class Cluster:
    """Which runs live, by hand: run id -> (GPUs, number of processes)."""

    def __init__(self) -> None:
        self.live: dict[str, tuple[int | None, int]] = {}
        self.idle: set[str] = set()

    def __call__(self) -> list[RunProcess]:
        return [
            RunProcess(
                pid=1000 * (at + 1) + rank, start_ticks=at, run=RunIdentity(run), gpus=gpus, idle=run in self.idle
            )
            for at, (run, (gpus, processes)) in enumerate(self.live.items())
            for rank in range(processes)
        ]


def energy_j(*, watts: float, device: int, from_s: float, to_s: float) -> float:
    """The documented power curve, integrated numerically (midpoints): an account of its own."""
    steps = 20_000
    dt = (to_s - from_s) / steps
    phase = device * math.pi * (3 - math.sqrt(5))
    return sum(
        watts * (1 + 0.02 * math.sin(2 * math.pi * (from_s + (step + 0.5) * dt) / 20 + phase)) * dt
        for step in range(steps)
    )


def counters(meter: SimulatedMeter) -> list[int]:
    return [one.counter_mj or 0 for one in meter.read()]


def held(meter: SimulatedMeter) -> list[bool]:
    return [bool(processes) for processes in meter.processes().values()]


def test_the_counter_is_the_integral_of_idle_and_busy_power(clock: HandClock) -> None:
    cluster = Cluster()
    meter = SimulatedMeter(node="n", gpus=2, clock=clock, runs=cluster, busy_w=400, idle_w=60)
    clock.advance(7)
    cluster.live["a"] = (1, 2)
    meter.processes()
    clock.advance(33.3)
    cluster.live.clear()
    meter.processes()
    clock.advance(10)
    first, second = counters(meter)
    expected = (
        energy_j(watts=60, device=0, from_s=0, to_s=7)
        + energy_j(watts=400, device=0, from_s=7, to_s=40.3)
        + energy_j(watts=60, device=0, from_s=40.3, to_s=50.3)
    )
    assert first == pytest.approx(1000 * expected, abs=3)
    assert second == pytest.approx(1000 * energy_j(watts=60, device=1, from_s=0, to_s=50.3), abs=3)


def test_a_whole_number_of_ripples_adds_nothing(clock: HandClock) -> None:
    meter = SimulatedMeter(node="n", gpus=3, clock=clock, runs=list, idle_w=60)
    clock.advance(40)
    assert counters(meter) == pytest.approx([2_400_000] * 3, abs=2)


@given(st.lists(st.floats(min_value=0.001, max_value=100), min_size=1, max_size=30))
def test_how_often_it_is_read_does_not_change_the_energy(steps: list[float]) -> None:
    often, once = HandClock(), HandClock()
    read_often = SimulatedMeter(node="n", gpus=1, clock=often, runs=list)
    read_once = SimulatedMeter(node="n", gpus=1, clock=once, runs=list)
    for seconds in steps:
        often.advance(seconds)
        read_often.read()
        once.advance(seconds)
    assert abs(counters(read_often)[0] - counters(read_once)[0]) <= 1


def test_runs_get_devices_in_order_of_appearance_and_keep_them(clock: HandClock) -> None:
    cluster = Cluster()
    cluster.live = {"a": (2, 1), "b": (1, 1)}
    meter = SimulatedMeter(node="n", gpus=4, clock=clock, runs=cluster)
    before = meter.processes()
    assert [[one.pid for one in processes] for processes in before.values()] == [[1000], [1000], [2000], []]
    cluster.live = {"b": (1, 1), "c": (2, 1)}
    assert held(meter) == [True, True, True, False]
    assert meter.processes()["SIM-n-2"] == [type(before["SIM-n-2"][0])(pid=1000)], "b kept its device"


def test_a_run_that_found_too_few_devices_takes_the_next_that_are_free(clock: HandClock) -> None:
    cluster = Cluster()
    cluster.live = {"old": (2, 1), "new": (2, 1)}
    meter = SimulatedMeter(node="n", gpus=3, clock=clock, runs=cluster)
    assert [len(processes) for processes in meter.processes().values()] == [1, 1, 1]
    del cluster.live["old"]
    assert held(meter) == [True, False, True]


def test_a_worker_that_is_only_kept_idle_does_not_hold_a_device(clock: HandClock) -> None:
    cluster = Cluster()
    cluster.live = {"a": (1, 1)}
    cluster.idle = {"a"}
    assert held(SimulatedMeter(node="n", gpus=1, clock=clock, runs=cluster)) == [False]


def test_a_run_that_does_not_say_how_many_gpus_it_holds_gets_none_and_is_named_once(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    cluster = Cluster()
    cluster.live = {"a": (None, 1)}
    meter = SimulatedMeter(node="n", gpus=1, clock=clock, runs=cluster)
    meter.read()
    assert held(meter) == [False]
    assert [entry.getMessage().split(" does")[0] for entry in caplog.records] == ["run a"]


def test_power_follows_what_was_seen_at_the_last_look(clock: HandClock) -> None:
    cluster = Cluster()
    meter = SimulatedMeter(node="n", gpus=1, clock=clock, runs=cluster, busy_w=400, idle_w=60)
    cluster.live = {"a": (1, 1)}
    clock.advance(1)
    meter.processes()
    (seen,) = meter.read()
    assert seen.power_mw == pytest.approx(400_000, rel=0.021)
    assert seen.counter_mj == pytest.approx(60_000, rel=0.021)


def test_it_is_labelled_as_a_simulation(clock: HandClock) -> None:
    meter = SimulatedMeter(node="rack-1", gpus=2, clock=clock, runs=list)
    assert meter.source == "simulated"
    assert [device.uuid for device in meter.devices()] == ["SIM-rack-1-0", "SIM-rack-1-1"]
    assert all("simulated" in device.name for device in meter.devices())


def test_a_node_without_gpus_or_with_less_busy_than_idle_is_refused(clock: HandClock) -> None:
    with pytest.raises(Refused, match="at least 1 GPU"):
        SimulatedMeter(node="n", gpus=0, clock=clock, runs=list)
    for busy_w, idle_w in ((10.0, 60.0), (400.0, -1.0), (math.nan, 60.0), (math.inf, 60.0)):
        with pytest.raises(Refused, match="idle <= busy"):
            SimulatedMeter(node="n", gpus=1, clock=clock, runs=list, busy_w=busy_w, idle_w=idle_w)
