"""Carbon as money: double entry, append only, in integer micrograms so that sums are exact.

Every entry moves `amount_ug` from one account to another. An account is a name: `budget:<id>` (what may be emitted),
`held:<id>` (promised to planned work), `emitted:<id>` (measured), `source` (where limits come from). The balance of an
account is the sum of its entries and nothing else, so it cannot drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from .window import Utc

UG_PER_G = 1_000_000


def to_ug(grams: float) -> int:
    """Whole micrograms of `grams`, rounded to nearest."""
    return round(grams * UG_PER_G)


class EntryKind(StrEnum):
    GRANT = "grant"
    HOLD = "hold"
    RELEASE = "release"
    CHARGE = "charge"
    CORRECTION = "correction"


class Entry(BaseModel):
    """`amount_ug` > 0 leaves `debit` and arrives at `credit`, for the job it was planned or measured for."""

    model_config = ConfigDict(frozen=True)

    at: Utc
    kind: EntryKind
    debit: str
    credit: str
    amount_ug: int = Field(gt=0)
    job_id: str | None = None
    memo: str = ""


def balance_ug(account: str, entries: Iterable[Entry]) -> int:
    """Sum of an account's entries: credits less debits, in micrograms."""
    total = 0
    for entry in entries:
        if entry.credit == account:
            total += entry.amount_ug
        if entry.debit == account:
            total -= entry.amount_ug
    return total


def hold(*, budget: str, job_id: str, grams: float, at: datetime) -> Entry:
    """Promise grams of a budget to a job that is planned."""
    return Entry(
        at=at,
        kind=EntryKind.HOLD,
        debit=f"budget:{budget}",
        credit=f"held:{budget}",
        amount_ug=to_ug(grams),
        job_id=job_id,
    )


def release(*, budget: str, job_id: str, amount_ug: int, at: datetime, memo: str = "") -> Entry:
    """Give back what was promised and not used."""
    return Entry(
        at=at,
        kind=EntryKind.RELEASE,
        debit=f"held:{budget}",
        credit=f"budget:{budget}",
        amount_ug=amount_ug,
        job_id=job_id,
        memo=memo,
    )


def charges(*, budget: str, job_id: str, grams: float, charged_ug: int, held_ug: int, at: datetime) -> list[Entry]:
    """Entries that bring the job's measured total from `charged_ug` to `grams`: out of its hold first, then the budget.

    A falling total (a provider revised its history) comes back as a correction. Repeating the call changes nothing.
    """
    difference = to_ug(grams) - charged_ug
    spent = f"emitted:{budget}"
    if difference < 0:
        moves = [(EntryKind.CORRECTION, spent, f"budget:{budget}", -difference)]
    else:
        from_hold = min(difference, max(held_ug, 0))
        moves = [
            (EntryKind.CHARGE, f"held:{budget}", spent, from_hold),
            (EntryKind.CHARGE, f"budget:{budget}", spent, difference - from_hold),
        ]
    return [
        Entry(at=at, kind=kind, debit=debit, credit=credit, amount_ug=amount, job_id=job_id)
        for kind, debit, credit, amount in moves
        if amount > 0
    ]
