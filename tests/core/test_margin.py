"""The runtime margin: what jobs of a class have overrun by, with room for the one that has not been seen."""

from __future__ import annotations

import random

import pytest

from kilowait_scheduler.core.margin import learned_margin


def test_few_runs_say_nothing() -> None:
    assert learned_margin([1.0, 1.5, 1.2, 1.1], default=0.15) == 0.15


def test_punctual_jobs_need_little_and_erratic_ones_much() -> None:
    assert learned_margin([1.0] * 10, default=0.15) == pytest.approx(0.1)
    assert learned_margin([1.0, 1.1, 0.9, 1.5, 1.2], default=0.15) == pytest.approx(0.65)


def test_jobs_that_always_end_early_keep_a_least_margin() -> None:
    assert learned_margin([0.5] * 40, default=0.15) == 0.02


def test_a_wild_run_does_not_ask_for_more_than_twice_the_work() -> None:
    assert learned_margin([1.0] * 4 + [50.0], default=0.15) == 2.0


def test_figures_that_are_none_are_left_out() -> None:
    assert learned_margin([float("nan"), -1.0, 0.0, 1.0, 1.0, 1.0, 1.0], default=0.3) == 0.3


def test_at_most_one_in_twenty_of_the_next_jobs_overruns_its_margin() -> None:
    rng = random.Random(3)
    misses = 0
    for _ in range(2000):
        ratios = [rng.lognormvariate(0, 0.25) for _ in range(39)]
        misses += rng.lognormvariate(0, 0.25) > 1 + learned_margin(ratios, default=0.15)
    assert misses / 2000 < 0.065
