"""Budgets that act: a hold when a job is admitted, charges as energy is measured, the rest released when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kilowait_scheduler.core.budget import Budget, BudgetStatus, Enforcement
from kilowait_scheduler.core.ledger import (
    SOURCE,
    UG_PER_G,
    Entry,
    EntryKind,
    budget,
    charges,
    emitted,
    grant,
    held,
    hold,
    release,
    to_ug,
)
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.store.ledger import Booking
from kilowait_scheduler.store.repository import Store


class Budgets:
    """The ledger's use cases. A job draws on every budget that covers it, in the month in which it was submitted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def status(self, one: Budget, *, now: datetime) -> BudgetStatus:
        account = one.account(now)
        return BudgetStatus(
            budget=one,
            account=account,
            as_of=now,
            limit_g=one.limit_g,
            held_g=self._store.balance_ug(held(account)) / UG_PER_G,
            emitted_g=self._store.balance_ug(emitted(account)) / UG_PER_G,
        )

    def rows(self, records: Sequence[JobRecord], *, now: datetime) -> tuple[dict[str, float], dict[str, str]]:
        """What hard budgets leave for `records` to emit, in grams by account, and the account each draws on, by job id.

        A job under several draws on the one with the least left. What these jobs hold already is theirs to use.
        """
        left: dict[str, float] = {}
        drawn: dict[str, str] = {}
        hard = [one for one in self._store.budgets() if one.enforcement is Enforcement.HARD]
        holds = self._store.balances_by_job("held:", [record.id for record in records]) if hard else {}
        for record in records if hard else ():
            team, project = record.spec.team, record.spec.project
            accounts = []
            for one in hard:
                if one.covers(team=team, project=project):
                    account = one.account(record.submitted_at)
                    if account not in left:
                        left[account] = max(self.status(one, now=record.submitted_at).left_g, 0.0)
                    left[account] += max(holds.get((record.id, held(account)), 0), 0) / UG_PER_G
                    accounts.append(account)
            if accounts:
                drawn[record.id] = min(accounts, key=left.__getitem__)
        return left, drawn

    def reserve(self, record: JobRecord, *, grams: float, now: datetime) -> str:
        """Hold `grams` for the job in every budget that covers it, once. Returns the refusal as a sentence, or "".

        All or nothing, and one at a time: however many ask at once, a hard budget never promises more than it has. A
        soft budget never refuses.
        """
        wanted_ug = max(to_ug(grams), 1)
        with self._store.booking() as books:
            accounts = {one.account(record.submitted_at): one for one in _covering(books, record)}
            fresh = [a for a in accounts if books.balance_ug(held(a), job_id=record.id) <= 0]
            for account in fresh:
                books.post(_opening(books, accounts[account], account, now=now))
            for account in fresh:
                one, left_ug = accounts[account], books.balance_ug(budget(account))
                if one.enforcement is Enforcement.HARD and left_ug < wanted_ug:
                    return (
                        f"budget {one.id} ({one.scope} {one.name}) has {max(left_ug, 0) / UG_PER_G / 1000:.3f} kg left "
                        f"of {one.limit_g / 1000:.3f} kg, this job needs up to {grams / 1000:.3f} kg; raise the limit, "
                        f"cancel held work or wait for the next month"
                    )
            books.post([hold(account, job_id=record.id, amount_ug=wanted_ug, at=now) for account in fresh])
        return ""

    def settle(self, record: JobRecord, *, grams: float, energy_mj: int, now: datetime) -> bool:
        """Charge what the job has emitted so far; a repetition or a revision brings the ledger to the same total.

        True where a budget got something back: the total was corrected down.
        """
        corrected = False
        with self._store.booking() as books:
            charged_mj = _charged_mj(books, record.id)
            for one in _covering(books, record):
                account = one.account(record.submitted_at)
                entries = charges(
                    account,
                    job_id=record.id,
                    total_ug=to_ug(grams),
                    energy_mj=energy_mj,
                    charged_ug=books.balance_ug(emitted(account), job_id=record.id),
                    charged_mj=charged_mj,
                    held_ug=books.balance_ug(held(account), job_id=record.id),
                    at=now,
                )
                if entries:
                    books.post([*_opening(books, one, account, now=now), *entries])
                    corrected = corrected or any(entry.debit == emitted(account) for entry in entries)
        return corrected

    def close(self, record: JobRecord, *, now: datetime) -> bool:
        """Release what is still held for a job that has ended; True where there was something."""
        with self._store.booking() as books:
            accounts = [one.account(record.submitted_at) for one in _covering(books, record)]
            left = {account: books.balance_ug(held(account), job_id=record.id) for account in accounts}
            back = {account: amount for account, amount in left.items() if amount > 0}
            memo = record.state.phase.value
            books.post(
                [release(account, job_id=record.id, amount_ug=ug, at=now, memo=memo) for account, ug in back.items()]
            )
        return bool(back)


def _covering(books: Booking, record: JobRecord) -> list[Budget]:
    """Every budget that the job draws on."""
    team, project = record.spec.team, record.spec.project
    return [one for one in books.budgets() if one.covers(team=team, project=project)]


def _opening(books: Booking, one: Budget, account: str, *, now: datetime) -> list[Entry]:
    """What brings the limit that has been granted to a period to the one that is configured."""
    granted = books.moved_ug(SOURCE, budget(account), kind=EntryKind.GRANT)
    granted -= books.moved_ug(budget(account), SOURCE, kind=EntryKind.GRANT)
    return grant(account, amount_ug=to_ug(one.limit_g) - granted, at=now)


def _charged_mj(books: Booking, job_id: str) -> int | None:
    """The energy that what the job has been charged so far rests on; None where nothing was."""
    rests = [entry.energy_mj for entry in books.entries(job_id=job_id) if entry.energy_mj is not None]
    return rests[-1] if rests else None
