"""The one way in which the service plans: gathers what is known, asks the planner, remembers its prices."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.margin import learned_margin
from kilowait_scheduler.core.money import CarbonPrice, price_of
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.dispatch.reconciler import RegionHealth
from kilowait_scheduler.planner.explain import Explanation, explain
from kilowait_scheduler.planner.knowledge import Decision, Knowledge, Rules, Standing
from kilowait_scheduler.planner.replan import replanned
from kilowait_scheduler.store.repository import Store

from .budgets import Budgets
from .grid import Grid

# A plan is improved no longer than this (real time); the valid plan stands after the first moments.
_SEARCH_S = 60.0
_ASK_S = 5.0  # a person waits for the answer
_SEED = 1  # the same question gets the same answer
_LEARN_EVERY = timedelta(minutes=10)  # grid time


class Planning:
    """`plan` is for the control loop and keeps the prices; `ask` is for people's what-ifs and keeps nothing."""

    def __init__(self, *, store: Store, grid: Grid, budgets: Budgets, clock: GridClock, rules: Rules) -> None:
        self._store, self._grid, self._budgets = store, grid, budgets
        self._clock, self.rules = clock, rules
        self._prices: Standing | None = None
        self._margins: dict[str, tuple[datetime, float]] = {}
        self.health: Mapping[str, RegionHealth] = {}
        self.gap_pct: float | None = None

    def plan(self, records: Sequence[JobRecord]) -> list[Decision]:
        """Decisions for all `records`, in their order; where the next plan starts."""
        made = replanned(records, known=self.knowledge(records), rules=self.rules, enough=_after(_SEARCH_S))
        self._prices, self.gap_pct = made.prices, made.gap_pct
        return made.decisions

    def ask(self, records: Sequence[JobRecord], *, known: Knowledge | None = None) -> list[Decision]:
        """What would be decided, on what is `known` (now, by default)."""
        known = known or self.knowledge(records)
        return replanned(records, known=known, rules=self.rules, enough=_after(_ASK_S)).decisions

    def explain(self, record: JobRecord, others: Sequence[Decision] | None = None) -> Explanation:
        """Why `record` is planned as it is, beside what was decided for the others or, by default, what stands."""
        if others is None:
            windows = {other.id: other.state.windows for other in self._store.active_jobs()}
        else:
            windows = {other.record.id: other.windows for other in others}
        known = self.knowledge([record])
        return explain(record, windows, known=known, rules=self.rules, rng=np.random.default_rng(_SEED))

    def knowledge(self, records: Sequence[JobRecord] = ()) -> Knowledge:
        """What the planner may know at this moment, of these jobs' budgets and runtimes too."""
        now = self._clock.now()
        seen = self.health.items()
        limits, drawn = self._budgets.rows(records, now=now)
        return Knowledge(
            now=now,
            regions=tuple(self._store.regions()),
            forecasts=self._grid.forecasts(),
            down=frozenset(name for name, health in seen if health.problem),
            gpus={name: h.info.gpus_total for name, h in seen if h.info is not None and h.info.gpus_total > 0},
            budgets_g=limits,
            budget_of=drawn,
            carbon_prices=self._carbon_prices(records),
            margins={name: self._margin(name, now) for name in {record.spec.name for record in records}},
            prices=self._prices,
        )

    def _carbon_prices(self, records: Sequence[JobRecord]) -> dict[str, CarbonPrice]:
        prices = self._store.carbon_prices()
        held = ((r.id, price_of(prices, project=r.spec.project, at=r.submitted_at)) for r in records if prices)
        return {job_id: price for job_id, price in held if price is not None}

    def _margin(self, name: str, now: datetime) -> float:
        """Learned from the last jobs of this name, and kept for a while."""
        known = self._margins.get(name)
        if known is None or now - known[0] >= _LEARN_EVERY:
            ratios = [ratio for done in self._store.finished_like(name) if (ratio := overrun(done)) is not None]
            known = now, learned_margin(ratios, default=self.rules.margin)
            self._margins[name] = known
        return known[1]


def overrun(record: JobRecord) -> float | None:
    """Real over declared work of a job that is done; None where its runs do not tell."""
    state = record.state
    worked = 0.0
    for run in state.runs:
        if run.started_at is not None and run.ended_at is not None:
            ran_s = (run.ended_at - run.started_at).total_seconds() - state.restart_of(run)
            worked += ran_s * state.speed_on(run.gpus)
    return worked / state.work_s if worked > 0 and state.work_s > 0 else None


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until
