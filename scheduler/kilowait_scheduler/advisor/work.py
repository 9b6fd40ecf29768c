"""Levers that the course of a job's runs speaks for: another number of GPUs, cheaper restarts, less work done twice."""

from __future__ import annotations

from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.overhead import Span, spans_lost, within
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.core.stack import Stack

from .facts import Facts
from .lever import Confidence, Kind, Lever, capped


def another_size(facts: Facts) -> Lever | str:
    """The one number of GPUs that takes least energy of those on which it meets its deadline."""
    record = facts.job.record
    if not record.elastic:
        return "it has one size; give `gpus` as a range with `throughput` to know of others"
    if facts.job.resized is None or not len(facts.job.resized.best):
        return "no run of it was measured yet"
    useful, best = facts.job.useful, facts.job.resized.best
    saved_kwh = useful.kwh - best.kwh
    if saved_kwh <= 0:
        return f"no one number of GPUs takes less energy than it took ({record.best_size} would be the best)"
    before, after = facts.carbon_of(useful), facts.carbon_of(best)
    share = Range(0.5, 0.8, 1.0)
    carbon = None
    if before is not None and after is not None and facts.carbon_g is not None:
        carbon = capped(share * max(0.0, before - after), facts.carbon_g)
    size = record.best_size
    return Lever(
        Kind.ANOTHER_SIZE,
        f"run it on {size} GPU{'s' if size > 1 else ''} throughout",
        capped(share * saved_kwh, facts.energy_kwh),
        carbon,
        Confidence.MEDIUM,
        "as good as the throughput curve that came with the job; fewer GPUs wait less for each other and draw more",
        f"its curve: {', '.join(f'{n} GPUs x{speed:.3g}' for n, speed in record.state.speeds.items())}; it "
        f"drew {useful.kwh:.4g} kWh for its work",
        f"`gpus: {size}`, or a range that ends there",
    )


def cheaper_restart(facts: Facts) -> Lever | str:
    """What coming back from a pause, and stopping for one, took."""
    state = facts.job.record.state
    begun = [run for run in state.runs if run.started_at is not None]
    if len(begun) < 2:
        return "it was never restarted"
    restarts, stops, _ = spans_lost(state.runs, restart_s=state.restart_s)
    spent = _within(facts, [*restarts, *stops])
    if not len(spent):
        return "its restarts took no energy that was measured"
    return facts.lever(
        Kind.CHEAPER_RESTART,
        "make its restarts cheaper",
        spent,
        Range(0.0, 0.5, 1.0),
        confidence=Confidence.MEDIUM,
        because=f"the energy is measured; that a restart takes {state.restart_s:.0f} s is what the job says, and how "
        "much of it can go is our assumption",
        evidence=f"{len(begun) - 1} restarts took {spent.kwh:.3g} kWh of {facts.energy_kwh:.4g} kWh",
        how="keep the container image and compiled kernels on the node, load the checkpoint in parallel and the data "
        "lazily, save fast on the stop signal",
    )


def shorter_period(facts: Facts) -> Lever | str:
    """Work that no checkpoint held and a later run did again."""
    state = facts.job.record.state
    if not facts.job.record.spec.suspendable:
        return "it keeps no checkpoints"
    _, _, spans = spans_lost(state.runs, restart_s=state.restart_s)
    twice = _within(facts, spans)
    if not len(twice):
        return (
            "no work was done twice; what saving a checkpoint takes is not recorded, so a longer period is not weighed"
        )
    return facts.lever(
        Kind.SHORTER_PERIOD,
        "save checkpoints more often",
        twice,
        Range(0.25, 0.5, 0.75),
        confidence=Confidence.MEDIUM,
        because="the energy is measured; half the period loses half as much on average, and saving more often takes "
        "some too",
        evidence=f"{twice.kwh:.3g} kWh of work was done again after {len(spans)} ends without a fresh checkpoint",
        how=f"halve `checkpoint.period` (now {state.checkpoint_period_s:.0f} s) and have the program save as often",
    )


def _within(facts: Facts, spans: list[Span]) -> Course:
    """What the job drew in any of the spans."""
    _, inside = within(Stack.of([facts.job.course]), [spans])
    return inside.rows
