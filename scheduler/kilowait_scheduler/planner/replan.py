"""From jobs, regions and forecasts at one moment to windows for every job, deadlines first.

The planning grid is tied to absolute multiples of the slot, so that a plan made again from the same knowledge is the
same plan. Work is placed with a reserve before the deadline (the runtime margin); where that does not fit, without it;
where even that does not fit, as early as GPUs allow: a late job still runs, and the answer says how late.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from kilowait_forecasters.forecast import Forecast
from kilowait_scheduler.core.job import Priority
from kilowait_scheduler.core.lifecycle import RunPhase
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.window import Window, joined

from .check import violations
from .insert import plan
from .problem import Floats, Placement, Plan, Problem, RegionSlots, Task
from .schedule import best

_PRIORITY = {Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1}
# Planned with where no source says anything about any region; above most grids, so that nobody takes it for clean.
_UNKNOWN_G_PER_KWH = 700.0
# Plans look no further than this, whatever the deadline: no forecast does, and time and memory grow with it.
HORIZON = timedelta(days=30)
_ASAP_G = 1e9  # price per slot of waiting that no carbon saving outweighs


@dataclass(frozen=True)
class Rules:
    """How to plan. `margin`: share of the work kept free before the deadline; `slot`: grid of the plan.

    `transfer_kwh_per_gb`: network energy of moving data, an assumption (published figures span 0.001 to 0.06).
    `wait_share_per_h`: what an hour of waiting costs, as a share of the job's run-now carbon: a tie-breaker by default.
    `hysteresis`: a new plan must beat the standing one by this share, so that jobs do not thrash.
    """

    slot: timedelta = timedelta(minutes=15)
    margin: float = 0.15
    transfer_kwh_per_gb: float = 0.02
    wait_share_per_h: float = 0.0002
    hysteresis: float = 0.01


@dataclass(frozen=True)
class Knowledge:
    """What is known at `now`. `forecasts` by zone; `down`: regions that do not answer and get nothing new.

    `gpus` says how many GPUs a cluster really has, where it told us, by region.
    """

    now: datetime
    regions: tuple[Region, ...]
    forecasts: Mapping[str, Forecast]
    down: frozenset[str] = frozenset()
    gpus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """What to do with one job, and the promise that goes with it; grams are on forecast intensity, PUE included."""

    record: JobRecord
    windows: tuple[Window, ...]
    reason: Reason
    detail: str
    carbon_g: float = 0.0
    carbon_p90_g: float = 0.0
    run_now_g: float = 0.0
    energy_kwh: float = 0.0
    late_by: timedelta | None = None


def replan(records: Sequence[JobRecord], *, known: Knowledge, rules: Rules) -> list[Decision]:
    """A decision for every record, in their order. Jobs without a possible window get none, and the reason why."""
    if not records:
        return []
    grid = _Grid(records, known=known, rules=rules)
    with_reserve = [grid.task(record, reserve=True) for record in records]
    made = plan(grid.problem(with_reserve))
    if made.unplaced:
        # Someone cannot have the reserve; only they give it up, the others keep their safe distance.
        short = {item.task.id for item in made.unplaced}
        tasks = [grid.task(r, reserve=r.id not in short) for r in records]
        made = plan(grid.problem(tasks))
    late: list[Placement] = []
    if made.unplaced:
        rest = [grid.late(item.task) for item in made.unplaced]
        late = _as_soon_as_possible(rest, made, grid.problem(rest))
    placed = {placement.task.id: placement for placement in (*made.placements, *late)}
    everything = Plan(tuple(placed.values()), (), 0.0)
    broken = violations(everything, grid.problem([placement.task for placement in placed.values()]))
    if broken:
        raise AssertionError(f"the planner broke its own rules: {'; '.join(broken[:3])}")
    why = {item.task.id: item for item in made.unplaced}
    decisions = []
    for record in records:
        placement = placed.get(record.id)
        if placement is None:
            item = why[record.id]
            decisions.append(Decision(record, (), item.reason, item.detail))
        else:
            decisions.append(grid.decide(record, placement, late=placement in late))
    return grid.settle(decisions)


def _as_soon_as_possible(tasks: Sequence[Task], made: Plan, problem: Problem) -> list[Placement]:
    free = {region.name: np.array(region.capacity, dtype=np.int64) for region in problem.regions}
    for placement in made.placements:
        for segment in placement.segments:
            free[segment.region][segment.start : segment.end] -= placement.task.gpus
    found: list[Placement] = []
    for task in sorted(tasks, key=lambda t: (not t.running, -t.priority, t.id)):
        earliest = best(task, problem, free)
        if earliest is None:
            continue
        for segment in earliest.segments:
            free[segment.region][segment.start : segment.end] -= task.gpus
        found.append(replace(earliest, waiting_g=0.0))
    return found


def _holds_gpus(record: JobRecord) -> bool:
    live = record.state.live_run
    return live is not None and live.phase is not RunPhase.STOPPING


def _filled(values: Floats, worst: float) -> Floats:
    """`values` with the unknown ones as dirty as the dirtiest known: a gap must attract nothing and stop nothing."""
    return np.where(np.isnan(values), np.nanmax(values) if np.isfinite(values).any() else worst, values)


class _Grid:
    """Translation between time and slots, regions and columns, for one round of planning."""

    def __init__(self, records: Sequence[JobRecord], *, known: Knowledge, rules: Rules) -> None:
        self.known, self.rules = known, rules
        step = rules.slot
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        self.start = epoch + ((known.now - epoch) // step) * step
        last = min(max(record.spec.due for record in records), known.now + HORIZON)
        work = max(record.state.work_left_s for record in records)
        tail = timedelta(seconds=2 * work) + timedelta(hours=6)  # room for jobs that end late
        wanted = max(last, known.now) + tail
        self.slots = max(0, -((self.start - wanted) // step))
        self.slot_h = step / timedelta(hours=1)
        self.blind: set[str] = set()
        self.signals = {r.name: known.forecasts[r.zone].signal for r in known.regions if r.zone in known.forecasts}
        edges = [self.start + step * index for index in range(self.slots + 1)]
        medians = {r.name: self._values(known.forecasts.get(r.zone), edges, top=False) for r in known.regions}
        highs = {r.name: self._values(known.forecasts.get(r.zone), edges, top=True) for r in known.regions}
        worst = max((float(np.nanmax(v)) for v in medians.values() if np.isfinite(v).any()), default=_UNKNOWN_G_PER_KWH)
        self.regions: list[RegionSlots] = []
        self.high: dict[str, np.ndarray] = {}
        for region in known.regions:
            grams, high = (_filled(values, worst) for values in (medians[region.name], highs[region.name]))
            if np.isnan(medians[region.name]).any():
                self.blind.add(region.name)
            capacity = min(region.capacity_gpus, known.gpus.get(region.name, region.capacity_gpus))
            column = np.full(self.slots, capacity, dtype=np.int64)
            self.regions.append(RegionSlots(region.name, grams * region.pue, column))
            self.high[region.name] = high * region.pue

    def _values(self, forecast: Forecast | None, edges: list[datetime], *, top: bool) -> Floats:
        """Mean g/kWh per slot; NaN where the forecast says nothing."""
        if forecast is None:
            return np.full(self.slots, np.nan)
        series = (forecast.high or forecast.series) if top else forecast.series
        begin = max(edges[0], series.start)
        if begin < edges[1] and series.covers(begin, edges[-1]):
            return np.array(series.means([begin, *edges[1:]]))
        spans = [(max(start, series.start), min(end, series.end)) for start, end in pairwise(edges)]
        return np.array([series.mean(a, b) if a < b and series.covers(a, b) else np.nan for a, b in spans])

    def problem(self, tasks: Sequence[Task]) -> Problem:
        return Problem(self.slot_h, self.slots, tuple(self.regions), tuple(tasks))

    def _slot_after(self, moment: datetime) -> int:
        return -((self.start - moment) // self.rules.slot)

    def task(self, record: JobRecord, *, reserve: bool) -> Task:
        """The job as slots. With `reserve` its deadline is drawn in by the runtime margin, at least one slot.

        Without it every minute counts: the part of the first slot that is over, and the last slot up to the deadline.
        """
        step, step_s = self.rules.slot, self.rules.slot.total_seconds()
        spec, state = record.spec, record.state
        left_s = state.time_left_s(self.known.now)
        work = max(1, math.ceil(left_s / step_s - 1e-6))
        due = (spec.due - self.start) // step
        running = _holds_gpus(record)
        ready = self._ready(record)
        earliest = self._slot_after(ready) if ready > self.known.now else 0
        if reserve:
            due -= max(1, math.ceil(self.rules.margin * work))
        else:
            earliest = (ready - self.start) // step
            over_s = (ready - self.start - earliest * step).total_seconds()
            work = max(1, math.ceil((over_s + left_s) / step_s - 1e-6))
            if earliest + work > due and ready + timedelta(seconds=left_s) <= spec.due:
                due = earliest + work
        ran_in = state.runs[-1].region if any(run.started_at for run in state.runs) or running else None
        allowed = self._allowed(record, ran_in=ran_in if running else None)
        # A resume occupies whole slots, but draws power for its own time only: the difference is taken off again.
        restart_slots = math.ceil(state.restart_s / step_s - 1e-6)
        restart_kwh = record.power_kw * (state.restart_s - restart_slots * step_s) / 3600
        return Task(
            id=record.id,
            gpus=record.gpus,
            kw_per_gpu=record.power_per_gpu_w / 1000,
            slots=work,
            earliest=earliest,
            deadline=min(due, self.slots),
            regions=allowed,
            suspendable=spec.suspendable,
            movable=spec.suspendable and len(allowed) > 1,
            restart_kwh=restart_kwh if spec.suspendable else 0.0,
            restart_slots=restart_slots if spec.suspendable else 0,
            relocation_g=self._relocation_g(record, allowed),
            wait_g_per_slot=self._wait_g(record, work),
            priority=_PRIORITY[spec.priority],
            ran_in=ran_in if spec.suspendable or running else None,
            running=running,
        )

    def _ready(self, record: JobRecord) -> datetime:
        """From when on the job may hold GPUs: now, unless it is not to start yet."""
        if _holds_gpus(record):
            return self.known.now
        waits = (record.spec.earliest, record.state.not_before)
        return max([self.known.now, *(moment for moment in waits if moment is not None)])

    def late(self, task: Task) -> Task:
        """The same work without a deadline, as early as possible and in one go."""
        return replace(task, deadline=self.slots, wait_g_per_slot=_ASAP_G)

    def _allowed(self, record: JobRecord, *, ran_in: str | None) -> tuple[str, ...]:
        """Home first, so that ties stay at home. A region that is down is left out unless nothing else is left.

        So is one whose intensity is of another signal than home's: such numbers must not be compared.
        """
        of_home = self.signals.get(record.home)
        order = sorted(record.regions, key=lambda name: name != record.home)
        if of_home is not None:
            order = [name for name in order if self.signals.get(name, of_home) == of_home or name == ran_in] or order
        up = [name for name in order if name not in self.known.down or name == ran_in]
        return tuple(up or order)

    def _relocation_g(self, record: JobRecord, allowed: tuple[str, ...]) -> dict[str, float]:
        data = record.spec.data
        if data is None or data.size_gb == 0:
            return {}
        energy_kwh = data.size_gb * self.rules.transfer_kwh_per_gb
        return {
            region.name: energy_kwh * float(region.g_per_kwh.mean())
            for region in self.regions
            if region.name in allowed and region.name not in (data.at or (record.home,))
        }

    def _wait_g(self, record: JobRecord, work: int) -> float:
        home = next((region for region in self.regions if region.name == record.home), None)
        if home is None or self.slots == 0:
            return 0.0
        now_g = record.power_kw * self.slot_h * float(np.maximum(home.g_per_kwh[:work], 0).sum())
        return now_g * self.rules.wait_share_per_h * self.slot_h

    def run_now_g(self, record: JobRecord) -> float:
        """Forecast carbon of the work left if it ran at home from now on without a pause (no queue considered)."""
        home = next((region for region in self.regions if region.name == record.home), None)
        work = max(1, math.ceil(record.state.time_left_s(self.known.now) / self.rules.slot.total_seconds() - 1e-6))
        if home is None or len(home.g_per_kwh) < work:
            return 0.0
        return record.power_kw * self.slot_h * float(home.g_per_kwh[:work].sum())

    def decide(self, record: JobRecord, placement: Placement, *, late: bool) -> Decision:
        placed = joined(
            Window(
                region=segment.region,
                start=self.start + self.rules.slot * segment.start,
                end=self.start + self.rules.slot * segment.end,
                gpus=record.gpus,
            )
            for segment in placement.segments
        )
        windows = self._trimmed(record, placed, late=late)
        energy_kwh = placement.restarts * placement.task.restart_kwh
        p90 = 0.0
        for segment in placement.segments:
            energy_kwh += record.power_kw * self.slot_h * (segment.end - segment.start)
            p90 += record.power_kw * self.slot_h * float(self.high[segment.region][segment.start : segment.end].sum())
        ends = self._ends(record, placement, windows)
        late_by = ends - record.spec.due if late and ends > record.spec.due else None
        reason, detail = self._explain(record, windows, late_by)
        blind = sorted({window.region for window in windows} & self.blind)
        return Decision(
            record=record,
            windows=windows,
            reason=reason,
            detail=f"{detail}; planned without a full forecast for {', '.join(blind)}" if blind else detail,
            carbon_g=placement.carbon_g,
            carbon_p90_g=max(p90, placement.carbon_g),
            run_now_g=self.run_now_g(record),
            energy_kwh=energy_kwh,
            late_by=late_by,
        )

    def _trimmed(self, record: JobRecord, windows: tuple[Window, ...], *, late: bool) -> tuple[Window, ...]:
        """Windows without the parts of their outer slots in which the job may not run."""
        first, last = windows[0], windows[-1]
        ready, due = self._ready(record), record.spec.due
        if first.start < ready and ready > self.known.now:
            windows = (first.model_copy(update={"start": ready}), *windows[1:])
        if not late and last.end > due:
            windows = (*windows[:-1], windows[-1].model_copy(update={"end": due}))
        return windows

    def _ends(self, record: JobRecord, placement: Placement, windows: tuple[Window, ...]) -> datetime:
        """When the work is done in these windows, which are whole slots and thus mostly a little too long."""
        restart = timedelta(seconds=record.state.restart_s)
        left = timedelta(seconds=record.state.time_left_s(self.known.now))
        left += restart * (placement.restarts - len(placement.segments) + 1)
        for window in windows[:-1]:
            begin = max(window.start, self.known.now)
            if begin + left <= window.end:
                return begin + left
            left += restart - (window.end - begin)
        return max(windows[-1].start, self.known.now) + left

    def _explain(self, record: JobRecord, windows: tuple[Window, ...], late_by: timedelta | None) -> tuple[Reason, str]:
        first = windows[0]
        place = f"in {first.region}"
        if late_by is not None:
            return Reason.CAPACITY_TAKEN, f"cannot make its deadline; late by {late_by}, runs as soon as it can"
        then, here = self._mean_g(first.region, first.start, first.end), self._mean_g(record.home, self.known.now)
        at = f"{then:.0f} g/kWh" if then is not None else "intensity unknown: no source answers for its grid"
        if record.state.live_run is not None:
            return Reason.RUNNING_AS_PLANNED, f"{place} at {at}"
        if first.start <= self.known.now:
            return Reason.STARTS_NOW, f"{place} at {at}: no cleaner window before its deadline"
        start = first.start.strftime("%a %H:%M")
        now = f"{here:.0f} at home now" if here is not None else "unknown at home now"
        return Reason.WAITING_FOR_WINDOW, f"until {start} UTC {place}: {at} then, {now}"

    def _mean_g(self, name: str, start: datetime, end: datetime | None = None) -> float | None:
        """Forecast g/kWh in a region over [start, end), or at `start`; None where nothing is known."""
        region = next((region for region in self.known.regions if region.name == name), None)
        forecast = self.known.forecasts.get(region.zone) if region else None
        if forecast is None:
            return None
        series = forecast.series
        begin, stop = max(start, series.start), end or start + timedelta(microseconds=1)
        return series.mean(begin, stop) if begin < stop and series.covers(begin, stop) else None

    def settle(self, decisions: list[Decision]) -> list[Decision]:
        """Keep every job's standing windows where the new plan as a whole gains too little to be worth a change."""
        standing = [self._standing_g(decision.record) for decision in decisions]
        if any(grams is None for grams in standing) or self._overfull(decisions):
            return decisions
        old = sum(grams for grams in standing if grams is not None)
        new = sum(decision.carbon_g for decision in decisions)
        if new < old * (1 - self.rules.hysteresis) or (new <= old * (1 + 1e-9) and self._sooner(decisions)):
            return decisions
        kept = []
        for decision, grams in zip(decisions, standing, strict=True):
            assert grams is not None
            windows = self._ahead(decision.record)
            reason, detail = self._explain(decision.record, windows, None)
            p90 = max(decision.carbon_p90_g, grams)
            kept.append(
                replace(decision, windows=windows, reason=reason, detail=detail, carbon_g=grams, carbon_p90_g=p90)
            )
        return kept

    def _ahead(self, record: JobRecord) -> tuple[Window, ...]:
        """The standing windows that are not over."""
        return tuple(window for window in record.state.windows if window.end > self.known.now)

    def _overfull(self, decisions: list[Decision]) -> bool:
        """Whether the standing windows need more GPUs than a region has by now."""
        standing = [window for decision in decisions for window in self._ahead(decision.record)]
        capacity = {region.name: int(region.capacity.min()) for region in self.regions if self.slots}
        return any(
            sum(other.gpus for other in standing if other.region == window.region and other.contains(at))
            > capacity.get(window.region, 0)
            for window in standing
            for at in (max(window.start, self.known.now),)
        )

    def _sooner(self, decisions: list[Decision]) -> bool:
        """Whether the new windows, taken together, end earlier than the standing ones: GPUs have become free."""
        ahead = [d.record.state.windows[-1].end - d.windows[-1].end for d in decisions if d.windows]
        return sum(ahead, timedelta(0)) >= self.rules.slot

    def _standing_g(self, record: JobRecord) -> float | None:
        """Forecast carbon of the windows the job has already; None where they no longer do."""
        windows = self._ahead(record)
        live = record.state.live_run
        if not windows or any(w.region in self.known.down for w in windows if live is None or w.region != live.region):
            return None
        if live is None and windows[0].start <= self.known.now:
            return None
        if live is not None and (windows[0].region != live.region or windows[0].start > self.known.now):
            return None
        grams = length = 0.0
        rates = {region.name: region for region in self.known.regions}
        for window in windows:
            region = rates.get(window.region)
            if region is None or window.region not in record.regions:
                return None
            begin = max(window.start, self.start)
            mean_g = self._mean_g(window.region, begin, window.end)
            if mean_g is None:
                return None
            hours = (window.end - begin) / timedelta(hours=1)
            grams += record.power_kw * hours * region.pue * mean_g
            length += hours * 3600
        overhead = record.state.restart_s * (len(windows) - (1 if live is not None or not record.state.runs else 0))
        if length + 1e-6 < record.state.time_left_s(self.known.now) + overhead or windows[-1].end > record.spec.due:
            return None
        return grams
