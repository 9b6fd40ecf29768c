"""Counters of figures that are revised never fall, and their difference is what is known."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.core.tally import Tally


@given(st.lists(st.integers(-(10**15), 10**15)))
def test_no_counter_falls_and_the_difference_is_the_last_value(values: list[int]) -> None:
    course = [Tally()]
    for value in values:
        course.append(course[-1].moved_to(value))
    assert course[-1].value == (values[-1] if values else 0)
    for before, after in pairwise(course):
        assert after.up >= before.up and after.down >= before.down
    assert course[-1].moved_to(course[-1].value) == course[-1], "the same once more counts nothing"
