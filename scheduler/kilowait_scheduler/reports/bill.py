"""Reads what a cloud says about its carbon: AWS's carbon emissions table and Google's Carbon Footprint export.

AWS: CSV or Parquet, gzipped or not. Google: JSON lines as BigQuery exports them, or CSV, nested names joined with dots
or underscores. The shape follows from the column names. docs/exports.md lists them.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.months import known_zone, month_of, month_span, zone_of

from . import parquet
from .cells import plain

_LARGEST = 256 * 1024 * 1024
_GRAMS_PER = {"mtco2e": 1e6, "tco2e": 1e6, "kgco2e": 1e3, "gco2e": 1.0}
Row = Mapping[str, Any]


class Shape(StrEnum):
    """Whose export a file is."""

    AWS = "aws"
    GOOGLE = "google"


@dataclass(frozen=True)
class BillLine:
    """One row of a cloud's file in grams; None where it says nothing. `month` is `2026-11`, of the file's zone.

    `location_g` and `market_g` are its totals, over all scopes that its model holds; `scope1_g` and `scope3_g` are set
    where the file tells them apart.
    """

    account: str
    region: str
    month: str
    model: str
    location_g: float | None
    market_g: float | None
    scope1_g: float | None = None
    scope3_g: float | None = None


@dataclass(frozen=True)
class Bill:
    """A cloud's file; its months are those of `timezone`."""

    shape: Shape
    timezone: str
    lines: tuple[BillLine, ...]


def read_bill(content: bytes, *, shape: Shape | None = None, timezone: str = "UTC") -> Bill:
    """The lines of a file. Clouds' months are those of UTC, an export of ours may have those of another zone.

    Raises BadInput with the line, what is wrong with it and how to mend it.
    """
    try:
        known_zone(timezone)
    except ValueError as error:
        raise BadInput(f"timezone: {error}") from None
    rows = _rows(content)
    try:
        first_at, first = next(rows)
    except StopIteration:
        raise BadInput("the file has no rows; export it again, with the months you want to compare") from None
    found = _shape_of(first)
    if found is None or shape not in (None, found):
        wanted = f"the {shape} export" if shape else "an AWS or a Google export"
        raise BadInput(
            f"line {first_at}: these are not the columns of {wanted}: {', '.join(sorted(first)[:6])}...; AWS has "
            "usage_account_id and usage_period_start, Google has usage_month and project.id"
        )
    cells = (Cells(at, row, timezone) for at, row in _with_first((first_at, first), rows))
    return Bill(found, timezone, tuple(map(_aws_line if found is Shape.AWS else _google_line, cells)))


def _with_first(first: tuple[int, Row], rest: Iterator[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
    yield first
    yield from rest


def _shape_of(row: Row) -> Shape | None:
    if {"usage_account_id", "usage_period_start"} <= row.keys():
        return Shape.AWS
    return Shape.GOOGLE if {"usage_month", "project_id"} <= row.keys() else None


def _rows(content: bytes) -> Iterator[tuple[int, Row]]:
    """Line number and fields of each row, by names in lower case, dots as underscores."""
    if content[:2] == b"\x1f\x8b":
        try:
            with gzip.open(io.BytesIO(content)) as packed:
                content = packed.read(_LARGEST + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise BadInput(f"a gzip file that cannot be unpacked: {error}; download it again") from None
        if len(content) > _LARGEST:
            raise BadInput("unpacked, the file has more than 256 MiB; export fewer months at a time")
    if content[:4] == b"PAR1":
        for at, row in enumerate(parquet.read(content), start=1):
            yield at, {name.lower(): value for name, value in row.items()}
        return
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        at = content[: error.start].count(b"\n") + 1
        raise BadInput(f"line {at}: not UTF-8 text; give the CSV, JSON lines or Parquet as exported") from None
    yield from _json_rows(text) if text.lstrip()[:1] == "{" else _csv_rows(text)


def _json_rows(text: str) -> Iterator[tuple[int, Row]]:
    for at, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BadInput(f"line {at}: not JSON ({error}); each line is to be one whole record") from None
        if not isinstance(record, dict):
            raise BadInput(f"line {at}: a {type(record).__name__}; each line is to be one record in braces")
        yield at, dict(_flat(record))


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        key = f"{prefix}{name}".lower().replace(".", "_")
        if isinstance(value, dict):
            yield from _flat(value, f"{key}_")
        else:
            yield key, value


def _csv_rows(text: str) -> Iterator[tuple[int, Row]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        names = [name.strip().lower().replace(".", "_") for name in next(reader, [])]
        if len(set(names)) < len(names):
            raise BadInput("line 1: a column name is there twice; keep one of them")
        for row in reader:
            if not row:
                continue
            if len(row) != len(names):
                raise BadInput(
                    f"line {reader.line_num}: {len(row)} cells under {len(names)} column names; is a line cut off, "
                    "or a comma not in quotes?"
                )
            yield reader.line_num, dict(zip(names, map(plain, row), strict=True))
    except csv.Error as error:
        raise BadInput(f"line {reader.line_num}: not CSV ({error}); export the file again") from None


@dataclass(frozen=True)
class Cells:
    """One row, where it stands, and the time zone of the file's months."""

    at: int
    row: Row
    timezone: str

    def word(self, name: str) -> str:
        """A text; empty where there is none."""
        value = self.row.get(name)
        return "" if value is None else str(value).strip()

    def number(self, name: str) -> float | None:
        """A finite number; None where the cell is empty or the column is missing. Raises BadInput."""
        text = self.word(name)
        if not text or text.lower() in ("null", "none"):
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise BadInput(f"line {self.at}: {name} is {text!r}; write a number, or leave it empty where it is unknown")
        return value

    def moment(self, name: str) -> datetime:
        """A day or a time, read as the file's zone's where it has no offset. Raises BadInput."""
        value = self.row.get(name)
        try:
            if not isinstance(value, datetime):
                text = value.isoformat() if isinstance(value, date) else self.word(name)
                value = datetime.fromisoformat(text.removesuffix(" UTC").replace(" Z", "Z"))
            zone = zone_of(self.timezone)
            return value.replace(tzinfo=zone) if value.tzinfo is None else value.astimezone(zone)
        except (ValueError, OverflowError):
            raise BadInput(f"line {self.at}: {name} is {self.word(name)!r}; write e.g. 2026-11-01") from None


def _aws_line(cells: Cells) -> BillLine:
    start, end = cells.moment("usage_period_start"), cells.moment("usage_period_end")
    month = month_of(start, cells.timezone)
    if not start < end <= month_span(month, cells.timezone)[1]:
        raise BadInput(
            f"line {cells.at}: {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} is no span within one month of "
            f"{cells.timezone}; export by month, or say whose months these are (timezone)"
        )
    account = cells.word("usage_account_id")
    if not account:
        raise BadInput(f"line {cells.at}: usage_account_id is empty; every row belongs to an account")
    return BillLine(
        account=account,
        region=cells.word("region_code") or cells.word("location") or "global",
        month=month,
        model=cells.word("model_version"),
        location_g=_aws_grams(cells, "total_lbm_emissions"),
        market_g=_aws_grams(cells, "total_mbm_emissions"),
    )


def _aws_grams(cells: Cells, name: str) -> float | None:
    value = cells.number(f"{name}_value")
    if value is None:
        return None
    unit = cells.word(f"{name}_unit")
    per = _GRAMS_PER.get(unit.lower())
    if per is None:
        raise BadInput(f"line {cells.at}: {name}_unit is {unit!r}; write MTCO2e, kgCO2e or gCO2e")
    return value * per


def _google_line(cells: Cells) -> BillLine:
    scope1, scope3 = (_google_grams(cells, f"carbon_footprint_kgco2e_{scope}") for scope in ("scope1", "scope3"))
    totals = []
    for method in ("location_based", "market_based"):
        total = _google_grams(cells, f"carbon_footprint_total_kgco2e_{method}")
        scope2 = _google_grams(cells, f"carbon_footprint_kgco2e_scope2_{method}")
        summed = scope2 + (scope1 or 0.0) + (scope3 or 0.0) if scope2 is not None else None
        totals.append(total if total is not None else summed)
    return BillLine(
        account=cells.word("project_id") or "(no project)",
        region=cells.word("location_region") or cells.word("location_location") or "global",
        month=f"{cells.moment('usage_month'):%Y-%m}",
        model=cells.word("carbon_model_version"),
        location_g=totals[0],
        market_g=totals[1],
        scope1_g=scope1,
        scope3_g=scope3,
    )


def _google_grams(cells: Cells, name: str) -> float | None:
    kg = cells.number(name)
    return None if kg is None else 1000 * kg
