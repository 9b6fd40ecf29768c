"""The breaker spares a cluster that does not answer, and finds out soon when it does again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.dispatch.breaker import Breaker


def missing(times: int, *, at_s: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(times):
        breaker.missed(at_s)
    return breaker


def test_two_misses_are_a_hiccup_and_three_are_not() -> None:
    assert missing(2).permit(0.0)
    assert not missing(3).permit(0.0)


def test_an_answer_makes_up_for_all_misses() -> None:
    breaker = missing(2)
    breaker.answered()
    breaker.missed(0.0)
    breaker.missed(0.0)
    assert breaker.permit(0.0)


def test_after_the_pause_one_call_tries_and_the_others_wait() -> None:
    breaker = missing(3)
    assert breaker.wait_s(0.5) == 1.5
    assert breaker.permit(2.0)
    assert not breaker.permit(2.0)
    breaker.answered()
    assert breaker.permit(2.0) and breaker.permit(2.0)


def test_a_trial_that_was_given_up_lets_the_next_one_try() -> None:
    breaker = missing(3)
    assert breaker.permit(2.0)
    breaker.abandoned()
    assert breaker.permit(2.0)


@given(st.integers(min_value=3, max_value=2000))
def test_pauses_grow_to_a_minute_and_no_further(misses: int) -> None:
    pause_s, longer_s = missing(misses).wait_s(0.0), missing(misses + 1).wait_s(0.0)
    assert 2.0 <= pause_s <= longer_s <= 60.0
    assert longer_s in (60.0, 2 * pause_s)


@given(st.lists(st.sampled_from(["permit", "answered", "missed", "abandoned", "pass"]), max_size=60))
def test_whatever_happened_a_call_is_let_through_within_a_minute(events: list[str]) -> None:
    breaker, now_s, out = Breaker(), 0.0, 0
    for event in events:
        if event == "pass":
            now_s += 7.0
        elif event == "permit":
            out += breaker.permit(now_s)
        elif out:  # only a call that went out can end
            out -= 1
            breaker.missed(now_s) if event == "missed" else getattr(breaker, event)()
    for _ in range(out):
        breaker.abandoned()
    assert breaker.permit(now_s + 60.0)
