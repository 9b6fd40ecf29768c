"""Reading JSON nobody can vouch for: every shape that is not the documented one becomes a one-line Transient."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from kilowait_forecasters.errors import Refused, Transient
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import K, Signal
from kilowait_forecasters.zone import Zone

# Years an answer can be about; others are garbage, and near the calendar's ends arithmetic overflows.
_YEARS = range(1990, 2200)


def shown(value: object, *, longest: int = 60) -> str:
    """`value` for a message: on one line, printable, cut to `longest` characters."""
    text = "".join(char if char.isprintable() else " " for char in str(value))
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def first_list(body: object, *keys: str, who: str) -> list[Any]:
    """The first list among `body`'s `keys`. Raises Transient where there is none."""
    if isinstance(body, Mapping):
        for key in keys:
            if isinstance(body.get(key), list):
                return list(body[key])
    raise Transient(f"{who}: the answer holds no list under {' or '.join(keys)}: {shown(body)}")


def mapping(value: object, *, who: str) -> Mapping[str, Any]:
    """`value` if it is a JSON object. Raises Transient otherwise."""
    if not isinstance(value, Mapping):
        raise Transient(f"{who}: expected an object, got {shown(value)}")
    return value


def number(value: object, *, who: str) -> float | None:
    """`value` as a float, None where the source says null. Raises Transient on anything else, text included."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Transient(f"{who}: expected a number or null, got {shown(repr(value))}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not math.isfinite(result):
        raise Transient(f"{who}: expected a finite number, got {shown(value)}")
    return result


def decimal(value: object, *, who: str) -> float | None:
    """As `number`, where a source may write its numbers as texts. Raises Transient on any other text."""
    if isinstance(value, str):
        try:
            return number(float(value), who=who)
        except ValueError:
            raise Transient(f"{who}: expected a number or null, got {shown(repr(value))}") from None
    return number(value, who=who)


def moment(value: object, *, who: str) -> datetime:
    """`value`, an ISO 8601 text with offset, as aware UTC. Raises Transient otherwise; a time without zone is none."""
    if isinstance(value, str):
        try:
            parsed = datetime.fromisoformat(value)
            if parsed.tzinfo is not None and parsed.year in _YEARS:
                return parsed.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise Transient(f"{who}: expected a time with its zone, got {shown(repr(value))}")


def unix_moment(value: object, *, who: str) -> datetime:
    """`value`, seconds since 1970, as aware UTC. Raises Transient otherwise."""
    seconds = number(value, who=who)
    try:
        parsed = datetime.fromtimestamp(seconds, UTC) if seconds is not None else None
    except (OverflowError, ValueError, OSError):
        parsed = None
    if parsed is None or parsed.year not in _YEARS:
        raise Transient(f"{who}: expected a time in seconds since 1970, got {shown(repr(value))}")
    return parsed


def series_of(slots: Iterable[Slot], *, zone: Zone, signal: Signal[K], source: str) -> IntensitySeries[K]:
    """A series of `slots`; of several for the same start the last stands. Raises Transient: none, or overlapping."""
    by_start = {slot.start: slot for slot in slots}
    try:
        return IntensitySeries(zone=zone, signal=signal, source=source, slots=by_start.values())
    except Refused as error:
        raise Transient(str(error)) from error
