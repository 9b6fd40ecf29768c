"""A report from jobs, energy and intensity: a job's line is its own, and says why where it has no figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import find
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState, Phase, Run, RunPhase
from kilowait_scheduler.reports.baselines import mean_start, queue_for, run_now
from kilowait_scheduler.reports.build import build
from kilowait_scheduler.reports.measured import Measured
from kilowait_scheduler.reports.model import By, JobLine, Report
from one_job import measured_of

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
FAR = T0 + 1000 * HOUR
REGIONS = [
    Region(name=name, zone=name.upper(), address="http://127.0.0.1:1", capacity_gpus=8, pue=1.0)
    for name in ("aa", "bb")
]


@dataclass(frozen=True)
class Told:
    """A job in hours from T0: when it was submitted, when it may start, when it really ran; `ran` 0 is not at all."""

    id: str
    submitted: int
    began: int
    ran: int
    earliest: int | None = None
    gpus: int = 8
    region: str = "aa"
    phase: Phase = Phase.SUCCEEDED
    team: str = "nlp"


def measured(told: Told) -> Measured:
    begin, end = T0 + HOUR * told.began, T0 + HOUR * (told.began + told.ran)
    spec = {"name": told.id, "entrypoint": "python t.py", "resources": {"gpus": told.gpus}, "duration": "1h"}
    earliest = {} if told.earliest is None else {"earliest": (T0 + HOUR * told.earliest).isoformat()}
    run = Run(
        n=1,
        region=told.region,
        submission_id=f"kw-{told.id}-1",
        phase=RunPhase.SUCCEEDED if told.phase.final else RunPhase.RUNNING,
        created_at=begin,
        started_at=begin,
        ended_at=end if told.phase.final else None,
    )
    state = JobState(
        job_id=told.id,
        phase=told.phase,
        work_s=3600,
        suspendable=False,
        runs=(run,) if told.ran else (),
        finished_at=end if told.phase.final else None,
    )
    record = JobRecord(
        id=told.id,
        spec=parse_job({**spec, "deadline": FAR.isoformat(), "team": told.team, **earliest}),
        submitted_at=T0 + HOUR * told.submitted,
        home="aa",
        regions=("aa", "bb"),
        power_per_gpu_w=500,
        state=state,
    )
    ran = [EnergyInterval(begin, end, told.ran * MJ_PER_KWH, told.region)] if told.ran else []
    return measured_of(record, Course.of(ran))


def grid(hours: int = 400) -> dict[str, IntensitySeries]:
    """Every hour has its own intensity, so that a shift by one hour shows."""
    slots = {"aa": [300.0 + i for i in range(hours)], "bb": [50.0 + 2 * i for i in range(hours)]}
    return {
        name: IntensitySeries(
            zone=Zone(name.upper()),
            signal=AVERAGE_LIFECYCLE,
            source="test",
            slots=[Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), value) for i, value in enumerate(values)],
        )
        for name, values in slots.items()
    }


def report(
    jobs: Sequence[Told],
    *,
    start: datetime = T0,
    end: datetime = FAR,
    now: datetime = T0 + 400 * HOUR,
    team: str | None = None,
    by: By | None = None,
    baseline: Baseline = Baseline.RUN_NOW,
    intensity: Mapping[str, IntensitySeries] | None = None,
    regions: Sequence[Region] = REGIONS,
) -> Report:
    """The report as the server puts it together."""
    known = {told.id: measured(told) for told in jobs}
    queue = queue_for([job.record for job in known.values()], start=start, end=end)
    worked = {r.id: known[r.id].worked for r in queue}
    if baseline is Baseline.RUN_NOW:
        baselines = run_now(worked, queue=queue, regions=regions)
    else:
        baselines = mean_start(worked, queue=queue)
    return build(
        [known[r.id] for r in queue if start <= r.submitted_at < end],
        baselines=baselines,
        regions=regions,
        intensity=grid() if intensity is None else intensity,
        energy=[],
        meters={},
        now=now,
        start=start,
        end=end,
        signal="average lifecycle",
        team=team,
        by=by,
        baseline=baseline,
    )


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(By))
def test_groups_add_up_to_the_report_whatever_they_are_by(data: st.DataObject, by: By) -> None:
    jobs = data.draw(histories())
    found = report(jobs, by=by)
    assert [group.name for group in found.groups] == sorted({group.name for group in found.groups})
    for figure in ("jobs", "without_figures", "energy_kwh", "carbon_g", "baseline_g", "saved_g", "uncertainty_g"):
        parts = [getattr(group.totals, figure) for group in found.groups]
        assert sum(parts) == pytest.approx(getattr(found.totals, figure), abs=1e-6)
    for lever in ("time_shift_g", "region_shift_g", "resizing_g", "overheads_g"):
        parts = [getattr(group.totals.levers, lever) for group in found.groups]
        assert sum(parts) == pytest.approx(getattr(found.totals.levers, lever), abs=1e-6)


def test_figures_are_final_a_week_after_the_last_job_has_ended_and_not_before_it_has() -> None:
    ended = [Told("a", submitted=0, began=2, ran=2), Told("b", submitted=1, began=10, ran=3)]
    found = report(ended)
    assert line_of(found, "a").final_from == T0 + 4 * HOUR + timedelta(days=7)
    assert found.totals.final_from == T0 + 13 * HOUR + timedelta(days=7)
    running = Told("c", submitted=2, began=20, ran=3, phase=Phase.RUNNING)
    assert report([*ended, running]).totals.final_from is None


def test_against_the_mean_start_a_job_is_compared_with_all_moments_it_could_have_begun_at() -> None:
    told = Told("a", submitted=0, began=20, ran=2)
    job = measured(told)
    due = T0 + 12 * HOUR
    record = job.record.model_copy(update={"spec": job.record.spec.model_copy(update={"deadline": due})})
    (mean,) = mean_start({"a": 2 * HOUR}, queue=[record]).values()
    assert (mean.start, mean.slack, mean.end) == (T0, 10 * HOUR, due)
    found = report([told], baseline=Baseline.MEAN_START)
    assert (found.baseline_name, found.method[1]) == ("mean-start@1", "mean-start@1")
    assert "under mean-start@1" in line_of(found, "a").note, "its window is not over yet"
    after = report([told], baseline=Baseline.MEAN_START, now=FAR + HOUR, intensity=grid(1100))
    line = line_of(after, "a")
    # 300 + i in hour i: two hours begun evenly between 0 and 998 h later use 300 + 499 + 0.5 on average.
    assert line.baseline is not None and line.baseline.carbon_g == pytest.approx(2 * 799.5)
    assert line.levers is not None
    assert line.levers.time_shift_g + line.levers.region_shift_g + line.levers.overheads_g == pytest.approx(
        line.saved_g
    )


def test_embodied_carbon_and_sci_stand_beside_what_is_emitted() -> None:
    told = [Told("a", submitted=0, began=2, ran=2), Told("b", submitted=1, began=5, ran=3, region="bb")]
    typed = [region.model_copy(update={"gpu_type": "H100"}) for region in REGIONS]
    plain, found = report(told), report(told, regions=typed)
    assert plain.totals.embodied_g is None and plain.totals.sci_g_per_gpu_h is None, "not known is not nothing"
    assert found.totals.carbon_g == plain.totals.carbon_g
    line = line_of(found, "a")
    kg = find("H100", among=GPUS).embodied_kg
    assert line.gpu_h == 16
    assert line.embodied_g is not None and line.carbon_g is not None
    assert line.embodied_g.mid == pytest.approx(1000 * kg.mid * 16 / (4 * 8760))
    assert line.embodied_g.low == pytest.approx(1000 * kg.low * 16 / (6 * 8760))
    assert line.embodied_g.high == pytest.approx(1000 * kg.high * 16 / (3 * 8760))
    assert line.sci_g_per_gpu_h == pytest.approx((line.carbon_g + line.embodied_g.mid) / 16)
    totals = found.totals
    assert totals.embodied_g is not None
    assert totals.sci_g_per_gpu_h == pytest.approx((totals.carbon_g + totals.embodied_g.mid) / 40)


def test_jobs_are_put_together_by_team_project_where_they_ran_or_month() -> None:
    jobs = [
        Told("a", submitted=0, began=2, ran=2),
        Told("b", submitted=200, began=202, ran=3, region="bb", team="vision"),
        Told("c", submitted=201, began=0, ran=0, phase=Phase.WAITING),
    ]
    names = {by: [(group.name, group.totals.jobs) for group in report(jobs, by=by).groups] for by in By}
    assert names == {
        By.TEAM: [("nlp", 2), ("vision", 1)],
        By.PROJECT: [("default", 3)],
        By.REGION: [("aa", 1), ("bb", 1), ("not run yet", 1)],
        By.MONTH: [("2026-11", 1), ("2026-12", 2)],
    }
    assert report(jobs).groups == ()


def line_of(found: Report, job_id: str) -> JobLine:
    return next(line for line in found.jobs if line.id == job_id)


@st.composite
def histories(draw: st.DrawFn) -> list[Told]:
    jobs = []
    for number in range(draw(st.integers(1, 9))):
        submitted = draw(st.integers(0, 20))
        jobs.append(
            Told(
                id=f"j{number}",
                submitted=submitted,
                began=submitted + draw(st.integers(0, 12)),
                ran=draw(st.integers(0, 6)),
                earliest=draw(st.none() | st.integers(0, 30)),
                gpus=draw(st.sampled_from((2, 4, 8, 16))),
                region=draw(st.sampled_from(("aa", "bb"))),
                phase=draw(st.sampled_from((Phase.SUCCEEDED, Phase.RUNNING, Phase.FAILED))),
                team=draw(st.sampled_from(("nlp", "vision"))),
            )
        )
    return draw(st.permutations(jobs))


@settings(max_examples=80, deadline=None)
@given(histories(), st.integers(0, 20), st.integers(1, 21), st.sampled_from((None, "nlp")))
def test_the_line_of_a_job_is_the_same_in_every_report_whose_period_and_team_hold_it(
    jobs: list[Told], begin: int, length: int, team: str | None
) -> None:
    everything = {line.id: line for line in report(jobs).jobs}
    some = report(jobs, start=T0 + HOUR * begin, end=T0 + HOUR * (begin + length), team=team).jobs
    assert {line.id: line for line in some} == {line.id: everything[line.id] for line in some}
    held = {j.id for j in jobs if begin <= j.submitted < begin + length and team in (None, j.team)}
    assert {line.id for line in some} == held


def test_the_queue_before_the_period_still_holds_home() -> None:
    jobs = [Told("a", 0, 0, 4), Told("b", 1, 5, 2)]
    assert line_of(report(jobs, start=T0 + HOUR), "b").baseline_start == T0 + 4 * HOUR


def test_jobs_that_may_start_at_the_same_time_queue_by_submission_and_then_by_id() -> None:
    later_but_smaller_id = [Told("b", 0, 9, 1, earliest=8), Told("a", 1, 9, 1, earliest=8)]
    assert [line.baseline_start for line in report(later_but_smaller_id).jobs] == [T0 + 8 * HOUR, T0 + 9 * HOUR]
    together = [Told("d", 0, 9, 1), Told("c", 0, 9, 1)]
    found = report(together)
    assert [(line.id, line.baseline_start) for line in found.jobs] == [("c", T0), ("d", T0 + HOUR)]
    assert report(together[::-1]) == found


def test_a_baseline_that_ends_in_the_future_has_no_figure_yet_and_says_until_when() -> None:
    jobs = [Told("a", 0, 0, 4), Told("b", 0, 0, 4, region="bb")]
    early = line_of(report(jobs, now=T0 + 7 * HOUR), "b")
    assert (early.carbon_g, early.baseline, early.saved_g, early.provisional) == (None, None, None, True)
    assert early.baseline_start == T0 + 4 * HOUR
    assert early.note.startswith("not yet: under run-now@1 its work would go on until Mon 23 Nov 08:00 UTC")
    assert report(jobs, now=T0 + 7 * HOUR).totals.without_figures == 1
    done = line_of(report(jobs, now=T0 + 8 * HOUR), "b")
    assert done.note == "" and not done.provisional
    assert done.baseline is not None and done.baseline.carbon_g == pytest.approx(304 + 305 + 306 + 307)


@pytest.mark.parametrize(
    ("known", "words"), [("bb", "region aa"), ("aa", "region bb"), ("", "regions aa, bb")], ids=["home", "ran", "both"]
)
def test_a_region_without_intensity_is_named_in_a_sentence(known: str, words: str) -> None:
    intensity = {name: series for name, series in grid().items() if name == known}
    (line,) = report([Told("a", 0, 0, 4, region="bb")], intensity=intensity).jobs
    assert line.note == f"no figure yet: no intensity for {words}"
    assert line.carbon_g is None and line.provisional


def test_a_region_without_a_reading_in_the_period_drew_an_unknown_amount_and_not_nothing() -> None:
    lines = report([]).regions
    assert lines
    assert {(line.it_energy_kwh, line.idle_kwh, line.unattributed_kwh) for line in lines} == {(None, None, None)}


def test_values_that_do_not_reach_far_enough_are_told_as_the_series_tells_them() -> None:
    (line,) = report([Told("a", 0, 0, 4)], intensity=grid(hours=2)).jobs
    assert line.note.startswith("no figure yet: test: zone AA has values from")


def test_figures_stay_provisional_while_a_job_ahead_of_them_can_still_grow() -> None:
    ahead = Told("a", 0, 6, 2, phase=Phase.SUSPENDED)
    assert line_of(report([ahead, Told("b", 1, 1, 2)]), "b").provisional
    assert line_of(report([ahead, Told("b", 1, 1, 2)], start=T0 + HOUR), "b").provisional
    assert not line_of(report([Told("b", 0, 1, 2), Told("c", 1, 6, 2, phase=Phase.SUSPENDED)]), "b").provisional
    too_large = Told("a", 0, 6, 2, gpus=16, region="bb", phase=Phase.RUNNING)
    assert not line_of(report([too_large, Told("b", 1, 1, 2)]), "b").provisional, "it never held home's GPUs"
