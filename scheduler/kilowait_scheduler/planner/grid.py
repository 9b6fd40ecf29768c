"""Between time and slots: jobs and regions as a planning problem, its placements as windows with a promise.

The grid is tied to absolute multiples of the slot, so that a plan made again from the same knowledge is the same plan.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np

from kilowait_forecasters.forecast import Forecast
from kilowait_scheduler.core.duration import format_duration
from kilowait_scheduler.core.job import Priority
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import RunPhase
from kilowait_scheduler.core.window import Window, joined

from .joint import Start
from .knowledge import HORIZON, Decision, Knowledge, Rules, Standing
from .problem import Floats, Placement, Pool, Prices, Problem, Segment, Size, Task

_PRIORITY = {Priority.LOW: -1, Priority.NORMAL: 0, Priority.HIGH: 1}
# Planned with where no source says anything about any region; above most grids, so that nobody takes it for clean.
_UNKNOWN_G_PER_KWH = 700.0
_ASAP_G = 1e9  # price per slot of waiting that no carbon saving outweighs
_AGING = timedelta(days=1)  # a job that has waited this long since it was submitted waits at twice the price


def holds_gpus(record: JobRecord) -> bool:
    """Whether a run of the job has GPUs that it keeps unless the plan takes them."""
    live = record.state.live_run
    return live is not None and live.phase is not RunPhase.STOPPING


def _filled(values: Floats, worst: float) -> Floats:
    """`values` with the unknown ones as dirty as the dirtiest known: a gap must attract nothing and stop nothing."""
    return np.where(np.isnan(values), np.nanmax(values) if np.isfinite(values).any() else worst, values)


class Grid:
    """Translation between time and slots, regions and columns, for one round of planning."""

    def __init__(
        self, records: Sequence[JobRecord], *, known: Knowledge, rules: Rules, beyond: timedelta = timedelta(0)
    ) -> None:
        """`beyond`: how far past the last deadline to look, for questions about later ones."""
        self.known, self.rules = known, rules
        step = rules.slot
        epoch = datetime(1970, 1, 1, tzinfo=UTC)
        self.start = epoch + ((known.now - epoch) // step) * step
        last = min(max(record.spec.due for record in records), known.now + HORIZON)
        work = max(record.state.work_left_s for record in records)
        tail = timedelta(seconds=2 * work) + timedelta(hours=6)  # room for jobs that end late
        wanted = max(last, known.now) + max(tail, beyond)
        self.slots = max(0, -((self.start - wanted) // step))
        self.slot_h = step / timedelta(hours=1)
        self.blind: set[str] = set()
        self.signals = {r.name: known.forecasts[r.zone].signal for r in known.regions if r.zone in known.forecasts}
        edges = [self.start + step * index for index in range(self.slots + 1)]
        medians = {r.name: self._values(known.forecasts.get(r.zone), edges, top=False) for r in known.regions}
        highs = {r.name: self._values(known.forecasts.get(r.zone), edges, top=True) for r in known.regions}
        worst = max((float(np.nanmax(v)) for v in medians.values() if np.isfinite(v).any()), default=_UNKNOWN_G_PER_KWH)
        self.pools: list[Pool] = []
        self.high: dict[str, np.ndarray] = {}
        for region in known.regions:
            grams, high = (_filled(values, worst) for values in (medians[region.name], highs[region.name]))
            if np.isnan(medians[region.name]).any():
                self.blind.add(region.name)
            capacity = min(region.capacity_gpus, known.gpus.get(region.name, region.capacity_gpus))
            column = np.full(self.slots, capacity, dtype=np.int64)
            tariff = region.tariff
            price = np.full(self.slots, float(tariff.per_kwh) * region.pue) if tariff is not None else None
            self.pools.append(Pool(region.name, grams * region.pue, column, price_g_per_kwh=price))
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
        return Problem(self.slot_h, self.slots, tuple(self.pools), tuple(tasks), dict(self.known.budgets_g))

    def _slot_after(self, moment: datetime) -> int:
        return -((self.start - moment) // self.rules.slot)

    def task(self, record: JobRecord, *, reserve: bool) -> Task:
        """The job as slots. With `reserve` its deadline is drawn in by the runtime margin, at least one slot.

        Without it every minute counts: the part of the first slot that is over, and the last slot up to the deadline.
        """
        step, step_s = self.rules.slot, self.rules.slot.total_seconds()
        spec, state = record.spec, record.state
        sizes = record.sizes
        fastest = max(state.speed_on(size) for size in sizes)
        left_s = self._left_s(record)
        work = self._slots_of(record, left_s)
        due = (spec.due - self.start) // step
        running = holds_gpus(record)
        ready = self._ready(record)
        earliest = self._slot_after(ready) if ready > self.known.now else 0
        if reserve:
            margin = self.known.margins.get(spec.name, self.rules.margin)
            due -= max(1, math.ceil(margin * work / state.speed_on(record.gpus)))
        else:
            earliest = (ready - self.start) // step
            over_s = (ready - self.start - earliest * step).total_seconds()
            work = self._slots_of(record, over_s * fastest + left_s)
            in_time = self._in_time(record, left_s=left_s, ready=ready)
            least = math.ceil(work / max((state.speed_on(size) for size in in_time), default=fastest) - 1e-9)
            if earliest + least > due and in_time:
                due, sizes = earliest + least, in_time
        if len(sizes) == 1:
            work = math.ceil(work / state.speed_on(sizes[0]) - 1e-6) * state.speed_on(sizes[0])
        ran_in = state.runs[-1].region if any(run.started_at for run in state.runs) or running else None
        allowed = self._allowed(record, ran_in=ran_in if running else None)
        weight = self._price_factor(record, allowed)
        # A resume occupies whole slots, but draws power for its own time only: the difference is taken off again.
        restart_slots = math.ceil(state.restart_s / step_s - 1e-6)
        # Of an elastic job that of its fewest GPUs, so that a restart on more is a little dearer here than it is.
        restart_kwh = record.power_kw(record.sizes[0]) * (state.restart_s - restart_slots * step_s) / 3600
        caution_kwh = record.power_kw(record.gpus) * (self.rules.restart_weight - 1) * state.restart_s / 3600
        live = state.live_run if running else None
        return Task(
            id=record.id,
            sizes=tuple(Size(size, record.power_kw(size), state.speed_on(size)) for size in sizes),
            work=work,
            earliest=earliest,
            deadline=min(due, self.slots),
            regions=allowed,
            suspendable=spec.suspendable,
            movable=spec.suspendable and (len(allowed) > 1 or record.elastic),
            resize_restarts=record.elastic,
            restart_kwh=restart_kwh if spec.suspendable else 0.0,
            restart_slots=restart_slots if spec.suspendable else 0,
            caution_kwh=caution_kwh if spec.suspendable else 0.0,
            relocation_g=self._relocation_g(record, allowed),
            relocation_slots=self._relocation_slots(record, allowed),
            wait_g_per_slot=self._wait_g(record, work, weight),
            price_factor=weight,
            priority=_PRIORITY[spec.priority],
            ran_in=ran_in if spec.suspendable or running else None,
            ran_gpus=record.gpus_of(live) if live is not None else None,
            running=running,
            stays=running,
            budget=self.known.budget_of.get(record.id),
        )

    def _in_time(self, record: JobRecord, *, left_s: float, ready: datetime) -> tuple[int, ...]:
        """The numbers of GPUs on which it ends by its deadline if it goes on, or begins, at once."""
        state, live = record.state, record.state.live_run
        sizes = record.sizes if live is None or not holds_gpus(record) else (record.gpus_of(live),)
        return tuple(n for n in sizes if ready + timedelta(seconds=left_s / state.speed_on(n)) <= record.spec.due)

    def _left_s(self, record: JobRecord) -> float:
        """Seconds of work that are still to be done, a running restart counted as if it did some."""
        state, now = record.state, self.known.now
        return state.work_ahead_s(now) + state.restart_ahead_s(now) * state.speed

    def _slots_of(self, record: JobRecord, work_s: float) -> float:
        """Seconds of work as slots, whole ones of a job of one size."""
        slots = work_s / self.rules.slot.total_seconds()
        return slots if record.elastic else max(1, math.ceil(slots - 1e-6))

    def _ready(self, record: JobRecord) -> datetime:
        """From when on the job may hold GPUs: now, unless it is not to start yet."""
        if holds_gpus(record):
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
            pool.region: energy_kwh * float(pool.g_per_kwh.mean())
            for pool in self.pools
            if pool.region in allowed and pool.region not in (data.at or (record.home,))
        }

    def _relocation_slots(self, record: JobRecord, allowed: tuple[str, ...]) -> dict[str, int]:
        """Slots until the data can be where it is not yet, from the moment the job may start or has stopped."""
        data = record.spec.data
        if data is None or data.size_gb == 0:
            return {}
        slots = math.ceil(data.size_gb / self.rules.transfer_gb_per_s / self.rules.slot.total_seconds() - 1e-9)
        return {name: slots for name in allowed if name not in (data.at or (record.home,))}

    def _price_factor(self, record: JobRecord, allowed: tuple[str, ...]) -> float:
        """Grams of carbon that are worth one unit of money to the job's project.

        0, so that carbon alone counts, where its carbon has no price, or electricity none in that currency somewhere.
        """
        price = self.known.carbon_prices.get(record.id)
        tariffs = [region.tariff for region in self.known.regions if region.name in (*allowed, record.home)]
        if price is None or any(tariff is None or tariff.currency != price.currency for tariff in tariffs):
            return 0.0
        return 1 / price.per_g

    def _wait_g(self, record: JobRecord, work: float, price_factor: float) -> float:
        """The price of a slot of waiting: a share of what running now emits, or costs where money is weighed."""
        home = self._home(record)
        if home is None or self.slots == 0:
            return 0.0
        weighed, factor = home.g_per_kwh, 1.0
        if price_factor > 0 and home.price_g_per_kwh is not None:
            weighed, factor = home.price_g_per_kwh, price_factor
        slots = math.ceil(work / record.state.speed_on(record.gpus) - 1e-9)
        now_g = record.power_kw(record.gpus) * self.slot_h * factor * float(np.maximum(weighed[:slots], 0).sum())
        waited = max(self.known.now - record.submitted_at, timedelta(0)) / _AGING
        weight = 2.0 ** _PRIORITY[record.spec.priority] * (1 + waited)
        return now_g * self.rules.wait_share_per_h * self.slot_h * weight

    def _home(self, record: JobRecord) -> Pool | None:
        return next((pool for pool in self.pools if pool.region == record.home), None)

    def run_now_g(self, record: JobRecord) -> float:
        """Forecast carbon of the work left if it ran at home, unpaused, as soon as it may (no queue considered)."""
        home = self._home(record)
        left_s = self._left_s(record) / record.state.speed_on(record.gpus)
        work = max(1, math.ceil(left_s / self.rules.slot.total_seconds() - 1e-6))
        first = (self._ready(record) - self.start) // self.rules.slot
        if home is None or len(home.g_per_kwh) < first + work:
            return 0.0
        return record.power_kw(record.gpus) * self.slot_h * float(home.g_per_kwh[first : first + work].sum())

    def decide(self, record: JobRecord, placement: Placement, *, late: bool) -> Decision:
        placed = joined(
            Window(
                region=segment.region,
                start=self.start + self.rules.slot * segment.start,
                end=self.start + self.rules.slot * segment.end,
                gpus=segment.gpus,
            )
            for segment in placement.segments
        )
        windows = self._trimmed(record, placed, late=late)
        energy_kwh = placement.restarts * placement.task.restart_kwh
        p90 = 0.0
        for segment in placement.segments:
            slot_kwh = record.power_kw(segment.gpus) * self.slot_h
            energy_kwh += slot_kwh * (segment.end - segment.start)
            p90 += slot_kwh * float(self.high[segment.region][segment.start : segment.end].sum())
        ends = self._ends(record, placement, windows)
        late_by = ends - record.spec.due if late and ends > record.spec.due else None
        reason, detail = self.explain(record, windows, late_by)
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
        state, now = record.state, self.known.now
        left_s = state.work_ahead_s(now)
        goes_on = placement.restarts < len(placement.segments)  # the first window is no restart
        restart_s = state.restart_ahead_s(now) if goes_on else state.restart_s
        for window in windows[:-1]:
            begin, speed = max(window.start, now), state.speed_on(window.gpus)
            room_s = max(0.0, (window.end - begin).total_seconds() - restart_s)
            if left_s <= room_s * speed:
                return begin + timedelta(seconds=restart_s + left_s / speed)
            left_s, restart_s = left_s - room_s * speed, state.restart_s
        last_s = restart_s + left_s / state.speed_on(windows[-1].gpus)
        return max(windows[-1].start, now) + timedelta(seconds=last_s)

    def explain(self, record: JobRecord, windows: tuple[Window, ...], late_by: timedelta | None) -> tuple[Reason, str]:
        first = windows[0]
        place = f"in {first.region}"
        if late_by is not None:
            late = format_duration(late_by)
            if record.state.live_run is not None:
                return Reason.RUNNING_OVER, f"may end {late} after its deadline if its work takes as long as declared"
            return Reason.CAPACITY_TAKEN, f"cannot make its deadline; late by {late}, runs as soon as it can"
        then, here = self.mean_g(first.region, first.start, first.end), self.mean_g(record.home, self.known.now)
        at = f"{then:.0f} g/kWh" if then is not None else "intensity unknown: no source answers for its grid"
        if record.state.live_run is not None:
            return Reason.RUNNING_AS_PLANNED, f"{place} at {at}"
        if first.start <= self.known.now:
            return Reason.STARTS_NOW, f"{place} at {at}: no cleaner window before its deadline"
        start = first.start.strftime("%a %H:%M")
        now = f"{here:.0f} at home now" if here is not None else "unknown at home now"
        return Reason.WAITING_FOR_WINDOW, f"until {start} UTC {place}: {at} then, {now}"

    def mean_g(self, name: str, start: datetime, end: datetime | None = None) -> float | None:
        """Forecast g/kWh in a region over [start, end), or at `start`; None where nothing is known."""
        region = next((region for region in self.known.regions if region.name == name), None)
        forecast = self.known.forecasts.get(region.zone) if region else None
        if forecast is None:
            return None
        series = forecast.series
        begin, stop = max(start, series.start), end or start + timedelta(microseconds=1)
        return series.mean(begin, stop) if begin < stop and series.covers(begin, stop) else None

    def start_of(self, records: Sequence[JobRecord]) -> Start:
        """The last plan on this grid: its prices moved along in time, and the windows that are still standing."""
        standing = {r.id: found for r in records if (found := self.segments(r.state.windows))}
        old = self.known.prices
        if old is None or old.slot != self.rules.slot:
            return Start(None, standing)
        gone = (self.start - old.start) // self.rules.slot
        price = np.zeros((len(self.pools), self.slots))
        for row, pool in enumerate(self.pools):
            known = old.gpu_g.get((pool.region, pool.gpu_type))
            if known is not None and 0 <= gone < len(known):
                kept = known[gone : gone + self.slots]
                price[row, : len(kept)] = kept
        return Start(Prices(price, old.budget), standing)

    def at(self, slot: int) -> datetime:
        """When a slot begins."""
        return self.start + self.rules.slot * slot

    def segments(self, windows: Sequence[Window]) -> tuple[Segment, ...]:
        """Windows that are not over, as slots; they cover at least the windows."""
        found = []
        for window in windows:
            if window.end > self.known.now:
                first = max(0, (window.start - self.start) // self.rules.slot)
                found.append(Segment(window.region, first, self._slot_after(window.end), window.gpus))
        return tuple(found)

    def standing(self, prices: Prices | None) -> Standing | None:
        """Prices as they are kept for the next plan."""
        if prices is None:
            return None
        rows = {(p.region, p.gpu_type): row for p, row in zip(self.pools, prices.gpu_g, strict=True)}
        return Standing(self.start, self.rules.slot, rows, prices.budget)
