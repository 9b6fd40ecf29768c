"""RAPL against a tree of files like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest

from kilowait_agents.errors import Permanent
from kilowait_agents.rapl import RaplMeter

from .conftest import HandClock

RANGE_UJ = 262_143_328_850


class Powercap:
    """A /sys/class/powercap with two packages, their cores, and the platform's zone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zone("intel-rapl:0", "package-0", 1_000_000)
        self.zone("intel-rapl:0:0", "core", 500_000)
        self.zone("intel-rapl:1", "package-1", RANGE_UJ - 2_000_000)
        self.zone("intel-rapl:2", "psys", 9_000_000)

    def zone(self, folder: str, name: str, uj: int) -> None:
        path = self.root / folder
        path.mkdir()
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (path / "energy_uj").write_text(f"{uj}\n")

    def set(self, folder: str, uj: int) -> None:
        (self.root / folder / "energy_uj").write_text(f"{uj}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path)


def opened(powercap: Powercap, clock: HandClock) -> RaplMeter:
    return RaplMeter(node="n1", clock=clock, root=powercap.root)


def test_packages_are_counted_and_neither_their_parts_nor_the_platform(powercap: Powercap, clock: HandClock) -> None:
    meter = opened(powercap, clock)
    assert [device.uuid for device in meter.devices()] == ["CPU-n1-package-0", "CPU-n1-package-1"]
    powercap.set("intel-rapl:0", 4_500_000)
    first, second = meter.read()
    assert (first.counter_mj, first.scope, second.counter_mj) == (3500, "cpu", 0)
    assert meter.source == "rapl"
    assert meter.processes() == {}, "whose energy it was is not known, and so not called idle"


def test_a_counter_that_wraps_goes_on(powercap: Powercap, clock: HandClock) -> None:
    meter = opened(powercap, clock)
    powercap.set("intel-rapl:1", 1_000_000)
    assert meter.read()[1].counter_mj == 3000
    powercap.set("intel-rapl:1", RANGE_UJ - 1)
    powercap.set("intel-rapl:1", 0)
    assert meter.read()[1].counter_mj == 3000 + (RANGE_UJ - 1_000_000) // 1000


def test_a_zone_that_cannot_be_read_is_silent_and_comes_back(
    powercap: Powercap, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    meter = opened(powercap, clock)
    (powercap.root / "intel-rapl:0" / "energy_uj").unlink()
    assert [reading.silent for reading in (*meter.read(), *meter.read())] == [True, False, True, False]
    assert len(caplog.records) == 1
    powercap.set("intel-rapl:0", 3_000_000)
    assert meter.read()[0].counter_mj == 2000


@pytest.mark.parametrize(("missing", "says"), [("energy_uj", "root only"), ("max_energy_range_uj", "cannot be read")])
def test_without_counter_or_range_a_package_is_not_read(
    tmp_path: Path, clock: HandClock, missing: str, says: str
) -> None:
    powercap = Powercap(tmp_path)
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        (tmp_path / zone / missing).unlink()
    with pytest.raises(Permanent, match=says):
        opened(powercap, clock)


def test_a_machine_without_rapl_says_so(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(Permanent, match="no intel-rapl zones"):
        RaplMeter(node="n1", clock=clock, root=tmp_path)
