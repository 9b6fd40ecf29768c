"""Durations as people write them: `90s`, `30m`, `6h`, `2d`, `1h30m`, `PT6H`. A bare number is an error: of what?"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

# Ten years: no job is longer, and sums with times of today stay within what a datetime holds.
_LONGEST = timedelta(days=3650)
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SHORT = re.compile(r"^(?:\d+(?:\.\d+)?[smhdw])+$")
_ISO = re.compile(
    r"^P(?:(?P<w>\d+)W)?(?:(?P<d>\d+(?:\.\d+)?)D)?(?:T(?:(?P<h>\d+(?:\.\d+)?)H)?(?:(?P<m>\d+(?:\.\d+)?)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?$"
)


def parse_duration(value: Any) -> timedelta:
    """A timedelta from `value`, zero or more. Raises ValueError with the accepted forms otherwise."""
    if isinstance(value, timedelta):
        if not timedelta(0) <= value <= _LONGEST:
            raise ValueError(f"a duration is between 0s and {_LONGEST.days}d, got {format_duration(value)}")
        return value
    text = str(value).strip()
    if _SHORT.match(text):
        seconds = sum(float(n) * _UNITS_S[u] for n, u in re.findall(r"(\d+(?:\.\d+)?)([smhdw])", text))
    elif (iso := _ISO.match(text)) and any(iso.groupdict().values()):
        seconds = sum(float(number) * _UNITS_S[unit] for unit, number in iso.groupdict().items() if number)
    else:
        raise ValueError(f"{text[:40]!r} is not a duration; write e.g. 90s, 30m, 6h, 2d or PT6H")
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text[:40]!r} is longer than {_LONGEST.days}d")
    return timedelta(seconds=seconds)


def exact_duration(value: timedelta) -> str:
    """`value` to the microsecond in a form that `parse_duration` reads back as the same."""
    whole = timedelta(seconds=value // timedelta(seconds=1))
    micros = (value - whole) // timedelta(microseconds=1)
    if not micros:
        return format_duration(value)
    text = format_duration(whole - timedelta(seconds=whole.seconds % 60))
    return f"{'' if text == '0s' else text}{whole.seconds % 60}.{micros:06d}s"


def format_duration(value: timedelta) -> str:
    """`value` to the nearest second as people write it, e.g. `1d2h`, `30m`, `0s`."""
    left = round(value.total_seconds())
    if left < 0:
        return "-" + format_duration(-value)
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(exact_duration, return_type=str, when_used="json")
]
