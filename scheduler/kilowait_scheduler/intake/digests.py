"""A number per record that tells whether one that comes again says the same, over every value on the wire."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import numpy as np

from kilowait_agents.wire import Columns

_Numbers = np.ndarray[Any, np.dtype[np.uint64]]

# Of SplitMix64 (Steele, Lea and Flood, 2014): every bit of what goes in decides on every bit of what comes out.
_ODD, _FIRST, _SECOND = (np.uint64(one) for one in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_BY_30, _BY_27, _BY_31 = (np.uint64(one) for one in (30, 27, 31))


def digests(agent_id: str, records: Columns, shares: Columns) -> list[str]:
    """Of each record, 16 hexadecimal digits; the same in whatever batch, place and order of shares it comes.

    Digests of many are made at once, of the columns: one record after another costs as much as to read them.
    """
    count = len(records["seq"])
    found = _mixed([[agent_id], *records.values()], count)
    of_shares = np.zeros(count, dtype=np.uint64)
    values = [column for name, column in shares.items() if name != "record"]
    np.add.at(of_shares, shares["record"], _mixed(values, len(shares["record"])))
    text = _spread(found ^ _spread(of_shares)).astype(">u8").tobytes().hex()
    return [text[start : start + 16] for start in range(0, len(text), 16)]


def _mixed(columns: Sequence[Sequence[Any]], count: int) -> _Numbers:
    """A number for each row of the columns."""
    found = np.zeros(count, dtype=np.uint64)
    for column in columns:
        found = _spread(found ^ _numbers(column))
    return found


def _spread(numbers: _Numbers) -> _Numbers:
    numbers = numbers + _ODD
    numbers = (numbers ^ (numbers >> _BY_30)) * _FIRST
    numbers = (numbers ^ (numbers >> _BY_27)) * _SECOND
    return numbers ^ (numbers >> _BY_31)


def _numbers(column: Sequence[Any]) -> _Numbers:
    """The values as numbers: whole ones are themselves, all others (texts, fractions, None) a hash of theirs."""
    distinct = set(column)
    if len(distinct) > 1 and set(map(type, distinct)) == {int}:
        return np.array(column, dtype=np.uint64)
    of = {value: value if type(value) is int else _hashed(value) for value in distinct}
    return np.array([of[value] for value in column] if len(of) != 1 else of.popitem()[1], dtype=np.uint64)


@lru_cache(maxsize=4096, typed=True)
def _hashed(value: object) -> int:
    return int.from_bytes(blake2b(repr(value).encode(), digest_size=8).digest(), "little")
