"""Baselines of a report: static-clean queues where it was cleanest, policies choose on what was known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from hypothesis import given, settings

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_scheduler.core.policies import Chance, Choice, lowest_window
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.reports.baselines import Known, by_policy, run_now, static_clean

from .test_build import HOUR, REGIONS, T0, Told, grid, histories, measured

DAY = timedelta(days=1)


def recorded(**values: float) -> dict[str, IntensitySeries]:
    """Every region's value in all hours of the five days around T0."""
    known = grid(1)["aa"]
    return {
        name: IntensitySeries(
            zone=known.zone,
            signal=known.signal,
            source="test",
            slots=[Slot(T0 - 2 * DAY + HOUR * i, T0 - 2 * DAY + HOUR * (i + 1), value) for i in range(120)],
        )
        for name, value in values.items()
    }


def told(*jobs: Told) -> tuple[list[JobRecord], dict[str, timedelta]]:
    known = [measured(job) for job in jobs]
    return [job.record for job in known], {job.record.id: job.worked for job in known}


def test_static_clean_queues_in_the_region_that_was_cleanest_before_and_says_by_what() -> None:
    queue, worked = told(Told("a", 0, 5, 2), Told("b", 0, 9, 3))
    found = static_clean(worked, queue=queue, regions=REGIONS, intensity=recorded(aa=300.0, bb=120.0))
    assert {one.region for one in found.values()} == {"bb"}
    assert [found[name].start for name in "ab"] == [T0, T0 + 2 * HOUR], "bb has eight GPUs, too"
    assert found["a"].grounds == "means of 2d before 2026-11-23, PUE included, in g/kWh: aa 300, bb 120"


def test_static_clean_stays_at_home_where_nothing_is_known_of_elsewhere() -> None:
    queue, worked = told(Told("a", 0, 5, 2))
    found = static_clean(worked, queue=queue, regions=REGIONS, intensity=recorded(aa=300.0))
    assert found["a"].region == "aa"
    nothing = static_clean(worked, queue=queue, regions=REGIONS, intensity={})
    assert (nothing["a"].region, nothing["a"].grounds[:21]) == ("aa", "no intensity is known")


def since(days: float, value: float, *, last: float | None = None) -> IntensitySeries:
    """So many days before T0 and two after it; `last` in the hour before it."""
    known, hours = grid(1)["aa"], range(-round(24 * days), 48)
    slots = [Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), last if last and i == -1 else value) for i in hours]
    return IntensitySeries(zone=known.zone, signal=known.signal, source="test", slots=slots)


def test_static_clean_does_not_go_by_a_region_known_for_an_hour_and_says_so() -> None:
    queue, worked = told(Told("a", 0, 5, 2))
    regions = [*REGIONS, REGIONS[0].model_copy(update={"name": "cc"})]
    queue = [queue[0].model_copy(update={"regions": ("aa", "bb", "cc")})]
    known = {"aa": since(40, 350.0), "bb": since(40, 100.0, last=400.0), "cc": since(1 / 24, 300.0)}
    found = static_clean(worked, queue=queue, regions=regions, intensity=known)["a"]
    assert found.region == "bb"
    assert found.grounds.endswith("aa 350, bb 100; left out, as less than four weeks are known: cc")


def test_a_job_without_readings_took_its_gpus_all_the_same() -> None:
    ahead, behind = measured(Told("a", 0, 0, 10)), measured(Told("b", 0, 10, 2))
    found = run_now({"b": behind.worked}, queue=[ahead.record, behind.record], regions=REGIONS)
    assert set(found) == {"b"}
    assert found["b"].start == T0 + 10 * HOUR


def test_a_job_of_which_nothing_was_kept_holds_nobody_up_and_waits_for_nobody() -> None:
    regions = [region.model_copy(update={"capacity_gpus": 64}) for region in REGIONS]
    queue, worked = told(
        Told("a", 0, 0, 10, gpus=32, phase=Phase.RUNNING), Told("lost", 1, 1, 0, gpus=64), Told("c", 2, 2, 1)
    )
    found = run_now(worked, queue=queue, regions=regions)
    assert [found[name].start for name in ("lost", "c")] == [T0 + HOUR, T0 + 2 * HOUR]
    assert found["lost"].end == T0 + HOUR
    assert found["lost"].settled and not found["c"].settled, "what is ahead can still move the one, and not the other"


def forecast(values: Sequence[float]) -> Known:
    known = grid(1)["aa"]
    slots = [Slot(T0 + HOUR * i, T0 + HOUR * (i + 1), value) for i, value in enumerate(values)]
    series = IntensitySeries(zone=known.zone, signal=known.signal, source="test", slots=slots)
    return Known(T0 - HOUR, "test", series)


def test_a_policy_chooses_on_the_forecast_of_its_time_and_is_measured_on_what_came() -> None:
    queue, worked = told(Told("a", 0, 5, 2))
    due = T0 + 12 * HOUR
    queue = [queue[0].model_copy(update={"spec": queue[0].spec.model_copy(update={"deadline": due})})]
    lies = [500.0] * 6 + [10.0] * 2 + [500.0] * 10
    ways = {
        "on the forecast of 22 Nov 2026 23:00 UTC by test": forecast(lies),
        "on realised intensity, as the forecast of its time is not archived": None,
        "on realised intensity, as the forecast of its time ends before its deadline": forecast(lies[:9]),
    }
    for grounds, archived in ways.items():
        found, missing = by_policy(
            worked,
            queue=queue,
            policy=lowest_window,
            forecasts=True,
            intensity=grid(),
            archive=lambda _record, known=archived: known,  # type: ignore[misc]
        )
        assert missing == {}
        assert found["a"].grounds == grounds
        assert found["a"].start == T0 + (6 if grounds.startswith("on the forecast") else 0) * HOUR


def test_a_policy_does_not_see_what_came_before_the_forecast_of_its_time_begins() -> None:
    queue, worked = told(Told("a", 0, 5, 2))
    queue = [queue[0].model_copy(update={"spec": queue[0].spec.model_copy(update={"deadline": T0 + 12 * HOUR})})]
    for begins, grounds in (
        (1, "on the forecast of"),
        (2, "on realised intensity, as the forecast of its time begins"),
    ):
        known = forecast([500.0] * 20)
        late = replace(known, series=known.series.between(T0 + begins * HOUR, T0 + 20 * HOUR))
        found, _ = by_policy(
            worked,
            queue=queue,
            policy=lowest_window,
            forecasts=True,
            intensity=grid(),
            archive=lambda _record, late=late: late,  # type: ignore[misc]
        )
        assert found["a"].grounds.startswith(grounds)


def test_a_policy_that_would_have_to_know_what_is_not_known_has_no_baseline_and_says_why() -> None:
    queue, worked = told(Told("a", 0, 5, 2))
    found, missing = by_policy(
        worked, queue=queue, policy=lowest_window, forecasts=True, intensity=grid(10), archive=lambda _: None
    )
    assert found == {}
    assert missing["a"].startswith("no figure yet: the policy chooses on what came until its deadline: test: zone AA")


def at_once(chance: Chance, known: IntensitySeries) -> Choice:
    """Run-now under another name, where there is room for everyone."""
    return Choice(((chance.ready, chance.ready + chance.length),))


@settings(max_examples=40, deadline=None)
@given(histories())
def test_run_now_under_another_name_is_the_same_counterfactual(jobs: list[Told]) -> None:
    queue, worked = told(*jobs)
    found, _ = by_policy(
        worked, queue=queue, policy=at_once, forecasts=False, intensity=grid(1100), archive=lambda _: None
    )
    room = [region.model_copy(update={"capacity_gpus": 1000}) for region in REGIONS]
    expected = run_now(worked, queue=queue, regions=room)
    assert {name: (one.region, one.windows) for name, one in found.items()} == {
        name: (one.region, one.windows) for name, one in expected.items()
    }
