"""Failing sources are left alone, for as long as they ask or ever longer, and asked again after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecasters.test_cascade import DE, RESORTS, Scripted
from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.errors import Permanent, Transient
from kilowait_forecasters.pauses import Pauses

NOW = datetime(2026, 9, 14, 9, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DOWN = Transient("em: 503")


def is_open(pauses: Pauses, now: datetime) -> bool:
    try:
        pauses.require_open("em", now=now)
    except Transient:
        return False
    return True


def test_two_failures_are_a_hiccup_and_the_third_pauses() -> None:
    pauses = Pauses()
    for minute in (0, 1):
        pauses.failed("em", DOWN, now=NOW + minute * MINUTE)
        assert is_open(pauses, NOW + minute * MINUTE)
    pauses.failed("em", DOWN, now=NOW + 2 * MINUTE)
    with pytest.raises(Transient, match="left alone until 09:07 UTC") as caught:
        pauses.require_open("em", now=NOW + 3 * MINUTE)
    assert caught.value.retry_after_s == 240
    assert is_open(pauses, NOW + 7 * MINUTE)
    pauses.require_open("neso", now=NOW + 3 * MINUTE)


def test_failures_of_many_zones_at_one_instant_are_one() -> None:
    pauses = Pauses()
    for _ in range(20):
        pauses.failed("em", DOWN, now=NOW)
    assert is_open(pauses, NOW)


def test_an_answer_makes_it_as_new() -> None:
    pauses = Pauses()
    for minute in range(3):
        pauses.failed("em", DOWN, now=NOW + minute * MINUTE)
    pauses.answered("em", now=NOW)
    assert is_open(pauses, NOW + 3 * MINUTE)
    pauses.failed("em", DOWN, now=NOW + 3 * MINUTE)
    assert is_open(pauses, NOW + 3 * MINUTE)


def test_an_answer_that_was_under_way_does_not_end_a_wait_that_was_asked_for() -> None:
    pauses = Pauses()
    pauses.failed("em", Transient("429", retry_after_s=600), now=NOW)
    pauses.answered("em", now=NOW)
    assert not is_open(pauses, NOW + 9 * MINUTE)
    assert is_open(pauses, NOW + 10 * MINUTE)
    pauses.answered("em", now=NOW + 10 * MINUTE)
    for minute in (11, 12):
        pauses.failed("em", DOWN, now=NOW + minute * MINUTE)
        assert is_open(pauses, NOW + minute * MINUTE)


def test_a_wait_that_is_asked_for_is_kept_to_at_once_but_not_for_ever() -> None:
    pauses = Pauses()
    pauses.failed("em", Transient("429", retry_after_s=600), now=NOW)
    assert not is_open(pauses, NOW + 9 * MINUTE)
    assert is_open(pauses, NOW + 10 * MINUTE)
    pauses.failed("em", Transient("429", retry_after_s=1e9), now=NOW + 10 * MINUTE)
    assert is_open(pauses, NOW + timedelta(days=1, minutes=10))


@given(st.lists(st.integers(1, 200), min_size=1, max_size=60))
def test_however_long_it_has_failed_it_is_asked_again_within_half_an_hour(gaps: list[int]) -> None:
    pauses, now = Pauses(), NOW
    for gap in gaps:
        now += gap * MINUTE
        pauses.failed("em", DOWN, now=now)
        assert is_open(pauses, now + 30 * MINUTE)


async def test_a_provider_that_is_down_is_not_asked_for_every_plan_and_comes_back() -> None:
    first = Scripted("first", fails=Transient("first: 503"))
    cascade = Cascade({"DE": [first]}, last_resorts=RESORTS)
    for minute in range(6):
        now = NOW + minute * MINUTE
        answer = await cascade.forecast(DE, now=now, until=now + 20 * timedelta(hours=1))
        assert answer.forecast.source == "typical-day"
        assert answer.answers[0].provider == "first"
        assert answer.answers[0].error
    assert first.asked == 3
    first.fails = None
    now = NOW + 8 * MINUTE
    answer = await cascade.forecast(DE, now=now, until=now + 20 * timedelta(hours=1))
    assert answer.forecast.source == "first"


async def test_a_zone_the_plan_does_not_include_pauses_nothing() -> None:
    first = Scripted("first", fails=Permanent("first: not in this plan"))
    cascade = Cascade({"DE": [first]}, last_resorts=RESORTS)
    for minute in range(6):
        now = NOW + minute * MINUTE
        await cascade.forecast(DE, now=now, until=now + 20 * timedelta(hours=1))
    assert first.asked == 6
