"""The advisor: ranked by what would have been saved, never more than there was, silent where the record is."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from advised import HOUR, MINUTE, facts
from kilowait_scheduler.advisor.advise import advise
from kilowait_scheduler.advisor.lever import Advice, Kind, Lever
from kilowait_scheduler.advisor.power import capped_at
from kilowait_scheduler.core.state import Phase, Run, RunPhase
from moment import T0

WATTS = st.sampled_from([0.0, 60.0, 110.0, 170.0, 260.0, 350.0, 480.0, 600.0, 690.0])
COURSES = st.lists(st.lists(WATTS, min_size=1, max_size=40), min_size=1, max_size=4)
GRIDS = st.lists(st.integers(0, 600).map(float), min_size=24, max_size=24)


def of(kind: Kind, advice: Advice) -> Lever:
    found = [lever for lever in advice.levers if lever.kind is kind]
    assert found, {one.kind: one.why for one in advice.silent}
    return found[0]


def why(kind: Kind, advice: Advice) -> str:
    return next(one.why for one in advice.silent if one.kind is kind)


@given(COURSES, GRIDS, st.booleans(), st.sampled_from([None, 70.0]))
@settings(max_examples=60, deadline=None)
def test_levers_are_ranked_by_their_mid_saving_and_none_saves_more_than_the_job_took(
    watts: list[list[float]], hours: list[float], suspendable: bool, idle_w: float | None
) -> None:
    checkpoint = {"checkpoint": {"path": "/c"}} if suspendable else {}
    made = facts(
        {f"g{i}": one for i, one in enumerate(watts)},
        grid={"aa": hours, "bb": hours[7:] + hours[:7]},
        idle_w=idle_w,
        deadline=(T0 + 6 * HOUR).isoformat(),
        **checkpoint,
    )
    found = advise(made)
    assert {one.kind for one in (*found.levers, *found.silent)} == set(Kind), "every lever is answered for"
    mids = [lever.carbon_g.mid if lever.carbon_g else 0.0 for lever in found.levers]
    assert mids == sorted(mids, reverse=True)
    for lever in found.levers:
        assert lever.energy_kwh.high <= (found.energy_kwh or 0.0)
        assert lever.carbon_g is not None
        assert lever.carbon_g.high <= (found.carbon_g or 0.0)
        assert all((lever.because, lever.evidence, lever.how))


@given(COURSES, st.integers(0, 30), st.integers(1, 30), st.sampled_from([None, 70.0]))
@settings(max_examples=60, deadline=None)
def test_more_idle_time_gives_at_least_as_much(
    watts: list[list[float]], first: int, more: int, idle_w: float | None
) -> None:
    def saved(minutes: int) -> float:
        courses = {f"g{i}": [*one, *[90.0] * minutes] for i, one in enumerate(watts)}
        found = [lever for lever in advise(facts(courses, idle_w=idle_w)).levers if lever.kind is Kind.LESS_IDLE]
        return found[0].energy_kwh.mid if found else 0.0

    assert saved(first + more) >= saved(first)


def test_what_was_not_recorded_gives_no_advice_and_says_so() -> None:
    nothing = advise(facts({}))
    assert not nothing.levers and nothing.energy_kwh is None and nothing.carbon_g is None
    assert {one.why for one in nothing.silent} == {"nothing was measured of it"}
    untyped = advise(facts({"g": [650.0] * 60}, gpu=False))
    assert "gpu_type" in why(Kind.POWER_CAP, untyped)
    shared = advise(facts({"g": [650.0] * 60}, alone=False))
    assert "shared" in why(Kind.LESS_IDLE, shared)
    dark = advise(facts({"g": [650.0] * 60}, grid={}))
    assert dark.carbon_g is None
    assert of(Kind.POWER_CAP, dark).carbon_g is None
    assert "intensity" in why(Kind.LATER_DEADLINE, dark)
    several = advise(facts({"g": [2600.0] * 60}))
    assert "more than a H100" in why(Kind.POWER_CAP, several), "a reading of four GPUs is not taken for one"


def test_a_full_gpu_is_advised_a_limit_a_fifth_below_what_it_draws() -> None:
    found = of(Kind.POWER_CAP, advise(facts({"g": [650.0] * 60})))
    assert "520 W" in found.what
    assert found.energy_kwh.mid == pytest.approx(0.65 * 0.118, rel=0.02)
    assert found.carbon_g is not None
    assert found.carbon_g.mid == pytest.approx(300 * found.energy_kwh.mid)
    half = advise(facts({"g": [330.0] * 60}))
    assert "would mostly not be reached" in why(Kind.POWER_CAP, half)


def test_the_model_of_a_limit_agrees_with_published_runs_and_is_never_below_nothing() -> None:
    saved, slower = capped_at(0.8)
    assert saved.low < 0.136 < saved.high
    assert slower.low < 0.1 < slower.high
    for share in (0.3, 0.5, 0.6, 0.9, 1.0):
        saved, _ = capped_at(share)
        assert 0 <= saved.low <= saved.high < 1
    assert capped_at(1.0)[0].high == pytest.approx(0)


def test_a_gpu_far_below_its_peers_and_empty_gpus_are_seen() -> None:
    uneven = of(Kind.EVEN_LOAD, advise(facts({"a": [600.0] * 60, "b": [600.0] * 60, "c": [250.0] * 60})))
    assert "1 of 3 GPUs at 250 W beside 600 W" in uneven.evidence
    assert uneven.energy_kwh.high == pytest.approx(3 * 0.105 * (1 - 1450 / 3 / 600), rel=1e-6)
    empty = of(Kind.LARGER_BATCH, advise(facts({"g": [250.0] * 60}, idle_w=70.0)))
    assert empty.energy_kwh.high == pytest.approx(0.07 * (1 - 180 / 455), rel=1e-6)
    assert "(measured)" in empty.because


def test_a_dip_counts_from_one_minute_on_and_only_stretches_of_the_length_asked_for() -> None:
    dips = facts({"g": [650.0, 90.0, 650.0] * 20})
    assert of(Kind.LESS_IDLE, advise(dips)).energy_kwh.high == pytest.approx(20 * 90 / 60 / 1000), "a minute each"
    assert not dips.alone.below(200.0, at_least=timedelta(minutes=2)).any()


def test_a_throughput_curve_says_what_the_best_number_of_gpus_would_have_taken() -> None:
    run = Run(
        n=1,
        region="aa",
        submission_id="kw-a-1",
        phase=RunPhase.SUCCEEDED,
        created_at=T0,
        started_at=T0,
        ended_at=T0 + HOUR,
        gpus=4,
    )
    resources = {"gpus": {"min": 2, "max": 4}, "throughput": {2: 1.0, 4: 1.5}}
    made = facts({f"g{i}": [500.0] * 60 for i in range(4)}, runs=[run], resources=resources)
    found = of(Kind.ANOTHER_SIZE, advise(made))
    assert "2 GPUs" in found.what
    assert found.energy_kwh.high == pytest.approx(2.0 * (1 - (2 / 1.0) / (4 / 1.5)))
    assert "one size" in why(Kind.ANOTHER_SIZE, advise(facts({"g": [500.0] * 60})))


def test_restarts_and_work_done_twice_are_told_by_their_energy() -> None:
    ends = [T0 + 30 * MINUTE, T0 + 60 * MINUTE]
    runs = [
        Run(
            n=n,
            region="aa",
            submission_id=f"kw-a-{n}",
            phase=RunPhase.SUCCEEDED,
            created_at=start,
            started_at=start,
            ended_at=end,
            kept_until=end - 6 * MINUTE if n == 1 else None,
        )
        for n, start, end in ((1, T0, ends[0]), (2, ends[0], ends[1]))
    ]
    state = {"restart_s": 300.0, "checkpoint_period_s": 600.0}
    found = advise(facts({"g": [600.0] * 60}, runs=runs, state=state, checkpoint={"path": "/c"}))
    assert of(Kind.CHEAPER_RESTART, found).energy_kwh.high == pytest.approx(0.6 * 5 / 60)
    assert of(Kind.SHORTER_PERIOD, found).energy_kwh.mid == pytest.approx(0.6 * 6 / 60 / 2)


def test_other_terms_are_worth_what_the_best_schedule_under_them_saves() -> None:
    day = [400.0] * 8 + [100.0] * 4 + [400.0] * 12
    told = {"g": [600.0] * 60}
    short = {"deadline": (T0 + 6 * HOUR).isoformat()}
    found = advise(facts(told, grid={"aa": day, "bb": [250.0], "cc": [390.0]}, **short))
    later = of(Kind.LATER_DEADLINE, found)
    assert "6h later" in later.what and later.carbon_g is not None
    assert later.carbon_g.high == pytest.approx(0.6 * 300), "to where the clean hours are"
    assert later.energy_kwh.high == 0.0
    wider = of(Kind.MORE_REGIONS, found)
    assert "bb" in wider.what and "cc 6 g" in wider.evidence and wider.carbon_g is not None
    assert wider.carbon_g.high == pytest.approx(0.6 * 150)
    early = advise(facts(told, grid={"aa": day}, now_h=2, **short))
    assert "not yet" in why(Kind.LATER_DEADLINE, early)
    running = advise(facts(told, grid={"aa": day}, state={"phase": Phase.RUNNING}, **short))
    assert why(Kind.SUSPENDABLE, running) == "it has not ended"
    apart = [400.0, 400.0, 100.0, 400.0, 100.0, 400.0] * 4
    paused = of(Kind.SUSPENDABLE, advise(facts({"g": [600.0] * 120}, grid={"aa": apart})))
    assert paused.carbon_g is not None and paused.carbon_g.high > 0
