"""Bar pictures: one row per job or region, parts stacked to the right and, where negative, to the left of zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import svg

WIDTH = 960.0
_NAMES, _WORDS = 216.0, 190.0
_ROW, _BAR = 25.0, 13.0
_HEAD, _AXIS = 28.0, 26.0


@dataclass(frozen=True)
class Kind:
    """What a part of a bar is: its words in the legend, its class, and the pattern that tells it apart in print."""

    words: str
    class_: str
    hatch: str | None = None


@dataclass(frozen=True)
class Row:
    """`parts` are values by kind; `net` is marked on the bar, with `error` to either side; `words` stand after it."""

    name: str
    parts: tuple[tuple[Kind, float], ...]
    words: str
    title: str = ""
    net: float | None = None
    error: float | None = None
    strong: bool = False


@dataclass(frozen=True)
class Bars:
    """The picture: values are in base units, `size` of them make one of `unit`; `show` writes a value in it."""

    id_: str
    title: str
    desc: str
    rows: Sequence[Row]
    unit: str
    show: Callable[[float], str]
    size: float = 1.0


def draw(bars: Bars) -> Markup:
    """The picture as one SVG element."""
    kinds = list(dict.fromkeys(kind for row in bars.rows for kind, value in row.parts if value))
    explained = len(kinds) > 1 or any(row.net is not None for row in bars.rows)
    top = _HEAD if explained else 8.0
    bottom = top + _ROW * len(bars.rows) + 4
    low, high = _extent(bars.rows)
    x = svg.Scale(low, high, _NAMES, WIDTH - _WORDS)
    ticks = [tick * bars.size for tick in svg.nice_ticks(low / bars.size, high / bars.size, about=5)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    parts = [
        svg.hatch(_pattern(bars, kind), class_=f"hatch-{kind.class_}", kind=kind.hatch) for kind in kinds if kind.hatch
    ]
    parts += _legend(bars, kinds) if explained else []
    for tick in ticks:
        parts.append(svg.line(x(tick), top, x(tick), bottom, class_="base" if tick == 0 else "rule"))
        parts.append(svg.text(x(tick), bottom + 16, bars.show(tick), class_="label small muted", anchor="middle"))
    parts.append(svg.text(WIDTH - _WORDS + 26, bottom + 16, bars.unit, class_="label small muted"))
    for index, row in enumerate(bars.rows):
        parts += _row(bars, row, x, top + _ROW * index)
    return svg.picture(*parts, id_=bars.id_, width=WIDTH, height=bottom + _AXIS, title=bars.title, desc=bars.desc)


def _extent(rows: Sequence[Row]) -> tuple[float, float]:
    low = high = 0.0
    for row in rows:
        low = min(low, sum(value for _, value in row.parts if value < 0))
        high = max(high, sum(value for _, value in row.parts if value > 0))
        if row.net is not None:
            low = min(low, row.net - (row.error or 0.0))
            high = max(high, row.net + (row.error or 0.0))
    room = 0.02 * ((high - low) or 1.0)
    return low - room if low < 0 else low, high + room


def _pattern(bars: Bars, kind: Kind) -> str:
    return f"{bars.id_}-{kind.class_}"


def _legend(bars: Bars, kinds: Sequence[Kind]) -> list[Markup]:
    parts: list[Markup] = []
    x = _NAMES
    for kind in kinds:
        parts += _box(bars, kind, x, x + 22, 4, 10)
        parts.append(svg.text(x + 28, 13, kind.words, class_="label muted"))
        x += 28 + svg.text_width(kind.words) + 18
    if any(row.net is not None for row in bars.rows):
        parts += [_net(x + 6, 9), svg.text(x + 18, 13, "net, with its interval", class_="label muted")]
    return parts


def _box(bars: Bars, kind: Kind, x0: float, x1: float, y: float, height: float, title: str = "") -> list[Markup]:
    boxes = [svg.rect(x0, y, x1, height, class_=f"part {kind.class_}", title=title)]
    if kind.hatch:
        boxes.append(svg.rect(x0, y, x1, height, class_="over", fill=_pattern(bars, kind), title=title))
    return boxes


def _net(x: float, y: float) -> Markup:
    return svg.tag("path", d=f"M{svg.number(x)},{svg.number(y - 6)}l5,6l-5,6l-5,-6z", class_="net")


def _row(bars: Bars, row: Row, x: svg.Scale, y: float) -> list[Markup]:
    middle = y + _ROW / 2
    weight = "label strong" if row.strong else "label"
    name = svg.shortened(row.name, characters=28)
    parts = [
        svg.tag(
            "text",
            svg.tag("title", row.title or row.name),
            name,
            x=_NAMES - 10,
            y=middle + 4,
            text_anchor="end",
            class_=weight,
        )
    ]
    right = left = 0.0
    for kind, value in row.parts:
        if not value:
            continue
        begin = right if value > 0 else left
        title = f"{row.name}: {kind.words} {bars.show(value)} {bars.unit}"
        parts += _box(bars, kind, x(begin), x(begin + value), middle - _BAR / 2, _BAR, title)
        if value > 0:
            right += value
        else:
            left += value
    if row.net is not None:
        if row.error:
            a, b = x(row.net - row.error), x(row.net + row.error)
            parts.append(svg.tag("path", d=_whisker(a, b, middle), class_="whisker"))
        parts.append(_net(x(row.net), middle))
    parts.append(svg.text(WIDTH - _WORDS + 26, middle + 4, row.words, class_=weight))
    return parts


def _whisker(a: float, b: float, y: float) -> str:
    first, last, top, bottom = svg.number(a), svg.number(b), svg.number(y - 4), svg.number(y + 4)
    return f"M{first},{top}V{bottom}M{last},{top}V{bottom}M{first},{svg.number(y)}H{last}"
