"""Reports that somebody waits for: a page soon says how far one is, and shows it once it is there."""

from __future__ import annotations

import asyncio

from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.reports.progress import Progress
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.reporting import Asked

# Real seconds: who waits longer is told how far it is; a report that nobody came back for is kept for so long.
_PATIENCE_S = 2.0
_KEPT_S = 60.0


class Making:
    """The reports that are being made, one for each question; all who ask it meanwhile get the same.

    One that somebody was told to come back for is kept for a minute once it is there: two may have been told, and who
    comes second would else wait for another, and so on in turn.
    """

    def __init__(self, server: Server, *, patience_s: float = _PATIENCE_S) -> None:
        self._server, self._patience_s = server, patience_s
        self._made: dict[Asked, tuple[asyncio.Future[Report], Progress]] = {}
        self._awaited: set[Asked] = set()  # whoever asked was told to come back

    async def report(self, asked: Asked) -> Report | Progress:
        """The report, or how far it is where that takes longer than a page should."""
        if asked not in self._made:
            progress = Progress()
            work = self._server.reporting.savings(asked, progress=progress)
            begun = asyncio.wrap_future(self._server.ticker.submit(work))
            begun.add_done_callback(lambda done: self._forget_later(asked, done))
            self._made[asked] = begun, progress
        making, progress = self._made[asked]
        await asyncio.wait({making}, timeout=self._patience_s)
        if not making.done():
            self._awaited.add(asked)
            return progress
        if asked not in self._awaited or making.exception() is not None:
            self._forget(asked, making)
        return making.result()

    def _forget(self, asked: Asked, making: asyncio.Future[Report]) -> None:
        if self._made.get(asked, (None,))[0] is making:
            del self._made[asked]
            self._awaited.discard(asked)

    def _forget_later(self, asked: Asked, done: asyncio.Future[Report]) -> None:
        def forget() -> None:
            self._forget(asked, done)
            done.cancelled() or done.exception()  # nobody may have come for it

        asyncio.get_running_loop().call_later(_KEPT_S, forget)
