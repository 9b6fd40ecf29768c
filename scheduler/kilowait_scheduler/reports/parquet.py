"""Parquet, by pyarrow, which is an extra: `pip install 'kilowait[parquet]'`."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from kilowait_scheduler.core.errors import BadInput

_TIMES = ("submitted_at", "deadline", "finished_at", "baseline_start", "final_from")
_COUNTS = ("gpus", "runs")
_FLAGS = ("deadline_met", "provisional")
_AMOUNTS = ("energy_cost", "carbon_cost")
_UNITS = ("_g", "_kwh", "_pct", "_h")  # a figure has its unit in its name; all else is words


def write(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows of a report as a Parquet file: times in UTC, money in decimals, all other figures as doubles or null.

    Raises BadInput where pyarrow is not installed.
    """
    arrow = _arrow()
    kinds = {
        **dict.fromkeys(_TIMES, arrow.timestamp("us", tz="UTC")),
        **dict.fromkeys(_COUNTS, arrow.int64()),
        **dict.fromkeys(_FLAGS, arrow.bool_()),
        **{column: arrow.float64() for column in columns if column.endswith(_UNITS)},
        **dict.fromkeys(_AMOUNTS, arrow.decimal128(38, 6)),
    }
    schema = arrow.schema([(column, kinds.get(column, arrow.string())) for column in columns])
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(arrow.Table.from_pylist(list(rows), schema=schema), out)
    return out.getvalue()


def read(content: bytes) -> list[dict[str, Any]]:
    """The rows of a Parquet file. Raises BadInput where it is none, or where pyarrow is not installed."""
    arrow = _arrow()
    from pyarrow import parquet

    try:
        rows: list[dict[str, Any]] = parquet.read_table(io.BytesIO(content)).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise BadInput(f"not a Parquet file that can be read: {str(error).splitlines()[0]}") from None
    return rows


def _arrow() -> ModuleType:
    try:
        import pyarrow
    except ImportError:
        raise BadInput("Parquet needs pyarrow on the server: pip install 'kilowait[parquet]'") from None
    found: ModuleType = pyarrow
    return found
