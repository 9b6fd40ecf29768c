"""Perfect foresight: the best schedule on what came, never beyond the job's window, else a reason."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.reports.baselines import run_now
from kilowait_scheduler.reports.build import build
from kilowait_scheduler.reports.ceiling import Ceiling, ceilings
from kilowait_scheduler.reports.measured import Measured
from kilowait_scheduler.reports.model import JobLine, Report
from kilowait_scheduler.reports.words import little_to_gain

from .test_build import FAR, HOUR, REGIONS, T0, Told, grid, measured


def job(
    began: int = 0, ran: int = 2, *, due: int = 24, restart: str | None = None, regions: tuple[str, ...] = ("aa",)
) -> Measured:
    """A job of 1 kWh an hour, due so many hours after T0; with `restart` it may be suspended."""
    made = measured(Told("a", 0, began, ran))
    more = {} if restart is None else {"checkpoint": {"path": "/c", "restart": restart, "period": "10m"}}
    spec = parse_job(
        {
            "name": "a",
            "entrypoint": "python t.py",
            "resources": {"gpus": 8},
            "duration": "1h",
            "deadline": (T0 + due * HOUR).isoformat(),
            **more,
        }
    )
    restart_s = spec.checkpoint.restart.total_seconds() if spec.checkpoint is not None else 0.0
    state = made.record.state.model_copy(update={"restart_s": restart_s, "suspendable": restart is not None})
    return replace(made, record=made.record.model_copy(update={"spec": spec, "regions": regions, "state": state}))


def known(*values: list[float]) -> dict[str, IntensitySeries]:
    like = grid(1)["aa"]
    return {
        name: IntensitySeries(
            zone=like.zone,
            signal=like.signal,
            source="test",
            slots=[Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), value) for i, value in enumerate(hours)],
        )
        for name, hours in zip(("aa", "bb"), values, strict=False)
    }


def best(one: Measured, intensity: dict[str, IntensitySeries]) -> Ceiling:
    return ceilings([one], regions=REGIONS, intensity=intensity, now=FAR)["a"]


def test_the_best_schedule_waits_moves_and_pauses_where_a_restart_is_worth_it() -> None:
    hours = [500.0] * 4 + [100.0] + [500.0] * 5 + [90.0] + [500.0] * 13
    here, there = known(hours, [400.0] * 6 + [80.0] * 2 + [400.0] * 16).values()
    whole = best(job(ran=2), {"aa": here})
    assert whole.carbon_g == pytest.approx(590)
    moved = best(job(ran=2, regions=("aa", "bb")), {"aa": here, "bb": there})
    assert [(stay.region, stay.start, stay.end) for stay in moved.stays] == [("bb", T0 + 6 * HOUR, T0 + 8 * HOUR)]
    pausing = job(ran=2, restart="6m")
    parts = best(pausing, {"aa": here})
    assert [(stay.start, stay.end) for stay in parts.stays] == [
        (T0 + 4 * HOUR, T0 + 5 * HOUR),
        (T0 + 10 * HOUR, T0 + 11 * HOUR),
    ]
    # A tenth of an hour of restart at 1 kW falls into the dirty hour before the second stretch.
    assert parts.carbon_g == pytest.approx(100 + 90 + 50)


HOURS = st.lists(st.integers(0, 500).map(float), min_size=24, max_size=24)


@settings(max_examples=60, deadline=None)
@given(HOURS, HOURS, st.integers(0, 20), st.integers(1, 6), st.integers(0, 18), st.sampled_from((None, "0s", "20m")))
def test_no_schedule_on_the_hour_is_better_and_none_leaves_the_window(
    here: list[float], there: list[float], began: int, ran: int, slack: int, restart: str | None
) -> None:
    due = min(ran + slack, 24)
    one = job(began, ran, due=due, restart=restart, regions=("aa", "bb"))
    intensity = known(here, there)
    found = best(one, intensity)
    assert sum((stay.end - stay.start for stay in found.stays), timedelta(0)) == ran * HOUR
    assert found.stays[0].start >= T0
    assert found.stays[-1].end <= T0 + due * HOUR
    assert all(b.start - a.end >= timedelta(seconds=b.restart_s) for a, b in pairwise(found.stays))
    grams = found.carbon_g
    for hours in (here, there):
        for start in range(due - ran + 1):
            assert grams <= sum(hours[start : start + ran]) + 1e-6
    if restart == "0s":
        assert grams <= sum(sorted(min(pair) for pair in zip(here[:due], there[:due], strict=True))[:ran]) + 1e-6


def line(one: Measured, intensity: dict[str, IntensitySeries]) -> tuple[JobLine, Report]:
    worked = {"a": one.worked}
    found = build(
        [one],
        baselines=run_now(worked, queue=[one.record], regions=REGIONS),
        regions=REGIONS,
        intensity=intensity,
        ceilings=ceilings([one], regions=REGIONS, intensity=intensity, now=FAR),
        energy=[],
        meters={},
        now=FAR,
        start=T0,
        end=FAR,
        signal="average lifecycle",
    )
    return found.jobs[0], found


@settings(max_examples=60, deadline=None)
@given(HOURS, st.integers(0, 22), st.integers(1, 2), st.lists(st.integers(0, 9), min_size=4, max_size=4))
def test_the_ceiling_is_never_below_what_was_saved_in_time(
    hours: list[float], began: int, ran: int, power: list[int]
) -> None:
    one = job(began, ran)
    begin, quarter = T0 + began * HOUR, ran * HOUR / 4
    profile = Course.of(
        EnergyInterval(begin + quarter * i, begin + quarter * (i + 1), (1 + kw) * MJ_PER_KWH, "aa")
        for i, kw in enumerate(power)
    )
    found, _ = line(replace(one, course=profile), known(hours))
    assert found.saved_g is not None
    assert found.ceiling_saved_g is not None
    assert found.ceiling_saved_g >= found.saved_g


def test_an_even_grid_leaves_little_to_gain() -> None:
    flat, report = line(job(began=6), known([300.0, 301.0] * 12))
    assert flat.ceiling_saved_g == pytest.approx(0.0, abs=1.0)
    assert little_to_gain(flat.ceiling_pct)
    assert report.totals.foresight is None, "no plan promised anything"
    steep, _ = line(job(began=6), known([300.0] * 12 + [100.0] * 12))
    assert not little_to_gain(steep.ceiling_pct)
    assert not little_to_gain(None)


def test_what_was_promised_came_and_was_possible_is_summed_over_the_same_jobs() -> None:
    from kilowait_scheduler.core.events import Promise

    one = job(began=6)
    promised = Promise(carbon_g=400, carbon_p90_g=500, run_now_g=600, energy_kwh=2)
    state = one.record.state.model_copy(update={"first_promise": promised})
    found, report = line(
        replace(one, record=one.record.model_copy(update={"state": state})),
        known([300.0] * 6 + [200.0] * 12 + [100.0] * 6),
    )
    seen = report.totals.foresight
    assert seen is not None
    assert (seen.jobs, seen.baseline_g, seen.promised_saved_g) == (1, 600, 200)
    assert (seen.saved_g, seen.ceiling_saved_g) == (200, 400)
    assert seen.ceiling_pct == pytest.approx(100 * 400 / 600)
    assert found.ceiling_saved_g == 400


@pytest.mark.parametrize(
    ("one", "hours", "why"),
    [
        (job(regions=("aa", "bb")), [[300.0] * 24], "intensity is not known throughout its window in bb"),
        (job(), [[300.0] * 20], "intensity is not known throughout its window in aa"),
        (job(due=2000), [[300.0] * 24], "not yet: its deadline is Sun 14 Feb 08:00 UTC"),
        (job(ran=9, due=5), [[300.0] * 24], "its work took longer than the time it had up to its deadline"),
    ],
    ids=["region", "hours", "open", "late"],
)
def test_where_something_is_missing_there_is_no_ceiling_and_a_reason(
    one: Measured, hours: list[list[float]], why: str
) -> None:
    found, report = line(one, known(*hours))
    assert (found.ceiling_saved_g, found.ceiling_pct, found.ceiling_note) == (None, None, why)
    assert report.totals.foresight is None


def test_a_job_that_still_runs_has_no_ceiling() -> None:
    running = measured(Told("a", 0, 1, 2, phase=Phase.RUNNING))
    assert ceilings([running], regions=REGIONS, intensity=grid(), now=FAR) == {}
