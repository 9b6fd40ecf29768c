"""Carbon as money: double entry, append only, hash-chained, in integer micrograms so that sums are exact.

Every entry moves `amount_ug` from one account to another, so the books always balance. An account is a name:
`source` (where limits come from), `budget:<id>` (what may still be promised), `held:<id>` (promised to planned work),
`emitted:<id>` (measured). The balance of an account is the sum of its entries and nothing else, so it cannot drift.

The hash of an entry is SHA-256 over the hash before it and its own canonical JSON: who changes, removes or slips in an
entry has to rewrite all that follow, and cannot if a later hash was noted anywhere else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from .window import Utc

UG_PER_G = 1_000_000
GENESIS = "0" * 64  # stands for the hash before the first entry
SOURCE = "source"


def to_ug(grams: float) -> int:
    """Whole micrograms of `grams`, rounded to nearest."""
    return round(grams * UG_PER_G)


def budget(account: str) -> str:
    """The ledger account that holds what a budget's period may still promise; negative where it is overdrawn."""
    return f"budget:{account}"


def held(account: str) -> str:
    """The ledger account of what is promised to planned work."""
    return f"held:{account}"


def emitted(account: str) -> str:
    """The ledger account of what was measured."""
    return f"emitted:{account}"


class EntryKind(StrEnum):
    """GRANT: a limit. HOLD, RELEASE: a promise and its end. CHARGE: measured. CORRECTION: the same energy, valued anew.

    EXTENSION: more, asked for and approved. TRANSFER: from one budget, or one period, to another.
    """

    GRANT = "grant"
    EXTENSION = "extension"
    TRANSFER = "transfer"
    HOLD = "hold"
    RELEASE = "release"
    CHARGE = "charge"
    CORRECTION = "correction"


class Entry(BaseModel):
    """`amount_ug` > 0 leaves `debit` and arrives at `credit`, for the job it was planned or measured for.

    `energy_mj`, on charges and corrections: the job's whole measured IT energy that its emitted total then rests on.
    """

    model_config = ConfigDict(frozen=True)

    at: Utc
    kind: EntryKind
    debit: str
    credit: str
    amount_ug: int = Field(gt=0)
    job_id: str | None = None
    energy_mj: int | None = None
    memo: str = ""


class Booked(Entry):
    """An entry as it stands in the ledger: its place, from 1 on without a gap, and its hash in hexadecimal."""

    seq: int
    hash: str


def canonical(seq: int, entry: Entry) -> str:
    """The JSON that an entry is hashed as: keys sorted, no blanks, UTF-8, `at` in UTC to the microsecond."""
    body = {
        "amount_ug": entry.amount_ug,
        "at": entry.at.astimezone(UTC).isoformat(timespec="microseconds"),
        "credit": entry.credit,
        "debit": entry.debit,
        "energy_mj": entry.energy_mj,
        "job_id": entry.job_id,
        "kind": entry.kind.value,
        "memo": entry.memo,
        "seq": seq,
    }
    return json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(previous: str, seq: int, entry: Entry) -> str:
    """The hash of `entry` at place `seq`, after the entry whose hash is `previous` (GENESIS before the first)."""
    return hashlib.sha256((previous + canonical(seq, entry)).encode()).hexdigest()


def chained(previous: str, seq: int, entry: Entry) -> Booked:
    """`entry` as it stands at place `seq`."""
    return Booked(**entry.model_dump(), seq=seq, hash=digest(previous, seq, entry))


@dataclass(frozen=True)
class Fault:
    """Where the ledger is not what was written, and what is wrong there."""

    seq: int
    problem: str


@dataclass(frozen=True)
class Unreadable:
    """A row that is no entry any more."""

    seq: int
    problem: str


class Chain:
    """Follows a ledger from its first entry on and collects its faults; `head` is the last hash that it says of itself.

    An entry that was changed is one fault, at its own place: those after it are judged by the hashes that stand.
    `noted`: a hash that somebody wrote down earlier; `noted_at` is then its place, None where it is not there any more.
    """

    def __init__(self, *, noted: str | None = None) -> None:
        self.noted = noted
        self.noted_at = 0 if noted == GENESIS else None
        self.count, self.faults = 0, list[Fault]()
        self._before: str | None = GENESIS  # None: what stood before the next entry is not known

    @property
    def head(self) -> str | None:
        """The hash of the last entry; None where it cannot be read."""
        return self._before

    @property
    def sound(self) -> bool:
        """Whether nothing was found: no fault, and the hash that was noted is there."""
        return not self.faults and (self.noted is None or self.noted_at is not None)

    def follow(self, found: Iterable[Booked | Unreadable]) -> None:
        """Take the next entries, in order of their places."""
        for item in found:
            if item.seq != self.count + 1:
                self.faults.append(Fault(self.count + 1, f"missing: the next entry is number {item.seq}"))
                self._before = None
            self.count = item.seq
            if isinstance(item, Unreadable):
                self.faults.append(Fault(item.seq, item.problem))
                self._before = None
                continue
            if self._before is not None and digest(self._before, item.seq, item) != item.hash:
                self.faults.append(Fault(item.seq, "what it says does not match its hash: it was changed"))
            if item.hash == self.noted:
                self.noted_at = item.seq
            self._before = item.hash


def balance_ug(account: str, entries: Iterable[Entry]) -> int:
    """Sum of an account's entries: credits less debits, in micrograms."""
    total = 0
    for entry in entries:
        if entry.credit == account:
            total += entry.amount_ug
        if entry.debit == account:
            total -= entry.amount_ug
    return total


def grant(account: str, *, amount_ug: int, at: datetime, memo: str = "") -> list[Entry]:
    """Raise what a budget's period may emit by `amount_ug`, or lower it where that is negative; none where it is 0."""
    debit, credit = (SOURCE, budget(account)) if amount_ug > 0 else (budget(account), SOURCE)
    if not amount_ug:
        return []
    return [Entry(at=at, kind=EntryKind.GRANT, debit=debit, credit=credit, amount_ug=abs(amount_ug), memo=memo)]


def transfer(giver: str, taker: str, *, amount_ug: int, at: datetime, memo: str) -> Entry:
    """Move what one budget's period may still promise to another's."""
    return Entry(
        at=at, kind=EntryKind.TRANSFER, debit=budget(giver), credit=budget(taker), amount_ug=amount_ug, memo=memo
    )


def hold(account: str, *, job_id: str, amount_ug: int, at: datetime) -> Entry:
    """Promise a part of a budget to a job that is planned."""
    return Entry(
        at=at, kind=EntryKind.HOLD, debit=budget(account), credit=held(account), amount_ug=amount_ug, job_id=job_id
    )


def release(account: str, *, job_id: str, amount_ug: int, at: datetime, memo: str = "") -> Entry:
    """Give back what was promised and not used."""
    return Entry(
        at=at,
        kind=EntryKind.RELEASE,
        debit=held(account),
        credit=budget(account),
        amount_ug=amount_ug,
        job_id=job_id,
        memo=memo,
    )
