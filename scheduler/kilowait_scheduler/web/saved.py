"""The report on everything so far, for pages that refresh more often than it can be made."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.reporting import Asked

log = logging.getLogger("kilowait.web")

# Real seconds. Pages refresh every ten; several people looking share one report.
_FRESH_S = 10.0
# A report that takes long to make is good for so many times as long: it must not keep a core busy by itself.
_REST = 20.0
# A page does not wait longer than this for a report that is long in the making; it shows the one before.
_PATIENCE_S = 5.0


class SavedSoFar:
    """One report, made anew when it is asked for and old; at most one is in the making."""

    def __init__(
        self,
        server: Server,
        *,
        fresh_s: float = _FRESH_S,
        patience_s: float = _PATIENCE_S,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server, self._fresh_s, self._patience_s, self._monotonic = server, fresh_s, patience_s, monotonic
        self._report: Report | None = None
        self._good_until = 0.0
        self._making: asyncio.Task[tuple[Report, float]] | None = None
        self.problem = "the report is still being made"

    async def report(self) -> Report | None:
        """The newest report that can be had soon; None where there is none yet, and `problem` says why."""
        if self._report is not None and self._monotonic() < self._good_until:
            return self._report
        if self._making is None:
            self._making = asyncio.create_task(self._make())
        making = self._making
        await asyncio.wait({making}, timeout=self._patience_s)
        if making.done() and making is self._making:
            self._making = None
            self._take(making)
        return self._report

    async def _make(self) -> tuple[Report, float]:
        """A report, and until when it is good."""
        began = self._monotonic()
        report = await savings(self._server)
        ended = self._monotonic()
        return report, ended + max(self._fresh_s, _REST * (ended - began))

    def _take(self, made: asyncio.Task[tuple[Report, float]]) -> None:
        try:
            (self._report, self._good_until), self.problem = made.result(), ""
        except Exception as error:
            log.exception("the savings report could not be made")
            self.problem = f"the report could not be made: {error}"


async def savings(server: Server, asked: Asked | None = None) -> Report:
    """A report, made on the loop on which the server talks to the world."""
    return await asyncio.wrap_future(server.ticker.submit(server.reporting.savings(asked)))
