"""Picks regions, a start and jobs for which the planner itself decides to delay, to move and to suspend.

Nothing is staged: candidates are put to the planner on the very data the demonstration runs on, and the one that shows
most is taken. Where the data hold no reason to suspend (a flat grid), a person's `suspend` does it, and that is said.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.duration import parse_duration
from kilowait_scheduler.core.job import JobSpec, parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState
from kilowait_scheduler.planner.knowledge import Decision, Knowledge, Rules
from kilowait_scheduler.planner.replan import replan

HOUR = timedelta(hours=1)
REGION_NAMES = ("north", "south")
POWER_W = 400.0
GPUS_PER_REGION = 12
_HORIZON = timedelta(hours=22)
_FINALISTS = 4  # scouting is done on hours; this many are looked at again on the slots that will be planned on
# Whoever shows a move in mid-run and a suspension, on a slow machine too, scores above this, and nobody else: each
# counts 10, a job that only starts elsewhere 6, less what a slow machine would not show, all else below 4.
_ALL_SHOWN = 20.0
# How much longer a start takes on a busy machine, which is to show the same; and on one where nothing goes as planned.
_SLOW, _VERY_SLOW = 1.6, 4.0
# What starting a run on a local Ray head and coming to the first step costs, in real seconds.
START_S = 3.0


@dataclass(frozen=True)
class Part:
    """One job of the play: what it shows, its job file, and whether a person has to suspend it."""

    shows: str
    job: dict[str, Any]
    by_hand: bool = False


@dataclass(frozen=True)
class Scenario:
    """Two regions, the grid time at which the play begins, and its jobs."""

    regions: tuple[Region, Region]
    start: datetime
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class _Stage:
    regions: tuple[Region, Region]
    known: Knowledge
    rules: Rules
    start_cost: timedelta

    def decide(self, job: dict[str, Any]) -> Decision:
        spec = parse_job(job).resolved(self.known.now)
        return replan([_record(spec, self.known.now)], known=self.known, rules=self.rules)[0]

    def decide_slowly(self, job: dict[str, Any], times: float) -> Decision:
        """What would become of `job` on a machine on which every start takes so many times as long."""
        spec = parse_job(job).resolved(self.known.now)
        late = self.start_cost * (times - 1)
        record = _record(spec, self.known.now)
        slower = {
            "work_s": record.state.work_s + late.total_seconds(),
            "restart_s": record.state.restart_s + late.total_seconds(),
            "not_before": self.known.now + late,
        }
        record = record.model_copy(update={"state": record.state.model_copy(update=slower)})
        return replan([record], known=self.known, rules=self.rules)[0]


async def choose(
    cascade: Cascade,
    *,
    zones: Sequence[str],
    starts: Sequence[datetime],
    speed: float,
    using: Rules,
    candidates: int = 80,
) -> Scenario:
    """The one of so many candidates that shows and saves most. Raises ForecastersError if there is none.

    Where none yet moves one job while it runs and suspends another, it looks at up to three times as many. It counts
    and does not look at the clock: a slow machine is to show the same play.
    """
    start_cost = timedelta(seconds=START_S) * speed
    coarse = replace(using, slot=HOUR)
    scouted: list[tuple[float, _Stage]] = []
    for seen, (zone_a, zone_b, start) in enumerate(_candidates(zones, starts)):
        enough = seen >= candidates and max((score for score, _ in scouted), default=0.0) > _ALL_SHOWN
        if scouted and (enough or seen >= 3 * candidates):
            break
        try:
            forecasts = {zone: await _forecast(cascade, zone, start) for zone in (zone_a, zone_b)}
        except ForecastersError:
            continue
        regions = (_region(REGION_NAMES[0], zone_a), _region(REGION_NAMES[1], zone_b))
        stage = _Stage(regions, Knowledge(now=start, regions=regions, forecasts=forecasts), coarse, start_cost)
        scouted.append((_compose(stage)[0], stage))
    if not scouted:
        raise ForecastersError("no zone has 44 hours of intensity in one piece; give longer recordings")
    finalists = sorted(scouted, key=lambda item: -item[0])[:_FINALISTS]
    return max((_compose(replace(stage, rules=using)) for _, stage in finalists), key=lambda item: item[0])[1]


async def _forecast(cascade: Cascade, zone: str, start: datetime) -> Forecast:
    answer = await cascade.forecast(Zone(zone), now=start, until=start + 2 * _HORIZON)
    answer.forecast.series.mean(start, start + 2 * _HORIZON)  # raises where it has holes
    return answer.forecast


def _candidates(zones: Sequence[str], starts: Sequence[datetime]) -> Iterator[tuple[str, str, datetime]]:
    """Pairs of zones and starts, spread so that a few already cover the whole range."""
    pairs = list(itertools.permutations(zones, 2)) if len(zones) > 1 else [(zones[0], zones[0])]
    stride = max(1, int(len(starts) * 0.382)) | 1
    while len(starts) % stride == 0 and stride > 1:
        stride -= 1
    order = [starts[(index * stride) % len(starts)] for index in range(len(starts))]
    for index, start in enumerate(order):
        for offset in range(min(len(pairs), 6)):
            a, b = pairs[(index * 7 + offset * 5) % len(pairs)]
            yield a, b, start


def _compose(stage: _Stage) -> tuple[float, Scenario]:
    """The most telling job for each role on this stage, and how telling they are together."""
    now = Part("must run now", _job("hotfix", stage, hours=1.5, within=3.5, home=0, regions=(0,), gpus=2))
    delayed, delayed_score = _best_delayed(stage)
    moved, moved_score = _best_moved(stage)
    suspended, suspended_score = _best_suspended(stage)
    scenario = Scenario(stage.regions, stage.known.now, (now, delayed, moved, suspended))
    hours = max(_hours(part.job["within"]) for part in scenario.parts)
    return delayed_score + moved_score + suspended_score - 0.01 * hours, scenario


def _best_delayed(stage: _Stage) -> tuple[Part, float]:
    found = Part("delayed", _job("nightly-finetune", stage, hours=2, within=14, home=0, regions=(0,), gpus=4))
    score = 0.0
    for home in (0, 1):
        job = _job("nightly-finetune", stage, hours=2, within=14, home=home, regions=(home,), gpus=4)
        decision = stage.decide(job)
        wait = decision.windows[0].start - stage.known.now if decision.windows else timedelta(0)
        if wait >= 1.5 * HOUR and _saved(decision) > score:
            found, score = Part("delayed", job), _saved(decision)
    return found, score + (0.2 if score > 0 else 0.0)


def _best_moved(stage: _Stage) -> tuple[Part, float]:
    found = Part("moved", _job("pretrain-shard", stage, hours=4, within=14, home=0, regions=(0, 1), gpus=4, saves=True))
    score = -1.0
    for home, hours, within in itertools.product((0, 1), (4,), (10, 14)):
        both = (home, 1 - home)
        job = _job("pretrain-shard", stage, hours=hours, within=within, home=home, regions=both, gpus=4, saves=True)
        decision = stage.decide(job)
        visited = _regions(decision)
        if not visited or set(visited) == {stage.regions[home].name}:
            continue
        shown = 10.0 if len(set(visited)) == len(visited) == 2 else 6.0
        if _regions(stage.decide_slowly(job, _SLOW)) != visited:
            shown *= 0.5
        elif _regions(stage.decide_slowly(job, _VERY_SLOW))[-1:] in ([], [stage.regions[home].name]):
            shown *= 0.8
        value = _saved(decision) + shown
        if value > score:
            found, score = Part("moved", job), value
    return found, max(score, 0.0)


def _best_suspended(stage: _Stage) -> tuple[Part, float]:
    score = 0.0
    found: Part | None = None
    for home, hours, within in itertools.product((0, 1), (3, 5), (12, 16, 20)):
        job = _job("reward-model", stage, hours=hours, within=within, home=home, regions=(home,), gpus=4, saves=True)
        decision = stage.decide(job)
        gap = decision.windows[1].start - decision.windows[0].end if len(decision.windows) == 2 else timedelta(0)
        long_enough = gap >= 1.5 * HOUR and min(w.duration for w in decision.windows) >= HOUR
        if not long_enough:
            continue
        value = _saved(decision) + 10.0 * (1.0 if len(stage.decide_slowly(job, _SLOW).windows) == 2 else 0.5)
        if value > score:
            found, score = Part("suspended and resumed", job), value
    if found is None:
        job = _job("reward-model", stage, hours=4, within=17, home=1, regions=(1,), gpus=4, saves=True)
        return Part("suspended and resumed (by hand: this grid gives no reason to)", job, by_hand=True), 0.0
    return found, score


def _regions(decision: Decision) -> list[str]:
    return [window.region for window in decision.windows]


def _hours(text: str) -> float:
    return parse_duration(text) / HOUR


def _saved(decision: Decision) -> float:
    return 1 - decision.carbon_g / decision.run_now_g if decision.run_now_g > 0 else 0.0


def _job(
    name: str,
    stage: _Stage,
    *,
    hours: float,
    within: float,
    home: int,
    regions: tuple[int, ...],
    gpus: int,
    saves: bool = False,
) -> dict[str, Any]:
    names = [region.name for region in stage.regions]
    job: dict[str, Any] = {
        "name": name,
        "entrypoint": "python train.py",
        "resources": {"gpus": gpus},
        "duration": f"{round((hours * HOUR + stage.start_cost).total_seconds())}s",
        "within": f"{round(within * 3600)}s",
        "power_per_gpu_w": POWER_W,
        "regions": {"home": names[home], "any_of": [names[index] for index in regions]},
        "team": "research",
    }
    if saves:
        restart = f"{round(stage.start_cost.total_seconds())}s"
        job["checkpoint"] = {"path": "checkpoints", "period": "5m", "grace": "10s", "restart": restart}
    return job


def _region(name: str, zone: str) -> Region:
    return Region(name=name, zone=zone, address="http://127.0.0.1:1", capacity_gpus=GPUS_PER_REGION, pue=1.1)


def _record(spec: JobSpec, now: datetime) -> JobRecord:
    assert spec.regions is not None and spec.duration is not None
    checkpoint = spec.checkpoint
    return JobRecord(
        id=spec.name,
        spec=spec,
        submitted_at=now,
        home=spec.regions.home,
        regions=spec.regions.any_of,
        power_per_gpu_w=spec.power_per_gpu_w or POWER_W,
        state=JobState(
            job_id=spec.name,
            work_s=spec.duration.total_seconds(),
            suspendable=spec.suspendable,
            restart_s=checkpoint.restart.total_seconds() if checkpoint else 0.0,
        ),
    )
