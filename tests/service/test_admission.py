"""Submissions at once: they share plans, and each is answered as if they had come one after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from kilowait_scheduler.core.errors import Refused
from kilowait_scheduler.core.job import JobSpec, parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.planner.knowledge import Decision
from kilowait_scheduler.service.admission import Proposal
from world import World, make_world

PATIENCE_S = 30.0  # real time, for threads that only have to begin


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Plans are the first valid ones."""
    monkeypatch.setattr("kilowait_scheduler.service.planning._ASK_S", 0.0)
    made = make_world(tmp_path, {"AA": [300.0] * 24})
    made._settle_first()
    yield made
    made.close()


def job(name: str, **more: object) -> dict[str, object]:
    common = {"entrypoint": "python train.py", "resources": {"gpus": 8}, "duration": "2h", "within": "24h"}
    return {"name": name, **common, **more}


def at_once(
    world: World, jobs: Sequence[dict[str, object]], monkeypatch: pytest.MonkeyPatch, *, key: str | None = None
) -> tuple[list[Future[Proposal]], list[int]]:
    """The first job's plan is held up until all the others wait; the answers, and how many jobs each plan was of.

    With `key` all the others come with it.
    """
    planning, admission = world.server.planning, world.server.jobs._admission
    real, sizes, begun = planning.ask, list[int](), threading.Event()
    go_on = threading.Event()

    def ask(records: Sequence[JobRecord]) -> list[Decision]:
        sizes.append(len(records))
        begun.set()
        assert go_on.wait(PATIENCE_S)
        return real(records)

    monkeypatch.setattr(planning, "ask", ask)
    with ThreadPoolExecutor(len(jobs)) as pool:
        answers = [pool.submit(world.server.jobs.submit, parse_job(jobs[0]))]
        assert begun.wait(PATIENCE_S)
        for number, one in enumerate(jobs[1:], start=1):
            answers.append(pool.submit(world.server.jobs.submit, parse_job(one), idempotency_key=key))
            until_true(lambda number=number: len(admission._waiting) == number)  # type: ignore[misc]
        go_on.set()
    monkeypatch.setattr(planning, "ask", real)
    return answers, sizes


def until_true(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(int(PATIENCE_S * 1000)):
        if condition():
            return
        pause.wait(0.001)
    raise AssertionError("it did not come to that")


def names(answers: Sequence[Future[Proposal]]) -> list[str]:
    return [one.result().record.spec.name for one in answers if one.exception() is None]


def test_those_who_come_while_a_plan_is_made_share_the_next_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = [job(f"j{n}", resources={"gpus": 1}) for n in range(8)]
    answers, sizes = at_once(world, wanted, monkeypatch)
    assert names(answers) == [one["name"] for one in wanted]
    assert sizes == [1, 8], "one plan for the first, and one for it and all the others"
    assert {record.spec.name for record in world.server.store.active_jobs()} == set(names(answers))


def test_who_finds_no_room_is_refused_as_if_they_had_come_one_after_the_other(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for some of the large ones; the small one at the end fits beside them."""
    wanted = [*(job(f"j{n}", within="9h") for n in range(7)), job("small", duration="15m", within="20h")]
    answers, _ = at_once(world, wanted, monkeypatch)
    other = make_world(tmp_path / "other", {"AA": [300.0] * 24})
    other._settle_first()
    alone = []
    for one in wanted:
        try:
            alone.append(other.server.jobs.submit(parse_job(one)).record.spec.name)
        except Refused:
            continue
    other.close()
    assert 1 < len(alone) < len(wanted) and alone[-1] == "small"
    assert names(answers) == alone
    assert all(isinstance(one.exception(), Refused | None) for one in answers)


def test_what_fails_for_one_is_told_to_that_one(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store, real = world.server.store, world.server.store.add_job

    def add_job(record: JobRecord, *, idempotency_key: str | None = None) -> JobRecord:
        if record.spec.name == "j2":
            raise OSError("disk full")
        return real(record, idempotency_key=idempotency_key)

    monkeypatch.setattr(store, "add_job", add_job)
    answers, _ = at_once(world, [job(f"j{n}", resources={"gpus": 1}) for n in range(4)], monkeypatch)
    assert names(answers) == ["j0", "j1", "j3"]
    assert isinstance(answers[2].exception(), OSError)


def test_an_answer_is_given_as_soon_as_it_stands(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one is not stored before one of those planned with it has been told."""
    store, jobs, told = world.server.store, world.server.jobs, set[str]()
    real_add, real_submit = store.add_job, jobs.submit

    def add_job(record: JobRecord, *, idempotency_key: str | None = None) -> JobRecord:
        if record.spec.name == "j3":
            until_true(lambda: "j2" in told)
        return real_add(record, idempotency_key=idempotency_key)

    def submit(spec: JobSpec, *, idempotency_key: str | None = None) -> Proposal:
        answer = real_submit(spec, idempotency_key=idempotency_key)
        told.add(spec.name)
        return answer

    monkeypatch.setattr(store, "add_job", add_job)
    monkeypatch.setattr(jobs, "submit", submit)
    answers, _ = at_once(world, [job(f"j{n}", resources={"gpus": 1}) for n in range(4)], monkeypatch)
    assert names(answers) == ["j0", "j1", "j2", "j3"]


def failing_for(world: World, name: str, error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    real = world.server.planning.ask

    def ask(records: Sequence[JobRecord]) -> list[Decision]:
        if any(record.spec.name == name for record in records):
            raise error
        return real(records)

    monkeypatch.setattr(world.server.planning, "ask", ask)


def test_a_job_that_cannot_be_planned_fails_nobody_who_waits_beside_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_for(world, "j2", ZeroDivisionError(), monkeypatch)
    answers, _ = at_once(world, [job(f"j{n}", resources={"gpus": 1}) for n in range(5)], monkeypatch)
    assert names(answers) == ["j0", "j1", "j3", "j4"]
    assert isinstance(answers[2].exception(), ZeroDivisionError)


def test_when_planning_is_broken_off_all_are_told_and_the_next_is_admitted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing_for(world, "j2", SystemExit(), monkeypatch)
    answers, _ = at_once(world, [job(f"j{n}", resources={"gpus": 1}) for n in range(4)], monkeypatch)
    assert names(answers) == ["j0"]
    assert [type(one.exception()) for one in answers].count(SystemExit) == 1, "the thread that it happened in"
    assert world.server.jobs.submit(parse_job(job("later"))).record.spec.name == "later"


def test_the_same_submission_twice_at_once_is_one_job_though_there_is_room_for_no_second(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = job("large", duration="14h", within="20h")
    answers, _ = at_once(world, [job("small", duration="15m"), large, large], monkeypatch, key="k")
    assert names(answers) == ["small", "large", "large"]
    assert answers[1].result().record.id == answers[2].result().record.id


def test_a_plan_that_fails_is_told_to_all_who_waited_and_to_no_one_after(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    planning = world.server.planning
    with monkeypatch.context() as broken:
        broken.setattr(planning, "ask", lambda records: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            world.server.jobs.submit(parse_job(job("a")))
    assert world.server.jobs.submit(parse_job(job("b"))).record.spec.name == "b"
