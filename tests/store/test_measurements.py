"""Readings are stored once, in whatever order and however often they arrive; intensity is kept as it was said."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlmodel import select

from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.energy import Readings, RunShare
from kilowait_scheduler.store.repository import Store
from kilowait_scheduler.store.tables import ForecastRow, ReadingRow

from .sample import HOUR, T0, at_once, reading


def total(store: Store) -> int:
    return sum(region.energy_mj for region in store.region_energy())


def test_a_batch_sent_twice_is_stored_once(store: Store) -> None:
    batch = [reading(seq) for seq in (1, 2, 3)]
    assert store.add_readings(Readings.of(batch), at=T0) == ({"e1": 3}, [])
    assert store.add_readings(Readings.of(batch), at=T0) == ({"e1": 3}, [])
    assert total(store) == 3000
    assert store.job_energy_mj(["0a1", "0a2"]) == {"0a1": 2250}


def test_a_reading_over_a_period_s_edge_is_in_one_period(store: Store) -> None:
    store.add_readings(Readings.of([reading(seq) for seq in (1, 2, 3)]), at=T0)
    with store.reading() as session:
        rows = session.exec(select(ReadingRow)).all()
    edge = rows[1].start + (rows[1].end - rows[1].start) / 2
    before, after = store.region_energy(end=edge), store.region_energy(start=edge)
    assert sum(line.energy_mj for line in [*before, *after]) == total(store)


def test_what_arrives_out_of_order_counts_once_the_hole_is_filled(store: Store) -> None:
    assert store.add_readings(Readings.of([reading(3), reading(2)]), at=T0) == ({"e1": 0}, [])
    assert store.add_readings(Readings.of([reading(5)]), at=T0) == ({"e1": 0}, [])
    assert store.add_readings(Readings.of([reading(1)]), at=T0) == ({"e1": 3}, [])
    assert store.add_readings(Readings.of([reading(4), reading(3)]), at=T0) == ({"e1": 5}, [])
    assert total(store) == 5000


def test_a_hole_is_filled_however_much_came_after_it(store: Store) -> None:
    later = [reading(seq) for seq in range(2, 2502)]
    assert store.add_readings(Readings.of(later), at=T0) == ({"e1": 0}, [])
    assert store.add_readings(Readings.of([reading(1)]), at=T0) == ({"e1": 2501}, [])


def test_other_content_under_a_known_number_is_named_and_not_taken(store: Store) -> None:
    store.add_readings(Readings.of([reading(1), reading(2)]), at=T0)
    stored, conflicts = store.add_readings(Readings.of([reading(2, mj=9000), reading(3)]), at=T0)
    assert conflicts == [2]
    assert stored == {"e1": 3}
    assert total(store) == 3000


def test_each_epoch_and_agent_counts_for_itself(store: Store) -> None:
    batch = [reading(1), reading(1, epoch="e2"), reading(2, epoch="e2"), reading(7, epoch="e0")]
    assert store.add_readings(Readings.of(batch), at=T0) == ({"e1": 1, "e2": 2, "e0": 0}, [])
    assert store.add_readings(Readings.of([reading(2, agent="node-2")]), at=T0) == ({"e1": 0}, [])


def test_a_batch_that_arrives_twice_at_once_is_stored_once(store: Store) -> None:
    batch = [reading(seq, epoch=epoch) for epoch in ("e1", "e2") for seq in range(1, 21)]
    first = at_once(5, lambda _n: store.add_readings(Readings.of(batch[:15]), at=T0))
    assert {str(result) for result in first} == {str(({"e1": 15}, []))}
    results = at_once(5, lambda n: store.add_readings(Readings.of(batch if n % 2 else batch[::-1]), at=T0))
    assert {str(result) for result in results} == {str(({"e1": 20, "e2": 20}, []))}
    assert total(store) == 40_000


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=5, unique=True), max_size=6), st.integers(0, 2**32))
def test_any_sequence_of_batches_ends_in_what_was_sent(store: Store, batches: list[list[int]], salt: int) -> None:
    epoch = f"h{salt}-{abs(hash(str(batches)))}"
    sent: set[int] = set()
    before = total(store)
    for batch in batches:
        sent |= set(batch)
        stored, conflicts = store.add_readings(Readings.of([reading(seq, epoch=epoch) for seq in batch]), at=T0)
        through = next((n for n in range(9) if n + 1 not in sent), 8)
        assert (stored, conflicts) == ({epoch: through}, [])
    fresh = total(store) - before
    assert fresh in (0, 1000 * len(sent)), "0 where this example ran before"


def test_energy_is_exact_whatever_its_size(store: Store) -> None:
    store.add_readings(Readings.of([reading(1, mj=2**60), reading(2, mj=2**53 + 1)]), at=T0)
    shares = [r.shares[0].energy_mj for r in (reading(1, mj=2**60), reading(2, mj=2**53 + 1))]
    assert store.job_energy_mj(["0a1"]) == {"0a1": sum(shares)}
    first, second = store.job_energy("0a1")
    assert first == EnergyInterval(T0 + timedelta(seconds=10), T0 + timedelta(seconds=20), shares[0], "aa", 5.0)
    assert second.energy_mj == shares[1]
    assert store.energy_sources() == {"aa": {"simulated"}}


def test_the_energy_of_many_jobs_is_that_of_each_in_columns(store: Store) -> None:
    odd = [reading(seq)._replace(start=T0 + seq * timedelta(seconds=10, microseconds=1)) for seq in (1, 2)]
    others = [
        one._replace(region="bb", shares=(RunShare("kw-0a2-1", "0a2", 7),), digest="x")
        for one in (reading(3), reading(4))
    ]
    store.add_readings(Readings.of([*odd, *others]), at=T0)
    found = store.energy_of(["0a1", "0a2", "none"])
    assert found.keys() == {"0a1", "0a2"}
    for job_id, course in found.items():
        assert list(course) == store.job_energy(job_id)


def series(values: list[float], *, estimated: bool = False) -> IntensitySeries:
    slots = [Slot(T0 + i * HOUR, T0 + (i + 1) * HOUR, value, estimated) for i, value in enumerate(values)]
    return IntensitySeries(zone=Zone("DE"), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)


def test_a_later_word_on_realised_intensity_takes_the_place_of_the_first(store: Store) -> None:
    store.add_realised(series([100.0, 200.0], estimated=True), at=T0)
    store.add_realised(series([150.0]), at=T0)
    found = store.realised("DE", signal=AVERAGE_LIFECYCLE, start=T0, end=T0 + 2 * HOUR)
    assert found is not None
    assert [(slot.g_per_kwh, slot.estimated) for slot in found.slots] == [(150.0, False), (200.0, True)]
    assert store.realised("DE", signal=AVERAGE_DIRECT, start=T0, end=T0 + HOUR) is None
    assert store.realised("DE", signal=AVERAGE_LIFECYCLE, start=T0 + 2 * HOUR, end=T0 + 3 * HOUR) is None


@pytest.mark.parametrize("times", [1, 3])
def test_a_forecast_is_archived_once(store: Store, times: int) -> None:
    values = series([100.0])
    issued = Forecast(Zone("DE"), AVERAGE_LIFECYCLE, T0, T0, values, (Part(T0, "test"),))
    for _ in range(times):
        store.add_forecast(issued)
    with store.reading() as session:
        (row,) = session.exec(select(ForecastRow)).all()
        assert row.issued_at == T0
        assert row.body["p50"][0][2] == 100.0
