"""Rows as CSV text: a figure that is not known is an empty cell, and no text turns into a spreadsheet's formula."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

# A cell that starts with one of these is a formula to a spreadsheet, and job names are anybody's input.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, object]]) -> str:
    """A header and one line per row; a column that a row lacks is empty. Raises ValueError on one of no column.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows({column: cell(value) for column, value in row.items()} for row in rows)
    return out.getvalue()


def plain(text: str) -> str:
    """A cell as it was before it was written: without the apostrophe that keeps a spreadsheet from running it."""
    return text[1:] if text[:1] == "'" and text[1:].startswith(_FORMULA_STARTS) else text


def cell(value: object) -> str:
    """A value as a cell: times in ISO 8601, floats as Python writes them, so that they are read back as they were."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.isoformat()
        case Decimal():
            return f"{value:f}"
        case str():
            return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
    return repr(value)
