"""Pictures as SVG text, from a few small functions. Colours and fonts come from the page's style sheet, by class.

All text is escaped. Patterns carry what colour says as well, so that a picture can be read without colour.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup

# Mean width of a character of a system sans-serif, in parts of the font size: text cannot be measured on the server.
_CHARACTER = 0.56

# Characters that no XML document may hold; a job's name may.
_NOT_XML = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Sheet:
    """What a picture is drawn for: its name, its width in units that are pixels at that width, and how many ticks the
    time axis may have."""

    name: str
    width: float
    times: int

    def id_of(self, id_: str) -> str:
        """The id of a picture on this sheet: both may stand in one page."""
        return id_ if self is BROAD else f"{id_}-{self.name}"


BROAD = Sheet("broad", 960.0, times=10)
SLIM = Sheet("slim", 360.0, times=4)


def both(draw: Callable[[Sheet], Markup]) -> Markup:
    """A picture for screens and paper and one for phones; the style sheet shows one of them. Letters cannot be
    read in a picture that was shrunk to a third, so each is laid out for its own width."""
    return draw(BROAD) + draw(SLIM)


def tag(name: str, *inside: str, **attributes: str | float | None) -> Markup:
    """One element; `class_` gives class, `stroke_width` stroke-width, None leaves out. Plain strings are escaped."""
    written = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _clean(value))
        for key, value in attributes.items()
        if value is not None
    )
    content = Markup("").join(part if isinstance(part, Markup) else _clean(part) for part in inside)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, content)


def _clean(value: str | float) -> str:
    return _NOT_XML.sub("\ufffd", value) if isinstance(value, str) else number(value)


def number(value: float) -> str:
    """A coordinate: at most two decimals, no exponent, no negative zero."""
    shown = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if shown == "-0" else shown


def picture(*inside: str, id_: str, sheet: Sheet, height: float, title: str, desc: str) -> Markup:
    """The root element: scales with its container, named and described for those who do not see it."""
    id_ = sheet.id_of(id_)
    return tag(
        "svg",
        tag("title", title, id=f"{id_}-title"),
        tag("desc", desc, id=f"{id_}-desc"),
        *inside,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(sheet.width)} {number(height)}",
        role="img",
        aria_labelledby=f"{id_}-title {id_}-desc",
        class_=f"picture {sheet.name}",
    )


def text(x: float, y: float, content: str, *, class_: str = "label", anchor: str | None = None) -> Markup:
    return tag("text", content, x=x, y=y, class_=class_, text_anchor=anchor)


def centred(x: float, y: float, content: str, *, within: Sheet, class_: str) -> Markup:
    """Text around `x`; at the edge of the sheet beside it, so that nothing is cut off."""
    half = text_width(content) / 2
    anchor = "start" if x < half else "end" if x > within.width - half else "middle"
    return text(x, y, content, class_=class_, anchor=anchor)


def line(x1: float, y1: float, x2: float, y2: float, *, class_: str) -> Markup:
    return tag("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def rect(
    x0: float, y: float, x1: float, height: float, *, class_: str, fill: str | None = None, title: str = ""
) -> Markup:
    """A bar from `x0` to `x1`, whichever is larger; `fill` names a pattern by id, `title` shows on hovering."""
    inside = [tag("title", title)] if title else []
    paint = f"url(#{fill})" if fill else None
    left, width = min(x0, x1), abs(x1 - x0)
    return tag("rect", *inside, x=left, y=y, width=width, height=height, class_=class_, fill=paint)


def hatch(id_: str, *, class_: str, kind: str = "lines") -> Markup:
    """A pattern definition: `lines` (diagonal), `back` (the other diagonal), `cross` or `dots`, stroked by class."""
    drawn = {
        "lines": [tag("path", d="M-1.5,1.5 l3,-3 M0,6 l6,-6 M4.5,7.5 l3,-3", class_=class_)],
        "back": [tag("path", d="M-1.5,4.5 l3,3 M0,0 l6,6 M4.5,-1.5 l3,3", class_=class_)],
        "cross": [tag("path", d="M0,0 l6,6 M6,0 l-6,6", class_=class_)],
        "dots": [
            tag("circle", cx=1.5, cy=1.5, r=0.9, class_=class_),
            tag("circle", cx=4.5, cy=4.5, r=0.9, class_=class_),
        ],
    }[kind]
    return tag("defs", tag("pattern", *drawn, id=id_, width=6, height=6, patternUnits="userSpaceOnUse"))


def text_width(content: str, *, size: float = 12) -> float:
    """About how wide `content` is, in the picture's units."""
    return len(content) * size * _CHARACTER


def flowed(widths: Sequence[float], *, first: float, last: float) -> list[tuple[float, int]]:
    """Where things of these widths go, from `first` on, in lines that end before `last`: x and line of each."""
    found, x, row = [], first, 0
    for width in widths:
        if x > first and x + width > last:
            x, row = first, row + 1
        found.append((x, row))
        x += width
    return found


def fitting(content: str, *, room: float, size: float = 12) -> str:
    """`content`, shortened to so many units of the picture; empty where not even three characters find room."""
    characters = int(room / (size * _CHARACTER))
    return shortened(content, characters=characters) if characters >= 3 else ""


def shortened(content: str, *, characters: int) -> str:
    """`content` with its middle cut out where it is too long: names tend to differ at both ends."""
    if len(content) <= characters:
        return content
    tail = (characters - 1) // 3
    return f"{content[: characters - 1 - tail]}…{content[-tail:]}"


@dataclass(frozen=True)
class Scale:
    """A straight line from values [low, high] to coordinates [first, last]."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        return self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first)


@dataclass(frozen=True)
class TimeScale:
    """A straight line from [start, end] to coordinates [first, last]; times outside are drawn at the edge."""

    start: datetime
    end: datetime
    first: float
    last: float

    def __call__(self, moment: datetime) -> float:
        share = (moment - self.start) / (self.end - self.start)
        return self.first + min(max(share, 0.0), 1.0) * (self.last - self.first)


def nice_ticks(low: float, high: float, *, about: int = 4) -> list[float]:
    """Round values (1, 2, 2.5 or 5 times a power of ten apart) from at or below `low` to at or above `high`."""
    if high <= low:
        high = low + (abs(low) or 1.0)
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


_STEPS = [
    *(timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 30)),
    *(timedelta(hours=h) for h in (1, 2, 3, 6, 12)),
    *(timedelta(days=d) for d in (1, 2, 7, 14, 28, 91, 364)),
]


@dataclass(frozen=True)
class TimeTick:
    """A mark on a time axis: the hour, and the date where a day begins (`day`) or the axis does."""

    at: datetime
    label: str
    date: str
    day: bool


def time_ticks(start: datetime, end: datetime, *, about: int = 10) -> list[TimeTick]:
    """At most `about` round times in [start, end], in the time zone of `start`."""
    step = next((step for step in _STEPS if (end - start) / step <= about), _STEPS[-1] * 4)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    found: list[TimeTick] = []
    at = midnight + math.ceil((start - midnight) / step) * step
    while at <= end:
        day = at.hour == at.minute == 0
        dated = day or not found
        label = "" if step >= timedelta(days=1) else f"{at:%H:%M}"
        found.append(TimeTick(at, label, f"{at:%a} {at.day} {at:%b}" if dated else "", day))
        at += step
    return found


Step = tuple[datetime, datetime, float]


def step_path(steps: Iterable[Step], *, x: TimeScale, y: Scale) -> str:
    """The path of a step line; it breaks where the steps do."""
    return "".join(f"M{number(x(run[0][0]))},{number(y(run[0][2]))}{_treads(run, x, y)}" for run in unbroken(steps))


def area_path(steps: Iterable[Step], *, x: TimeScale, y: Scale, floor: float = 0.0) -> str:
    """The path of the area between steps and the value `floor`, one closed piece per unbroken run of steps."""
    base = number(y(floor))
    return "".join(f"M{number(x(run[0][0]))},{base}{_treads(run, x, y)}V{base}Z" for run in unbroken(steps))


def unbroken(steps: Iterable[Step]) -> list[list[Step]]:
    """`steps` (in order of time) in runs in which each begins where the one before ends."""
    runs: list[list[Step]] = []
    for step in steps:
        if runs and runs[-1][-1][1] == step[0]:
            runs[-1].append(step)
        else:
            runs.append([step])
    return runs


def _treads(run: Iterable[Step], x: TimeScale, y: Scale) -> str:
    return "".join(f"V{number(y(value))}H{number(x(end))}" for _, end, value in run)
