"""The AMD meter against a stand-in of AMD's module: what boards and their drivers are known to do wrong."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from fake_amdsmi import AmdBoard, FakeAmdSmi
from kilowait_agents.amd import AmdMeter, open_amd
from kilowait_agents.errors import Permanent
from kilowait_agents.integrate import Integrator, Limits
from kilowait_agents.meter import Process

from .conftest import HandClock


def opened(clock: HandClock, *boards: AmdBoard) -> tuple[AmdMeter, FakeAmdSmi]:
    fake = FakeAmdSmi(*boards, seconds=lambda: clock.ns / 1e9)
    return AmdMeter(amdsmi=fake, clock=clock), fake


def test_a_counter_that_stands_still_in_this_process_is_noticed_and_its_energy_is_an_estimate(
    clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    meter, fake = opened(clock, AmdBoard("a", watts=300, frozen_uj=5e6))
    integrator, found = Integrator(limits=Limits()), []
    for _ in range(200):
        found.append(integrator.push(meter.read()[0]))
        clock.advance(1)
    intervals = [one for one in found if one is not None]
    assert fake.openings == 2, "it moves again in the new session"
    assert "stand still under load" in caplog.text
    still = [one for one in intervals if one.quality == "estimated"]
    assert still
    assert all("stands still" in (one.note or "") for one in still)
    assert intervals[-1].quality == "measured"
    assert sum(one.energy_mj for one in intervals) == pytest.approx(300_000 * 199, rel=0.02)


def test_a_driver_that_goes_away_is_opened_anew_until_it_is_back(clock: HandClock) -> None:
    board = AmdBoard("a", watts=300)
    meter, fake = opened(clock, board)
    clock.advance(100)
    fake.unload()
    seen = []
    for second in range(400):
        if second == 150:
            fake.load()
        seen.append(meter.read()[0].silent)
        clock.advance(1)
    assert all(seen[:150])
    assert not any(seen[250:])


def test_the_second_half_of_a_board_counts_nothing_and_is_no_stall(clock: HandClock) -> None:
    meter, fake = opened(clock, AmdBoard("a", watts=500), AmdBoard("b", watts=0))
    for _ in range(120):
        first, second = meter.read()
        clock.advance(1)
    assert (first.counter_mj or 0) > 0
    assert second.counter_mj == 0
    assert fake.openings == 1


@pytest.mark.parametrize(
    ("board", "power_kind"),
    [
        (AmdBoard("a", power_name="socket_power"), "instant"),
        (AmdBoard("a", power_name="current_socket_power"), "instant"),
        (AmdBoard("a", power_name="average_socket_power", energy_name="power"), "average"),
    ],
)
def test_releases_that_name_things_otherwise_are_read_alike(clock: HandClock, board: AmdBoard, power_kind: str) -> None:
    meter, _ = opened(clock, board)
    clock.advance(10)
    (reading,) = meter.read()
    assert reading.counter_mj == pytest.approx(1_000_000, abs=1)
    assert (reading.power_mw, reading.power_kind) == (100_000, power_kind)


def test_a_guest_without_a_counter_is_measured_by_power(clock: HandClock) -> None:
    meter, _ = opened(clock, AmdBoard("a", counts=False, power_name="average_socket_power"))
    (reading,) = meter.read()
    assert (reading.counter_mj, reading.power_mw) == (None, 100_000)


def test_processes_are_those_with_memory_on_the_board_and_one_that_does_nothing_weighs_nothing(
    clock: HandClock,
) -> None:
    meter, _ = opened(
        clock,
        AmdBoard("a", pids={7: 1 << 30, 8: 0}),
        AmdBoard("b", pids={7: 1, 9: 1}, activity=80),
        AmdBoard("c", pids={7: 1}, activity="N/A"),
    )
    assert meter.processes() == {
        "AMD-a": [Process(pid=7, weight=0)],
        "AMD-b": [Process(pid=7), Process(pid=9)],
        "AMD-c": [Process(pid=7)],
    }


def test_a_node_without_amd_s_binding_is_told_so(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    with pytest.raises(Permanent, match="comes with ROCm"):
        open_amd(clock=clock)


def test_a_driver_that_is_not_there_is_told_so(clock: HandClock, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise FakeAmdSmi.AmdSmiException("no driver")

    monkeypatch.setitem(
        sys.modules, "amdsmi", SimpleNamespace(amdsmi_init=fails, AmdSmiException=FakeAmdSmi.AmdSmiException)
    )
    with pytest.raises(Permanent, match="no driver"):
        open_amd(clock=clock)
