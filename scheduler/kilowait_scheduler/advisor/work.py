"""Levers that the course of a job's runs speaks for: another number of GPUs, cheaper restarts, less work done twice."""

from __future__ import annotations

from datetime import datetime, timedelta

from kilowait_scheduler.core.course import Course, to_us
from kilowait_scheduler.core.ranges import Range

from .facts import Facts
from .lever import Confidence, Kind, Lever, capped

Span = tuple[datetime, datetime]


def another_size(facts: Facts) -> Lever | str:
    """The one number of GPUs that takes least energy of those on which it meets its deadline."""
    record = facts.job.record
    if not record.elastic:
        return "it has one size; give `gpus` as a range with `throughput` to know of others"
    if facts.job.resized is None or not len(facts.job.resized.best):
        return "no run of it was measured yet"
    useful, _ = facts.job.useful_and_overhead
    best = facts.job.resized.best
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
    again, restart = begun[1:], timedelta(seconds=state.restart_s)
    spans: list[Span] = [(run.started_at, run.started_at + restart) for run in again if run.started_at is not None]
    spans += [
        (run.stop_wanted_at, run.ended_at)
        for run in begun
        if run.stop_wanted_at is not None and run.ended_at is not None
    ]
    spent = _within(facts.job.course, spans)
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
    begun = [run for run in state.runs if run.started_at is not None]
    last = max((run.n for run in begun), default=0)
    spans = [
        (run.kept_until, run.ended_at)
        for run in begun
        if run.n < last and run.kept_until is not None and run.ended_at is not None
    ]
    twice = _within(facts.job.course, spans)
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


def _within(course: Course, spans: list[Span]) -> Course:
    """The rows of a course in any of the spans."""
    bounds = [(to_us(start), to_us(end)) for start, end in spans if end > start]
    pieces = course.split(edge for span in bounds for edge in span)
    inside = pieces.start_us < pieces.start_us  # none yet
    for start_us, end_us in bounds:
        inside = inside | ((pieces.start_us >= start_us) & (pieces.end_us <= end_us))
    return pieces.rows(inside)
