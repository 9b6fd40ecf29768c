"""Times of very many rows, as numpy reads them at once: as objects, one by one, they would take most of a report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import BigInteger, ColumnElement, String, cast, extract, type_coerce
from sqlmodel import Session

from kilowait_scheduler.core.course import Ints


def times(column: Any, session: Session) -> ColumnElement[Any]:
    """What to select of a column of times: microseconds since 1970, or the text that SQLite keeps of it."""
    if session.get_bind().dialect.name == "sqlite":
        return type_coerce(column, String)
    return cast(extract("epoch", column) * 1_000_000, BigInteger)


def as_us(selected: Sequence[str | int]) -> Ints:
    """What was selected, in microseconds since 1970: (n,)."""
    return np.array(selected, dtype="datetime64[us]").astype(np.int64)
