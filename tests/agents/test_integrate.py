from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kilowait_agents.integrate import Integrator, Interval, Limits, integrate
from kilowait_agents.reading import Reading

Make = Callable[..., Reading]
LIMITS = Limits(power_limit_mw=700_000)


def run(readings: list[Reading], *, limits: Limits = LIMITS) -> list[Interval]:
    integrator = Integrator(limits=limits)
    closed = [integrator.push(one) for one in readings]
    return [interval for interval in [*closed, integrator.close()] if interval is not None]


def test_a_counter_difference_is_the_energy_whatever_power_says(reading: Make) -> None:
    first, last = reading(0, counter_mj=1000, power_mw=1), reading(1, counter_mj=401_000, power_mw=1)
    interval = integrate([first, last], limits=LIMITS)
    assert interval is not None
    assert (interval.energy_mj, interval.method, interval.quality) == (400_000, "counter", "measured")
    assert (interval.t0_us, interval.t1_us, interval.mono_dt_ns) == (first.t_us, last.t_us, 1_000_000_000)
    assert interval.counter_end_mj == 401_000


def test_energy_over_a_long_silence_is_recovered_in_full(reading: Make) -> None:
    silent = [reading(at_s) for at_s in range(1, 60)]
    closed = run([reading(0, counter_mj=0), *silent, reading(60, counter_mj=24_000_000)])
    assert [(one.energy_mj, one.quality) for one in closed] == [(24_000_000, "recovered")]


def test_what_a_counter_catches_up_after_a_gap_is_not_taken_for_the_energy_of_its_interval(reading: Make) -> None:
    closed = run([
        reading(0, counter_mj=1_000_000),  # of another life: its power is not known
        reading(10, counter_mj=1_000_000, power_mw=100_000),
        reading(11, counter_mj=2_100_000, power_mw=100_000),
        reading(12, counter_mj=2_200_000, power_mw=100_000),
    ])  # fmt: skip
    assert [(one.quality, one.energy_mj) for one in closed] == [
        ("gap", 0), ("recovered", 1_100_000), ("measured", 100_000)
    ]  # fmt: skip
    assert closed[1].note == "the energy counter moves again"


def test_a_counter_that_goes_on_where_it_stood_has_missed_a_part_of_its_interval(reading: Make) -> None:
    moving = [reading(at_s, counter_mj=100_000 * at_s, power_mw=100_000) for at_s in (0, 1)]
    still = [reading(at_s, counter_mj=100_000, power_mw=100_000) for at_s in range(2, 8)]
    again = [reading(8, counter_mj=110_000, power_mw=100_000), reading(9, counter_mj=210_000, power_mw=100_000)]
    closed = run([*moving, *still, *again])
    assert sum(one.energy_mj for one in closed) == 900_000
    assert (closed[-2].quality, closed[-2].energy_mj, closed[-2].uncertainty_pct) == ("estimated", 100_000, 30.0)


def test_a_counter_that_no_board_can_have_reached_is_taken_for_none(reading: Make) -> None:
    closed = run([
        reading(0, counter_mj=1_000),
        reading(1, counter_mj=2**64 - 1),
        reading(2, counter_mj=801_000),
    ])  # fmt: skip
    assert [(one.energy_mj, one.quality, one.counter_end_mj) for one in closed] == [(800_000, "measured", 801_000)]


def test_a_device_that_stays_silent_becomes_a_gap_and_starts_anew(reading: Make) -> None:
    closed = run([
        reading(0, counter_mj=5),
        reading(500),
        reading(901),
        reading(902),
        reading(910, counter_mj=9_000_000),
        reading(911, counter_mj=9_400_000),
    ])  # fmt: skip
    assert [(one.quality, one.energy_mj) for one in closed] == [("gap", 0), ("gap", 0), ("measured", 400_000)]
    assert [one.t1_us for one in closed[:-1]] == [one.t0_us for one in closed[1:]]
    assert closed[0].uncertainty_pct == 100


def test_a_counter_that_restarted_never_makes_energy_negative(reading: Make) -> None:
    closed = run([
        reading(0, counter_mj=5_000_000, power_mw=500_000),
        reading(1, counter_mj=200_000, power_mw=500_000),
        reading(2, counter_mj=700_000, power_mw=500_000),
    ])  # fmt: skip
    assert [(one.energy_mj, one.quality) for one in closed] == [(500_000, "estimated"), (500_000, "measured")]
    assert "restarted: 5000000 mJ before, 200000 mJ now" in (closed[0].note or "")


def test_a_restart_without_power_counts_what_is_certain_and_says_that_the_rest_is_not_known(reading: Make) -> None:
    (closed,) = run([reading(0, counter_mj=5_000_000), reading(1, counter_mj=200_000)])
    assert (closed.energy_mj, closed.quality, closed.uncertainty_pct) == (200_000, "estimated", 100)


def test_a_counter_that_fell_to_a_value_it_cannot_have_counted_is_not_believed(reading: Make) -> None:
    (closed,) = run([
        reading(0, counter_mj=90_000_000, power_mw=500_000),
        reading(1, counter_mj=80_000_000, power_mw=500_000),
    ])  # fmt: skip
    assert (closed.energy_mj, closed.method, closed.quality) == (500_000, "power_inst", "estimated")


def test_an_implausible_jump_is_replaced_by_power_and_both_raw_values_are_kept(reading: Make) -> None:
    (closed,) = run([
        reading(0, counter_mj=1000, power_mw=400_000),
        reading(1, counter_mj=50_001_000, power_mw=400_000),
    ])  # fmt: skip
    assert (closed.energy_mj, closed.quality) == (400_000, "estimated")
    assert closed.note == "implausible: the energy counter went from 1000 to 50001000 mJ"


def test_the_most_a_board_can_draw_is_plausible(reading: Make) -> None:
    (closed,) = run([reading(0, counter_mj=0), reading(1, counter_mj=900_000)])
    assert closed.quality == "measured"


def test_a_counter_that_has_not_ticked_yet_is_waited_for(reading: Make) -> None:
    closed = run([
        reading(0, counter_mj=0, power_mw=400_000),
        reading(0.05, counter_mj=0, power_mw=400_000),
        reading(0.1, counter_mj=40_000, power_mw=400_000),
    ])  # fmt: skip
    assert [(one.energy_mj, one.mono_dt_ns, one.quality) for one in closed] == [(40_000, 100_000_000, "measured")]


def test_a_stalled_counter_is_replaced_by_power(reading: Make) -> None:
    closed = run([reading(at_s, counter_mj=7, power_mw=400_000) for at_s in range(7)])
    assert sum(one.energy_mj for one in closed) == 6 * 400_000
    assert {(one.method, one.quality) for one in closed} == {("power_inst", "estimated")}


def test_a_counter_at_rest_on_an_idle_board_is_no_stall(reading: Make) -> None:
    closed = run([reading(at_s, counter_mj=7, power_mw=300) for at_s in range(5)])
    assert {(one.energy_mj, one.quality) for one in closed} == {(0, "measured")}


def test_a_stalled_counter_that_catches_up_is_not_counted_twice(reading: Make) -> None:
    stalled = [reading(at_s, counter_mj=1_000_000, power_mw=100_000) for at_s in range(10)]
    closed = run([*stalled, reading(10, counter_mj=2_000_000, power_mw=100_000)])
    assert sum(one.energy_mj for one in closed) == 1_000_000
    assert closed[-1].note == "the energy counter moves again"


def test_a_stalled_counter_that_goes_on_where_it_stopped_loses_nothing(reading: Make) -> None:
    stalled = [reading(at_s, counter_mj=1_000_000, power_mw=100_000) for at_s in range(10)]
    closed = run([*stalled, reading(10, counter_mj=1_100_000, power_mw=100_000)])
    assert sum(one.energy_mj for one in closed) == pytest.approx(1_000_000, rel=0.001)


def test_a_board_without_a_counter_is_measured_by_average_power(reading: Make) -> None:
    closed = run([reading(at_s, power_mw=100_000 * at_s, power_kind="average") for at_s in range(4)])
    assert [one.energy_mj for one in closed] == [50_000, 150_000, 250_000]
    assert {(one.method, one.quality) for one in closed} == {("power_avg", "measured")}


def test_instantaneous_power_is_only_an_estimate_and_less_certain(reading: Make) -> None:
    (closed,) = run([reading(0, power_mw=100_000), reading(1, power_mw=100_000)])
    assert (closed.method, closed.quality) == ("power_inst", "estimated")
    assert closed.uncertainty_pct > 20


def test_power_is_never_drawn_as_a_line_over_a_long_silence(reading: Make) -> None:
    (closed,) = run([reading(0, power_mw=400_000), reading(11, power_mw=400_000)])
    assert (closed.quality, closed.energy_mj) == ("gap", 0)


def test_a_counter_that_fails_for_a_moment_loses_nothing(reading: Make) -> None:
    closed = run([
        reading(0, counter_mj=0, power_mw=400_000),
        reading(1, power_mw=9_000),
        reading(2, counter_mj=800_000, power_mw=400_000),
    ])  # fmt: skip
    assert [(one.energy_mj, one.method, one.quality) for one in closed] == [(800_000, "counter", "measured")]


def test_a_counter_that_fails_for_long_is_replaced_by_power(reading: Make) -> None:
    closed = run([reading(0, counter_mj=0, power_mw=400_000), *(reading(s, power_mw=400_000) for s in range(1, 15))])
    assert sum(one.energy_mj for one in closed) == 14 * 400_000
    assert {one.quality for one in closed} <= {"estimated", "measured"}


def test_readings_that_do_not_advance_are_dropped(reading: Make) -> None:
    integrator = Integrator(limits=LIMITS)
    assert integrator.push(reading(1, counter_mj=0)) is None
    assert integrator.push(reading(1, counter_mj=10)) is None
    assert integrator.push(reading(0.5, counter_mj=10)) is None
    closed = integrator.push(reading(2, counter_mj=100_000))
    assert closed is not None
    assert closed.energy_mj == 100_000


def test_the_end_of_the_process_settles_what_was_held(reading: Make) -> None:
    integrator = Integrator(limits=LIMITS)
    integrator.push(reading(0, counter_mj=0, power_mw=400_000))
    integrator.push(reading(0.05, counter_mj=0, power_mw=400_000))
    closed = integrator.close()
    assert closed is not None
    assert (closed.energy_mj, closed.quality) == (0, "measured")
    assert integrator.close() is None


def test_patience_scales_with_the_speed_of_the_clock() -> None:
    fast = LIMITS.at_speed(3600)
    assert fast.max_gap_ns == 3600 * LIMITS.max_gap_ns
    assert fast.plausible_mj(3600 * 10**9) == 3600 * LIMITS.plausible_mj(10**9)


steps = st.lists(
    st.tuples(
        st.floats(min_value=0.001, max_value=400),
        st.integers(min_value=0, max_value=700_000),
        st.sampled_from(["both", "counter", "silent"]),
    ),
    min_size=1,
    max_size=40,
)


@given(steps)
def test_intervals_adjoin_and_their_energy_is_last_counter_less_first(
    reading: Make, course: list[tuple[float, int, str]]
) -> None:
    at_s, counter_mj = 0.0, 10_000
    readings = [reading(0, counter_mj=counter_mj)]
    for seconds, power_mw, answers in course:
        at_s += seconds
        counter_mj += int(power_mw * seconds)
        if answers == "silent" and seconds < 20:
            readings.append(reading(at_s))
        else:
            readings.append(reading(at_s, counter_mj=counter_mj, power_mw=None))
    readings.append(reading(at_s + 1, counter_mj=counter_mj))
    closed = run(readings)
    assert closed[0].t0_us == readings[0].t_us
    assert closed[-1].t1_us == readings[-1].t_us
    assert all(a.t1_us == b.t0_us for a, b in pairwise(closed))
    assert sum(one.energy_mj for one in closed) == counter_mj - 10_000


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0.01, max_value=2000),
            st.none() | st.integers(min_value=0, max_value=10**12),
            st.none() | st.integers(min_value=0, max_value=10**6),
            st.sampled_from(["average", "instant"]),
        ),
        min_size=1,
        max_size=40,
    )
)
@example([(1.0, 0, None, "average"), (1.0, 0, None, "average"), (1.0, 1_560_001, None, "average")])
def test_whatever_a_driver_says_intervals_adjoin_and_energy_is_plausible(reading: Make, course: list) -> None:  # type: ignore[type-arg]
    at_s = 0.0
    readings = []
    for seconds, counter_mj, power_mw, kind in course:
        at_s += seconds
        readings.append(reading(at_s, counter_mj=counter_mj, power_mw=power_mw, power_kind=kind))
    closed = run(readings, limits=Limits(power_limit_mw=10**6))
    still_ns, stood_at_mj = 0, readings[0].counter_mj
    for interval in closed:
        assert interval.t0_us < interval.t1_us
        # It may hold what a counter caught up with that had stood still before.
        assert 0 <= interval.energy_mj <= Limits(power_limit_mw=10**6).plausible_mj(interval.mono_dt_ns + still_ns)
        still_ns = still_ns + interval.mono_dt_ns if interval.counter_end_mj == stood_at_mj else 0
        stood_at_mj = interval.counter_end_mj
        assert interval.quality != "gap" or interval.energy_mj == 0
    assert all(a.t1_us == b.t0_us for a, b in pairwise(closed))
    if len(readings) > 1:
        assert (closed[0].t0_us, closed[-1].t1_us) == (readings[0].t_us, readings[-1].t_us)
