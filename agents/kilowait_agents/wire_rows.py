"""A batch as plain rows, checked column by column: the rules of `wire`, for a server that reads thousands a second.

Whatever is not plainly a batch is left to `wire`, which looks at one field after another and names the one at fault.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter, itemgetter
from typing import Any

from .wire import (
    BASES,
    LARGEST,
    LONGEST_NS,
    METHODS,
    QUALITIES,
    SCOPES,
    Batch,
    Origin,
    Record,
    Share,
    is_text,
    open_batch,
    valid_id,
)

Row = tuple[Any, ...]
"""A record's values in the order of `Record`'s fields; its shares as tuples in the order of `Share`'s."""

NAMES = tuple(field.name for field in fields(Record))
SHARE_NAMES = tuple(field.name for field in fields(Share))

_row_of = itemgetter(*NAMES)
_share_of = itemgetter(*SHARE_NAMES)
_SHARES = NAMES.index("shares")
_IDS = ("agent_id", "boot_id", "stream_epoch", "device_uuid")
_AMOUNTS = ("seq", "t0_us", "t1_us", "energy_mj", "idle_mj", "unattributed_mj")


def unpack_rows(body: bytes) -> tuple[Origin, list[Row]]:
    """Where a gzipped batch comes from, and its records. Raises Refused as `wire.unpack` does."""
    origin, sent_at_us, given = open_batch(body)
    try:
        rows = _rows(given, agent_id=origin.agent_id)
    except (TypeError, KeyError):  # no object, no list, a member that is missing, a list in place of a text
        rows = None
    return origin, [_row(record) for record in Batch.of(origin, sent_at_us, given).records] if rows is None else rows


def _row(record: Record) -> Row:
    values = attrgetter(*NAMES)(record)
    shares = tuple([attrgetter(*SHARE_NAMES)(share) for share in record.shares])
    return (*values[:_SHARES], shares, *values[_SHARES + 1 :])


def _rows(given: Sequence[Any], *, agent_id: str) -> list[Row] | None:
    """The records of one agent as rows; None, or TypeError or KeyError, if one of them is not plainly a record."""
    columns = dict(zip(NAMES, zip(*map(_row_of, given), strict=True), strict=True))
    shares = [tuple(map(_share_of, several)) for several in columns["shares"]]
    if set(map(type, columns["shares"])) != {list}:
        return None
    members = sum(map(len, given)) + sum([sum(map(len, several)) for several in columns["shares"]])
    if members != len(NAMES) * len(given) + len(SHARE_NAMES) * sum(map(len, shares)):
        return None  # all that belong there are there, so there are others as well
    if any(len(several) > 1 and len({share[0] for share in several}) < len(several) for several in shares):
        return None
    if not _plain(columns, agent_id=agent_id) or not _plain_shares([share for one in shares for share in one]):
        return None
    used = [sum([share[2] for share in several]) for several in shares]
    parts = zip(columns["energy_mj"], columns["idle_mj"], columns["unattributed_mj"], used, strict=True)
    if any(whole != idle + unknown + mj for whole, idle, unknown, mj in parts):
        return None
    columns["shares"] = tuple(shares)
    return list(zip(*columns.values(), strict=True))


def _plain(columns: dict[str, tuple[Any, ...]], *, agent_id: str) -> bool:
    ends, notes = columns["counter_end_mj"], columns["note"]
    return (
        all(_ids(columns[name]) for name in _IDS)
        and set(columns["agent_id"]) == {agent_id}
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
        and all(t0 < t1 for t0, t1 in zip(columns["t0_us"], columns["t1_us"], strict=True))
        and not any(q == "gap" and mj for q, mj in zip(columns["quality"], columns["energy_mj"], strict=True))
    )


def _plain_shares(shares: Sequence[Row]) -> bool:
    if not shares:
        return True
    runs, jobs, amounts, bases = zip(*shares, strict=True)
    return _ids(runs) and _ids([job for job in jobs if job is not None]) and _amounts(amounts) and _one_of(bases, BASES)


def _ids(values: Iterable[Any]) -> bool:
    return all(type(value) is str and valid_id(value) for value in set(values))


def _amounts(values: Sequence[Any], *, most: int = LARGEST) -> bool:
    return not values or (set(map(type, values)) == {int} and min(values) >= 0 and max(values) <= most)


def _one_of(values: Iterable[Any], choices: frozenset[str]) -> bool:
    return set(values) <= choices
