"""What every meter keeps to, each against a stand-in of its source that draws 100 W per device."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from fake_amdsmi import AmdBoard, FakeAmdSmi
from fake_nvml import LOST, FakeNode
from kilowait_agents.agent import Agent, Stream
from kilowait_agents.amd import AmdMeter
from kilowait_agents.attribute import RunIdentity
from kilowait_agents.cadence import Cadence
from kilowait_agents.host_model import HostModel
from kilowait_agents.life import Life
from kilowait_agents.meter import Meter
from kilowait_agents.nvml import NvmlMeter
from kilowait_agents.owners import RunProcess
from kilowait_agents.rapl import RaplMeter
from kilowait_agents.simulated import SimulatedMeter
from kilowait_agents.wire import Record, Source

from .conftest import HandClock
from .test_host_model import Machine
from .test_rapl import Powercap

WATTS = 100


@dataclass
class Rig:
    """A meter with its clock, what passes time in its world, and what breaks and mends its first device."""

    meter: Meter
    now_us: Callable[[], int]
    advance: Callable[[float], None]
    breaks: Callable[[], None] | None = None
    mends: Callable[[], None] | None = None


def nvml(node: FakeNode, clock: HandClock, folder: Path) -> Rig:
    node.at(10)
    node.gpu().const(0, 1000, WATTS).fault(30, 40, "all", LOST)
    node.gpu().const(0, 1000, WATTS)
    node.write()
    meter = NvmlMeter(nvml=node.pynvml(), clock=node, wait=node.advance)
    return Rig(meter, node.now_us, node.advance, lambda: node.at(31), lambda: node.at(45))


def amd(node: FakeNode, clock: HandClock, folder: Path) -> Rig:
    boards = AmdBoard("a"), AmdBoard("b")
    fake = FakeAmdSmi(*boards, seconds=lambda: clock.ns / 1e9)
    meter = AmdMeter(amdsmi=fake, clock=clock)
    return Rig(
        meter, clock.now_us, clock.advance,
        lambda: setattr(boards[0], "lost", True), lambda: setattr(boards[0], "lost", False),
    )  # fmt: skip


def rapl(node: FakeNode, clock: HandClock, folder: Path) -> Rig:
    powercap = Powercap(folder)
    used = {"intel-rapl:0": 1_000_000, "intel-rapl:1": 5_000_000}

    def advance(seconds: float) -> None:
        clock.advance(seconds)
        for zone in used:
            used[zone] += round(1e6 * WATTS * seconds)
            powercap.set(zone, used[zone])

    advance(0)
    meter = RaplMeter(node="n1", clock=clock, root=powercap.root)
    return Rig(meter, clock.now_us, advance, lambda: powercap.hide("intel-rapl:0"), lambda: advance(0))


def host(node: FakeNode, clock: HandClock, folder: Path) -> Rig:
    machine = Machine(folder, cpus=4)
    meter = HostModel(node="n1", clock=clock, idle_w=50, busy_w=150, proc=folder)

    def advance(seconds: float) -> None:
        clock.advance(seconds)
        machine.work(2 * seconds)  # half of four CPUs

    return Rig(meter, clock.now_us, advance, machine.hide, lambda: machine.work(0))


def simulated(node: FakeNode, clock: HandClock, folder: Path) -> Rig:
    runs = [RunProcess(pid=1, start_ticks=1, run=RunIdentity("r"), gpus=2, idle=False)]
    meter = SimulatedMeter(node="n1", gpus=2, clock=clock, runs=lambda: runs, busy_w=WATTS, idle_w=WATTS)
    return Rig(meter, clock.now_us, clock.advance)


@pytest.fixture(params=[nvml, amd, rapl, host, simulated], ids=lambda make: make.__name__)
def rig(request: pytest.FixtureRequest, node: FakeNode, clock: HandClock, tmp_path: Path) -> Iterator[Rig]:
    made: Rig = request.param(node, clock, tmp_path)
    yield made
    made.meter.close()


def test_each_device_is_read_once_in_order_and_only_those_that_are_asked_for(rig: Rig) -> None:
    uuids = [device.uuid for device in rig.meter.devices()]
    assert len(set(uuids)) == len(uuids) >= 1
    assert [reading.device_uuid for reading in rig.meter.read()] == uuids
    assert [reading.device_uuid for reading in rig.meter.read({uuids[-1]})] == [uuids[-1]]
    assert rig.meter.read(set()) == []
    assert set(rig.meter.processes()) <= set(uuids)
    assert rig.meter.source in get_args(Source)


def test_a_counter_gains_what_was_drawn_in_whole_millijoules(rig: Rig) -> None:
    before = rig.meter.read(exact=True)
    rig.advance(8)
    after = rig.meter.read(exact=True)
    for a, b in zip(before, after, strict=True):
        assert isinstance(a.counter_mj, int)
        assert isinstance(b.counter_mj, int)
        drawn_mj = WATTS * (b.mono_ns - a.mono_ns) / 1e6
        assert b.counter_mj - a.counter_mj == pytest.approx(drawn_mj, rel=0.03)


def test_a_device_that_does_not_answer_is_silent_takes_none_along_and_has_lost_nothing(rig: Rig) -> None:
    if rig.breaks is None or rig.mends is None:
        pytest.skip("a simulation does not break")
    rig.advance(1)
    (before, *_) = rig.meter.read()
    rig.breaks()
    first, *others = rig.meter.read()
    assert first.silent
    assert not any(reading.silent for reading in others)
    rig.mends()
    (after, *_) = rig.meter.read()
    assert after.counter_mj is not None
    assert before.counter_mj is not None
    assert after.counter_mj >= before.counter_mj


def test_closing_twice_is_allowed(rig: Rig) -> None:
    rig.meter.close()
    rig.meter.close()


def test_the_agent_makes_records_of_it_that_add_up_to_the_counter(rig: Rig) -> None:
    records: list[Record] = []
    agent = Agent(
        meter=rig.meter,
        identify=lambda pid: RunIdentity("r"),
        alive=lambda pid: True,
        emit=records.extend,
        stream=Stream("agent-1", "epoch-1"),
        life=lambda: Life("boot-1"),
        cadence=Cadence(),
        now_us=rig.now_us,
    )
    agent.tick()
    first = {reading.device_uuid: reading.counter_mj for reading in rig.meter.read()}
    for _ in range(10):
        rig.advance(1)
        agent.tick()
    last = {reading.device_uuid: reading.counter_mj for reading in rig.meter.read()}
    agent.close()
    for uuid, counter_mj in last.items():
        mine = [record for record in records if record.device_uuid == uuid]
        assert sum(record.energy_mj for record in mine) == (counter_mj or 0) - (first[uuid] or 0)
        modelled = rig.meter.source == "model"
        assert {(one.method, one.quality) for one in mine} == {
            ("model", "estimated") if modelled else ("counter", "measured")
        }
