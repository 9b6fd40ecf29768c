"""Budgets and the ledger in the database.

Entries are only ever added, by one writer at a time; triggers refuse everything else. Budgets are changed under the
same lock, so that a hold is never weighed against a limit that is not the limit any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from sqlalchemy import func, text
from sqlmodel import Session, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from kilowait_scheduler.core.budget import Budget
from kilowait_scheduler.core.ledger import GENESIS, Booked, Chain, Entry, EntryKind, Unreadable, chained

from .tables import BudgetRow, LedgerRow

_LOCK = 0x6C_65_64_67_65_72  # "ledger" in ASCII: any number will do that nothing else in the database uses
_AT_ONCE = 1000


class Booking:
    """The books while no one else writes in them: what is read stays true until what is posted has been committed."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def budgets(self) -> list[Budget]:
        return _budgets(self._session)

    def balance_ug(self, account: str, *, job_id: str | None = None) -> int:
        """Credits less debits of an account, of one job where given, in micrograms."""
        return _balance(self._session, account, job_id)

    def moved_ug(self, debit: str, credit: str, *, kind: EntryKind) -> int:
        """All that entries of a kind moved from one account to another, in micrograms, whatever went back."""
        return _moved(self._session, debit, credit, kind)

    def entries(self, *, account: str | None = None, job_id: str | None = None) -> list[Booked]:
        return [_booked(row) for row in self._session.exec(_query(account, job_id)).all()]

    def put(self, budget: Budget) -> None:
        self._session.merge(BudgetRow(id=budget.id, record=budget.model_dump(mode="json")))

    def post(self, entries: Iterable[Entry]) -> None:
        """Add entries at the end, each chained to the one before it."""
        last = self._session.exec(select(LedgerRow).order_by(col(LedgerRow.seq).desc()).limit(1)).first()
        seq, before = (last.seq, last.hash) if last is not None else (0, GENESIS)
        for entry in entries:
            seq += 1
            booked = chained(before, seq, entry)
            before = booked.hash
            self._session.add(LedgerRow(**{**booked.model_dump(), "kind": booked.kind.value}))
        self._session.flush()


class Ledger(ABC):
    """The part of the repository that keeps budgets and books."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    @contextmanager
    def booking(self) -> Iterator[Booking]:
        """The books for one writer; whoever else wants to write waits. Leaving it with an error posts nothing."""
        with self.writing() as session:
            if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time by itself
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield Booking(session)

    def budgets(self) -> list[Budget]:
        """All budgets, by id."""
        with self.reading() as session:
            return _budgets(session)

    def put_budget(self, budget: Budget) -> None:
        """Add a budget, or replace the one of the same id."""
        with self.booking() as books:
            books.put(budget)

    def entries(
        self,
        *,
        account: str | None = None,
        job_id: str | None = None,
        after: int = 0,
        limit: int | None = None,
    ) -> list[Booked]:
        """Ledger entries after number `after` in order, of one account and/or one job.

        An account is one name, or `*:<id>` for all accounts of a budget's period.
        """
        query = _query(account, job_id).where(col(LedgerRow.seq) > after).limit(limit)
        with self.reading() as session:
            return [_booked(row) for row in session.exec(query).all()]

    def balance_ug(self, account: str, *, job_id: str | None = None) -> int:
        """Credits less debits of an account, of one job where given, in micrograms."""
        with self.reading() as session:
            return _balance(session, account, job_id)

    def balances(self, prefix: str) -> dict[str, int]:
        """Balances of all accounts whose name starts with `prefix`, in micrograms."""
        totals: dict[str, int] = {}
        with self.reading() as session:
            for column, sign in ((LedgerRow.credit, 1), (LedgerRow.debit, -1)):
                query = select(column, func.sum(LedgerRow.amount_ug)).where(col(column).startswith(prefix))
                for account, amount in session.exec(query.group_by(column)).all():
                    totals[account] = totals.get(account, 0) + sign * int(amount)
        return totals

    def balances_by_job(self, prefix: str, job_ids: Collection[str]) -> dict[tuple[str, str], int]:
        """Balances by (job id, account) of the accounts whose name starts with `prefix`, in micrograms."""
        totals: dict[tuple[str, str], int] = {}
        with self.reading() as session:
            for column, sign in ((LedgerRow.credit, 1), (LedgerRow.debit, -1)):
                query = (
                    select(LedgerRow.job_id, column, func.sum(LedgerRow.amount_ug))
                    .where(col(column).startswith(prefix), col(LedgerRow.job_id).in_(job_ids))
                    .group_by(col(LedgerRow.job_id), col(column))
                )
                for job_id, account, amount in session.exec(query).all():
                    key = (job_id or "", account)
                    totals[key] = totals.get(key, 0) + sign * int(amount)
        return totals

    def verify(self, *, noted: str | None = None) -> Chain:
        """Recompute every hash from what is stored; `noted`: a hash that must still be there."""
        chain = Chain(noted=noted)
        with self.reading() as session:
            last = session.exec(select(func.max(LedgerRow.seq))).one() or 0
        for start in range(0, last, _AT_ONCE):
            chain.follow(self._rows(start + 1, min(last, start + _AT_ONCE)))
        return chain

    def _rows(self, first: int, last: int) -> list[Booked | Unreadable]:
        """Entries `first` to `last`; where one cannot be read as an entry, it is looked for by halves."""
        query = select(LedgerRow).where(col(LedgerRow.seq) >= first, col(LedgerRow.seq) <= last)
        try:
            with self.reading() as session:
                return [_booked(row) for row in session.exec(query.order_by(col(LedgerRow.seq))).all()]
        except Exception as error:  # whatever a driver or a parser makes of bytes that nobody wrote
            if first == last:
                return [Unreadable(first, f"cannot be read as an entry: {str(error).splitlines()[0]}")]
            middle = (first + last) // 2
            return [*self._rows(first, middle), *self._rows(middle + 1, last)]


def _query(account: str | None, job_id: str | None) -> SelectOfScalar[LedgerRow]:
    query = select(LedgerRow).order_by(col(LedgerRow.seq))
    if account is not None:
        names = [account]
        if account.startswith("*:"):
            names = [f"{part}:{account[2:]}" for part in ("budget", "held", "emitted")]
        query = query.where(or_(col(LedgerRow.debit).in_(names), col(LedgerRow.credit).in_(names)))
    if job_id is not None:
        query = query.where(LedgerRow.job_id == job_id)
    return query


def _budgets(session: Session) -> list[Budget]:
    rows = session.exec(select(BudgetRow).order_by(col(BudgetRow.id))).all()
    return [Budget.model_validate(row.record) for row in rows]


def _balance(session: Session, account: str, job_id: str | None) -> int:
    total = 0
    for column, sign in ((LedgerRow.credit, 1), (LedgerRow.debit, -1)):
        query = select(func.coalesce(func.sum(LedgerRow.amount_ug), 0)).where(column == account)
        if job_id is not None:
            query = query.where(LedgerRow.job_id == job_id)
        total += sign * int(session.exec(query).one())
    return total


def _moved(session: Session, debit: str, credit: str, kind: EntryKind) -> int:
    query = select(func.coalesce(func.sum(LedgerRow.amount_ug), 0)).where(
        LedgerRow.debit == debit, LedgerRow.credit == credit, LedgerRow.kind == kind.value
    )
    return int(session.exec(query).one())


def _booked(row: LedgerRow) -> Booked:
    return Booked(
        at=row.at,
        kind=EntryKind(row.kind),
        debit=row.debit,
        credit=row.credit,
        amount_ug=row.amount_ug,
        job_id=row.job_id,
        energy_mj=row.energy_mj,
        memo=row.memo,
        seq=row.seq,
        hash=row.hash,
    )
