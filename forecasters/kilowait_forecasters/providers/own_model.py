"""Our own model as a source: forecasts zones from what their providers say has been, when these do not forecast."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.models.band import LEVELS
from kilowait_forecasters.models.hours import HOUR, Hours, hour_number, hour_start, hours_of
from kilowait_forecasters.models.own import HORIZON_H, Outlook, OwnModel
from kilowait_forecasters.zone import Zone

from .base import Provider, require_now, require_served, require_span
from .surroundings import REMEMBERED, Surroundings

# How far back the past is asked for, longest first: plans differ in how much of it they sell.
_SPANS = (REMEMBERED, timedelta(days=365), timedelta(days=90), timedelta(days=10), timedelta(hours=23))
# The last hours are asked for again each time: they are revised for about a day.
_REVISED_FOR = timedelta(days=1)
# A source that failed is not asked again for the past before this.
_PAUSE = timedelta(minutes=15)


@dataclass(frozen=True)
class _Made:
    """An outlook, and what it was learned from."""

    outlook: Outlook
    past: IntensitySeries
    seen: str


class OwnForecasts:
    """Forecasts of the zones of `sources`, all of one signal, learned from each source's history and what is `around`.

    Asks for the past once an hour and zone at most, keeps it in memory, and bridges an outage of up to three days from
    what it has. Learning takes seconds: it goes on in a thread, nobody waits for it longer than `wait_s`, and until it
    is done the forecast of an earlier hour stands, or there is none yet.
    """

    name = "own-model"

    def __init__(
        self, sources: Mapping[str, Provider], *, around: Surroundings | None = None, wait_s: float = 2.0
    ) -> None:
        signals = {source.signal for source in sources.values()}
        if len(signals) != 1:
            raise Refused(f"{self.name}: its sources must give one signal, not {sorted(map(str, signals)) or 'none'}")
        self.signal = signals.pop()
        self._sources = dict(sources)
        self._around = around or Surroundings()
        self.wait_s = wait_s
        self._past: dict[str, IntensitySeries] = {}
        self._asked: dict[str, datetime] = {}
        self._models: defaultdict[str, OwnModel] = defaultdict(OwnModel)
        self._made: dict[str, _Made] = {}
        self._tasks: dict[tuple[str, int], asyncio.Task[_Made]] = {}

    def use(self, sources: Mapping[str, Provider]) -> None:
        """Forecast these zones from now on, from sources of the same signal; what was learned of them stays."""
        self._sources = dict(sources)

    def zones(self) -> frozenset[str] | None:
        """The zones that have a source."""
        return frozenset(self._sources)

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """96 hours or fewer, issued at the start of the hour that holds `now`, or of an earlier one.

        What the source says of hours that had not ended by then is not used.
        """
        require_span(now, until)
        require_served(self, zone)
        made = await self._current(zone, now=now)
        first = made.outlook.first
        count = min(HORIZON_H, -(-(until - hour_start(first)) // HOUR))
        late_h = first - hour_number(min(made.past.end, hour_start(first)))
        delay = f"; its last value was {late_h} h old" if late_h > 1 else ""
        note = f"from {made.past.source}{made.seen}{delay}: {made.outlook.made_of}"
        series = self._series(zone, made.outlook, level=0.5, count=count)
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=hour_start(first),
                available_at=hour_start(first),
                series=series,
                parts=(Part(series.start, self.name, note),),
                low=self._series(zone, made.outlook, level=0.1, count=count),
                high=self._series(zone, made.outlook, level=0.9, count=count),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """What the zone's source says has been."""
        require_span(start, end)
        require_served(self, zone)
        return await self._sources[zone.id].history(zone, start=start, end=end, now=now)

    async def _current(self, zone: Zone, *, now: datetime) -> _Made:
        """The outlook of this hour, or meanwhile an earlier one that still holds `now`. Raises where there is none."""
        kept, hour = self._made.get(zone.id), hour_number(now)
        if kept is not None and kept.outlook.first == hour:
            return kept
        task = self._tasks.get((zone.id, hour))
        if task is None or task.done():
            self._tasks = {key: one for key, one in self._tasks.items() if not one.done()}
            task = self._tasks[zone.id, hour] = asyncio.create_task(self._make(zone, now=now))
            task.add_done_callback(_collected)
        done, _ = await asyncio.wait({task}, timeout=self.wait_s)
        if done and not task.cancelled() and task.exception() is None:
            return task.result()
        if kept is not None and kept.outlook.first <= hour < kept.outlook.first + HORIZON_H:
            return kept
        if done:
            return task.result()
        raise Transient(f"{self.name} for zone {zone}: still learning from its past; ready in a minute")

    async def _make(self, zone: Zone, *, now: datetime) -> _Made:
        past = await self._known(zone, now=now)
        model, issued = self._models[zone.id], hour_number(now)
        alone = await asyncio.to_thread(hours_of, past)
        hours = await self._around.around(zone, alone, until=issued + HORIZON_H, now=hour_start(issued))
        try:
            outlook = await asyncio.to_thread(lambda: model.outlook(hours, issued=issued))
        except Refused as error:
            raise Transient(f"{self.name} for zone {zone}: {error}") from error
        made, kept = _Made(outlook, past, _seen(hours, outlook)), self._made.get(zone.id)
        if kept is None or kept.outlook.first <= outlook.first:
            self._made[zone.id] = made
        return made

    async def _known(self, zone: Zone, *, now: datetime) -> IntensitySeries:
        """What is known of the past by now. Raises where there is nothing."""
        known, asked = self._past.get(zone.id), self._asked.get(zone.id)
        if known is not None and asked is not None and now < asked + _PAUSE:
            return known
        self._asked[zone.id] = now
        spans = _SPANS if known is None else (max(now - known.end, timedelta()) + _REVISED_FOR,)
        problem: ForecastersError | None = None
        for span in spans:
            try:
                answer = await self._sources[zone.id].history(zone, start=now - span, end=now, now=now)
            except ForecastersError as error:
                problem = error
                if not isinstance(error, Permanent):
                    break  # the source is down; a Permanent says that this plan does not sell so much of the past
            else:
                # A year of quarter-hours takes a while to join.
                past = self._past[zone.id] = await asyncio.to_thread(_joined, answer, known, since=now - _SPANS[0])
                return past
        if known is None:
            assert problem is not None
            raise problem
        return known

    def _series(self, zone: Zone, outlook: Outlook, *, level: float, count: int) -> IntensitySeries:
        values: Iterable[float] = outlook.quantiles[LEVELS.index(level), :count].tolist()
        slots = [
            Slot(hour_start(outlook.first + i), hour_start(outlook.first + i + 1), value, estimated=True)
            for i, value in enumerate(values)
        ]
        return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)


def _joined(answer: IntensitySeries, known: IntensitySeries | None, *, since: datetime) -> IntensitySeries:
    """What is known by now, without what is older than any model learns from."""
    joined = answer if known is None else answer.extended(known)
    kept = [slot for slot in joined.slots if slot.end > since]
    if not kept or len(kept) == len(joined.slots):
        return joined
    return IntensitySeries(zone=joined.zone, signal=joined.signal, source=joined.source, slots=kept)


def _collected(task: asyncio.Task[_Made]) -> None:
    """Take notice of an error that nobody waited for: the next question finds out anew."""
    if not task.cancelled():
        task.exception()


def _seen(hours: Hours, outlook: Outlook) -> str:
    """What else the model saw, in words; of what is announced, what it goes by."""
    names = ["generation by source"] if hours.mix else []
    names += ["weather"] if hours.has_weather(outlook.first + HORIZON_H) else []
    if outlook.announced:
        *others, last = sorted(outlook.announced, key=lambda name: (name == "load", name == "solar", name))
        names.append(f"day-ahead {', '.join(others)} and {last}" if others else f"day-ahead {last}")
    return "".join(f", {name}" for name in names)
