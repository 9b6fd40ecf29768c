"""The faults that the cluster in memory can have, and what is left of its runs after them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.dispatch.executor import (
    Accepted,
    AlreadyThere,
    Ambiguous,
    NotConnected,
    NotSent,
    RunStatus,
    SubmitRequest,
    Unauthorized,
    Unreachable,
)
from kilowait_scheduler.dispatch.fake import Ended, FakeExecutor, Program

from .bench import Clock


def request_of(name: str = "kw-1", **changes: object) -> SubmitRequest:
    return SubmitRequest(submission_id=name, entrypoint="true", metadata={"run": name}, **changes)  # type: ignore[arg-type]


class World:
    """A cluster whose runs work for ten seconds, and what it told of their ends."""

    def __init__(self, **program: object) -> None:
        self.clock = Clock()
        self.ends: list[Ended] = []
        self.made = Program(**{"duration_s": 10.0, "on_end": self.ends.append, **program})  # type: ignore[arg-type]
        self.cluster = FakeExecutor(region="A", now=self.clock, programs=lambda _request: self.made)

    async def status(self, name: str = "kw-1") -> RunStatus | None:
        run = await self.cluster.get(name)
        return None if run is None else run.status


async def test_runs_go_on_while_the_network_is_down() -> None:
    world = World()
    await world.cluster.submit(request_of())
    world.cluster.cut(for_s=60)
    world.clock.pass_s(30)
    with pytest.raises(NotConnected):
        await world.cluster.observe()
    assert isinstance(await world.cluster.submit(request_of("kw-2")), NotSent)
    world.clock.pass_s(30)
    assert await world.status() is RunStatus.SUCCEEDED
    assert await world.status("kw-2") is None
    assert world.ends[0].ran_s == 10.0


async def test_a_silent_cluster_leaves_a_submission_open_and_has_not_got_it() -> None:
    world = World()
    world.cluster.mute()
    assert isinstance(await world.cluster.submit(request_of()), Ambiguous)
    with pytest.raises(Unreachable):
        await world.cluster.probe()
    world.cluster.mend()
    assert await world.status() is None


@pytest.mark.parametrize(
    ("how", "after_s", "there"), [("taken", 0, True), ("taken_later", 0, False), ("dropped", 0, False)]
)
async def test_an_answer_can_be_lost_in_three_ways(how: str, after_s: float, there: bool) -> None:
    world = World()
    world.cluster.lose_answer(how, after_s=5)  # type: ignore[arg-type]
    assert isinstance(await world.cluster.submit(request_of()), Ambiguous)
    assert (await world.status() is not None) is there
    world.clock.pass_s(5)
    assert (await world.status() is not None) is (how != "dropped")
    assert isinstance(await world.cluster.submit(request_of()), Accepted if how == "dropped" else AlreadyThere)


async def test_a_tombstone_beats_a_submission_that_is_still_under_way() -> None:
    world = World()
    world.cluster.lose_answer("taken_later", after_s=5)
    await world.cluster.submit(request_of())
    assert await world.cluster.tombstone("kw-1") == "won"
    world.clock.pass_s(60)
    assert await world.status() is None
    assert world.ends == []


async def test_a_restart_forgets_everything_under_a_new_name() -> None:
    world = World()
    before = (await world.cluster.probe()).session_name
    await world.cluster.submit(request_of())
    world.cluster.restart()
    assert (await world.cluster.probe()).session_name != before
    assert await world.cluster.observe() == {}
    world.clock.pass_s(60)
    assert world.ends == []


async def test_a_lock_is_no_outage() -> None:
    world = World()
    world.cluster.lock()
    with pytest.raises(Unauthorized):
        await world.cluster.submit(request_of())
    world.cluster.mend()
    assert isinstance(await world.cluster.submit(request_of()), Accepted)


async def test_gpus_show_as_used_while_a_run_is_running() -> None:
    world = World()
    await world.cluster.submit(request_of(gpus=3))
    assert (await world.cluster.probe()).gpus_used == 0
    world.clock.pass_s(5)
    assert (await world.cluster.probe()).gpus_used == 3
    world.clock.pass_s(10)
    assert (await world.cluster.probe()).gpus_used == 0


async def test_reserved_gpus_are_handed_on_at_the_moment_they_are_free() -> None:
    world = World()
    for name in ("kw-1", "kw-2", "kw-3"):
        await world.cluster.submit(request_of(name, entrypoint_gpus=8))
    world.clock.pass_s(1000)
    await world.cluster.observe()
    start = world.clock.at - timedelta(seconds=1000)
    assert [(end.at - start).total_seconds() for end in world.ends] == [12.0, 22.0, 32.0]


@given(
    grace_s=st.floats(0, 100),
    stop_s=st.floats(0, 100),
    duration_s=st.floats(0, 100),
    asked_s=st.floats(0, 100),
    looks=st.lists(st.floats(0, 60), max_size=5),
)
async def test_however_often_one_looks_a_run_ends_the_same(
    grace_s: float, stop_s: float, duration_s: float, asked_s: float, looks: list[float]
) -> None:
    ends = []
    for look in ([], looks):
        world = World(duration_s=duration_s, stop_s=stop_s)
        await world.cluster.submit(request_of(grace_s=grace_s))
        world.clock.pass_s(asked_s)
        await world.cluster.stop("kw-1")
        for span_s in look:
            world.clock.pass_s(span_s)
            await world.cluster.stop("kw-1")
        world.clock.pass_s(1000 - sum(look))
        assert await world.status() in (RunStatus.STOPPED, RunStatus.SUCCEEDED)
        ends += [(end.status, end.saved, round(end.ran_s, 3)) for end in world.ends]
    assert len(ends) == 2 and ends[0] == ends[1]
    status, saved, ran_s = ends[0]
    assert ran_s <= duration_s + 0.001
    assert saved or status is RunStatus.STOPPED
