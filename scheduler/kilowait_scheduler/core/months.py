"""Calendar months of a time zone: when they begin, and which one a moment lies in."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from functools import cache
from zoneinfo import ZoneInfo

from .errors import BadInput

_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])")


@cache
def zone_of(timezone: str) -> ZoneInfo:
    """The zone of that IANA name. Raises LookupError, ValueError or OSError where there is none."""
    return ZoneInfo(timezone)


def known_zone(name: str) -> str:
    """`name`, if it is that of a time zone. Raises ValueError."""
    try:
        zone_of(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone; write e.g. Europe/Berlin or UTC") from None
    return name


def midnight(day: date, timezone: str) -> datetime:
    """The first moment of a day there, in UTC: where clocks skip midnight, when they do."""
    return datetime.combine(day, time(0), zone_of(timezone)).astimezone(UTC)


def months_on(first: date, months: int) -> date:
    """The same day of the month so many months on; `first` is one that every month has."""
    month = first.month - 1 + months
    return first.replace(year=first.year + month // 12, month=month % 12 + 1)


def month_of(moment: datetime, timezone: str) -> str:
    """The month there, e.g. `2026-11`."""
    return f"{moment.astimezone(zone_of(timezone)):%Y-%m}"


def month_span(month: str, timezone: str) -> tuple[datetime, datetime]:
    """[start, end) of a month (`2026-11`) there, in UTC. Raises BadInput where that is none."""
    named = _MONTH.fullmatch(month)
    if named is None or not 1 < int(named[1]) < 9999:  # so that its ends are moments in UTC, whatever the zone
        raise BadInput(f"{month!r} is no month; write e.g. 2026-11")
    first = date(int(named[1]), int(named[2]), 1)
    return midnight(first, timezone), midnight(months_on(first, 1), timezone)


def months_of(start: datetime, end: datetime, timezone: str) -> Iterator[tuple[str, datetime, datetime]]:
    """The months there that [start, end) touches, each with its part of it; none where it has no length."""
    while start < end:
        month = month_of(start, timezone)
        _, following = month_span(month, timezone)
        yield month, start, min(following, end)
        start = following
