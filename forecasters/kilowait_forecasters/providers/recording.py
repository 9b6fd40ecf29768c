"""Reading a recorded intensity file: CSV, plain or gzipped, one zone per file."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zlib
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from kilowait_forecasters.errors import Refused
from kilowait_forecasters.intensity import Slot

from .base import MOST_PLAUSIBLE_G_PER_KWH
from .payload import shown

TIME_COLUMN = "datetime"
_ESTIMATED_COLUMN = "estimated"
# What writers of CSV put where they have no value.
BLANK = frozenset({"", "nan", "na", "n/a", "null", "none"})
_FLAGS = {"0": False, "false": False, "": False, "1": True, "true": True}


@dataclass(frozen=True)
class Recording:
    """The rows of one file in order of time: `values` in gCO2e/kWh, None where the file has no value.

    Row i holds on [starts[i], ends[i]): one step long, the step being the most common distance between rows, and never
    beyond the next row. Rows that are absent from the file are gaps.
    """

    starts: list[datetime]
    ends: list[datetime]
    values: list[float | None]
    estimated: list[bool] | None

    @property
    def start(self) -> datetime:
        return self.starts[0]

    @property
    def end(self) -> datetime:
        return self.ends[-1]

    def slots(self, start: datetime, end: datetime, *, shift: timedelta) -> list[Slot]:
        """The slots that overlap [start, end), both in the recording's own time, moved by `shift`."""
        first = max(bisect_right(self.starts, start) - 1, 0)
        last = bisect_left(self.starts, end)
        slots = []
        for index in range(first, last):
            value = self.values[index]
            if value is not None and self.ends[index] > start:
                flag = self.estimated is not None and self.estimated[index]
                slots.append(Slot(self.starts[index] + shift, self.ends[index] + shift, value, flag))
        return slots


def columns_of(path: Path) -> list[str]:
    """The column names of `path`. Raises Refused where it cannot be read."""
    with rows_of(path) as rows:
        return [name.strip() for name in next(rows, [])]


def read_recording(path: Path, *, column: str) -> Recording:
    """The recording in `column` of `path`. Raises Refused, naming file, line, column and the remedy."""
    with rows_of(path) as rows:
        header = [name.strip() for name in next(rows, [])]
        for name in (TIME_COLUMN, column):
            if name not in header:
                raise Refused(f"{path}: no column {name!r}; it has {', '.join(header) or 'none'}")
        records = _records(path, rows, header=header, column=column)
    records.sort(key=lambda record: record[0])
    if len(records) < 2:
        raise Refused(f"{path}: {len(records)} rows; at least two are needed to tell how long a row lasts")
    for (before, *_), (after, *_, line) in pairwise(records):
        if before == after:
            raise Refused(
                f"{path} line {line}, column {TIME_COLUMN!r}: {after.isoformat()} occurs twice; remove one of the rows"
            )
    starts, values, estimated, _ = (list(part) for part in zip(*records, strict=True))
    steps = Counter(after - before for before, after in pairwise(starts))
    step = max(steps, key=lambda distance: (steps[distance], -distance))
    ends = [min(start + step, after) for start, after in zip(starts, [*starts[1:], starts[-1] + step], strict=True)]
    return Recording(starts, ends, values, estimated if any(estimated) else None)


def _records(
    path: Path, rows: Iterator[list[str]], *, header: list[str], column: str
) -> list[tuple[datetime, float | None, bool, int]]:
    time_at, value_at = header.index(TIME_COLUMN), header.index(column)
    flag_at = header.index(_ESTIMATED_COLUMN) if _ESTIMATED_COLUMN in header else None
    records = []
    for line, row in enumerate(rows, start=2):
        if not row:
            continue
        if len(row) != len(header):
            raise Refused(f"{path} line {line}: {len(row)} columns where the header has {len(header)}; mend the row")
        try:
            start = datetime.fromisoformat(row[time_at].strip())
        except ValueError:
            start = None
        if start is None or start.tzinfo is None:
            raise Refused(
                f"{path} line {line}, column {TIME_COLUMN!r}: {shown(row[time_at])!r} is not a time with its zone; "
                "write it as 2026-01-31T13:00:00Z"
            )
        value = _value(row[value_at], where=f"{path} line {line}, column {column!r}")
        flag = flag_at is not None and _flag(row[flag_at], where=f"{path} line {line}, column {_ESTIMATED_COLUMN!r}")
        records.append((start if start.tzinfo is UTC else start.astimezone(UTC), value, flag, line))
    return records


def _value(text: str, *, where: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if 0 <= value <= MOST_PLAUSIBLE_G_PER_KWH:
        return value
    if text.strip().lower() in BLANK:
        return None
    raise Refused(f"{where}: {shown(text)!r} is not between 0 and 3000 g/kWh; correct it, or leave it blank if unknown")


def _flag(text: str, *, where: str) -> bool:
    try:
        return _FLAGS[text.strip().lower()]
    except KeyError:
        raise Refused(f"{where}: {shown(text)!r} is neither 0 nor 1; write 1 where the value is an estimate") from None


@contextmanager
def rows_of(path: Path) -> Iterator[Iterator[list[str]]]:
    """The rows of `path` as lists of texts; every way in which a file is unreadable becomes Refused."""
    try:
        with (
            gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as raw,
            # "utf-8-sig": spreadsheets put a byte order mark before the first column's name.
            io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text,
        ):
            yield csv.reader(text)
    except FileNotFoundError as error:
        raise Refused(f"{path}: no such file; check the path") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Refused(f"{path}: not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise Refused(f"{path}: cannot be read ({error.strerror or error})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise Refused(f"{path}: not a CSV file in UTF-8 ({error})") from error
