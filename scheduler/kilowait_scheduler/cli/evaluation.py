"""`forecast evaluate`: our own model rolled through recorded data, without a server."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import output
from .connect import OutputOption, UsageError
from .output import Format, say, table

if TYPE_CHECKING:
    from kilowait_forecasters.evaluate import Verdict
    from kilowait_forecasters.models.own import Outlook


class DayAheadDated(StrEnum):
    HOUR = "hour"
    ISSUE = "issue"


def evaluate(
    zone: Annotated[str, typer.Option(help="Name of the zone, for the messages.")],
    intensity: Annotated[Path, typer.Option(help="CSV with datetime and intensity, hourly or finer.")],
    start: Annotated[str, typer.Option(help="First day to forecast from, e.g. 2021-01-01.")],
    end: Annotated[str, typer.Option(help="End of the span to forecast from; that day is not in it.")],
    out: Annotated[Path, typer.Option(help="CSV file to write the forecasts to.")],
    mix: Annotated[Path | None, typer.Option(help="CSV with generation by source and weather (wf_*), hourly.")] = None,
    day_ahead: Annotated[
        Path | None,
        typer.Option(help="CSV with wind_, solar_, load_forecast as announced the day before."),
    ] = None,
    day_ahead_dated: Annotated[
        DayAheadDated | None,
        typer.Option(help="What its rows are dated by: the hour they are about (the default), or the day of issue."),
    ] = None,
    column: Annotated[str | None, typer.Option(help="Intensity column; 'direct' and 'lifecycle' do.")] = None,
    origin: Annotated[str, typer.Option(help="Time of day (UTC) at which a forecast is issued.")] = "00:00",
    horizon: Annotated[str, typer.Option(help="How far each forecast is written and scored.")] = "96h",
    lag: Annotated[str, typer.Option(help="How long after its end an hour's actual value is known.")] = "0h",
    o: OutputOption = Format.TABLE,
) -> None:
    """Roll our own model through recorded data, each forecast from what was known before it, and score it."""
    try:
        from kilowait_forecasters import evaluate as rolling
        from kilowait_forecasters.errors import Refused
        from kilowait_forecasters.models.own import HORIZON_H, LATEST_H
        from kilowait_forecasters.providers.recorded_hours import Dated, read_hours
        from kilowait_forecasters.zone import Zone
        from kilowait_scheduler.core.duration import parse_duration
    except ModuleNotFoundError as error:
        raise UsageError(
            f"forecast evaluate: {error.name} is not installed; pip install 'kilowait[scheduler]'"
        ) from None
    if day_ahead_dated and day_ahead is None:
        raise UsageError("forecast evaluate: --day-ahead-dated is about the rows of --day-ahead; give that too")
    try:
        horizon_h = _hours(parse_duration, horizon, option="--horizon", least=1, most=HORIZON_H)
        lag_h = _hours(parse_duration, lag, option="--lag", least=0, most=LATEST_H)
        first, last = _day(start, option="--start"), _day(end, option="--end")
        issued = rolling.origins(first, last, origin=_time_of_day(origin))
        dated = Dated.DAY_OF_ISSUE if day_ahead_dated is DayAheadDated.ISSUE else Dated.HOUR
        hours = read_hours(Zone(zone), intensity, mix=mix, day_ahead=day_ahead, day_ahead_dated=dated, column=column)
        given = []
        with rolling.open_out(out) as file:
            for outlook in rolling.outlooks(hours, issued, lag_h=lag_h):
                rolling.write(file, outlook, horizon_h=horizon_h)
                given.append(outlook)
                if output.err.is_terminal and len(given) % 28 == 0:
                    say(f"{zone}: {len(given)} of {len(issued)} forecasts")
        verdict = rolling.verdict(hours, given, horizon_h=horizon_h)
    except Refused as error:
        raise UsageError(f"forecast evaluate: {error}") from None
    if o is Format.TABLE:
        _show(zone, verdict)
        say(f"{len(given)} forecasts written to {out}{_in_words(_went_by(given)) if day_ahead else ''}")
    else:
        told = {"went_by_announced": _went_by(given)} if day_ahead else {}
        output.data(_plain({"zone": zone, "out": str(out), **asdict(verdict), **told}), o)


def _show(zone: str, verdict: Verdict) -> None:
    days = [f">day {day}" for day in range(1, len(verdict.mape_pct) + 1)]
    shown = table("error, %", *days, title=f"{zone}: {verdict.origins} forecasts")
    shown.add_row("own model", *map(_figure, verdict.mape_pct))
    for name, errors in verdict.simple_mape_pct.items():
        shown.add_row(name, *map(_figure, errors))
    shown.add_row("skill over persistence", *map(_figure, verdict.skill_over_persistence_pct))
    output.out.print(shown)
    output.out.print(
        f"p05-p95 held {_figure(verdict.coverage_90_pct)} % of the hours, "
        f"p10-p90 {_figure(verdict.coverage_80_pct)} %; "
        f"pinball loss {_figure(verdict.pinball_g_per_kwh)} g/kWh",
        highlight=False,
    )
    if verdict.decisions is not None:
        output.out.print(
            f"6 h jobs with 24 h of slack saved {_figure(verdict.decisions.share_pct)} % of the "
            f"{_figure(verdict.decisions.possible_pct)} % that perfect foresight saves",
            highlight=False,
        )


def _went_by(given: list[Outlook]) -> dict[str, int]:
    """How many forecasts went by each column of what was announced: those with enough of it before them."""
    return dict(sorted(Counter(name for outlook in given for name in outlook.announced).items()))


def _in_words(went_by: dict[str, int]) -> str:
    if not went_by:
        return "; none of them went by what was announced the day before"
    return f"; gone by, of what was announced: {', '.join(f'{name} in {n}' for name, n in went_by.items())} of them"


def _figure(value: float) -> str:
    return f"{value:.1f}" if math.isfinite(value) else "-"


def _plain(value: Any) -> Any:
    """`value` with numbers that are none as null: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _hours(parse: Callable[[str], timedelta], text: str, *, option: str, least: int, most: int) -> int:
    try:
        whole, rest = divmod(parse(text), timedelta(hours=1))
    except ValueError as error:
        raise UsageError(f"forecast evaluate: {option}: {error}") from None
    if rest or not least <= whole <= most:
        raise UsageError(f"forecast evaluate: {option} {text}: give whole hours, {least}h to {most}h")
    return whole


def _day(text: str, *, option: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"forecast evaluate: {option} {text!r} is not a date; write e.g. 2021-01-31") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _time_of_day(text: str) -> timedelta:
    try:
        moment = datetime.strptime(text, "%H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"forecast evaluate: --origin {text!r} is not a time of day; write e.g. 00:00") from None
    return timedelta(hours=moment.hour, minutes=moment.minute)
