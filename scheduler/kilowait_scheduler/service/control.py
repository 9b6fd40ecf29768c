"""The control loop: look at the clusters, refresh the grid, plan if something changed, let time pass, act, account.

Level-triggered: each round starts from what is stored and what the clusters say, so a missed or repeated round, or a
restart at any point, changes when things happen and never whether.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.errors import Conflict, NotFound
from kilowait_scheduler.core.lifecycle import next_start
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Phase, Want
from kilowait_scheduler.dispatch.dispatcher import Dispatcher
from kilowait_scheduler.dispatch.executor import DispatchError, Executor
from kilowait_scheduler.dispatch.reconciler import RegionHealth, look
from kilowait_scheduler.intake.readings import job_of
from kilowait_scheduler.planner.knowledge import HORIZON, Decision
from kilowait_scheduler.store.repository import Store

from .accounting import Accounting
from .book import Book
from .budgets import Budgets
from .grid import Grid
from .planning import Planning

log = logging.getLogger("kilowait.control")

# Even when nothing seems to have changed, plans are made anew after this much grid time.
_REPLAN_AFTER = timedelta(hours=1)
# A job that finds no place asks for a new plan at every round; it gets one this often (real time).
_PLAN_PAUSE = timedelta(seconds=15)
_ACCOUNT_EVERY = timedelta(seconds=15)  # real time
_SHUTDOWN_S = 10.0  # real time that accounting has to finish when the server stops; half of Kubernetes' usual patience
# Ray keeps every job it has ever run in the memory of its head; after this their output is gone from `kilowait logs`.
_KEEP_RUNS = timedelta(days=14)
_TIDY_AT_ONCE = 20


class Control:
    """One round per `tick()`. Owned by the ticker; nothing else talks to the clusters."""

    def __init__(
        self,
        *,
        store: Store,
        book: Book,
        grid: Grid,
        budgets: Budgets,
        accounting: Accounting,
        clock: GridClock,
        planning: Planning,
        executors: Callable[[], Mapping[str, Executor]],
        package_path: Callable[[str], Path],
        may_act: Callable[[], bool] = lambda: True,
        on_step: Callable[[str], None] = lambda _step: None,
    ) -> None:
        self._may_act = may_act
        self._store, self._book, self._grid = store, book, grid
        self._budgets, self._accounting = budgets, accounting
        self._clock, self._planning = clock, planning
        self._executors, self._package_path, self._on_step = executors, package_path, on_step
        self._planned_at: datetime | None = None
        self._accounted_at: datetime | None = None
        self._accounts: asyncio.Task[None] | None = None
        self._wanted = True
        self.ticked_at: datetime | None = None

    @property
    def health(self) -> Mapping[str, RegionHealth]:
        """What the clusters last said, by region."""
        return self._planning.health

    def want_plan(self) -> None:
        """Ask for a new plan in the next round: a job came, a region changed."""
        self._wanted = True

    async def tick(self) -> None:
        """One round. Trouble with one job or region is logged and delays nothing else.

        Only one server per database goes round; another stands by, not ready, until the first has gone.
        """
        if not await asyncio.to_thread(self._may_act):
            return
        executors = self._executors()
        records = await asyncio.to_thread(self._store.active_jobs)
        wanted = await self._observe(records, executors)
        now = self._clock.now()
        if await self._refresh(now):
            wanted = True
        if wanted or self._wanted or self._planned_at is None or now - self._planned_at >= _REPLAN_AFTER:
            await self._plan()
        instructions = await self._let_time_pass()
        asked = any(isinstance(instruction, ev.Replan) for _, instruction in instructions)
        lately = self._planned_at is not None and self._clock.now() - self._planned_at < self._clock.grid(_PLAN_PAUSE)
        if asked and not lately:
            await self._plan()
            instructions = await self._let_time_pass()
        await self._act(instructions, executors)
        self._begin_accounts(executors)
        self.ticked_at = self._clock.now()

    def _begin_accounts(self, executors: Mapping[str, Executor]) -> None:
        """Start accounting beside the rounds, one at a time: providers may be slow, dispatch does not wait for them."""
        now = self._clock.now()
        if self._accounts is not None and not self._accounts.done():
            return
        if self._accounted_at is None or now - self._accounted_at >= self._clock.grid(_ACCOUNT_EVERY):
            self._accounted_at = now
            self._accounts = asyncio.create_task(self._account(executors), name="accounting")

    async def _account(self, executors: Mapping[str, Executor]) -> None:
        try:
            await self._accounting.settle(now=self._clock.now(), on_released=self.want_plan)
            await self._stop_overdrawn()
            await self._tidy(executors)
        except Exception:
            log.exception("accounting failed; the next time starts from what is stored")

    async def _stop_overdrawn(self) -> None:
        """Suspend running jobs whose budget is used up and says so; they come to a plan, and to a hold, again."""
        records = await asyncio.to_thread(self._store.active_jobs)
        for job_id, why in (await asyncio.to_thread(self._budgets.overdrawn, records, now=self._clock.now())).items():
            record = next(record for record in records if record.id == job_id)
            if record.spec.suspendable and record.state.phase is not Phase.SUSPENDING:
                log.warning("job %s is suspended: %s", job_id, why)
                await self._apply(job_id, ev.Held(at=self._clock.now(), reason=Reason.BUDGET_EXHAUSTED, detail=why))
                self._wanted = True

    async def settled(self) -> None:
        """Wait until the accounting that was started, if any is going on, is done."""
        if self._accounts is not None and not self._accounts.done():
            await asyncio.wait([self._accounts])

    async def close(self) -> None:
        """End the accounting that is going on: after some seconds by force, for it starts from what is stored."""
        if self._accounts is not None and not self._accounts.done():
            await asyncio.wait([self._accounts], timeout=_SHUTDOWN_S)
            self._accounts.cancel()
            await asyncio.wait([self._accounts])

    async def _tidy(self, executors: Mapping[str, Executor]) -> None:
        """Take runs of jobs that ended long ago off the clusters' lists (they would grow for ever), oldest first."""
        before = self._clock.now() - _KEEP_RUNS
        for name, health in self.health.items():
            for submission_id in health.ended[:_TIDY_AT_ONCE] if name in executors else ():
                try:
                    record = await asyncio.to_thread(self._store.job, job_of(submission_id))
                    finished = record.state.finished_at
                    if finished is not None and finished < before:
                        await executors[name].delete(submission_id)
                except (NotFound, DispatchError) as error:
                    log.debug("run %s stays listed in %s: %s", submission_id, name, error)

    async def _apply(self, job_id: str, event: ev.Event) -> tuple[JobRecord, list[ev.Instruction]]:
        return await asyncio.to_thread(self._book.apply, job_id, event)

    async def _observe(self, records: Sequence[JobRecord], executors: Mapping[str, Executor]) -> bool:
        seen = await look(records, executors=executors, now=self._clock.now)
        down = {name for name, health in seen.health.items() if health.problem}
        for name in sorted(down - {n for n, h in self.health.items() if h.problem}):
            log.warning("region %s does not answer: %s", name, seen.health[name].problem)
        changed = down != {name for name, health in self.health.items() if health.problem}
        self._planning.health = seen.health
        for job_id, event in seen.events:
            before = next(record.state.phase for record in records if record.id == job_id)
            record, instructions = await self._apply(job_id, event)
            if instructions or record.state.phase.final != before.final:
                changed = True
            if record.state.phase is not before:
                log.info("job %s (%s): %s, %s", record.spec.name, job_id, record.state.phase, record.state.reason)
        return changed

    async def _refresh(self, now: datetime) -> bool:
        regions = await asyncio.to_thread(self._store.regions)
        records = await asyncio.to_thread(self._store.active_jobs)
        until = max([now + timedelta(hours=24), *(min(record.spec.due, now + HORIZON) for record in records)])
        return bool(await self._grid.refresh([region.zone for region in regions], now=now, until=until))

    async def _plan(self) -> None:
        """New windows for every job that is to run; jobs without budget are held and leave their room to others."""
        self._wanted = False
        self._planned_at = self._clock.now()
        records = [r for r in await asyncio.to_thread(self._store.active_jobs) if r.state.want is Want.RUN]
        if not records:
            return
        decisions = await asyncio.to_thread(self._planning.plan, records)
        # What those who are held leave to others changes their plans too, and each plan needs its own hold.
        while held := {d.record.id for d in decisions if await self._hold(d)}:
            records = [record for record in records if record.id not in held]
            decisions = await asyncio.to_thread(self._planning.plan, records) if records else []
        for decision in decisions:
            await self._release_spare(decision)
            await self._record(decision)

    async def _hold(self, decision: Decision) -> bool:
        """Reserve the budget of a job that does not run; True where it must be held instead."""
        record = decision.record
        if record.state.live_run is not None or not decision.windows:
            return False
        refusal = ""
        limit_kg = record.spec.carbon.budget_kg if not record.state.runs else None
        if limit_kg is not None and decision.carbon_g > limit_kg * 1000:
            refusal = f"its own limit of {limit_kg:g} kg is below the {decision.carbon_g / 1000:.3f} kg it needs"
        else:
            grams = decision.carbon_p90_g
            until = decision.windows[-1].end
            refusal = await asyncio.to_thread(
                self._budgets.reserve, record, grams=grams, now=self._clock.now(), until=until
            )
        if refusal and (record.state.phase is not Phase.HELD or record.state.detail != refusal):
            event = ev.Held(at=self._clock.now(), reason=Reason.BUDGET_EXHAUSTED, detail=refusal)
            await self._apply(record.id, event)
        return bool(refusal)

    async def _release_spare(self, decision: Decision) -> None:
        """Let a hold follow a plan that needs less than the one before; the next round's plan gives it to others."""
        grams, now = decision.carbon_p90_g, self._clock.now()
        if decision.windows and decision.record.state.windows:
            await asyncio.to_thread(self._budgets.release_spare, decision.record, grams=grams, now=now)

    async def _record(self, decision: Decision) -> None:
        state = decision.record.state
        if (state.windows, state.reason, state.detail) == (decision.windows, decision.reason, decision.detail):
            return
        if state.live_run is not None and state.windows == decision.windows:
            return
        promise = ev.Promise(
            carbon_g=decision.carbon_g,
            carbon_p90_g=decision.carbon_p90_g,
            run_now_g=decision.run_now_g,
            energy_kwh=decision.energy_kwh,
        )
        event = ev.Planned(
            at=self._clock.now(),
            windows=decision.windows,
            reason=decision.reason,
            detail=decision.detail,
            promise=promise if decision.windows else None,
        )
        await self._apply(decision.record.id, event)

    def require_ready(self) -> None:
        """Raise Conflict before the first round, when nothing is known to answer people's questions with."""
        if self.ticked_at is None:
            raise Conflict(
                "the server is still starting: grid and clusters have not answered yet; try again in a moment"
            )

    async def _let_time_pass(self) -> list[tuple[JobRecord, ev.Instruction]]:
        found: list[tuple[JobRecord, ev.Instruction]] = []
        records = await asyncio.to_thread(self._store.active_jobs)
        free = await self._free_gpus(records)
        for record in records:
            window = next_start(record.state, self._clock.now())
            if window is not None and free.get(window.region, 0) < window.gpus:
                continue  # a run there takes longer than planned; its GPUs are not free before it has really ended
            if window is not None:
                free[window.region] -= window.gpus
            changed, instructions = await self._apply(record.id, ev.Ticked(at=self._clock.now()))
            found.extend((changed, instruction) for instruction in instructions)
        return found

    async def _free_gpus(self, records: Sequence[JobRecord]) -> dict[str, int]:
        """GPUs per region that no live run holds, those of runs that are being stopped not yet free."""
        free = {region.name: region.capacity_gpus for region in await asyncio.to_thread(self._store.regions)}
        for record in records:
            if (live := record.state.live_run) is not None and live.region in free:
                free[live.region] -= record.gpus_of(live)
        return free

    async def _act(
        self, instructions: Sequence[tuple[JobRecord, ev.Instruction]], executors: Mapping[str, Executor]
    ) -> None:
        async def commit(job_id: str, event: ev.Event) -> JobRecord:
            record, follow_up = await self._apply(job_id, event)
            if follow_up:
                self._wanted = True
            return record

        dispatcher = Dispatcher(
            executors=executors,
            commit=commit,
            now=self._clock.now,
            package_path=self._package_path,
            on_step=self._on_step,
        )
        results = await asyncio.gather(
            *(dispatcher.perform(record, instruction) for record, instruction in instructions), return_exceptions=True
        )
        for (record, instruction), result in zip(instructions, results, strict=True):
            if isinstance(result, Exception):
                log.error("job %s: %s failed: %r", record.id, type(instruction).__name__, result)
            elif isinstance(result, BaseException):
                raise result
