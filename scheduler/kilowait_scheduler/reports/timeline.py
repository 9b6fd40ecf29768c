"""Intensity over time, one panel per region on a shared time axis, with the windows of jobs drawn in it.

The area under the intensity line is filled where a job ran: at equal power that area is its carbon. The savings report
draws the past with it, the web pages the forecast.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

from markupsafe import Markup

from . import svg
from .slots import Slot, thinned, top_of
from .units import moment

_MARGINS = {svg.BROAD: (46.0, 24.0), svg.SLIM: (32.0, 12.0)}  # left and right of the plot
_LABELS = {svg.BROAD: 34, svg.SLIM: 20}  # characters of a job's name
_HEAD, _PLOT, _LANE, _GAP, _AXIS = 24.0, 92.0, 17.0, 20.0, 36.0
_FONT = 12.0
# Beyond this many lanes a panel no longer fits a page; what is left out is counted under it.
_MOST_LANES = 14


@dataclass(frozen=True)
class Span:
    """A window of a job: `planned` ones are drawn open, `ongoing` ones have no end yet."""

    label: str
    start: datetime
    end: datetime
    planned: bool = False
    ongoing: bool = False


@dataclass(frozen=True)
class Panel:
    """One region: its name, a few words beside it, its intensity and what ran or will run there.

    Without a name it has no heading, for pages that have one of their own.
    """

    name: str
    about: str
    slots: Sequence[Slot]
    spans: Sequence[Span] = ()
    empty: str = "no intensity is known here"


@dataclass(frozen=True)
class Timeline:
    """Panels between two moments; `now` is marked where it lies between them; `top` is the scale's end in g/kWh.

    `ran` and `estimated` are the words of the legend.
    """

    id_: str
    title: str
    desc: str
    start: datetime
    end: datetime
    panels: Sequence[Panel]
    now: datetime | None = None
    top: float | None = None
    ran: str = "a job ran"
    estimated: str = "estimated"


@dataclass
class _Drawing:
    """Where things go; `down` is the y at which the next panel begins."""

    line: Timeline
    sheet: svg.Sheet
    x: svg.TimeScale
    ticks: list[float]
    down: float = 0.0
    parts: list[Markup] = field(default_factory=list)

    def add(self, *parts: Markup) -> None:
        self.parts.extend(parts)

    @property
    def times(self) -> list[svg.TimeTick]:
        return svg.time_ticks(self.x.start, self.x.end, about=self.sheet.times)

    def pattern(self, name: str) -> str:
        return f"{self.sheet.id_of(self.line.id_)}-{name}"


def draw(line: Timeline) -> Markup:
    """The picture, on both sheets."""
    return svg.both(partial(_drawn, line))


def _drawn(line: Timeline, sheet: svg.Sheet) -> Markup:
    left, right = _MARGINS[sheet]
    x = svg.TimeScale(line.start.astimezone(UTC), line.end.astimezone(UTC), left, sheet.width - right)
    drawing = _Drawing(line, sheet, x, _intensity_ticks(line))
    drawing.add(
        svg.hatch(drawing.pattern("estimated"), class_="hatch-estimated"),
        svg.hatch(drawing.pattern("planned"), class_="hatch-planned", kind="back"),
    )
    _legend(drawing)
    for panel in line.panels:
        _panel(drawing, panel)
    _axis(drawing)
    return svg.picture(*drawing.parts, id_=line.id_, sheet=sheet, height=drawing.down, title=line.title, desc=line.desc)


def _intensity_ticks(line: Timeline) -> list[float]:
    top = line.top if line.top is not None else top_of(slot for panel in line.panels for slot in panel.slots)
    low = min((slot.g_per_kwh for panel in line.panels for slot in panel.slots), default=0.0)
    return svg.nice_ticks(min(0.0, low), top or 1.0, about=3)


def _legend(drawing: _Drawing) -> None:
    line = drawing.line
    spans = [span for panel in line.panels for span in panel.spans]
    slots = [slot for panel in line.panels for slot in panel.slots]
    entries = [
        ("intensity, g CO₂e per kWh", "step", None, bool(slots)),
        ("80 % band", "band", None, any(slot.low is not None for slot in slots)),
        (line.estimated, "swatch", drawing.pattern("estimated"), any(slot.estimated for slot in slots)),
        (line.ran, "ran", None, any(not span.planned for span in spans)),
        ("planned", "planned", drawing.pattern("planned"), any(span.planned for span in spans)),
    ]
    there = [(words, class_, fill) for words, class_, fill, present in entries if present]
    widths = [50 + svg.text_width(words) for words, _, _ in there]
    places = svg.flowed(widths, first=drawing.x.first, last=drawing.sheet.width + 22)
    for (words, class_, fill), (x, row) in zip(there, places, strict=True):
        y = 18.0 * row
        if class_ == "step":
            drawing.add(svg.line(x, y + 9, x + 22, y + 9, class_=class_))
        else:
            drawing.add(svg.rect(x, y + 4, x + 22, 10, class_=class_, fill=fill))
        drawing.add(svg.text(x + 28, y + 13, words, class_="label muted"))
    drawing.down += 26 + (18.0 * places[-1][1] if places else 0)


def _panel(drawing: _Drawing, panel: Panel) -> None:
    line, x = drawing.line, drawing.x
    head = drawing.down
    slots = thinned([slot for slot in panel.slots if slot.end > line.start and slot.start < line.end])
    top = head + (_HEAD if panel.name else 10.0)
    bottom = top + (_PLOT if slots else _LANE)
    y = svg.Scale(drawing.ticks[0], drawing.ticks[-1], bottom, top)
    drawing.add(
        svg.tag(
            "text",
            svg.tag("tspan", panel.name, class_="strong"),
            svg.tag("tspan", panel.about, dx=8, class_="muted"),
            x=x.first,
            y=head + 15,
            class_="label",
        )
    )
    for tick in drawing.ticks if slots else ():
        drawing.add(
            svg.line(x.first, y(tick), x.last, y(tick), class_="rule" if tick else "base"),
            svg.text(x.first - 6, y(tick) + 4, f"{tick:g}", class_="label small muted", anchor="end"),
        )
    for at in drawing.times if slots else ():
        drawing.add(svg.line(x(at.at), top, x(at.at), bottom, class_="day" if at.day else "rule"))
    if slots:
        _intensity(drawing, panel, slots, y)
    else:
        drawing.add(svg.text(x.first + 8, (top + bottom) / 2 + 4, panel.empty, class_="label muted"))
    drawing.down = bottom + 5
    _lanes(drawing, panel)
    if line.now is not None and line.start < line.now < line.end:
        drawing.add(svg.line(x(line.now), top - 6, x(line.now), drawing.down, class_="now"))
    drawing.down += _GAP


def _intensity(drawing: _Drawing, panel: Panel, slots: Sequence[Slot], y: svg.Scale) -> None:
    x = drawing.x
    values = [(slot.start, slot.end, slot.g_per_kwh) for slot in slots]
    banded = [slot for slot in slots if slot.low is not None and slot.high is not None]
    for slot in banded:
        drawing.add(
            svg.rect(
                x(slot.start),
                y(slot.high or 0.0),
                x(slot.end),
                y(slot.low or 0.0) - y(slot.high or 0.0),
                class_="band",
            )
        )
    for run in svg.unbroken(step for step, slot in zip(values, slots, strict=True) if slot.estimated):
        # Over the whole height: on a clean grid the area under the line is too flat to show a pattern.
        fill = drawing.pattern("estimated")
        drawing.add(svg.rect(x(run[0][0]), y.last, x(run[-1][1]), y.first - y.last, class_="estimated", fill=fill))
    for planned in (True, False):
        covered = list(_under([s for s in panel.spans if s.planned is planned], values))
        if covered:
            paint = f"url(#{drawing.pattern('planned')})" if planned else None
            path = svg.area_path(covered, x=x, y=y)
            drawing.add(svg.tag("path", d=path, class_="under-planned" if planned else "under-ran", fill=paint))
    drawing.add(svg.tag("path", d=svg.step_path(values, x=x, y=y), class_="step"))


def _under(spans: Iterable[Span], steps: Sequence[svg.Step]) -> Iterable[svg.Step]:
    """The parts of `steps`, which follow one another, during which any of `spans` lasts, each once."""
    merged: list[tuple[datetime, datetime]] = []
    for span in sorted(spans, key=lambda span: span.start):
        if merged and span.start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], span.end))
        else:
            merged.append((span.start, span.end))
    for begin, finish in merged:
        for start, end, value in steps[bisect_right(steps, begin, key=lambda step: step[1]) :]:
            if start >= finish:
                break
            yield max(begin, start), min(finish, end), value


def _lanes(drawing: _Drawing, panel: Panel) -> None:
    """A bar with its label for each window, in as few lanes as hold them; none where most would find no room."""
    x, line = drawing.x, drawing.line
    ends: list[float] = []
    bars: list[tuple[int, Span, _Label]] = []
    within = [span for span in panel.spans if span.end > line.start and span.start < line.end]
    for span in sorted(within, key=lambda span: (span.start, span.end, span.label)):
        placed = _label(span, x(span.start), max(x(span.end), x(span.start) + 2), drawing.sheet)
        lane = next((n for n, end in enumerate(ends) if end + 6 <= placed.left), len(ends))
        if lane < _MOST_LANES:
            ends[lane : lane + 1] = [placed.right]
            bars.append((lane, span, placed))
    left_out = len(within) - len(bars)
    words = f"and {left_out} more windows, not drawn: see the table"
    if left_out > len(bars):
        ends, bars, words = [], [], f"{len(within)} windows, too many to draw each: see the table"
    for lane, span, placed in bars:
        _bar(drawing, span, placed, y=drawing.down + lane * _LANE)
    drawing.down += len(ends) * _LANE
    if left_out:
        drawing.down += _LANE
        drawing.add(svg.text(x.first, drawing.down - 5, words, class_="label small muted"))


def _bar(drawing: _Drawing, span: Span, placed: _Label, *, y: float) -> None:
    x0 = drawing.x(span.start)
    x1 = max(drawing.x(span.end), x0 + 2)
    until = "now, still running" if span.ongoing else moment(span.end)
    title = f"{span.label or 'planned'}: {moment(span.start)} to {until}"
    paint = drawing.pattern("planned") if span.planned else None
    class_ = "planned" if span.planned else "ran"
    drawing.add(svg.rect(x0, y + 1, x1, _LANE - 5, class_=class_, fill=paint, title=title))
    if span.ongoing:
        drawing.add(svg.tag("path", d=f"M{svg.number(x1)},{svg.number(y + 1)}l6,6l-6,6z", class_="ran"))
    drawing.add(svg.text(placed.at, y + 10.5, placed.words, class_=placed.class_, anchor=placed.anchor))


@dataclass(frozen=True)
class _Label:
    words: str
    at: float
    anchor: str
    left: float
    right: float
    class_: str = "label small"


def _label(span: Span, x0: float, x1: float, sheet: svg.Sheet) -> _Label:
    """Beside the bar: after it, or before it where the picture ends; in it, where it leaves no room on either side."""
    words = svg.shortened(span.label, characters=_LABELS[sheet])
    width = svg.text_width(words, size=_FONT - 1)
    after = x1 + (10 if span.ongoing else 5)
    if after + width <= sheet.width - 2:
        return _Label(words, after, "start", x0, after + width)
    if x0 - 5 - width >= 0:
        return _Label(words, x0 - 5, "end", x0 - 5 - width, x1)
    within = svg.fitting(words, room=x1 - x0 - 8, size=_FONT - 1)
    return _Label(within, x0 + 4, "start", x0, x1, "label small" if span.planned else "label small within")


def _axis(drawing: _Drawing) -> None:
    drawing.down -= _GAP - 6
    y = drawing.down
    drawing.add(svg.line(drawing.x.first, y, drawing.x.last, y, class_="base"))
    for tick in drawing.times:
        at = drawing.x(tick.at)
        drawing.add(svg.line(at, y, at, y + 4, class_="base"))
        if tick.label:
            drawing.add(svg.centred(at, y + 16, tick.label, within=drawing.sheet, class_="label small muted"))
        if tick.date:
            below = y + (30 if tick.label else 16)
            drawing.add(svg.centred(at, below, tick.date, within=drawing.sheet, class_="label small"))
    drawing.down += _AXIS
