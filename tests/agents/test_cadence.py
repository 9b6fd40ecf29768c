from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import pytest

from kilowait_agents.cadence import affordable
from kilowait_agents.idle import IdlePower
from kilowait_agents.meter import Device, Process
from kilowait_agents.reading import Reading
from kilowait_agents.wire import Source


class Costly:
    """A meter whose calls take CPU, as told by a clock that the test turns."""

    source: Source = "nvml"

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, read_s: float, look_s: float) -> None:
        self.cpu_s, self.read_s, self.look_s = 0.0, read_s, look_s
        monkeypatch.setattr(time, "thread_time", lambda: self.cpu_s)

    def devices(self) -> Sequence[Device]:
        return []

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        self.cpu_s += self.read_s
        return []

    def processes(self) -> Mapping[str, Sequence[Process]]:
        self.cpu_s += self.look_s
        return {}

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("read_s", "look_s", "interval_s", "looks_s"),
    [
        (0.0001, 0.00001, 1.0, 1.0),  # a driver that costs nothing
        (0.0040, 0.00020, 10.0, 1.0),  # one board of an H200
        (0.0320, 0.00160, 30.0, 5.0),  # eight of them
    ],
)
def test_a_driver_is_asked_as_rarely_as_its_cost_demands(
    monkeypatch: pytest.MonkeyPatch, read_s: float, look_s: float, interval_s: float, looks_s: float
) -> None:
    cadence = affordable(Costly(monkeypatch, read_s=read_s, look_s=look_s), flush_s=5, speed=1)
    assert (cadence.interval_s, cadence.look_s) == (interval_s, looks_s)
    assert cadence.flush_s == max(5, interval_s)


def test_idle_power_is_a_low_percentile_of_the_last_day() -> None:
    idle = IdlePower()
    assert idle.mw is None
    minute_us, at_us = 60_000_000, 0
    for number in range(100):
        at_us += minute_us
        watts = 300 if number % 2 else 80 + number // 10  # half of them with clocks still up after a job
        idle.see(at_us=at_us, energy_mj=watts * 1000 * 10, length_ns=10_000_000_000)
    assert idle.mw == 81_000
    idle.see(at_us=at_us + 1, energy_mj=1, length_ns=10_000_000_000)
    assert idle.mw == 81_000, "one observation a minute"
    idle.see(at_us=at_us + 2 * 86_400_000_000, energy_mj=95_000, length_ns=1_000_000_000)
    assert idle.mw == 95_000, "what is older than a day is forgotten"
