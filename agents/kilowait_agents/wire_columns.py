"""A batch by column, checked a column at a time: the rules of `wire`, for a server that reads thousands a second.

Whatever is not plainly a batch is left to `wire`, which looks at one field after another and names the one at fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from .wire import (
    BASES,
    LARGEST,
    LONGEST_NS,
    METHODS,
    QUALITIES,
    SCOPES,
    Batch,
    Columns,
    Origin,
    is_text,
    open_batch,
    valid_id,
)

_IDS = ("boot_id", "stream_epoch", "device_uuid")
_AMOUNTS = ("seq", "t0_us", "t1_us", "energy_mj", "idle_mj", "unattributed_mj")


def unpack_columns(body: bytes) -> tuple[Origin, Columns, Columns]:
    """Where a gzipped batch comes from, the values of its records and those of their shares, as `Batch.columns` has
    them. Raises Refused as `wire.unpack` does."""
    opened = open_batch(body)
    try:
        plain = _plain(opened.records) and _plain_shares(opened.shares, records=len(opened.records["seq"]))
        if plain and _adds_up(opened.records, opened.shares):
            return opened.origin, opened.records, opened.shares
    except TypeError:  # a list in place of a text
        pass
    return (opened.origin, *Batch.of(opened).columns())


def _plain(columns: Columns) -> bool:
    ends, notes = columns["counter_end_mj"], columns["note"]
    return (
        all(_ids(columns[name]) for name in _IDS)
        and all(_amounts(columns[name]) for name in _AMOUNTS)
        and _amounts(columns["mono_dt_ns"], most=LONGEST_NS)
        and min(columns["seq"]) > 0
        and len(set(zip(columns["stream_epoch"], columns["seq"], strict=True))) == len(ends)
        and _amounts([end for end in ends if end is not None])
        and all(is_text(text) for text in set(columns["device_name"]))
        and all(note is None or is_text(note) for note in set(notes))
        and _one_of(columns["scope"], SCOPES)
        and _one_of(columns["method"], METHODS)
        and _one_of(columns["quality"], QUALITIES)
        and set(map(type, columns["uncertainty_pct"])) == {float}
        and all(0 <= percent <= 1e6 for percent in set(columns["uncertainty_pct"]))
        and all(map(int.__lt__, columns["t0_us"], columns["t1_us"]))
        and ("gap" not in columns["quality"] or not any(_of_gaps(columns)))
    )


def _of_gaps(columns: Columns) -> Iterable[int]:
    return (mj for quality, mj in zip(columns["quality"], columns["energy_mj"], strict=True) if quality == "gap")


def _plain_shares(columns: Columns, *, records: int) -> bool:
    places, runs = columns["record"], columns["run_id"]
    return not places or (
        _amounts(places, most=records - 1)
        and places == sorted(places)
        and _ids(runs)
        and _ids([job for job in columns["job_id"] if job is not None])
        and _amounts(columns["energy_mj"])
        and _one_of(columns["basis"], BASES)
        and len(set(zip(places, runs, strict=True))) == len(places)
    )


def _adds_up(records: Columns, shares: Columns) -> bool:
    """The parts of each record are its energy."""
    parts = list(map(int.__add__, records["idle_mj"], records["unattributed_mj"]))
    for place, mj in zip(shares["record"], shares["energy_mj"], strict=True):
        parts[place] += mj
    return parts == records["energy_mj"]


def _ids(values: Iterable[Any]) -> bool:
    return all(type(value) is str and valid_id(value) for value in set(values))


def _amounts(values: Sequence[Any], *, most: int = LARGEST) -> bool:
    return not values or (set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= most)


def _one_of(values: Iterable[Any], choices: frozenset[str]) -> bool:
    return set(values) <= choices
