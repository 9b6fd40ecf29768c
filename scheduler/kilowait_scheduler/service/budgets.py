"""Budgets that act: a hold when a job is admitted, charges as energy is measured, the rest released when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from kilowait_scheduler.core.budget import Budget, BudgetStatus, Enforcement
from kilowait_scheduler.core.ledger import UG_PER_G, EntryKind, charges, hold, release, to_ug
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.store.repository import Store


class Budgets:
    """The ledger's use cases. A job draws on every budget that covers it, in the month in which it was submitted."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, record: JobRecord) -> list[Budget]:
        team, project = record.spec.team, record.spec.project
        return [budget for budget in self._store.budgets() if budget.covers(team=team, project=project)]

    def status(self, budget: Budget, *, now: datetime) -> BudgetStatus:
        account = budget.account(now)
        return BudgetStatus(
            budget=budget,
            account=account,
            as_of=now,
            limit_g=budget.limit_g,
            held_g=self._store.balance_ug(f"held:{account}") / UG_PER_G,
            emitted_g=self._store.balance_ug(f"emitted:{account}") / UG_PER_G,
        )

    def rows(self, records: Sequence[JobRecord], *, now: datetime) -> tuple[dict[str, float], dict[str, str]]:
        """What hard budgets leave for `records` to emit, in grams by account, and the account each draws on, by job id.

        A job under several draws on the one with the least left. What these jobs hold already is theirs to use.
        """
        left: dict[str, float] = {}
        drawn: dict[str, str] = {}
        hard = [budget for budget in self._store.budgets() if budget.enforcement is Enforcement.HARD]
        for record in records if hard else ():
            team, project = record.spec.team, record.spec.project
            accounts = []
            for budget in hard:
                if budget.covers(team=team, project=project):
                    account = budget.account(record.submitted_at)
                    if account not in left:
                        left[account] = max(self.status(budget, now=record.submitted_at).left_g, 0.0)
                    left[account] += max(self._store.balance_ug(f"held:{account}", job_id=record.id), 0) / UG_PER_G
                    accounts.append(account)
            if accounts:
                drawn[record.id] = min(accounts, key=left.__getitem__)
        return left, drawn

    def reserve(self, record: JobRecord, *, grams: float, now: datetime) -> str:
        """Hold `grams` for the job in every budget that covers it, once. Returns the refusal as a sentence, or "".

        All or nothing: a refusal releases what the others had given. A soft budget never refuses.
        """
        taken: list[Budget] = []
        for budget in self.of(record):
            account = budget.account(record.submitted_at)
            if self._store.balance_ug(f"held:{account}", job_id=record.id) > 0:
                continue
            entry = hold(budget=account, job_id=record.id, grams=max(grams, 1e-6), at=now)
            hard = budget.enforcement is Enforcement.HARD
            limit = to_ug(budget.limit_g) if hard else 2**62
            if self._store.append_within(entry, limit_ug=limit, budget_id=budget.id):
                taken.append(budget)
                continue
            for other in taken:
                self._give_back(record, other, now=now, memo="another budget refused")
            left = self.status(budget, now=record.submitted_at).left_g
            return (
                f"budget {budget.id} ({budget.scope} {budget.name}) has {max(left, 0) / 1000:.3f} kg left of "
                f"{budget.limit_g / 1000:.3f} kg, this job needs up to {grams / 1000:.3f} kg; raise the limit, cancel "
                f"held work or wait for the next month"
            )
        return ""

    def settle(self, record: JobRecord, *, grams: float, now: datetime) -> bool:
        """Charge what the job has emitted so far; a repetition or a revision brings the ledger to the same total.

        True where a budget got something back: the total was corrected down.
        """
        corrected = False
        for budget in self.of(record):
            account = budget.account(record.submitted_at)
            entries = charges(
                budget=account,
                job_id=record.id,
                grams=grams,
                charged_ug=self._store.balance_ug(f"emitted:{account}", job_id=record.id),
                held_ug=self._store.balance_ug(f"held:{account}", job_id=record.id),
                at=now,
            )
            if entries:
                self._store.append(entries)
                corrected = corrected or any(entry.kind is EntryKind.CORRECTION for entry in entries)
        return corrected

    def close(self, record: JobRecord, *, now: datetime) -> bool:
        """Release what is still held for a job that has ended; True where there was something."""
        memo = record.state.phase.value
        released = [self._give_back(record, budget, now=now, memo=memo) for budget in self.of(record)]
        return any(released)

    def _give_back(self, record: JobRecord, budget: Budget, *, now: datetime, memo: str) -> bool:
        account = budget.account(record.submitted_at)
        held = self._store.balance_ug(f"held:{account}", job_id=record.id)
        if held > 0:
            self._store.append([release(budget=account, job_id=record.id, amount_ug=held, at=now, memo=memo)])
        return held > 0
