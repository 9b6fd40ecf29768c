"""A provider of what a grid announces a day ahead: wind, solar and load, to the end of tomorrow at most."""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta

from kilowait_forecasters.mix import LONGEST_ABSENCE
from kilowait_forecasters.models.hours import HOUR, Columns, hour_number
from kilowait_forecasters.zone import Zone

from .base import hour_of, hours, require_served, require_span

# Today tomorrow is announced, the day after at the most; so nobody is asked for more.
_FARTHEST = timedelta(days=3)

# MW by column (`wind`, `solar`, `load`), the part of it (wind on land, at sea), and hour since 1970.
Parts = Mapping[str, Mapping[str, Mapping[int, float]]]


class Announcing(ABC):
    """The parts are for the provider to answer, the columns follow."""

    name: str

    def __init__(self) -> None:
        # By zone and part: the last hour it was announced for.
        self._last_announced: defaultdict[str, dict[str, int]] = defaultdict(dict)

    @abstractmethod
    def zones(self) -> frozenset[str] | None:
        """The zones it serves."""

    @abstractmethod
    async def _announced(self, zone: Zone, *, start: datetime, end: datetime) -> Parts:
        """What `day_ahead` is made of, uncut: `start` is an hour's; hours before it and after `end` may be there."""

    async def day_ahead(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> Columns:
        """MW as announced the day before, by column (`wind`, `solar`, `load`) and hour since 1970.

        Means of whole hours that overlap [start, end), as far as they are published at `now`, tomorrow's included. An
        hour that is not wholly known is absent, and so is a column of which none is. Raises Transient or Permanent;
        Refused where [start, end) has no length.
        """
        require_span(start, end)
        require_served(self, zone)
        last = min(end, now + _FARTHEST)
        if start >= last:
            return {}
        asked = {hour_number(hour) for hour, _ in hours(start, last)}
        told = self._last_announced[zone.id]
        found: Columns = {}
        for column, parts in (await self._announced(zone, start=hour_of(start), end=last)).items():
            values = {hour: mw for hour, mw in _summed(parts, last=told).items() if hour in asked}
            told |= {part: max(*mw, told.get(part, 0)) for part, mw in parts.items() if mw}
            if values:
                found[column] = values
        return found


def _summed(parts: Mapping[str, Mapping[int, float]], *, last: Mapping[str, int]) -> dict[int, float]:
    """The sum of `parts` on each hour that has all of them which are given at all in the two weeks around it.

    Without its offshore part, wind is another quantity; an area without any gives none for longer. `last` is the last
    hour of each part in earlier answers.
    """
    missed: set[int] = set()
    hours = set[int]().union(*parts.values())
    for part, values in parts.items():
        known = sorted(values.keys() | ({last[part]} if part in last else set()))
        for hour in hours - values.keys():
            after = bisect(known, hour)
            if any(abs(hour - near) <= LONGEST_ABSENCE // HOUR for near in known[max(after - 1, 0) : after + 1]):
                missed.add(hour)
    return {hour: sum(values.get(hour, 0.0) for values in parts.values()) for hour in sorted(hours - missed)}
