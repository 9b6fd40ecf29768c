"""Reading ENTSO-E's market documents: curves over time, and the document that says there are none."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from xml.etree import ElementTree

from kilowait_forecasters.errors import Permanent, Transient

from . import payload

_STEPS = {"PT15M": timedelta(minutes=15), "PT30M": timedelta(minutes=30), "PT60M": timedelta(hours=1)}
# A year of quarter-hours, with room; more points in one period are no answer to our questions.
_MOST_STEPS = 40_000
_NO_DATA = "999"


@dataclass(frozen=True)
class Curve:
    """One series of a document: MW on the spans it has a value for. `consumed`: what was used, by pumps for one."""

    psr_type: str
    consumed: bool
    step: timedelta
    values: dict[datetime, float]


def curves(text: str, *, who: str) -> list[Curve]:
    """The curves of a document, none where it says that no data match.

    Raises Permanent where it says that the question is wrong, Transient where it is not what they document.
    """
    root = _root(text, who=who)
    kind = _local(root)
    if kind == "Acknowledgement_MarketDocument":
        _require_no_data(root, who=who)
        return []
    if kind != "GL_MarketDocument":
        raise Transient(f"{who}: a {payload.shown(kind)} came, not generation or load")
    return [curve for series in _all(root, "TimeSeries") for curve in _series(series, who=who)]


def _root(text: str, *, who: str) -> ElementTree.Element:
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Transient(f"{who}: a web page or a document with a type of its own came; they send neither")
    try:
        # Entities, the danger of XML, need a declaration, which was just refused.
        return ElementTree.fromstring(text)  # noqa: S314
    except (ElementTree.ParseError, ValueError) as error:
        raise Transient(f"{who}: the answer is not whole XML ({len(text)} characters)") from error


def _require_no_data(root: ElementTree.Element, *, who: str) -> None:
    reasons = _all(root, "Reason")
    if not reasons:
        raise Transient(f"{who}: an acknowledgement came that does not say of what")
    for reason in reasons:
        said = payload.shown(_text(reason, "text"), longest=200)
        if _text(reason, "code") != _NO_DATA or "no matching data" not in said.lower():
            raise Permanent(f"{who}: {said or 'refused without a reason'}")


def _series(series: ElementTree.Element, *, who: str) -> Iterator[Curve]:
    unit = _text(series, "quantity_Measure_Unit.name")
    if unit != "MAW":
        raise Transient(f"{who}: gives {payload.shown(unit or 'no unit')}, not MAW (megawatts)")
    repeats = _text(series, "curveType") == "A03"
    psr_type = next((_text(psr, "psrType") for psr in _all(series, "MktPSRType")), "")
    consumed = next(iter(_all(series, "outBiddingZone_Domain.mRID")), None) is not None
    for period in _all(series, "Period"):
        resolution = _text(period, "resolution")
        step = _STEPS.get(resolution)
        if step is None:
            raise Transient(f"{who}: unknown resolution {payload.shown(resolution)}")
        yield Curve(psr_type, consumed, step, _points(period, step=step, repeats=repeats, who=who))


def _points(period: ElementTree.Element, *, step: timedelta, repeats: bool, who: str) -> dict[datetime, float]:
    interval = next(iter(_all(period, "timeInterval")), period)
    start, end = (payload.moment(_text(interval, name), who=who) for name in ("start", "end"))
    count = (end - start) // step
    if not 0 < count <= _MOST_STEPS:
        raise Transient(f"{who}: a period runs from {start.isoformat()} to {end.isoformat()}")
    given: dict[int, float] = {}
    for point in _all(period, "Point"):
        position, quantity = _text(point, "position"), _text(point, "quantity")
        at = int(position) if position.isdecimal() and len(position) < 9 else 0
        if not 1 <= at <= count:
            raise Transient(f"{who}: position {payload.shown(position)} in a period of {count} steps")
        given[at] = _number(quantity, who=who)
    values: dict[datetime, float] = {}
    last: float | None = None
    for at in range(1, count + 1):
        # In an A03 curve an absent position repeats the one before; in any other it is a gap.
        last = given.get(at, last if repeats else None)
        if last is not None:
            values[start + (at - 1) * step] = last
    return values


def _number(text: str, *, who: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Transient(f"{who}: expected a quantity, got {payload.shown(repr(text))}")
    return value


def _local(element: ElementTree.Element) -> str:
    """The tag without its namespace, of which versions differ in nothing we read."""
    return str(element.tag).rpartition("}")[2]


def _all(element: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [child for child in element if _local(child) == name]


def _text(element: ElementTree.Element, name: str) -> str:
    return next(((child.text or "").strip() for child in element if _local(child) == name), "")
