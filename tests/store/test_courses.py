"""What ended jobs drew is kept ready and thrown away once it no longer holds; sums of hours follow readings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import col, select

from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.energy import Readings, RegionEnergy, RunShare
from kilowait_scheduler.core.events import Ticked
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.store.courses import packed, unpacked
from kilowait_scheduler.store.engine import migrate, migration_config, open_engine
from kilowait_scheduler.store.repository import Store
from kilowait_scheduler.store.tables import EnergyHourRow

from .sample import HOUR, T0, at_once, reading, record

MINUTE = timedelta(minutes=1)


def ended(store: Store, job_id: str, *, at: datetime = T0 + HOUR) -> None:
    job = record(job_id)
    store.add_job(job)
    state = job.state.model_copy(update={"phase": Phase.SUCCEEDED, "finished_at": at})
    store.change_job(job, state, Ticked(at=at))


def keep(store: Store, *job_ids: str) -> None:
    for job_id in job_ids:
        store.keep_course(job_id, lambda course: course)


def waiting(store: Store) -> list[str]:
    return [one.id for one in store.without_course(finished_before=T0 + 2 * HOUR, after="", limit=100)]


@given(
    st.lists(
        st.builds(
            EnergyInterval,
            st.datetimes(datetime(2026, 1, 1), datetime(2026, 6, 1), timezones=st.just(UTC)),
            st.datetimes(datetime(2026, 6, 2), datetime(2027, 1, 1), timezones=st.just(UTC)),
            st.integers(0, 2**62),
            st.sampled_from(("aa", "zürich")),
            st.floats(0, 100),
            st.booleans(),
        ),
        max_size=5,
    )
)
def test_a_course_is_unpacked_as_it_was_packed(rows: list[EnergyInterval]) -> None:
    assert list(unpacked(packed(Course.of(rows)))) == rows


def test_jobs_that_ended_wait_for_their_course_to_be_kept(store: Store) -> None:
    for job_id in ("0a1", "0a2"):
        ended(store, job_id)
    ended(store, "0a3", at=T0 + 3 * HOUR)
    store.add_job(record("0a4"))
    store.add_readings(Readings.of([reading(1), reading(2)]), at=T0)
    assert waiting(store) == ["0a1", "0a2"]
    assert [one.id for one in store.without_course(finished_before=T0 + 2 * HOUR, after="0a1", limit=9)] == ["0a2"]
    keep(store, "0a1", "0a2")
    assert waiting(store) == []
    kept = store.kept_courses(["0a1", "0a2", "0a3"])
    assert list(kept["0a1"]) == store.job_energy("0a1")
    assert len(kept["0a2"]) == 0
    assert "0a3" not in kept


def test_a_reading_that_comes_later_makes_the_course_be_read_anew(store: Store) -> None:
    for job_id in ("0a1", "0a2"):
        ended(store, job_id)
    store.add_readings(Readings.of([reading(1)]), at=T0)
    keep(store, "0a1", "0a2")
    store.add_readings(Readings.of([reading(1)]), at=T0)
    assert waiting(store) == [], "what is stored already changes nothing"
    store.add_readings(Readings.of([reading(2)]), at=T0)
    assert waiting(store) == ["0a1"]
    assert store.kept_courses(["0a1"]) == {}


def test_readings_that_come_while_courses_are_kept_are_in_what_reports_read(store: Store) -> None:
    ended(store, "0a1")

    def work(number: int) -> None:
        if number % 2:
            keep(store, "0a1")
        else:
            some = [reading(seq, epoch=f"e{number}") for seq in range(1, 6)]
            store.add_readings(Readings.of(some), at=T0)

    for _ in range(5):
        assert [one for one in at_once(6, work) if one is not None] == []
        kept = store.kept_courses(["0a1"])
        if kept:
            assert sum(one.energy_mj for one in kept["0a1"]) == store.job_energy_mj(["0a1"])["0a1"]


def test_a_course_is_not_kept_if_a_reading_comes_while_it_is_made_and_nobody_waits_for_it(store: Store) -> None:
    ended(store, "0a1")
    store.add_readings(Readings.of([reading(1)]), at=T0)

    def make(course: Course) -> Course:
        store.add_readings(Readings.of([reading(2)]), at=T0)
        return course

    store.keep_course("0a1", make)
    assert store.kept_courses(["0a1"]) == {}
    keep(store, "0a1")
    assert list(store.kept_courses(["0a1"])["0a1"]) == store.job_energy("0a1")


def test_batches_of_several_epochs_and_whoever_keeps_their_jobs_courses_never_wait_for_each_other(store: Store) -> None:
    jobs = ("0a1", "0a2")
    for job_id in jobs:
        ended(store, job_id)

    def work(number: int) -> None:
        for step in range(30):
            if number % 2:
                keep(store, *jobs)
                continue
            order = jobs if number else jobs[::-1]
            some = [
                reading(20 * step + seq, epoch=f"{at}", agent=f"node-{number}")._replace(
                    shares=(RunShare(f"kw-{job_id}-1", job_id, 750),)
                )
                for at, job_id in enumerate(order)
                for seq in range(1, 21)
            ]
            store.add_readings(Readings.of(some), at=T0)

    assert [one for one in at_once(4, work) if one is not None] == []
    for job_id, course in store.kept_courses(jobs).items():
        assert sum(one.energy_mj for one in course) == store.job_energy_mj(jobs)[job_id]


def test_two_who_keep_one_job_s_course_keep_it_once(store: Store) -> None:
    ended(store, "0a1")
    store.add_readings(Readings.of([reading(1)]), at=T0)
    assert [one for one in at_once(4, lambda _: keep(store, "0a1")) if one is not None] == []
    assert list(store.kept_courses(["0a1"])["0a1"]) == store.job_energy("0a1")


@pytest.mark.parametrize(
    ("start", "end"),
    [
        (None, None),
        (T0, None),
        (None, T0 + 90 * MINUTE),
        (T0 + 20 * MINUTE, T0 + 40 * MINUTE),
        (T0 + 20 * MINUTE, T0 + 200 * MINUTE),
        (T0.replace(minute=0, second=0, microsecond=0), T0.replace(minute=0, second=0, microsecond=0) + 2 * HOUR),
    ],
)
def test_the_energy_of_a_region_is_that_of_readings_that_begin_in_the_period(
    store: Store, start: datetime | None, end: datetime | None
) -> None:
    some = [reading(seq)._replace(start=T0 + seq * 7 * MINUTE, end=T0 + (seq + 1) * 7 * MINUTE) for seq in range(1, 40)]
    store.add_readings(Readings.of(some[20:]), at=T0)
    store.add_readings(Readings.of(some), at=T0)
    store.add_readings(Readings.of([one._replace(agent_id="node-2", region="bb") for one in some[:3]]), at=T0)
    mine = [one for one in some if (start or one.start) <= one.start and (end is None or one.start < end)]
    theirs = [one for one in mine if one in some[:3]]
    assert store.region_energy(start=start, end=end) == [
        RegionEnergy(region, 1000 * len(rows), 250 * len(rows), 0)
        for region, rows in (("aa", mine), ("bb", theirs))
        if rows
    ]


def test_sums_of_hours_are_made_of_what_an_earlier_release_had(empty_url: str) -> None:
    engine = open_engine(empty_url)
    try:
        migrate(engine)
        store = Store(engine)
        some = [
            reading(seq)._replace(start=T0 + seq * 7 * MINUTE, end=T0 + (seq + 1) * 7 * MINUTE) for seq in range(40)
        ]
        store.add_readings(Readings.of([one._replace(seq=one.seq + 1) for one in some]), at=T0)
        before = sums(store)
        command.downgrade(migration_config(engine), "0007")
        migrate(engine)
        assert sums(store) == before
        assert len(before) == 5
    finally:
        engine.dispose()


def sums(store: Store) -> list[tuple[object, ...]]:
    with store.reading() as session:
        rows = session.exec(select(EnergyHourRow).order_by(col(EnergyHourRow.start))).all()
        return [(r.stream_id, r.start, r.region, r.source, r.energy_mj, r.idle_mj, r.unattributed_mj) for r in rows]
