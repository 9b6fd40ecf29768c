"""Runs the control loop on a thread of its own: APScheduler as the clockwork, nothing durable in it.

Durable truth is in the tables; the ticker may die at any moment. Rounds never overlap, a late one is run late rather
than skipped, and `wake` brings the next one forward.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from kilowait_scheduler.planner.joint import warm_up

from .control import Control

log = logging.getLogger("kilowait.ticker")

T = TypeVar("T")

# After its start a server first finds out where it stands; what is due each hour can wait that long.
_FIRST_AFTER = timedelta(minutes=1)


class Ticker:
    """Owns the loop on which all talk with clusters happens."""

    def __init__(
        self,
        control: Control,
        *,
        every: timedelta,
        hourly: Sequence[Callable[[], Coroutine[Any, Any, None]]],
        at_end: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        self._control = control
        self._hourly, self._at_end = hourly, at_end
        self._every = every
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._again = False
        self._round_lock = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name="kilowait-control", daemon=True)

    def start(self) -> None:
        """Start the clockwork; the first round begins at once."""
        self._thread.start()
        self._started.wait()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        scheduler = AsyncIOScheduler(event_loop=self._loop, timezone="UTC")
        trigger = IntervalTrigger(seconds=max(self._every.total_seconds(), 0.05), timezone="UTC")
        scheduler.add_job(self._round, trigger, coalesce=True, max_instances=1, misfire_grace_time=None)
        hour = IntervalTrigger(hours=1, timezone="UTC")
        soon = datetime.now(UTC) + _FIRST_AFTER  # what was due while no server ran
        scheduler.add_job(
            self._each_hour, hour, next_run_time=soon, coalesce=True, max_instances=1, misfire_grace_time=None
        )
        scheduler.start()
        self._started.set()
        threading.Thread(target=warm_up, name="kilowait-warm-up", daemon=True).start()
        first = asyncio.create_task(self._round())
        await self._ended.wait()
        scheduler.shutdown(wait=False)
        await first
        async with self._round_lock:
            await self._control.close()
            await self._at_end()

    async def _round(self) -> None:
        self._again = True
        if self._round_lock.locked():
            return  # the round in progress will see the flag and go round once more
        async with self._round_lock:
            try:
                while self._again:
                    self._again = False
                    await self._control.tick()
            except Exception:
                log.exception("a control round failed; the next one starts from what is stored")

    async def _each_hour(self) -> None:
        for work in self._hourly:
            try:
                await work()
            except Exception:
                log.exception("what is due each hour failed; it is tried again in an hour")

    def wake(self) -> None:
        """Run a round as soon as possible; callable from any thread, and of no effect before `start`."""
        if self._loop is not None and self._loop.is_running():
            asyncio.run_coroutine_threadsafe(self._round(), self._loop)

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` on the clusters' loop, from another thread."""
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Finish the round in progress and end the thread."""
        if self._thread.is_alive() and self._loop is not None:
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(timeout=60)
