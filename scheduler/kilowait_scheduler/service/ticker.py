"""Runs the control loop on a thread of its own: APScheduler as the clockwork, nothing durable in it.

Durable truth is in the tables; the ticker may die at any moment. Rounds never overlap, a late one is run late rather
than skipped, and `wake` brings the next one forward.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from datetime import timedelta
from typing import Any, TypeVar

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.interval import IntervalTrigger

from .control import Control

log = logging.getLogger("kilowait.ticker")

T = TypeVar("T")


class Ticker:
    """Owns the loop on which all talk with clusters happens."""

    def __init__(self, control: Control, *, every: timedelta) -> None:
        self._control = control
        self._every = every
        self._loop = asyncio.new_event_loop()
        self._again = False
        self._round_lock = asyncio.Lock()
        self._thread = threading.Thread(target=self._run, name="kilowait-control", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        scheduler = AsyncIOScheduler(event_loop=self._loop, timezone="UTC")
        trigger = IntervalTrigger(seconds=max(self._every.total_seconds(), 0.05), timezone="UTC")
        options = {"coalesce": True, "max_instances": 1, "misfire_grace_time": None}
        self._loop.call_soon(lambda: scheduler.add_job(self._round, trigger, **options))
        self._loop.call_soon(scheduler.start)
        self._loop.call_soon(lambda: self._loop.create_task(self._round()))
        self._loop.run_forever()
        scheduler.shutdown(wait=False)

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

    def wake(self) -> None:
        """Run a round as soon as possible; callable from any thread."""
        self._loop.call_soon_threadsafe(lambda: self._loop.create_task(self._round()))

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run `work` on the clusters' loop, from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    def stop(self) -> None:
        """Finish the round in progress and end the thread."""

        async def drain() -> None:
            async with self._round_lock:
                pass

        if self._thread.is_alive():
            self.submit(drain()).result(timeout=60)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=10)
