"""The server's view of the grid: current forecasts of every zone in use, and what turned out, archived as they came."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic
from weakref import WeakValueDictionary

from kilowait_forecasters.cascade import Attempt, Cascade
from kilowait_forecasters.errors import ForecastersError
from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.providers.base import Provider, require_plausible
from kilowait_forecasters.signal import K, Marginal, Signal
from kilowait_forecasters.skill import Skill, skill_of
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.store.repository import Store

# Plans may look this far beyond the last deadline: room for a late job, and for `plan` to show later deadlines.
_BEYOND = timedelta(hours=48)
_HOUR = timedelta(hours=1)
# A zone that had to make do with less than its first source is asked for again after this (grid time).
_RETRY = timedelta(minutes=5)
# Grid time before a source is asked again for what it could only estimate. Sources publish a few times an hour at most.
_ASK_AGAIN = timedelta(minutes=15)
# Gaps less than this apart are asked for in one request: a few hours more in an answer cost less than another request.
_NEAR = timedelta(hours=6)
# Values are revised within their first days, if at all; one request a day and zone is within every provider's quota.
_REVISED_FOR = timedelta(days=3)
_REVISE_EVERY = timedelta(days=1)
# Forecasts of the last week, one from each quarter of a day, are held against what came, once a day: one request.
_JUDGED_FOR, _JUDGED_APART, _JUDGE_EVERY = timedelta(days=7), timedelta(hours=6), timedelta(days=1)

log = logging.getLogger("kilowait.grid")


@dataclass(frozen=True)
class ZoneView(Generic[K]):
    """A zone's forecast, or why there is none; `attempts` says who was asked."""

    zone: str
    forecast: Forecast[K] | None
    attempts: tuple[Attempt, ...]
    problem: str = ""
    skill: Skill | None = None


@dataclass(frozen=True)
class _Asked:
    """What was answered for [start, end) at `at` and may be better known soon: estimates, or an error."""

    at: datetime
    start: datetime
    end: datetime
    estimates: IntensitySeries | None = None
    error: ForecastersError | None = None


class Grid:
    """Forecasts by zone, fetched at most every `every` (grid time), and realised intensity for accounting.

    `marginal` is asked only by those who want to look at it: nothing is planned on or accounted in it.
    """

    def __init__(
        self, cascade: Cascade, store: Store, *, every: timedelta, marginal: Provider[Marginal] | None = None
    ) -> None:
        self.cascade = cascade
        self._marginal = marginal
        self._store = store
        self._every = every
        self._views: dict[str, ZoneView] = {}
        self._fetched: dict[str, tuple[datetime, datetime]] = {}
        self._asked: dict[str, list[_Asked]] = {}
        self._revise_at: dict[str, datetime] = {}
        self._judge_at: dict[str, datetime] = {}
        self._skills: dict[str, Skill | None] = {}
        self._judging: set[asyncio.Task[None]] = set()
        # One question about a zone's past at a time, so that the next one finds its answer; a lock lives while in use.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def use(self, cascade: Cascade) -> None:
        """Ask other sources from now on: the regions have changed. What was last known stays until they answer."""
        self.cascade = cascade
        self._fetched.clear()
        self._asked.clear()

    def signal_of(self, zone: str) -> Signal:
        return self.cascade.signal_of(Zone(zone))

    async def refresh(self, zones: Iterable[str], *, now: datetime, until: datetime) -> set[str]:
        """Fetch what is missing, old or too short; the zones whose forecast changed."""
        horizon = max(until, now) + _BEYOND
        due = [zone for zone in dict.fromkeys(zones) if self._due(zone, now=now, until=until)]
        found = await asyncio.gather(*(self._fetch(zone, now=now, until=horizon) for zone in due))
        changed = set()
        for view in found:
            before = self._views.get(view.zone)
            if view.forecast is None and before is not None and before.forecast is not None:
                continue  # the cascade has nothing at all; what we last knew stays, its age shows
            self._views[view.zone] = view
            if view.forecast is not None and not _same(view.forecast, before.forecast if before else None):
                changed.add(view.zone)
                await asyncio.to_thread(self._store.add_forecast, view.forecast)
        self._judge_beside(due, now=now)
        return changed

    def _judge_beside(self, zones: list[str], *, now: datetime) -> None:
        """Judge while the round goes on: a source that is slow about the past holds no plan up."""
        for zone in zones:
            task = asyncio.create_task(self.judge(zone, now=now))
            self._judging.add(task)
            task.add_done_callback(self._judged)

    async def judged(self) -> None:
        """Wait for the judging that is under way."""
        while self._judging:
            await asyncio.wait(self._judging)

    def _judged(self, task: asyncio.Task[None]) -> None:
        self._judging.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("judging forecasts failed; it is tried again tomorrow", exc_info=error)

    def _due(self, zone: str, *, now: datetime, until: datetime) -> bool:
        if zone not in self._fetched:
            return True
        at, horizon = self._fetched[zone]
        view = self._views.get(zone)
        stood_in = view is not None and bool(view.attempts) and view.attempts[0].error is not None
        patience = min(self._every, _RETRY) if stood_in else self._every
        return now - at >= patience or horizon < until or now < at

    async def _fetch(self, zone: str, *, now: datetime, until: datetime) -> ZoneView:
        self._fetched[zone] = (now, until)
        try:
            answer = await self.cascade.forecast(Zone(zone), now=now, until=until)
        except ForecastersError as error:
            return ZoneView(zone, None, (), problem=str(error))
        return ZoneView(zone, answer.forecast, answer.answers)

    def view(self, zone: str) -> ZoneView:
        known = self._views.get(zone)
        if known is None:
            return ZoneView(zone, None, (), problem=f"no forecast for {zone} has been fetched yet")
        return replace(known, skill=self._skills.get(zone))

    async def marginal_view(self, zone: str, *, now: datetime) -> ZoneView[Marginal]:
        """The marginal forecast of two days, asked for now, to look at."""
        asked = self._marginal
        if asked is None:
            return ZoneView(zone, None, (), problem="no source of marginal intensity; set KILOWAIT_WATTTIME_USER")
        try:
            forecast = await asked.forecast(Zone(zone), now=now, until=now + _BEYOND)
            require_plausible(forecast.series, name=asked.name)
        except ForecastersError as error:
            return ZoneView(zone, None, (Attempt(asked.name, str(error)),), problem=str(error))
        return ZoneView(zone, forecast, (Attempt(asked.name),))

    async def judge(self, zone: str, *, now: datetime) -> None:
        """Hold the forecasts of the last week, as issued, against what came; once a day, the first time after one."""
        if now < self._judge_at.setdefault(zone, now + _JUDGE_EVERY):
            return
        self._judge_at[zone] = now + _JUDGE_EVERY
        start = now - _JUDGED_FOR
        try:
            came = (await self.cascade.history(Zone(zone), start=start - _JUDGE_EVERY, end=now, now=now)).series
        except ForecastersError as error:
            log.info("the forecasts of %s are judged tomorrow again: %s", zone, error)
            return
        issued = await asyncio.to_thread(
            self._store.forecasts_issued, zone, signal=came.signal, start=start, end=now, every=_JUDGED_APART
        )
        self._skills[zone] = skill_of(issued, came)

    def forecasts(self) -> dict[str, Forecast]:
        """Current forecasts by zone id; zones without one are absent."""
        return {zone: view.forecast for zone, view in self._views.items() if view.forecast is not None}

    async def realised(self, zone: str, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """Intensity on all of [start, end), which is past: measured where a source has it, else labelled estimates.

        What was measured is kept in the store and taken from there, whoever answers today; sources are asked for the
        rest only, and for estimates not again before 15 minutes of grid time have passed. Raises ForecastersError,
        which names the span, where nothing at all is known.
        """
        async with self._locks.setdefault(zone, asyncio.Lock()):
            begin, stop = _whole_hours(start, end, now=now)
            kept = await self._kept(zone, start=begin, end=stop)
            asked = self._asked[zone] = [a for a in self._asked.get(zone, ()) if now < a.at + _ASK_AGAIN]
            known = kept
            for estimates in (a.estimates for a in reversed(asked)):
                if estimates is not None:
                    known = estimates if known is None else known.extended(estimates)
            for first, last in _to_ask(known, start, end, now=now):
                answer = await self._ask(zone, kept, asked, start=first, end=last, now=now)
                known = answer if known is None else known.extended(answer)
            assert known is not None  # of a span with a length, all is known by now or has raised
            return known.between(start, end)

    async def _kept(self, zone: str, *, start: datetime, end: datetime) -> IntensitySeries | None:
        """What is stored as measured."""
        signal = self.signal_of(zone)
        kept = await asyncio.to_thread(self._store.realised, zone, signal=signal, start=start, end=end)
        return None if kept is None else _with(kept, [slot for slot in kept.slots if not slot.estimated])

    async def _ask(
        self,
        zone: str,
        kept: IntensitySeries | None,
        asked: list[_Asked],
        *,
        start: datetime,
        end: datetime,
        now: datetime,
    ) -> IntensitySeries:
        """The sources' answer for [start, end): what is newly measured is stored, estimates, or the error, in `asked`.

        Estimates are not stored: they are made again from the best knowledge of the moment.
        """
        for before in asked:
            # Where a part was not known a moment ago, the whole is not known now.
            if before.error is not None and start <= before.start and before.end <= end:
                raise before.error.with_traceback(None)
        try:
            answer = (await self.cascade.realised(Zone(zone), start=start, end=end, now=now)).series
        except ForecastersError as error:
            asked.append(_Asked(now, start, end, error=error))
            raise
        fresh = _with(answer, [slot for slot in answer.slots if not slot.estimated and _is_gap(kept, slot)])
        if fresh is not None:
            await asyncio.to_thread(self._store.add_realised, fresh, at=now)
        guessed = [slot for slot in answer.slots if slot.estimated]
        forecast = self.view(zone).forecast
        if forecast is not None and forecast.signal == answer.signal:
            # The minutes to come of the running hour, so that a job that runs does not ask anew in every round.
            guessed += [Slot(max(s.start, now), s.end, s.g_per_kwh, True) for s in forecast.series.slots if s.end > now]
        asked.append(_Asked(now, start, end, estimates=_with(answer, guessed)))
        return answer

    async def revise(self, zone: str, *, now: datetime) -> bool:
        """Ask again, once a day, for the measured hours of the last three days; True where anything new was stored.

        Only the word of the zone's first provider revises what was measured: another one's, given because the first
        does not answer, would make figures depend on an outage.
        """
        if now < self._revise_at.get(zone, now):
            return False
        signal, since = self.signal_of(zone), now - _REVISED_FOR
        seen = await asyncio.to_thread(self._store.realised_seen, zone, signal=signal, since=since)
        if seen is None or now - seen[2] < _REVISE_EVERY:
            self._revise_at[zone] = (now if seen is None else seen[2]) + _REVISE_EVERY
            return False
        self._revise_at[zone] = now + _REVISE_EVERY
        start, end, _ = seen
        try:
            answer = await self.cascade.history(Zone(zone), start=start, end=end, now=now)
        except ForecastersError as error:
            log.info("the last days of %s are looked at for revisions tomorrow again: %s", zone, error)
            return False
        measured = _with(answer.series, [slot for slot in answer.series.slots if not slot.estimated])
        if measured is None or [attempt.error for attempt in answer.answers] != [None]:
            return False
        async with self._locks.setdefault(zone, asyncio.Lock()):
            kept = await self._kept(zone, start=measured.start, end=measured.end)
            await asyncio.to_thread(self._store.add_realised, measured, at=now)
        return not set(measured.slots) <= set(kept.slots if kept is not None else ())


def _with(series: IntensitySeries, slots: list[Slot]) -> IntensitySeries | None:
    """A series of the same zone, signal and source with these slots; None where there are none."""
    if not slots:
        return None
    return IntensitySeries(zone=series.zone, signal=series.signal, source=series.source, slots=slots)


def _is_gap(kept: IntensitySeries | None, slot: Slot) -> bool:
    return kept is None or list(kept.gaps(slot.start, slot.end)) == [(slot.start, slot.end)]


def _whole_hours(start: datetime, end: datetime, *, now: datetime) -> tuple[datetime, datetime]:
    """[start, end) widened to whole hours, not beyond `now`: so that sources give their own slots and not pieces."""
    begin = start.replace(minute=0, second=0, microsecond=0)
    rest = (end - begin) % _HOUR
    return begin, min(end + _HOUR - rest if rest else end, now)


def _to_ask(
    known: IntensitySeries | None, start: datetime, end: datetime, *, now: datetime
) -> list[tuple[datetime, datetime]]:
    """The gaps of [start, end) in whole hours, those near each other as one."""
    spans: list[tuple[datetime, datetime]] = []
    for gap in [(start, end)] if known is None else known.gaps(start, end):
        first, last = _whole_hours(*gap, now=now)
        if spans and first - spans[-1][1] <= _NEAR:
            first = spans.pop()[0]
        spans.append((first, last))
    return spans


def _same(new: Forecast, old: Forecast | None) -> bool:
    if old is None or new.source != old.source:
        return False
    if new.series.end > old.series.end:
        return False
    begin = max(new.series.start, old.series.start)
    return [s for s in new.series.slots if s.start >= begin] == [
        s for s in old.series.slots if s.start >= begin and s.end <= new.series.end
    ]
