from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.clock import CompressedClock, WallClock
from kilowait_agents.compressed import CompressedMeter
from kilowait_agents.errors import Refused
from kilowait_agents.simulated import SimulatedMeter

from .conftest import START_US, HandClock


class Hands:
    """The system's clocks, moved by hand (ns)."""

    def __init__(self) -> None:
        self.wall = START_US * 1000
        self.mono = 10**9

    def advance(self, seconds: float, *, step_s: float = 0.0) -> None:
        self.mono += round(seconds * 1e9)
        self.wall += round((seconds + step_s) * 1e9)

    def clock(self) -> WallClock:
        return WallClock(wall_ns=lambda: self.wall, mono_ns=lambda: self.mono)


def test_the_wall_clock_follows_the_system() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.advance(12.5)
    assert clock.now_us() == START_US + 12_500_000


def test_after_a_step_back_time_runs_at_half_speed_until_the_system_has_caught_up() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.advance(1, step_s=-100)
    assert clock.now_us() == START_US + 500_000
    for _ in range(250):
        hands.advance(1)
        clock.now_us()
    assert clock.now_us() * 1000 == hands.wall


def test_a_step_forward_is_followed_at_once() -> None:
    hands = Hands()
    clock = hands.clock()
    hands.advance(1, step_s=3600)
    assert clock.now_us() == START_US + 3_601_000_000


@given(st.lists(st.tuples(st.floats(0.001, 100), st.floats(-5000, 5000)), max_size=50))
def test_however_the_system_steps_our_time_advances(steps: list[tuple[float, float]]) -> None:
    hands = Hands()
    clock = hands.clock()
    before = clock.now_us()
    for seconds, step_s in steps:
        hands.advance(seconds, step_s=step_s)
        assert clock.now_us() > before
        before = clock.now_us()


def test_grid_time_runs_at_its_speed_from_its_origin() -> None:
    wall = HandClock()
    grid = CompressedClock(wall=wall, origin_wall_us=START_US, origin_grid_us=7_000_000, speed=3600)
    wall.advance(2)
    assert grid.now_us() == 7_000_000 + 7_200_000_000
    assert grid.mono_ns() == 3600 * wall.mono_ns()


def test_a_clock_that_stands_still_or_runs_backwards_is_refused() -> None:
    for speed in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(Refused, match="clock speed"):
            CompressedClock(wall=HandClock(), origin_wall_us=0, origin_grid_us=0, speed=speed)


@given(st.sampled_from([1.5, 60.0, 3600.0]), st.floats(0.1, 30))
def test_a_compressed_second_at_400_w_counts_as_speed_seconds_at_400_w(speed: float, seconds: float) -> None:
    wall = HandClock()
    real = SimulatedMeter(node="n", gpus=1, clock=wall, runs=list, idle_w=400, busy_w=400)
    grid = CompressedClock(wall=wall, origin_wall_us=START_US, origin_grid_us=0, speed=speed)
    meter = CompressedMeter(meter=real, clock=grid)
    (first,) = meter.read()
    wall.advance(seconds)
    (last,) = meter.read()
    assert last.counter_mj is not None
    assert first.counter_mj is not None
    grid_s = (last.mono_ns - first.mono_ns) / 1e9
    assert grid_s == pytest.approx(seconds * speed, rel=1e-6)
    assert (last.t_us - first.t_us) / 1e6 == pytest.approx(seconds * speed, abs=1e-5 * speed)
    assert (last.counter_mj - first.counter_mj) / 1000 / grid_s == pytest.approx(400, rel=0.021)
    assert last.power_mw == pytest.approx(400_000, rel=0.021)
    assert meter.source == "simulated"
