"""Explanations: each constraint's price is what the exact planner saves without it."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from kilowait_forecasters.forecast import Forecast
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.planner.explain import Explanation, explain
from kilowait_scheduler.planner.knowledge import Knowledge
from moment import HOUR, MINUTE, RULES, T0, forecast, knowledge, record, region


def asked(job, known: Knowledge, others: dict[str, tuple[Window, ...]] | None = None) -> Explanation:
    return explain(job, others or {}, known=known, rules=RULES, rng=np.random.default_rng(1))


def test_a_job_bound_by_its_deadline_learns_what_a_later_one_saves() -> None:
    known = knowledge(aa=[500.0] * 6 + [100.0] * 4 + [500.0] * 60)
    found = asked(record(within=6 * HOUR), known)
    assert found.binding == "deadline"
    assert found.chosen is not None and found.chosen.carbon_g == pytest.approx(4 * 0.4 * 2 * 1.2 * 500)
    assert found.relaxed[0].saves_g == pytest.approx(4 * 0.4 * 2 * 1.2 * 400)
    carbon = [option.carbon_g for _, option in found.curve if option is not None]
    assert carbon == sorted(carbon, reverse=True), "more time never costs carbon"
    assert found.curve[0][0] == T0 + 6 * HOUR


def test_a_job_crowded_out_of_the_clean_hours_is_bound_by_capacity() -> None:
    known = knowledge(aa=[500.0] * 6 + [100.0] * 2 + [300.0] * 60)
    taken = {"other": (Window(region="aa", start=T0 + 6 * HOUR, end=T0 + 8 * HOUR, gpus=8),)}
    found = asked(record(within=10 * HOUR), known, taken)
    assert found.binding == "capacity"
    assert found.relaxed[0].option.start == T0 + 6 * HOUR


def test_a_job_kept_at_home_is_bound_by_its_regions() -> None:
    found = asked(record(), knowledge(aa=[500.0] * 60, bb=[50.0] * 60))
    assert found.binding == "regions"
    assert found.relaxed[0].option.regions == ("bb",)


def test_a_job_without_a_checkpoint_learns_what_one_would_buy() -> None:
    hours = [500.0, 100.0, 500.0, 100.0] + [500.0] * 60
    found = asked(record(within=4 * HOUR + RULES.slot), knowledge(aa=hours))
    assert found.binding == "checkpoint"


def test_a_flat_grid_binds_nobody() -> None:
    found = asked(record(), knowledge(aa=[300.0] * 80))
    assert found.binding is None
    assert found.relaxed == ()
    assert found.run_now is not None and found.chosen is not None
    assert found.run_now.carbon_g == pytest.approx(found.chosen.carbon_g)


def test_the_next_best_starts_elsewhere_or_at_another_time_and_is_no_cleaner() -> None:
    found = asked(record(), knowledge(aa=[500.0] * 3 + [100.0] * 2 + [500.0] * 3 + [120.0] * 2 + [500.0] * 60))
    assert found.chosen is not None and found.next_best is not None
    assert found.next_best.start == T0 + 8 * HOUR
    assert found.next_best.carbon_g >= found.chosen.carbon_g


def test_a_wide_band_makes_the_start_uncertain_and_a_sharp_one_does_not() -> None:
    hours = [300.0] * 4 + [280.0] * 2 + [300.0] * 8 + [285.0] * 2 + [300.0] * 60
    sharp = asked(record(), knowledge(aa=hours))
    assert sharp.start_p50 == sharp.start_p90 == T0 + 4 * HOUR
    wide = forecast("AA", hours)
    high = forecast("AA", [value + 200 for value in hours]).series
    known = Knowledge(
        now=T0,
        regions=(region("aa"),),
        forecasts={"AA": Forecast(wide.zone, wide.signal, T0, T0, wide.series, wide.parts, low=wide.series, high=high)},
    )
    found = asked(record(), known)
    assert found.start_p50 is not None and found.start_p90 is not None
    assert found.start_p90 > found.start_p50 >= T0
    assert asked(record(), known) == found, "the same question gets the same answer"


def test_a_job_that_fits_nowhere_still_gets_an_answer() -> None:
    found = asked(record(gpus=64, within=timedelta(hours=3)), knowledge(aa=[100.0] * 60))
    assert found.chosen is None and found.binding is None and found.relaxed == ()


@pytest.mark.parametrize("restart", [None, 5 * MINUTE])
@pytest.mark.parametrize("minutes", [60, 100, 101, 487])
def test_an_elastic_job_of_any_length_is_explained(minutes: int, restart: timedelta | None) -> None:
    job = record(work=MINUTE * minutes, restart=restart, gpus={"min": 2, "max": 8}, throughput={2: 1.0, 4: 1.9, 8: 3.4})
    found = explain(job, {}, known=knowledge(aa=[400.0, 90.0] * 30), rules=RULES, rng=np.random.default_rng(1))
    assert found.chosen is not None
    assert found.run_now is not None
