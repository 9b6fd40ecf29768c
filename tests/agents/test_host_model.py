"""The model of a machine without its GPUs, on a /proc of the test's own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from kilowait_agents.errors import Permanent
from kilowait_agents.host_model import HostModel
from kilowait_agents.integrate import Limits, integrate

from .conftest import HandClock


class Machine:
    """A /proc whose CPUs have worked for as long as it is told."""

    def __init__(self, root: Path, *, cpus: int, memory_kb: int = 16_000_000) -> None:
        self._stat = root / "stat"
        self._cpus = cpus
        self._ticks = 1000
        (root / "meminfo").write_text(f"MemTotal:       {memory_kb} kB\nMemFree: 1 kB\n")
        self.work(0)

    def work(self, cpu_seconds: float) -> None:
        self._ticks += round(cpu_seconds * os.sysconf("SC_CLK_TCK"))
        lines = [
            f"cpu  {self._ticks} 0 0 99999 7 0 0 0 0 0",
            *(f"cpu{i} 1 0 0 1 0 0 0 0 0 0" for i in range(self._cpus)),
        ]
        self._stat.write_text("\n".join([*lines, "intr 5", ""]))

    def hide(self) -> None:
        self._stat.unlink()


def test_power_goes_with_the_work_of_the_cpus_and_is_called_a_model(tmp_path: Path, clock: HandClock) -> None:
    machine = Machine(tmp_path, cpus=8)
    model = HostModel(node="n1", clock=clock, idle_w=100, busy_w=300, proc=tmp_path)
    (first,) = model.read()
    clock.advance(60)
    machine.work(8 * 15)
    (second,) = model.read()
    interval = integrate([first, second], limits=Limits(max_gap_ns=10**12))
    assert interval is not None
    assert interval.energy_mj == 60 * 100_000 + 15 * 200_000
    assert (interval.method, interval.quality, interval.uncertainty_pct) == ("model", "estimated", 50.0)
    assert "modelled" in interval.device_name
    assert (model.source, first.scope) == ("model", "host")


def test_without_numbers_it_takes_means_of_servers_by_cpus_and_memory(tmp_path: Path, clock: HandClock) -> None:
    Machine(tmp_path, cpus=100, memory_kb=100_000_000)
    (device,) = HostModel(node="n1", clock=clock, proc=tmp_path).devices()
    assert device.limit_mw == pytest.approx(1000 * (350 + 39.2))


def test_a_kernel_that_does_not_tell_is_no_machine_to_model(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(Permanent, match="how busy"):
        HostModel(node="n1", clock=clock, proc=tmp_path)
