"""Contracted clean energy, on the command line: hourly certificates, annual volumes, residual mixes."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated

import typer

from kilowait_scheduler.client import segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect, finite, read_file
from .output import Format, say, table

_HOUR = timedelta(hours=1)
_COLUMNS = ("datetime", "mwh")
_WH_PER_MWH = 1_000_000

app = typer.Typer(help="List contracts for clean energy; add, import or remove them.", invoke_without_command=True)

RegionOption = Annotated[str, typer.Option(help="The region it is delivered to.")]
YearOption = Annotated[int, typer.Option(min=1990, max=2200, help="Calendar year of UTC.")]


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="supply")


@app.callback()
def supplies(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """List contracts and residual mixes."""
    if context.invoked_subcommand is not None:
        return
    with connect(server, token_file) as client:
        found = {"supplies": client.get("clean-supply"), "residual_mixes": client.get("residual-mixes")}
    if o is not Format.TABLE:
        output.data(found, o, rows=found["supplies"])
        return
    shown = table("supply", "region", "kind", ">MWh", "from", "until")
    for one in found["supplies"]:
        kind = "hourly" if one["hourly"] else "volume"
        shown.add_row(one["id"], one["region"], kind, f"{one['mwh']:,.3f}", one["start"][:16], one["end"][:16])
    output.out.print(shown)
    for mix in found["residual_mixes"]:
        say(f"residual mix of {mix['region']} from {mix['start'][:10]}: {mix['g_per_kwh']:g} g/kWh ({mix['source']})")
    if not found["supplies"]:
        say("no contracts yet; `kilowait supply import FILE --region R`")


@app.command("import")
def import_hours(
    file: Annotated[Path, typer.Argument(help="CSV with the columns datetime and mwh, one row per hour.")],
    region: RegionOption,
    supply: Annotated[str | None, typer.Option("--id", help="Id of the contract; default: the file's name.")] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Add a contract that is known hour by hour: certificates with an hour each, or what a PPA delivered."""
    start, wh = _hours(read_file(file, what="supply"), file)
    end = start + _HOUR * len(wh)
    body = {
        "id": supply or file.stem.lower(),
        "region": region,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "wh": wh,
    }
    with connect(server, token_file) as client:
        made = client.post("clean-supply", json=body)
    say(f"supply {made['id']}: {made['mwh']:,.3f} MWh for {region} in {len(wh)} hours from {start.isoformat()}")


@app.command("volume")
def volume(
    supply: Annotated[str, typer.Argument(help="Id of the contract.")],
    region: RegionOption,
    year: YearOption,
    mwh: Annotated[float, typer.Option(min=0, callback=finite, help="What it comes to over the year.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Add a contract of which only the year's volume is known; it counts in market-based figures, not by the hour."""
    body = {"id": supply, "region": region, **_span(year), "wh": [round(mwh * _WH_PER_MWH)]}
    with connect(server, token_file) as client:
        client.post("clean-supply", json=body)
    say(f"supply {supply}: {mwh:,g} MWh for {region} over {year}")


@app.command("residual-mix")
def residual_mix(
    region: RegionOption,
    year: YearOption,
    g_per_kwh: Annotated[float, typer.Option(min=0, callback=finite, help="Its intensity.")],
    source: Annotated[str, typer.Option(help="Who published it, e.g. 'AIB 2026'.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Set what energy without a contract counts by in market-based figures."""
    body = {"region": region, **_span(year), "g_per_kwh": g_per_kwh, "source": source}
    with connect(server, token_file) as client:
        client.post("residual-mixes", json=body)
    say(f"residual mix of {region} in {year}: {g_per_kwh:g} g/kWh ({source})")


@app.command("remove-residual-mix")
def remove_residual_mix(
    region: RegionOption,
    year: YearOption,
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Remove a residual mix; energy without a contract then counts by the grid's own intensity."""
    with connect(server, token_file) as client:
        client.call("DELETE", "residual-mixes", params={"region": region, "start": _span(year)["start"]})
    say(f"residual mix of {region} in {year} removed")


@app.command("remove")
def remove(
    supply: Annotated[str, typer.Argument(help="Id of the contract.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Remove a contract."""
    with connect(server, token_file) as client:
        client.call("DELETE", f"clean-supply/{segment(supply)}")
    say(f"supply {supply} removed")


def _span(year: int) -> dict[str, str]:
    return {"start": f"{year}-01-01T00:00:00Z", "end": f"{year + 1}-01-01T00:00:00Z"}


def _hours(text: str, file: Path) -> tuple[datetime, list[int]]:
    """First hour and Wh of each. Raises UsageError where an hour is missing: a gap is not a zero."""
    rows = csv.DictReader(io.StringIO(text), strict=True)
    start: datetime | None = None
    wh: list[int] = []
    try:
        if not set(_COLUMNS) <= set(rows.fieldnames or ()):
            raise UsageError(f"{file}: line 1: the columns are to be {' and '.join(_COLUMNS)}, one row per hour")
        for row in rows:
            place = f"{file}: line {rows.line_num}"
            hour = _hour(row["datetime"], place)
            start = hour if start is None else start
            if hour != start + _HOUR * len(wh):
                expected = (start + _HOUR * len(wh)).isoformat()
                said = f"{hour.isoformat()} where {expected} is due"
                raise UsageError(f"{place}: {said}; one row per hour, 0 where none came")
            wh.append(_wh(row["mwh"], place))
    except csv.Error as error:
        raise UsageError(f"{file}: line {rows.line_num}: not CSV ({error})") from None
    if start is None:
        raise UsageError(f"{file}: no rows; give one per hour")
    return start, wh


def _hour(text: str | None, place: str) -> datetime:
    try:
        moment = datetime.fromisoformat((text or "").strip())
    except ValueError:
        raise UsageError(f"{place}: {text!r} is not a time; write e.g. 2026-01-01T00:00:00Z") from None
    if moment.tzinfo is None:
        raise UsageError(f"{place}: {text!r} has no offset; write e.g. {text}Z for UTC")
    moment = moment.astimezone(UTC)
    if moment.minute or moment.second or moment.microsecond:
        raise UsageError(f"{place}: {text!r} is not a full hour of UTC")
    return moment


def _wh(text: str | None, place: str) -> int:
    try:
        mwh = Decimal((text or "").strip())
    except InvalidOperation:
        mwh = Decimal("NaN")
    if not (mwh.is_finite() and mwh >= 0):
        raise UsageError(f"{place}: mwh is {text!r}; write a number, 0 where nothing came")
    return round(mwh * _WH_PER_MWH)
