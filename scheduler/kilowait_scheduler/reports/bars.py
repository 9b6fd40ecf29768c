"""Bar pictures: one row per job or region, parts stacked to the right and, where negative, to the left of zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from markupsafe import Markup

from . import svg

_BAR = 13.0
_LEGEND = 18.0


@dataclass(frozen=True)
class _Layout:
    """Where things go on a sheet: bars lie between `first` and `last`, `middle` below the top of their row.

    Names stand before their bars and words behind them; on a phone both stand over them.
    """

    sheet: svg.Sheet
    first: float
    last: float
    row: float
    middle: float
    text: float
    name_at: float
    name_anchor: str
    words_at: float
    words_anchor: str
    ticks: int


_LAYOUTS = {
    svg.BROAD: _Layout(svg.BROAD, 216.0, 770.0, 25.0, 12.5, 16.5, 206.0, "end", 796.0, "start", ticks=5),
    svg.SLIM: _Layout(svg.SLIM, 2.0, 358.0, 40.0, 26.5, 14.0, 0.0, "start", 360.0, "end", ticks=4),
}


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
    """The picture, on both sheets."""
    return svg.both(partial(_drawn, bars))


def _drawn(bars: Bars, sheet: svg.Sheet) -> Markup:
    layout = _LAYOUTS[sheet]
    kinds = list(dict.fromkeys(kind for row in bars.rows for kind, value in row.parts if value))
    explained = len(kinds) > 1 or any(row.net is not None for row in bars.rows)
    legend, top = _legend(bars, kinds, layout) if explained else ([], 8.0)
    bottom = top + layout.row * len(bars.rows) + 4
    low, high = _extent(bars.rows)
    x = svg.Scale(low, high, layout.first, layout.last)
    ticks = [tick * bars.size for tick in svg.nice_ticks(low / bars.size, high / bars.size, about=layout.ticks)]
    ticks = [tick for tick in ticks if low <= tick <= high]
    parts = [
        svg.hatch(_pattern(bars, kind, sheet), class_=f"hatch-{kind.class_}", kind=kind.hatch)
        for kind in kinds
        if kind.hatch
    ]
    parts += legend
    for tick in ticks:
        parts.append(svg.line(x(tick), top, x(tick), bottom, class_="base" if tick == 0 else "rule"))
        words = bars.show(tick)
        parts.append(svg.centred(x(tick), bottom + 16, words, within=sheet, class_="label small muted"))
    below = bottom + (16 if sheet is svg.BROAD else 32)  # beside the axis, or under it where that has the whole width
    parts.append(svg.text(layout.words_at, below, bars.unit, class_="label small muted", anchor=layout.words_anchor))
    for index, row in enumerate(bars.rows):
        parts += _row(bars, row, x, top + layout.row * index, layout)
    return svg.picture(*parts, id_=bars.id_, sheet=sheet, height=below + 10, title=bars.title, desc=bars.desc)


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


def _pattern(bars: Bars, kind: Kind, sheet: svg.Sheet) -> str:
    return f"{sheet.id_of(bars.id_)}-{kind.class_}"


def _legend(bars: Bars, kinds: Sequence[Kind], layout: _Layout) -> tuple[list[Markup], float]:
    """What the parts mean, and where the rows may begin."""
    net = ["net, with its interval"] if any(row.net is not None for row in bars.rows) else []
    widths = [46 + svg.text_width(words) for words in (*(kind.words for kind in kinds), *net)]
    places = svg.flowed(widths, first=layout.first, last=layout.sheet.width + 18)
    parts: list[Markup] = []
    for kind, (x, line) in zip(kinds, places, strict=False):
        y = _LEGEND * line
        parts += _box(bars, kind, x, x + 22, y + 4, 10, sheet=layout.sheet)
        parts.append(svg.text(x + 28, y + 13, kind.words, class_="label muted"))
    for words, (x, line) in zip(net, places[len(kinds) :], strict=True):
        y = _LEGEND * line
        parts += [_net(x + 11, y + 9), svg.text(x + 28, y + 13, words, class_="label muted")]
    return parts, 28.0 + _LEGEND * places[-1][1]


def _box(
    bars: Bars, kind: Kind, x0: float, x1: float, y: float, height: float, *, sheet: svg.Sheet, title: str = ""
) -> list[Markup]:
    boxes = [svg.rect(x0, y, x1, height, class_=f"part {kind.class_}", title=title)]
    if kind.hatch:
        boxes.append(svg.rect(x0, y, x1, height, class_="over", fill=_pattern(bars, kind, sheet), title=title))
    return boxes


def _net(x: float, y: float) -> Markup:
    return svg.tag("path", d=f"M{svg.number(x)},{svg.number(y - 6)}l5,6l-5,6l-5,-6z", class_="net")


def _row(bars: Bars, row: Row, x: svg.Scale, y: float, layout: _Layout) -> list[Markup]:
    middle, line = y + layout.middle, y + layout.text
    weight = "label over strong" if row.strong else "label over"
    room = layout.name_at if layout.name_anchor == "end" else layout.words_at - svg.text_width(row.words) - 12
    parts = [
        svg.tag(
            "text",
            svg.tag("title", row.title or row.name),
            svg.fitting(row.name, room=room),
            x=layout.name_at,
            y=line,
            text_anchor=layout.name_anchor,
            class_=weight,
        )
    ]
    right = left = 0.0
    for kind, value in row.parts:
        if not value:
            continue
        begin = right if value > 0 else left
        title = f"{row.name}: {kind.words} {bars.show(value)} {bars.unit}"
        parts += _box(bars, kind, x(begin), x(begin + value), middle - _BAR / 2, _BAR, sheet=layout.sheet, title=title)
        if value > 0:
            right += value
        else:
            left += value
    if row.net is not None:
        if row.error:
            a, b = x(row.net - row.error), x(row.net + row.error)
            parts.append(svg.tag("path", d=_whisker(a, b, middle), class_="whisker"))
        parts.append(_net(x(row.net), middle))
    parts.append(svg.text(layout.words_at, line, row.words, class_=weight, anchor=layout.words_anchor))
    return parts


def _whisker(a: float, b: float, y: float) -> str:
    first, last, top, bottom = svg.number(a), svg.number(b), svg.number(y - 4), svg.number(y + 4)
    return f"M{first},{top}V{bottom}M{last},{top}V{bottom}M{first},{svg.number(y)}H{last}"
