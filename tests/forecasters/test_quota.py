"""Quotas: no span sees more requests than allowed, and what a service says is left is believed."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasters.fake_grid import FakeGrid, Reply
from kilowait_forecasters.errors import Refused, Transient
from kilowait_forecasters.providers.http import Http, Patience
from kilowait_forecasters.providers.quota import Limit, Quota


class Clock:
    def __init__(self, at: float = 0.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def test_the_next_request_waits_until_the_oldest_has_left_the_span() -> None:
    clock = Clock()
    quota = Quota(Limit(2, 60), clock=clock)
    quota.take("a")
    clock.at = 10
    quota.take("a")
    clock.at = 20

    with pytest.raises(Transient, match=r"a: not asked, its quota is used up; free again in 40 s") as caught:
        quota.take("a")
    assert caught.value.retry_after_s == 40
    clock.at = 60
    quota.take("a")


def test_without_limits_nothing_is_counted() -> None:
    quota = Quota()
    for _ in range(10_000):
        quota.take("a")


@given(
    limits=st.lists(st.builds(Limit, st.integers(1, 5), st.floats(1, 50)), min_size=1, max_size=3),
    waits=st.lists(st.floats(0, 20), max_size=80),
)
def test_no_span_ever_sees_more_than_its_limit_and_the_wait_told_is_enough(
    limits: list[Limit], waits: list[float]
) -> None:
    clock = Clock()
    quota = Quota(*limits, clock=clock)
    taken: list[float] = []
    for wait in waits:
        clock.at += wait
        try:
            quota.take("a")
        except Transient as error:
            assert error.retry_after_s is not None
            # Rounding: what is left of a wait after itself is below the clock's own steps.
            clock.at += error.retry_after_s + 1e-9
            quota.take("a")
        taken.append(clock.at)
    assert all(before <= after for before, after in pairwise(taken))
    for limit in limits:
        for first, last in zip(taken, taken[limit.count :], strict=False):
            assert last - first >= limit.span_s - 1e-6


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "30"}, 30),
        ({"ratelimit-remaining": "0", "ratelimit-reset": "12"}, 12),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000090"}, 90),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "9999999999"}, 86_400),
        ({"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1800000090000"}, 90),  # in milliseconds
        ({"x-ratelimit-remaining": "3", "x-ratelimit-reset": "30"}, None),
        ({"x-ratelimit-remaining": "0"}, None),
        ({"x-ratelimit-remaining": "none", "x-ratelimit-reset": "soon"}, None),
        ({}, None),
    ],
)
def test_a_service_that_says_nothing_is_left_is_not_asked_until_it_says_there_is(
    headers: dict[str, str], wait_s: float | None
) -> None:
    quota = Quota(clock=Clock(), wall=Clock(1_800_000_000.0))
    quota.told(headers)

    if wait_s is None:
        quota.take("a")
    else:
        with pytest.raises(Transient) as caught:
            quota.take("a")
        assert caught.value.retry_after_s == wait_s


@pytest.mark.parametrize(("text", "limit"), [("1000/day", Limit(1000, 86_400)), (" 60/minute ", Limit(60, 60))])
def test_limits_are_read_as_they_are_written(text: str, limit: Limit) -> None:
    assert Limit.parse(text) == limit


@pytest.mark.parametrize("text", ["", "1000", "0/day", "-1/day", "10/week", "ten/day"])
def test_what_is_no_limit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match=r"write e\.g\. 60/minute"):
        Limit.parse(text)


async def test_what_the_quota_does_not_allow_does_not_reach_the_service(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    grid.answer = lambda _: Reply(200, {})
    service = Http(client, grid.url, name="grid", setting="", quota=Quota(Limit(2, 3600)), patience=patience)
    for _ in range(2):
        await service.get("intensity", about="zone DE")

    with pytest.raises(Transient, match="grid intensity for zone DE: not asked, its quota is used up"):
        await service.get("intensity", about="zone DE")
    assert len(grid.questions) == 2


async def test_questions_wait_in_turn_for_a_quota_that_has_one_in_time(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience
) -> None:
    grid.answer = lambda _: Reply(200, {})
    clock = Clock()

    async def sleep(wait_s: float) -> None:
        clock.at += wait_s

    quota = Quota(Limit(1, 1.0), clock=clock, sleep=sleep)
    service = Http(client, grid.url, name="grid", setting="", quota=quota, patience=patience)
    # Far more than there are attempts, each within the patience there is.
    await asyncio.gather(*(service.get("intensity") for _ in range(10)))
    assert len(grid.questions) == 10
    assert clock.at == pytest.approx(9, abs=0.1)


async def test_each_attempt_counts(grid: FakeGrid, client: httpx.AsyncClient, patience: Patience) -> None:
    grid.answer = lambda _: Reply(503, "down")
    service = Http(client, grid.url, name="grid", setting="", quota=Quota(Limit(2, 3600)), patience=patience)

    with pytest.raises(Transient, match="quota is used up"):
        await service.get("intensity")
    assert len(grid.questions) == 2
