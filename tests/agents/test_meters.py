"""Which meter a node gets: what is asked for, or what is there, and never a simulation beside a real board."""

from __future__ import annotations

import sys

import pytest

from fake_amdsmi import AmdBoard, FakeAmdSmi
from fake_nvml import LOST, FakeNode
from kilowait_agents.clock import WallClock
from kilowait_agents.errors import Refused
from kilowait_agents.meter import Meter
from kilowait_agents.meters import open_meter
from kilowait_agents.owners import Owners
from kilowait_agents.settings import parse_settings


def opened(*words: str) -> Meter:
    settings = parse_settings(["--sink", "records.jsonl", "--node", "n1", *words], {})
    return open_meter(settings, owners=Owners(), clock=WallClock())


def test_a_node_whose_only_board_cannot_be_opened_now_is_not_simulated(node: FakeNode) -> None:
    node.gpu().const(0, 100, 100).fault(0, 50, "all", LOST)
    node.write()
    node.pynvml()
    for words in ((), ("--meter", "nvml")):
        meter = opened(*words)
        assert (meter.source, list(meter.devices())) == ("nvml", [])


def test_without_nvidia_s_boards_amd_s_are_taken_and_without_those_a_simulation(
    node: FakeNode, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    node.pynvml()  # without a driver
    monkeypatch.setitem(sys.modules, "amdsmi", FakeAmdSmi(AmdBoard("a"), seconds=lambda: 0.0))
    assert opened().source == "amdsmi"
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    caplog.set_level("INFO")
    assert opened().source == "simulated"
    assert "no real energy is measured" in caplog.text
    assert "the NVIDIA driver is not loaded" in caplog.text
    assert "ROCm" in caplog.text


def test_a_meter_that_was_asked_for_and_is_not_there_is_refused(node: FakeNode) -> None:
    node.pynvml()
    with pytest.raises(Refused, match="--meter nvml cannot be had: the NVIDIA driver is not loaded"):
        opened("--meter", "nvml")


def test_the_model_of_the_host_takes_its_watts_from_the_settings() -> None:
    (device,) = opened("--meter", "host", "--host-idle-w", "120", "--host-busy-w", "400").devices()
    assert device.limit_mw == 400_000
    with pytest.raises(Refused, match="is no power"):
        opened("--meter", "host", "--host-idle-w", "-1")
