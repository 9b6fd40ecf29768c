"""Durations as people write them: `90s`, `30m`, `6h`, `2d`, `1h30m`, `PT6H`."""

from __future__ import annotations

import re

from .errors import Refused

_PLAIN = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_ISO = re.compile(r"P(?=.)(?:(?P<d>\d+)D)?(?:T(?=.)(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def parse_duration(text: str) -> float:
    """Seconds in `text`. Raises Refused for a bare number: it does not say of what."""
    plain = text.strip()
    if _PLAIN.fullmatch(plain):
        return sum(float(amount) * _SECONDS[unit] for amount, unit in _PART.findall(plain))
    iso = _ISO.fullmatch(plain)
    if iso is not None:
        return sum(float(amount) * _SECONDS[unit] for unit, amount in iso.groupdict().items() if amount)
    raise Refused(f"{text!r} is not a duration; write it with a unit, like 90s, 30m, 6h, 2d or PT6H")
