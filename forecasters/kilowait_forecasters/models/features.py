"""What the learned candidates see: for every origin and lead, numbers known at the origin, and the weather forecast.

All values of intensity are logarithms, and relative to the *anchor*: the mean of the same hour of day over the last
seven known days.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kilowait_forecasters.mix import DAYS_COMPARED, LEAST_SHARE_MISSED, LONGEST_ABSENCE

from .hours import HOUR, LEAST_ANNOUNCED_H, Announced, Floats, Hours, believable, believed

Whole = NDArray[np.int64]
Marks = NDArray[np.bool_]

DAY, WEEK = 24, 168
# Hours before the first origin that features reach back: four weeks, counted from two days before it.
LOOKBACK = 4 * WEEK + 2 * DAY
# Sources below this share of generation say nothing worth a column.
_LEAST_SHARE = 0.004
# In any unit: as much generation is not believed, it is as if it had not been reported.
_MORE_THAN_ANY = 1e15
# Who has not seen a year cannot tell a season, or a level that returns, from a trend.
_SEASONS_H = 400 * DAY
# Where the effect of a weather column may bend: quantiles of its past.
_KNOTS = (0.15, 0.4, 0.65, 0.9)
# Rows of weather may be dated by their hour or by the day they were issued; told apart from no fewer days than this.
_LAGS_H, _LEAST_DAYS_FOR_LAG = (0, DAY), 28
# Of the load, what wind and sun are announced to leave to others.
_LEFT_OVER = "left over"
# Of what is announced, the hours that say most about those after them.
_LAST_ANNOUNCED_H = 6
# Hours before the origin whose departure from the anchor shows what is going on now.
_RECENT = (1, 2, 4, 8, 14, 20)


def causal_fill(values: Floats) -> Floats:
    """`values` with every NaN replaced by the value a day earlier, else by the last one, else by the first there is."""
    out = values.copy()
    for i in np.flatnonzero(~np.isfinite(out)):
        out[i] = out[i - DAY] if i >= DAY and np.isfinite(out[i - DAY]) else (out[i - 1] if i else np.nan)
    there = np.flatnonzero(np.isfinite(out))
    return np.where(np.isfinite(out), out, out[there[0]]) if len(there) else out


def trailing_mean(values: Floats, width: int) -> Floats:
    """Mean of the `width` values up to and including each; of fewer at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(1, len(values) + 1)
    start = np.maximum(index - width, 0)
    return np.asarray((sums[index] - sums[start]) / (index - start), dtype=np.float64)


@dataclass(frozen=True)
class Layout:
    """Which columns there are, decided once per fit: sources worth a column, and where each weather column may bend.

    Weather for an hour stands `weather_lag_h` rows before that hour. `day_ahead` are columns announced the day before,
    each with where it may bend, `announced_h` for how many hours from the last known one on each is known, and
    `believable` between what they can be. `seasons` says whether the time of year and the level have columns.
    """

    sources: tuple[str, ...] = ()
    knots: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    weather_lag_h: int = 0
    day_ahead: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    announced_h: Mapping[str, int] = field(default_factory=dict)
    believable: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    seasons: bool = False


def layout_of(hours: Hours, *, weather: bool, announced: Announced = ()) -> Layout:
    """The layout for fits on `hours` (trimmed), with their weather columns where `weather` is true.

    `announced` are the day-ahead columns to have, and for how many hours each is known; one of which too little had
    been announced by then is left out.
    """
    shares = shares_of(hours)
    sources = tuple(name for name, share in shares.items() if share.mean() > _LEAST_SHARE)
    past = len(hours.g_per_kwh)
    columns = hours.weather if weather else {}
    knots = {name: _knots(values[:past]) for name, values in columns.items()}
    reach = _with_left_over(dict(announced))
    bounds = {name: believable(name, hours.day_ahead[name][:past]) for name, _ in announced}
    day_ahead = _day_ahead(hours, bounds, ahead=0)
    bends = {name: _knots(values[:past]) for name, values in day_ahead.items()}
    return Layout(
        sources=sources,
        knots=knots,
        weather_lag_h=_weather_lag_h(hours) if columns else 0,
        day_ahead=bends,
        announced_h={name: reach[name] for name in bends},
        believable={name: limits for name, limits in bounds.items() if name in bends},
        seasons=past >= _SEASONS_H,
    )


def _knots(values: Floats) -> tuple[float, ...]:
    return tuple(np.nanquantile(values, _KNOTS).tolist())


def _with_left_over(reach: Mapping[str, int]) -> dict[str, int]:
    """What wind and sun leave over of the load is known as long as all three, or two, of them."""
    parts = [hours for name, hours in reach.items() if name in ("load", "wind", "solar")]
    return {**reach, _LEFT_OVER: min(parts, default=0)}


def _day_ahead(hours: Hours, bounds: Mapping[str, tuple[float, float]], *, ahead: int) -> dict[str, Floats]:
    """The day-ahead columns that have `bounds`, within these and without gaps, and what is left over of the load.

    On the past and `ahead` hours more. What is not there is as a day earlier; before the first value stands the mean of
    the past. A column of which there is too little is absent.
    """
    past = len(hours.g_per_kwh)
    found = {}
    for name, limits in bounds.items():
        given = hours.day_ahead[name][: past + ahead]
        values = believed(np.concatenate([given, np.full(past + ahead - len(given), np.nan)]), limits)
        known = np.flatnonzero(np.isfinite(values[:past]))
        if len(known) >= LEAST_ANNOUNCED_H:
            filled = causal_fill(values)
            filled[: known[0]] = np.nanmean(values[:past])
            found[name] = filled
    renewable = [found[name] for name in ("wind", "solar") if name in found]
    if "load" in found and renewable:
        found[_LEFT_OVER] = found["load"] - np.sum(renewable, axis=0)
    return found


def _weather_lag_h(hours: Hours) -> int:
    """By how many hours the rows of weather precede what they are about: a day in files dated by the day of issue.

    Told by which of _LAGS_H lets changes of weather from day to day explain changes of intensity best.
    """
    days = len(hours.g_per_kwh) // DAY
    if days < _LEAST_DAYS_FOR_LAG:
        return 0
    log = np.log(np.maximum(causal_fill(hours.g_per_kwh), _floor(hours)))
    y = np.diff(_by_day(log, days))[max(_LAGS_H) // DAY :]
    missed = {}
    for lag in _LAGS_H:
        columns = [np.diff(_by_day(_later(causal_fill(values), lag), days)) for values in hours.weather.values()]
        x = np.stack([np.ones(days - 1), *columns], axis=1)[max(_LAGS_H) // DAY :]
        missed[lag] = float(np.square(y - x @ np.linalg.lstsq(x, y, rcond=None)[0]).sum())
    return min(_LAGS_H, key=lambda lag: missed[lag])


def _floor(hours: Hours) -> float:
    positive = hours.g_per_kwh[hours.g_per_kwh > 0]
    return 1e-3 * float(np.median(positive)) if len(positive) else 1e-3


def _by_day(values: Floats, days: int) -> Floats:
    return np.asarray(values[: days * DAY].reshape(days, DAY).mean(axis=1))


def _later(values: Floats, lag_h: int) -> Floats:
    """`values` moved `lag_h` hours later; the first one stands for those before it."""
    return np.concatenate([np.full(lag_h, values[0]), values[: len(values) - lag_h]]) if lag_h else values


class Features:
    """Feature matrices of one zone's `hours` (trimmed), in the columns of `layout`.

    `log` is the natural logarithm of intensity with missing hours filled causally; `target` the same with missing hours
    NaN. Values below a thousandth of the median are lifted to it, so that a zero can be a logarithm. `generation` is
    that of each source of the layout, `load` that of all, in the unit of the mix, causally filled; `load` is above 0.
    """

    def __init__(self, hours: Hours, layout: Layout) -> None:
        self.first = hours.first
        self.count = len(hours.g_per_kwh)
        self.floor = _floor(hours)
        self.target = np.log(np.maximum(hours.g_per_kwh, self.floor))
        self.log = causal_fill(self.target)
        generated = generation_of(hours)
        unknown = np.full(self.count, np.nan)
        self.generation = {name: generated.get(name, unknown) for name in layout.sources}
        self.load = np.sum(list(generated.values()), axis=0) if generated else unknown
        self._mix = [values / self.load for values in self.generation.values()]
        self._seasons = layout.seasons
        lag = layout.weather_lag_h
        weather = {name: _later(causal_fill(hours.weather[name]), lag) for name in layout.knots}
        self._weather = [(values, _smooth(values), layout.knots[name]) for name, values in weather.items()]
        announced = _day_ahead(hours, layout.believable, ahead=max(layout.announced_h.values(), default=0))
        self._day_ahead = [
            (announced[name], knots, layout.announced_h[name]) for name, knots in layout.day_ahead.items()
        ]
        self._day = trailing_mean(self.log, DAY)
        self._week = trailing_mean(self.log, WEEK)

    def anchor(self, origins: Whole, leads: Whole) -> Floats:
        """Log of the anchor, shape (origins, leads)."""
        return self.week_before(self.log, origins, leads)

    def truth(self, origins: Whole, leads: Whole) -> Floats:
        """Log intensity that came, NaN where it is missing or not known yet."""
        at = origins[:, None] + leads
        return np.where(at < self.count, self.target[np.minimum(at, self.count - 1)], np.nan)

    def linear(self, origins: Whole, leads: Whole) -> Floats:
        """For a linear candidate: shape (origins, leads, columns), float32."""
        # What is not announced yet says nothing: always the same.
        columns = [*self._common(origins, leads, unknown=0.0), *self._linear_only(origins, leads)]
        return self._stacked(origins, leads, columns)

    def tree(self, origins: Whole, leads: Whole) -> Floats:
        """For a candidate of trees: shape (origins, leads, columns), float32."""
        return self._stacked(
            origins, leads, [*self._common(origins, leads, unknown=np.nan), *self._tree_only(origins, leads)]
        )

    def _stacked(self, origins: Whole, leads: Whole, columns: list[Floats]) -> Floats:
        shape = len(origins), len(leads)
        return np.stack([np.broadcast_to(column, shape).astype(np.float32) for column in columns], axis=-1)

    def week_before(self, values: Floats, origins: Whole, leads: Whole) -> Floats:
        """Mean of `values` at the same hour of day over the last seven days before each origin."""
        last = origins[:, None] + leads - DAY * (leads // DAY + 1)
        return _mean([values[last - DAY * k] for k in range(7)])

    def _common(self, origins: Whole, leads: Whole, *, unknown: float) -> Iterator[Floats]:
        log, at = self.log, origins[:, None] + leads
        anchor = self.anchor(origins, leads)
        yesterday = at - DAY * (leads // DAY + 1)
        before = (origins - 1)[:, None]
        day, week = self._day[before], self._week[before]
        yield log[yesterday] - anchor
        yield log[yesterday - DAY] - anchor
        yield _mean([log[at - WEEK * k] for k in (1, 2, 3, 4)]) - anchor
        yield day - anchor
        yield week - anchor
        yield day - week
        yield self._day[before - DAY] - week
        number = self.first + at
        weekday = (number // DAY + 3) % 7
        yield (weekday >= 5) * 1.0
        yield ((weekday - 1) % 7 >= 5) * 1.0
        if self._seasons:
            yield anchor
            year = 2 * np.pi * number / (DAY * 365.2425)
            yield np.sin(year)
            yield np.cos(year)
        for share in self._mix:
            mean = trailing_mean(share, DAY)
            yield mean[before]
            yield share[before] - share[before - DAY]
            yield share[yesterday] - mean[before]
        for values, smooth, _ in self._weather:
            yield from self._foretold(values, origins, leads, until=len(leads))
            yield (ahead := _smooth_ahead(values, origins, leads))
            yield ahead - self.week_before(smooth, origins, leads)
        for values, _, until in self._day_ahead:
            for column in self._foretold(values, origins, leads, until=until):
                yield np.where(leads < until, column, unknown)
            # What comes after is like the last of what is announced, and like all of it.
            known = np.arange(until)
            departs = values[origins[:, None] + known] - self.week_before(values, origins, known)
            yield departs[:, -_LAST_ANNOUNCED_H:].mean(axis=1, keepdims=True)
            yield departs.mean(axis=1, keepdims=True)

    def _foretold(self, values: Floats, origins: Whole, leads: Whole, *, until: int) -> Iterator[Floats]:
        """Of a column known for the first `until` leads: itself, and how it and its day depart from last week."""
        last = origins[:, None] + until - 1
        at = np.minimum(origins[:, None] + leads, last)
        yield values[at]
        yield values[at] - self.week_before(values, origins, leads)
        yield values[at] - values[at - DAY * (leads // DAY + 1)]
        days = trailing_mean(values, DAY)
        yield days[np.minimum(at + DAY // 2, last)] - self.week_before(days, origins, leads)

    def _linear_only(self, origins: Whole, leads: Whole) -> Iterator[Floats]:
        weekday = ((self.first + origins[:, None] + leads) // DAY + 3) % 7
        for day in range(6):
            yield (weekday == day) * 1.0
        for back in _RECENT:
            yield self._departure(origins - back)[:, None]
        if self._mix:
            yield from self._of_load(origins, leads)
        for values, smooth, knots in self._weather:
            yield from self._bent(smooth, _smooth_ahead(values, origins, leads), knots, origins, leads)
        for values, knots, until in self._day_ahead:
            ahead = values[origins[:, None] + np.minimum(leads, until - 1)]
            for column in self._bent(values, ahead, knots, origins, leads):
                yield np.where(leads < until, column, 0.0)

    def _of_load(self, origins: Whole, leads: Whole) -> Iterator[Floats]:
        """How all generation together departs from what is usual: of late, at that hour, and on that weekday."""
        load, at = np.log(self.load), origins[:, None] + leads
        day, week = trailing_mean(load, DAY), trailing_mean(load, WEEK)
        before, usual = (origins - 1)[:, None], self.week_before(load, origins, leads)
        yield day[before] - week[before]
        yield load[before] - load[before - DAY]
        yield load[at - DAY * (leads // DAY + 1)] - usual
        yield _mean([load[at - WEEK * k] for k in (1, 2, 3, 4)]) - usual

    def _bent(
        self, values: Floats, ahead: Floats, knots: Sequence[float], origins: Whole, leads: Whole
    ) -> Iterator[Floats]:
        """Of a column that is `ahead` (origins, leads): what is beyond each knot, and how that departs from before."""
        for knot in knots:
            beyond = np.maximum(ahead - knot, 0.0)
            yield beyond
            yield beyond - self.week_before(np.maximum(values - knot, 0.0), origins, leads)

    def _tree_only(self, origins: Whole, leads: Whole) -> Iterator[Floats]:
        number = self.first + origins[:, None] + leads
        yield leads * 1.0
        yield number % DAY * 1.0
        yield (number // DAY + 3) % 7 * 1.0
        lately = _mean([self._departure(origins - back) for back in (1, 2, 3)])[:, None]
        yield lately
        for fading_h in (3.0, 8.0, 24.0):
            yield lately * np.exp(-leads / fading_h)

    def _departure(self, at: Whole) -> Floats:
        """By how much each hour departs from the same hour of the seven days before it."""
        return self.log[at] - _mean([self.log[at - DAY * k] for k in range(1, 8)])


def generation_of(hours: Hours) -> dict[str, Floats]:
    """Generation of each source on the hours of the intensity, causally filled, at least 0; in the unit it came in.

    An hour that lacks a source of weight, as `mix.whole` counts it, has none: without its coal a grid looks clean.
    """
    count = len(hours.g_per_kwh)
    table = np.full((len(hours.mix), count), np.nan)
    for row, values in zip(table, hours.mix.values(), strict=True):
        there = values[:count]
        row[: len(there)] = np.where(there < _MORE_THAN_ANY, np.maximum(there, 0.0), np.nan)
    known = np.isfinite(table)
    missed = ~known & _weighty_of_late(known, table)
    table = np.where(known | missed, table, 0.0)
    total = table.sum(axis=0)  # NaN where one is missed
    table = np.where(total > 0, table, np.nan)
    return {name: causal_fill(row) for name, row in zip(hours.mix, table, strict=True) if np.isfinite(row).any()}


def shares_of(hours: Hours) -> dict[str, Floats]:
    """Share of each source in generation, on the same hours."""
    generated = generation_of(hours)
    total = np.sum(list(generated.values()), axis=0)
    return {name: values / total for name, values in generated.items()}


def _weighty_of_late(known: Marks, table: Floats) -> Marks:
    """(sources, hours) whether a source had weight at that time of day on one of the last days it was reported then."""
    given = np.where(known, table, 0.0)
    weighty = known & (given >= LEAST_SHARE_MISSED * given.sum(axis=0)) & (given > 0)
    found, reports = np.zeros_like(known), np.zeros(known.shape, dtype=np.int64)
    for lag in range(DAY, LONGEST_ABSENCE // HOUR + 1, DAY):
        counts = known[:, :-lag] & (reports[:, lag:] < DAYS_COMPARED)
        found[:, lag:] |= counts & weighty[:, :-lag]
        reports[:, lag:] += counts
    return found


def _mean(parts: Sequence[Floats]) -> Floats:
    return np.asarray(np.mean(parts, axis=0), dtype=np.float64)


def _smooth_ahead(values: Floats, origins: Whole, leads: Whole) -> Floats:
    """Mean of five hours around each of `leads`, shape (origins, leads), from nothing beyond the last of them."""
    last = origins[:, None] + leads[-1]
    return _mean([values[np.minimum(origins[:, None] + leads + k, last)] for k in range(-2, 3)])


def _smooth(values: Floats) -> Floats:
    """Mean of five hours around each."""
    padded = np.concatenate([values[:1], values[:1], values, values[-1:], values[-1:]])
    return np.convolve(padded, np.full(5, 0.2), mode="valid")
