from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.anchors import Anchor, Resume
from kilowait_agents.attribute import Holder, RunIdentity
from kilowait_agents.integrate import Limits
from kilowait_agents.life import Life
from kilowait_agents.reading import Reading
from kilowait_agents.stream import DeviceStream, Span

from .conftest import START_US

Make = Callable[..., Reading]
A, B = (Holder(RunIdentity("a")),), (Holder(RunIdentity("b")),)


def stream(*, merge_s: float = 5.0) -> DeviceStream:
    return DeviceStream(limits=Limits(), merge_us=round(merge_s * 1e6), life=Life("b"))


def test_seconds_of_the_same_owners_become_one_span_per_flush(reading: Make) -> None:
    device = stream()
    closed: list[Span] = []
    for at_s in range(11):
        closed += device.push(reading(at_s, counter_mj=1000 * at_s), A)
    closed += device.close()
    assert [(span.interval.mono_dt_ns // 10**9, span.interval.energy_mj) for span in closed] == [(5, 5000), (5, 5000)]
    assert [span.interval.counter_end_mj for span in closed] == [5000, 10_000]


def test_a_change_of_owners_closes_the_span_at_once(reading: Make) -> None:
    device = stream()
    device.push(reading(0, counter_mj=0), A)
    device.push(reading(1, counter_mj=10), A)
    (span,) = device.push(reading(2, counter_mj=30), B)
    assert (span.holders, span.interval.energy_mj) == (A, 30)
    (rest,) = [*device.push(reading(3, counter_mj=70), B), *device.close()]
    assert (rest.holders, rest.interval.energy_mj) == (B, 40)


def test_energy_over_a_silence_is_divided_among_its_owners_by_time(reading: Make) -> None:
    device = stream()
    device.push(reading(0, counter_mj=0), A)
    device.push(reading(1), B)
    device.push(reading(2), B)
    device.push(reading(3), ())
    closed = [*device.push(reading(4, counter_mj=1001), ()), *device.close()]
    assert [(span.holders, span.interval.energy_mj) for span in closed] == [(A, 250), (B, 501), ((), 250)]
    assert [span.interval.counter_end_mj for span in closed] == [None, None, 1001]
    assert [span.interval.t1_us for span in closed[:-1]] == [span.interval.t0_us for span in closed[1:]]


def test_owners_that_change_twice_in_one_moment_leave_no_span_without_length(reading: Make) -> None:
    device = stream()
    device.push(reading(0, counter_mj=0), ())
    device.push(reading(1), A)
    device.push(reading(1), B)
    closed = [*device.push(reading(2, counter_mj=100), B), *device.close()]
    assert [(span.holders, span.interval.energy_mj) for span in closed] == [((), 50), (B, 50)]


def test_spans_of_different_quality_are_not_mixed(reading: Make) -> None:
    device = stream()
    device.push(reading(0, counter_mj=1000, power_mw=400), A)
    closed = device.push(reading(1, counter_mj=1400, power_mw=400), A)
    closed += device.push(reading(2, counter_mj=0, power_mw=400), A)
    closed += device.close()
    assert [span.interval.quality for span in closed] == ["measured", "estimated"]


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0.01, max_value=30),
            st.none() | st.integers(min_value=0, max_value=10**5),
            st.sampled_from([A, B, (), None]),
            st.booleans(),
        ),
        min_size=2,
        max_size=30,
    )
)
def test_cutting_and_merging_conserve_energy_and_leave_no_hole(reading: Make, course: list) -> None:  # type: ignore[type-arg]
    device = stream()
    closed: list[Span] = []
    at_s, counter_mj = 0.0, 0
    closed += device.push(reading(0, counter_mj=0), ())
    for seconds, gained_mj, holders, flush in course:
        at_s += seconds
        counter_mj += gained_mj or 0
        closed += device.push(reading(at_s, counter_mj=None if gained_mj is None else counter_mj), holders)
        if flush:
            closed += device.flush()
    closed += device.push(reading(at_s + 1, counter_mj=counter_mj), ())
    closed += device.close()
    assert sum(span.interval.energy_mj for span in closed) == counter_mj
    assert sum(span.interval.mono_dt_ns for span in closed) == round((at_s + 1) * 1e9)
    assert all(a.interval.t1_us == b.interval.t0_us for a, b in pairwise(closed))
    assert all(span.interval.t0_us < span.interval.t1_us for span in closed)


def test_a_wall_clock_set_back_while_the_agent_was_away_costs_no_joule(reading: Make) -> None:
    """Ten minutes at 500 W, after which the wall clock says that no time has passed."""
    anchor = Anchor("GPU-0", "x", "gpu", "b", START_US, 1_000_000, 0, ())
    device = DeviceStream(limits=Limits(), merge_us=5_000_000, resume=Resume(anchor), life=Life("b"))
    back = reading(0.2, counter_mj=1_000_000 + 300_000_000)
    back = back._replace(mono_ns=back.mono_ns + 10**15)
    (span,) = [*device.push(back, ()), *device.close()]
    assert (span.interval.quality, span.interval.energy_mj) == ("recovered", 300_000_000)
