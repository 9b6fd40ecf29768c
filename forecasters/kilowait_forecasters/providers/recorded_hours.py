"""A zone's recorded past for our own model: intensity, generation by source and weather, and what was announced."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from enum import IntEnum
from pathlib import Path

import numpy as np

from kilowait_forecasters.errors import Refused
from kilowait_forecasters.intensity import IntensitySeries
from kilowait_forecasters.models.hours import HOUR, Floats, Hours, hour_number, hours_of
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone

from .payload import shown
from .recording import BLANK, TIME_COLUMN, columns_of, read_recording, rows_of

_DEFAULT_COLUMNS = ("carbon_intensity_direct", "carbon_intensity_lifecycle")
# Dated rightly, what was announced is like what came, for so many hours at least, by so much more in correlation.
_LEAST_ALIKE_H, _CLEARLY = 28 * 24, 0.1
_MIX = "named after a source (coal, gas, wind, ...) and none that begins with wf_"
_DAY_AHEAD = "wind_forecast, solar_forecast or load_forecast"
_SHORT_NAMES = {"direct": _DEFAULT_COLUMNS[0], "lifecycle": _DEFAULT_COLUMNS[1]}
_WEATHER = re.compile(r"wf_\w+")
# Not plain `wind`: that is what a file of generation calls what was really made.
_ANNOUNCED = re.compile(r"(?:avg_)?(wind|solar|load)(?:_production)?_forecast")
_SOURCE = re.compile(
    r"(?:power_production_)?(coal|gas|nat_gas|oil|nuclear|hydro|solar|wind|biomass|geothermal|other|unknown)(?:_avg)?"
)


class Dated(IntEnum):
    """What a row of a file of announcements is dated by, in hours before the hour it is about."""

    HOUR = 0
    DAY_OF_ISSUE = 24


def read_hours(
    zone: Zone,
    intensity: Path,
    *,
    mix: Path | None = None,
    day_ahead: Path | None = None,
    day_ahead_dated: Dated = Dated.HOUR,
    column: str | None = None,
) -> Hours:
    """The recorded hours of `zone`.

    `column` is the name of the intensity column, or `direct` or `lifecycle`; without it the direct one, else the
    lifecycle one. Of `mix`, columns named after a source are generation and those beginning with `wf_` weather
    forecasts. Of `day_ahead`, `wind_forecast`, `solar_forecast` and `load_forecast`, also written as
    `avg_wind_production_forecast`, are MW as announced the day before; `day_ahead_dated` says what its rows are dated
    by. Others are not read.

    Raises Refused, naming file, line, column and the remedy.
    """
    have = columns_of(intensity)
    wanted = _SHORT_NAMES.get(column, column) if column else next((n for n in _DEFAULT_COLUMNS if n in have), None)
    if wanted is None:
        raise Refused(f"{intensity}: no column {' or '.join(_DEFAULT_COLUMNS)}; name the one to read with --column")
    recording = read_recording(intensity, column=wanted)
    slots = recording.slots(recording.start, recording.end, shift=0 * HOUR)
    # The model does not look at the signal; a series has to have one.
    series = IntensitySeries(zone=zone, signal=AVERAGE_LIFECYCLE, source=str(intensity), slots=slots)
    hours = hours_of(series)
    if mix is not None:
        columns = _columns(mix, first=hours.first, known=(_SOURCE, _WEATHER), what=_MIX)
        hours = replace(
            hours,
            mix={name: values[: len(hours.g_per_kwh)] for name, values in columns.items() if _SOURCE.fullmatch(name)},
            weather={name: values for name, values in columns.items() if _WEATHER.fullmatch(name)},
        )
    if day_ahead is not None:
        hours = replace(hours, day_ahead=_announced(day_ahead, hours, dated_by=day_ahead_dated))
    return hours


def _announced(path: Path, hours: Hours, *, dated_by: Dated) -> dict[str, Floats]:
    """What was announced, on the hours it is about, by short names."""
    columns = _columns(path, first=hours.first - dated_by, known=(_ANNOUNCED,), what=_DAY_AHEAD)
    named: dict[str, Floats] = {}
    for name, values in columns.items():
        match = _ANNOUNCED.fullmatch(name)
        assert match is not None  # no other was read
        if match[1] in named:
            raise Refused(f"{path}: two columns of {match[1]}; keep one")
        named[match[1]] = values
    if not any(np.isfinite(values[: len(hours.g_per_kwh)]).any() for values in named.values()):
        raise Refused(f"{path}: no value within the time of the intensity; give a file of the same time")
    _require_dated(named, hours, dated_by=dated_by, path=path)
    return named


def _require_dated(announced: Mapping[str, Floats], hours: Hours, *, dated_by: Dated, path: Path) -> None:
    """Raise Refused where what came of wind or sun fits the other dating of the rows far better.

    Taken for their own hour, rows of the day of issue would tell of the day after, and flatter.
    """
    other = Dated.HOUR if dated_by is Dated.DAY_OF_ISSUE else Dated.DAY_OF_ISSUE
    for name, values in hours.mix.items():
        match = _SOURCE.fullmatch(name)
        if match is not None and (said := announced.get(match[1])) is not None:
            as_given, moved = _likeness(said, values), _likeness(said, values, later_h=other - dated_by)
            if moved > as_given + _CLEARLY:
                remedy = "issue" if other is Dated.DAY_OF_ISSUE else "hour"
                raise Refused(
                    f"{path}: its {match[1]} is like what came {abs(other - dated_by)} h "
                    f"{'later' if other > dated_by else 'earlier'}; say --day-ahead-dated {remedy}"
                )


def _likeness(said: Floats, came: Floats, *, later_h: int = 0) -> float:
    """Correlation of what was said with what came `later_h` after it; 0 of fewer than four weeks, or of a constant."""
    came = came[max(later_h, 0) :]
    said = said[max(-later_h, 0) :]
    count = min(len(said), len(came))
    both = np.isfinite(said[:count]) & np.isfinite(came[:count])
    x, y = said[:count][both], came[:count][both]
    return float(np.corrcoef(x, y)[0, 1]) if len(x) >= _LEAST_ALIKE_H and x.std() > 0 and y.std() > 0 else 0.0


def _columns(path: Path, *, first: int, known: Sequence[re.Pattern[str]], what: str) -> dict[str, Floats]:
    """The columns of `path` that are `known` by hour from hour `first` on; blank cells and absent hours are NaN."""
    with rows_of(path) as rows:
        header = [name.strip() for name in next(rows, [])]
        if TIME_COLUMN not in header:
            raise Refused(f"{path}: no column {TIME_COLUMN!r}; it has {', '.join(header) or 'none'}")
        read_at = {i: name for i, name in enumerate(header) if any(one.fullmatch(name) for one in known)}
        if not read_at:
            raise Refused(f"{path}: no column {what}")
        if len(set(read_at.values())) < len(read_at):
            raise Refused(f"{path}: a column of its header occurs twice; keep one")
        time_at = header.index(TIME_COLUMN)
        read: dict[int, list[float]] = {}
        for line, row in enumerate(rows, start=2):
            if not row:
                continue
            if len(row) != len(header):
                raise Refused(
                    f"{path} line {line}: {len(row)} columns where the header has {len(header)}; mend the row"
                )
            hour = _hour(row[time_at], where=f"{path} line {line}, column {TIME_COLUMN!r}")
            if hour in read:
                raise Refused(
                    f"{path} line {line}, column {TIME_COLUMN!r}: this hour occurs twice; keep one row an hour"
                )
            read[hour] = [_number(row[i], where=f"{path} line {line}, column {name!r}") for i, name in read_at.items()]
    table = np.full((max([*read, first - 1]) + 1 - first, len(read_at)), np.nan)
    for hour, values in read.items():
        if hour >= first:
            table[hour - first] = values
    return {name: table[:, i].copy() for i, name in enumerate(read_at.values())}


def _hour(text: str, *, where: str) -> int:
    try:
        moment = datetime.fromisoformat(text.strip())
        utc = moment.astimezone(UTC) if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        utc = None
    if utc is None:
        raise Refused(f"{where}: {shown(text)!r} is not a time with its zone; write it as 2026-01-31T13:00:00Z")
    if utc.replace(minute=0, second=0, microsecond=0) != utc:
        raise Refused(f"{where}: {shown(text)!r} does not start an hour; give hourly rows")
    return hour_number(utc)


def _number(text: str, *, where: str) -> float:
    if text.strip().lower() in BLANK:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.inf
    if not math.isfinite(value):
        raise Refused(f"{where}: {shown(text)!r} is not a number; correct it, or leave it blank if unknown")
    return value
