"""Levers that the power of a job's devices speaks for: a limit, less idling, an even load, fuller GPUs."""

from __future__ import annotations

import statistics

from kilowait_scheduler.core.ranges import Range

from .facts import Facts
from .lever import Confidence, Kind, Lever

# From here up a board is full, and a limit a fifth below its mean power cuts into the work; below half there is room.
_FULL_PER_TDP, _HALF_EMPTY_PER_TDP, _FILLED_PER_TDP = 0.6, 0.5, 0.75
_LIMIT_PER_MEAN = 0.8
# (part of the power that clocks do not change, exponent of power over clock, share of the time that follows the clock)
_CAP_CASES = ((0.4, 2.0, 1.0), (0.3, 2.5, 0.7), (0.2, 3.0, 0.4))
_FAR_BELOW = 0.6


def capped_at(share: float) -> tuple[Range, Range]:
    """(energy saved, time added) as shares of work whose power is limited to `share` of what it was.

    Power = fixed + (1 - fixed) x clock^exponent gives the clock; time = 1 + bound x (1/clock - 1); energy = share x
    time. At 0.8 that is 2, 12 and 17 % of the energy. Measured by others: 13.7 % on V100 limited to 150 of 250 W
    (McDonald et al. 2022), 13.6 % for 2.5 % more time (Chase, 2023).
    """
    saved, slower = [], []
    for fixed, exponent, bound in _CAP_CASES:
        clock = (max(share - fixed, 0.01) / (1 - fixed)) ** (1 / exponent)
        time = 1 + bound * (1 / clock - 1)
        saved.append(max(0.0, 1 - share * time))
        slower.append(time - 1)
    return Range(*sorted(saved)), Range(*sorted(slower))


def power_cap(facts: Facts) -> Lever | str:
    """A limit a fifth below the mean power of its work."""
    if facts.no_power:
        return facts.no_power
    gpu, working = facts.gpu, facts.working
    assert gpu is not None
    if working.mean_w < _FULL_PER_TDP * gpu.tdp_w:
        return f"{working.mean_w:.0f} W of {gpu.tdp_w:g} W in work: a limit would mostly not be reached"
    limit_w = 10 * round(_LIMIT_PER_MEAN * working.mean_w / 10)
    above = working.rows(working.power_w > limit_w)
    if not len(above):
        return "its power never rises above a limit that would be worth setting"
    saved, slower = capped_at(limit_w / above.mean_w)
    return facts.lever(
        Kind.POWER_CAP,
        f"limit its GPUs to {limit_w} W",
        above.course,
        saved,
        confidence=Confidence.MEDIUM,
        because="from a model of clocks and power that agrees with published runs; this job was not run under a limit",
        evidence=f"{working.mean_w:.0f} W mean in work, {gpu.short} may draw {gpu.tdp_w:g} W; above the limit in "
        f"{float(above.hours.sum()):.3g} of {float(facts.alone.hours.sum()):.3g} GPU-hours",
        how=f"`python -m kilowait_agents.power_limit --watts {limit_w}` on its nodes; work above the limit takes "
        f"{100 * slower.low:.0f} to {100 * slower.high:.0f} % longer, so look at its deadline",
    )


def less_idle(facts: Facts) -> Lever | str:
    """Stretches in which it held GPUs that did nothing."""
    if facts.no_power:
        return facts.no_power
    still = facts.still
    if not len(still):
        return "no GPU stood near idle for a minute or longer"
    hours, held = float(still.hours.sum()), float(facts.alone.hours.sum())
    return facts.lever(
        Kind.LESS_IDLE,
        "keep its GPUs from standing idle",
        still.course,
        Range(0.25, 0.5, 1.0),
        confidence=Confidence.MEDIUM,
        because="the idle time is measured; how much of it can go is our assumption (a quarter, half, all)",
        evidence=f"{hours:.3g} of {held:.3g} GPU-hours near idle ({still.mean_w:.0f} W) for a minute or longer",
        how="load and prepare data in other processes ahead of the step, start without GPUs what does not need them, "
        "evaluate and save beside the training; give GPUs back when the work is done",
    )


def even_load(facts: Facts) -> Lever | str:
    """Devices of a run that draw far less than their peers: all wait for the busiest."""
    if facts.no_power:
        return facts.no_power
    assert facts.gpu is not None
    lost_kwh, said, rows = 0.0, [], facts.working
    for name, run in rows.by_run():
        means = {d: run.rows(run.device == d).mean_w for d in sorted(set(run.device.tolist()))}
        middle = statistics.median(means.values())
        low = [mean for mean in means.values() if mean < _FAR_BELOW * middle]
        if len(means) < 3 or not low:
            continue
        part = 1 - min(1.0, statistics.fmean(means.values()) / middle)
        lost_kwh += min(1.0, facts.base_w / run.mean_w) * run.course.kwh * part
        said.append(f"{name}: {len(low)} of {len(means)} GPUs at {min(low):.0f} W beside {middle:.0f} W")
    if not said:
        return "no GPU of a run of three or more drew far less than its peers"
    return facts.lever(
        Kind.EVEN_LOAD,
        "spread its work evenly over its GPUs",
        rows.course,
        Range(0.0, 0.5, 1.0) * (lost_kwh / rows.course.kwh),
        confidence=Confidence.LOW,
        because=f"power is taken for work done, and {facts.base_w:.0f} W ({facts.base_source}) for what waiting draws",
        evidence="; ".join(said),
        how="look for a slow or badly cooled board, for unequal shards, pipeline stages or samples, or take fewer GPUs",
    )


def larger_batch(facts: Facts) -> Lever | str:
    """GPUs that draw less than half of what they may while they work: room for more work per step."""
    if facts.no_power:
        return facts.no_power
    gpu, working = facts.gpu, facts.working
    assert gpu is not None
    mean_w, base_w = working.mean_w, facts.base_w
    if not len(working) or mean_w <= base_w:
        return "it was never seen at work"
    if mean_w >= _HALF_EMPTY_PER_TDP * gpu.tdp_w:
        return f"{mean_w:.0f} W of {gpu.tdp_w:g} W in work do not speak for empty GPUs"
    time_kept = (mean_w - base_w) / (_FILLED_PER_TDP * gpu.tdp_w - base_w)
    return facts.lever(
        Kind.LARGER_BATCH,
        "give its GPUs more work per step",
        working.course,
        Range(0.0, 0.5, 1.0) * (base_w / mean_w * (1 - time_kept)),
        confidence=Confidence.LOW,
        because="power does not say why a GPU is not full, and neither memory nor precision is recorded; at most the "
        f"{base_w:.0f} W ({facts.base_source}) that it draws anyway are saved, for the time that is",
        evidence=f"{mean_w:.0f} W mean in work; a {gpu.short} may draw {gpu.tdp_w:g} W",
        how="a larger batch; where memory is full, mixed precision or activation checkpointing make room for it; check "
        "that the model still learns as well",
    )
