"""Jobs in the database: one live run, one writer at a time, one job per key, whatever races."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy.exc import IntegrityError, StatementError

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.errors import Conflict, NotFound
from kilowait_scheduler.core.lifecycle import Policy, handle
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import LIVE, JobState, Phase, RunPhase
from kilowait_scheduler.service.book import Book
from kilowait_scheduler.store.repository import Store
from kilowait_scheduler.store.tables import JobRow, RunRow

from .sample import HOUR, T0, at_once, record, with_runs

TICK = ev.Ticked(at=T0)


def live_row(n: int, phase: RunPhase, job_id: str = "0a1") -> RunRow:
    return RunRow(submission_id=f"kw-{job_id}-{n}", job_id=job_id, n=n, region="aa", phase=phase.value)


@pytest.mark.parametrize("phase", sorted(LIVE))
def test_the_database_itself_refuses_a_second_live_run(store: Store, phase: RunPhase) -> None:
    store.add_job(record())
    with store.writing() as session:
        session.add(live_row(1, phase))
    with pytest.raises(IntegrityError), store.writing() as session:
        session.add(live_row(2, RunPhase.RUNNING))
    with store.writing() as session:
        session.add(live_row(3, RunPhase.STOPPED))
        session.add(live_row(4, RunPhase.LOST))


def test_a_state_with_two_live_runs_cannot_be_committed(store: Store) -> None:
    job = store.add_job(record())
    with pytest.raises(Conflict, match="second live run"):
        store.change_job(job, with_runs(job, RunPhase.RUNNING, RunPhase.SUBMITTING), TICK)
    assert store.job(job.id) == job
    assert store.events(job.id) == []


def test_an_old_run_ends_and_the_next_begins_in_one_commit(store: Store) -> None:
    job = store.add_job(record())
    job = store.change_job(job, with_runs(job, RunPhase.SUBMITTING), TICK)
    job = store.change_job(job, with_runs(job, RunPhase.STOPPED, RunPhase.SUBMITTING), TICK)
    assert store.job(job.id) == job


def test_a_stale_writer_gets_a_conflict_and_changes_nothing(store: Store) -> None:
    first = store.add_job(record())
    second = store.change_job(first, first.state.model_copy(update={"detail": "one"}), TICK)
    with pytest.raises(Conflict):
        store.change_job(first, first.state.model_copy(update={"detail": "two"}), TICK)
    assert store.job(first.id) == second
    assert len(store.events(first.id)) == 1


def test_of_racing_writers_one_wins(store: Store) -> None:
    job = store.add_job(record())
    results = at_once(6, lambda n: store.change_job(job, job.state.model_copy(update={"detail": f"writer {n}"}), TICK))
    winners = [result for result in results if not isinstance(result, BaseException)]
    assert len(winners) == 1
    assert all(isinstance(result, Conflict) for result in results if isinstance(result, BaseException))
    assert store.job(job.id) == winners[0]
    assert len(store.events(job.id)) == 1


def test_racing_events_are_all_applied_in_some_order_that_the_journal_knows(store: Store) -> None:
    book = Book(store, policy=Policy())
    job = store.add_job(record())
    job = store.change_job(job, with_runs(job, RunPhase.RUNNING), TICK)
    before = job.state
    results = at_once(6, lambda n: book.apply(job.id, ev.StopSent(at=T0 + timedelta(seconds=n + 1), run=1)))
    assert not [result for result in results if isinstance(result, BaseException)]
    state: JobState = before
    for event in store.events(job.id)[1:]:
        state, _ = handle(state, event, Policy())
    assert store.job(job.id).state == state
    assert store.job(job.id).version == 1 + 6


def test_racing_submissions_under_one_key_are_one_job(store: Store) -> None:
    results = at_once(8, lambda n: store.add_job(record(f"0a{n}"), idempotency_key="key"))
    assert not [result for result in results if isinstance(result, BaseException)]
    assert len({result.id for result in results if not isinstance(result, BaseException)}) == 1
    (only,) = store.jobs()
    assert store.job_of_key("key") == only
    assert store.job_of_key("other") is None


def test_the_same_id_twice_is_an_error_and_not_a_repetition(store: Store) -> None:
    store.add_job(record("0a1"))
    with pytest.raises(IntegrityError):
        store.add_job(record("0a1"))
    with pytest.raises(IntegrityError):
        store.add_job(record("0a1"), idempotency_key="new")


def test_a_job_is_read_back_as_it_was_stored(store: Store) -> None:
    job = record(checkpoint={"path": "p", "grace": "PT1.5S"}, runtime_env={"env_vars": {"Ä": "\U0001f600"}})
    assert store.add_job(job) == store.job(job.id) == job


def test_times_come_back_in_utc_to_the_microsecond(store: Store) -> None:
    store.add_job(record())
    with store.reading() as session:
        row = session.get_one(JobRow, "0a1")
        assert row.submitted_at == T0
        assert row.submitted_at.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "moment", [datetime(2026, 11, 23), datetime(2026, 11, 23, tzinfo=timezone(timedelta(hours=1)))]
)
def test_times_that_are_not_aware_utc_are_refused(store: Store, moment: datetime) -> None:
    with pytest.raises(StatementError, match="not an aware UTC time"):
        store.add_token(id_="t", name="n", role="user", sha256="s", at=moment)
    assert store.tokens() == []


def test_pages_follow_one_another_without_gap_or_repetition(store: Store) -> None:
    ids = [f"0a{number}" for number in range(7)]
    for job_id in ids:
        store.add_job(record(job_id, phase=Phase.SUCCEEDED if job_id == "0a3" else Phase.QUEUED))
    seen: list[str] = []
    while page := store.jobs(after=seen[-1] if seen else None, limit=3):
        seen += [job.id for job in page]
    assert seen == ids
    assert [job.id for job in store.active_jobs()] == [job_id for job_id in ids if job_id != "0a3"]
    assert store.count_by_phase() == {Phase.QUEUED: 6, Phase.SUCCEEDED: 1}


def test_a_name_finds_its_job_only_while_it_is_the_only_one(store: Store) -> None:
    store.add_job(record("0a1", name="solo"))
    assert store.job("solo").id == "0a1"
    store.add_job(record("0a2", name="solo"))
    with pytest.raises(NotFound, match="several"):
        store.job("solo")
    with pytest.raises(NotFound, match="kilowait jobs"):
        store.job("nobody")


def test_the_history_of_a_job_class_is_its_latest_successes(store: Store) -> None:
    for number in range(4):
        store.add_job(record(f"0a{number}", phase=Phase.FAILED if number == 1 else Phase.SUCCEEDED))
    assert [job.id for job in store.finished_like("train", limit=2)] == ["0a3", "0a2"]
    assert store.finished_like("other") == []


def test_the_journal_is_read_in_order_and_from_any_place(store: Store) -> None:
    assert store.last_event() == 0
    job = store.add_job(record())
    for number in range(4):
        event = ev.Held(at=T0 + number * HOUR, reason=job.state.reason, detail=f"{number}")
        job = store.change_job(job, job.state.model_copy(update={"detail": f"{number}"}), event)
    assert [event.at for event in store.events(job.id)] == [T0 + number * HOUR for number in range(4)]
    numbers = [number for number, _, _ in store.events_after(0)]
    assert numbers == sorted(numbers)
    assert [event.detail for _, _, event in store.events_after(numbers[1])] == ["2", "3"]  # type: ignore[union-attr]
    assert [number for number, _, _ in store.events_after(0, limit=1)] == numbers[:1]
    assert store.last_event() == numbers[-1]


def test_regions_keep_their_order_when_they_change(store: Store) -> None:
    for name in ("west", "east", "north"):
        store.put_region(Region(name=name, zone="XX", address="http://127.0.0.1:1", capacity_gpus=8))
    store.put_region(Region(name="east", zone="YY", address="http://127.0.0.1:1", capacity_gpus=16))
    assert [(r.name, r.capacity_gpus) for r in store.regions()] == [("west", 8), ("east", 16), ("north", 8)]


def test_a_token_is_known_by_its_hash_until_it_is_revoked(store: Store) -> None:
    store.add_token(id_="t1", name="n", role="agent", sha256="h1", at=T0)
    store.add_token(id_="t2", name="n", role="agent", sha256="h2", at=T0, node="n1")
    one, two = store.token("h1"), store.token("h2")
    assert one is not None and (one.name, one.role, one.node) == ("n", "agent", None)
    assert two is not None and two.node == "n1"
    assert store.token("h3") is None
    store.remove_token("t1")
    assert store.token("h1") is None
    with pytest.raises(NotFound):
        store.remove_token("t1")
