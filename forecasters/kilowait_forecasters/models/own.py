"""Our own forecaster of one zone: candidates learned from its past, weighed by their record, with a calibrated band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from kilowait_forecasters.errors import Refused

from . import baselines, blend
from .band import offsets
from .boosting import Boosting
from .by_source import BySource, departures
from .features import DAY, LOOKBACK, Features, Layout, Whole, layout_of
from .hours import Announced, Floats, Hours
from .ridge import Ridge, fit_ridges
from .steady import moved_usual, steady, usual

HORIZON_H = 96
# Actual values may be this late; older ones say too little about now.
LATEST_H = 72
# Learned again every four weeks, in the first half-year every week; on days counted from 1970, whoever asks when.
_REFIT_H, _EARLY_REFIT_H, _EARLY_H = 28 * DAY, 7 * DAY, 180 * DAY
# Days on which a fit is tried that it has not learned from, and the least number to learn from at all.
_TRIAL_DAYS, _LEAST_DAYS = 56, 26
# Weights where there is no record, and what they lean to where candidates are equally good.
_PRIOR = {
    "ridge on steady": 0.2,
    "boosting": 0.2,
    "steady": 0.1,
    "usual": 0.07,
    "moved usual": 0.05,
    "hour-of-day": 0.03,
    "hour-of-week": 0.05,
    "persistence": 0.05,
}
# These have many numbers: from few days they are learned badly, from two years better than any other's.
_LONG_LEARNING, _LONG_PRIOR, _LONG_DAYS = ("ridge", "by source"), 0.6, 750.0
# No value leaves the past's range by more than this: beyond what was seen, a straight line knows nothing.
_LEAST_OF_PAST, _MOST_OF_PAST = 0.7, 1.2
_PENALTY, _PENALTY_ON_STEADY = 100.0, 300.0


# Phase of the day, hours ahead, whether weather is known, and of which sources the mix is.
_Key = tuple[int, int, bool, tuple[str, ...]]


@dataclass(frozen=True)
class Outlook:
    """Quantiles of intensity for the hours from `first` on: g/kWh, shape (len(LEVELS), hours); `made_of` in words.

    `announced` are the day-ahead columns it goes by for hours of its own.
    """

    first: int
    quantiles: Floats
    made_of: str
    announced: tuple[str, ...] = ()


@dataclass
class _Fit:
    """Candidates learned from what was known at `cut`, and their record on trial days before it."""

    cut: int
    announced: Announced
    candidates: _Candidates
    trials: _Record
    since: dict[int, _Record] = field(default_factory=dict)


@dataclass(frozen=True)
class _Record:
    """What each candidate said at past origins (hours since 1970): logs of shape (origins, leads)."""

    origins: Whole
    said: Mapping[str, Floats]

    def joined(self, other: _Record) -> _Record:
        names = [name for name in self.said if name in other.said]
        return _Record(
            np.concatenate([self.origins, other.origins]),
            {name: np.concatenate([self.said[name], other.said[name]]) for name in names},
        )


class OwnModel:
    """Forecasts one zone, hourly, `HORIZON_H` hours ahead; keeps what it has learned until it is time to learn again.

    Fits are made for one hour of issue and one delay of the data, when first needed: seconds, on one core. The result
    depends on the past given and the hour of issue alone, not on what was asked before.
    """

    def __init__(self) -> None:
        self._fits: dict[_Key, _Fit] = {}
        # From now on in this process: with more threads than free cores, small matrices take twenty times as long.
        threadpool_limits(1, user_api="blas")

    def outlook(self, hours: Hours, *, issued: int) -> Outlook:
        """Quantiles for the `HORIZON_H` hours from hour `issued` on.

        Reads of `hours` the intensity and mix before `issued`, and weather and what is announced up to the horizon:
        that these hold no more than was known is for the caller to see to. Raises Refused where less than a day is
        known, or nothing of the last LATEST_H hours.
        """
        known = _ahead(hours.before(issued).trimmed(), until=issued + HORIZON_H)
        delay = issued - known.end
        if len(known.g_per_kwh) < DAY:
            raise Refused(f"{len(known.g_per_kwh)} hours of history; at least a day is needed to forecast from")
        if delay > LATEST_H:
            raise Refused(f"the last known hour is {delay} h before the forecast; at most {LATEST_H} h are bridged")
        leads = np.arange(delay + HORIZON_H)
        fit = self._fit(
            known,
            leads=leads,
            weather=known.has_weather(issued + HORIZON_H),
            announced=known.announced(most=len(leads)),
        )
        record, now = self._record(fit, known, leads) if fit else _simple_record(known, leads)
        centre, misses, age_days, made_of = _weighed(record, now, known, leads)
        logs = Features(known, Layout()).log[-LOOKBACK:]
        past = known.g_per_kwh[np.isfinite(known.g_per_kwh)]
        values = np.exp(centre + offsets(misses, age_days, spread=float(logs.std())))
        values = np.clip(values, _LEAST_OF_PAST * past.min(), _MOST_OF_PAST * past.max())
        seen = tuple(name for name, reach in fit.announced if reach > delay) if fit else ()
        return Outlook(issued, values[:, delay:], made_of, seen)

    def _fit(self, known: Hours, *, leads: Whole, weather: bool, announced: Announced) -> _Fit | None:
        """The fit due for data that ends where `known` does; None where there is too little to learn from."""
        every = _REFIT_H if known.end - known.first - _REFIT_H >= _EARLY_H else _EARLY_REFIT_H
        cut = known.end // every * every
        if cut - known.first < LOOKBACK + _LEAST_DAYS * DAY:
            return None
        mix = tuple(sorted(name for name, values in known.mix.items() if np.isfinite(values).any()))
        key = known.end % DAY, len(leads), weather, mix
        fit = self._fits.get(key)
        if fit is None or (fit.cut, fit.announced) != (cut, announced):
            fit = self._fits[key] = _learn(
                known.before(cut), cut=cut, phase=known.end, leads=leads, weather=weather, announced=announced
            )
        return fit

    def _record(self, fit: _Fit, known: Hours, leads: Whole) -> tuple[_Record, _Record]:
        """What was said on trial days and since the fit, and what is said now."""
        features = Features(known, fit.candidates.layout)
        due = np.arange(fit.cut + (known.end - fit.cut) % DAY, known.end + 1, DAY)
        fresh = np.array([origin for origin in due if origin not in fit.since], dtype=np.int64)
        if len(fresh):
            said = fit.candidates.said(features, fresh - known.first, leads)
            for i, origin in enumerate(fresh.tolist()):
                fit.since[origin] = _Record(fresh[i : i + 1], {name: logs[i : i + 1] for name, logs in said.items()})
        record = fit.trials
        for origin in due[:-1].tolist():
            record = record.joined(fit.since[origin])
        return record, fit.since[int(due[-1])]


def _learn(known: Hours, *, cut: int, phase: int, leads: Whole, weather: bool, announced: Announced) -> _Fit:
    """Fit on all of `known`, which ends at `cut`, after a trial on its last weeks of a fit on what was before them.

    Origins are at the hour of day of `phase`.
    """
    first_origin = known.first + LOOKBACK + (phase - known.first - LOOKBACK) % DAY
    days = (cut - first_origin) // DAY
    begin = cut - min(_TRIAL_DAYS, days // 3) * DAY
    learned = partial(_learned, first_origin=first_origin, leads=leads, weather=weather, announced=announced)
    tried = learned(_announced_before(known.before(begin)))
    origins = np.arange(begin + (phase - begin) % DAY, cut, DAY)
    trials = _Record(origins, tried.said(Features(known, tried.layout), origins - known.first, leads))
    return _Fit(cut, announced, learned(_announced_before(known)), trials)


def _learned(known: Hours, *, first_origin: int, leads: Whole, weather: bool, announced: Announced) -> _Candidates:
    layout = layout_of(known, weather=weather, announced=announced)
    features = Features(known, layout)
    origins = np.arange(first_origin, known.end - DAY + 1, DAY) - known.first
    # Columns read weather up to the end of each origin's horizon; the last origins' horizons must fit into the file.
    if weather:
        reach = min(len(values) for values in known.weather.values())
        origins = origins[origins + len(leads) <= reach]
    truth = features.truth(origins, leads)
    departure = truth - features.anchor(origins, leads)
    age_days = (len(known.g_per_kwh) - origins) / DAY
    sources = departures(features, origins, leads)
    ridges = fit_ridges(
        features.linear(origins, leads),
        {
            "ridge": (departure, _PENALTY),
            "ridge on steady": (truth - _steady(features, origins, leads), _PENALTY_ON_STEADY),
            **{f"source {name}": (departed, _PENALTY) for name, departed in sources.items()},
        },
        age_days,
        apart=set(layout.announced_h.values()),
    )
    return _Candidates(
        layout,
        ridges["ridge"],
        ridges["ridge on steady"],
        BySource.fit({name: ridges[f"source {name}"] for name in sources}, features) if sources else None,
        Boosting().fit(features.tree(origins, leads), departure),
    )


@dataclass(frozen=True)
class _Candidates:
    """The candidates that were learned, and of which columns; `sources` is None where no mix is known."""

    layout: Layout
    ridge: Ridge
    ridge_on_steady: Ridge
    sources: BySource | None
    trees: Boosting

    def said(self, features: Features, origins: Whole, leads: Whole) -> dict[str, Floats]:
        """What every candidate says at `origins` (rows of `features`): logs, shape (origins, leads), by name."""
        anchor, firm = features.anchor(origins, leads), _steady(features, origins, leads)
        x = features.linear(origins, leads)
        said = {
            "ridge": anchor + self.ridge.predict(x),
            "ridge on steady": firm + self.ridge_on_steady.predict(x),
            "boosting": anchor + self.trees.predict(features.tree(origins, leads)),
            "steady": firm,
            "usual": usual(features.log, origins, leads),
            "moved usual": moved_usual(features.log, origins, leads),
        }
        if self.sources:
            said["by source"] = self.sources.predict(features, x, origins, leads)
        for name, values in baselines.baselines(np.exp(features.log), origins, leads).items():
            said[name] = np.log(np.maximum(values, features.floor))
        return said


def _steady(features: Features, origins: Whole, leads: Whole) -> Floats:
    """The steady forecast at `origins` (ascending, all at one hour of day), made of all days before each."""
    last = int(origins[-1])
    every = np.arange(last - (last - LOOKBACK) // DAY * DAY, last + 1, DAY)
    found = steady(features.log, features.truth(every, leads), every, leads)
    return np.asarray(found[(origins - every[0]) // DAY])


def _simple_record(known: Hours, leads: Whole) -> tuple[_Record, _Record]:
    """The baselines' record over the last days there are, and what they say now."""
    features = Features(known, Layout())
    count = len(known.g_per_kwh)
    said = []
    for origin in range(count, DAY - 1, -DAY)[: _TRIAL_DAYS + 1]:
        one = baselines.baselines(np.exp(features.log), np.array([origin]), leads)
        said.append({name: np.log(np.maximum(values, features.floor)) for name, values in one.items()})
    unknown = np.full((1, len(leads)), np.nan)
    past = said[:0:-1]
    origins = known.end - DAY * np.arange(len(past), 0, -1)
    table = {
        name: np.concatenate([one.get(name, unknown) for one in past]) if past else np.empty((0, len(leads)))
        for name in said[0]
    }
    return _Record(origins, table), _Record(np.array([known.end]), said[0])


def priors(history_days: float) -> dict[str, float]:
    """What each candidate counts where there is no record, by the days of history it can learn from; not normalised."""
    return _PRIOR | dict.fromkeys(_LONG_LEARNING, _LONG_PRIOR * min(history_days / _LONG_DAYS, 1.0))


def _weighed(record: _Record, now: _Record, known: Hours, leads: Whole) -> tuple[Floats, Floats, Floats, str]:
    """The blend's log forecast, its past misses (truth minus blend, logs), how old each is, and it in words."""
    truth = Features(known, Layout()).truth(record.origins - known.first, leads)
    names = [name for name, logs in now.said.items() if name in record.said and np.isfinite(logs).all()]
    prior = priors(len(known.g_per_kwh) / DAY)
    age_days = (known.end - record.origins) / DAY
    shares = blend.weights(
        {name: record.said[name] - truth for name in names},
        {name: prior[name] for name in names},
        age_days,
        leads.tolist(),
    )
    centre = sum((shares[name] * now.said[name][0] for name in names), np.zeros(len(leads)))
    blended = sum((shares[name] * record.said[name] for name in names), np.zeros(truth.shape))
    mean = {name: float(shares[name].mean()) for name in names}
    told = [f"{name} {100 * share:.0f} %" for name, share in sorted(mean.items(), key=lambda i: -i[1]) if share > 0.05]
    return centre, truth - blended, age_days, ", ".join(told)


def _announced_before(known: Hours) -> Hours:
    """`known` without what was announced for after it, so that a fit is the same whoever asks when."""
    past = len(known.g_per_kwh)
    return replace(known, day_ahead={name: values[:past] for name, values in known.day_ahead.items()})


def _ahead(known: Hours, *, until: int) -> Hours:
    """`known` with its weather and what is announced cut at `until`: nothing beyond the horizon is read."""
    count = until - known.first
    return replace(
        known,
        weather={name: values[:count] for name, values in known.weather.items()},
        day_ahead={name: values[:count] for name, values in known.day_ahead.items()},
    )
