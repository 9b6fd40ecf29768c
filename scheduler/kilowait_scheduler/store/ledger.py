"""Budgets and the ledger in the database.

Entries are only ever added, by one writer at a time; triggers refuse everything else. Budgets are changed under the
same lock, so that a hold is never weighed against a limit that is not the limit any more.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime

from sqlalchemy import case, func, text
from sqlalchemy import select as sa_select
from sqlalchemy.exc import OperationalError
from sqlmodel import Session, col, or_, select
from sqlmodel.sql.expression import SelectOfScalar

from kilowait_scheduler.core.allowance import Drawn, Flows
from kilowait_scheduler.core.budget import Budget
from kilowait_scheduler.core.budget_request import BudgetRequest, RequestState
from kilowait_scheduler.core.errors import NotFound
from kilowait_scheduler.core.ledger import GENESIS, Booked, Chain, Entry, EntryKind, Unreadable, chained

from .tables import BudgetNoticeRow, BudgetRequestRow, BudgetRow, LedgerRow

_LOCK = 0x6C_65_64_67_65_72  # "ledger" in ASCII: any number will do that nothing else in the database uses
_AT_ONCE = 1000


class Books:
    """The books as they are at one moment."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def budgets(self) -> list[Budget]:
        """All budgets, by id."""
        rows = self._session.exec(select(BudgetRow).order_by(col(BudgetRow.id))).all()
        return [Budget.model_validate(row.record) for row in rows]

    def flows(self, accounts: Collection[str], *, before: datetime | None = None) -> Flows:
        """What moved to, from and between the accounts of these periods, in micrograms; up to `before` where given."""
        names = [f"{part}:{account}" for account in accounts for part in ("budget", "held", "emitted")]
        key = (col(LedgerRow.kind), col(LedgerRow.debit), col(LedgerRow.credit))
        query = sa_select(*key, func.sum(LedgerRow.amount_ug)).where(
            or_(col(LedgerRow.debit).in_(names), col(LedgerRow.credit).in_(names))
        )
        if before is not None:
            query = query.where(col(LedgerRow.at) < before)
        found = self._session.execute(query.group_by(*key)).all()
        return {(EntryKind(kind), debit, credit): int(amount) for kind, debit, credit, amount in found}

    def gone(self, account: str, *, before: datetime) -> Flows:
        """What a window that begins at `before` counts no more: flows up to then, less what was taken back since.

        What was taken back of a job's charges is, net of what it was charged since, a correction of the older ones:
        were it counted in the window, the window would give out that much twice.
        """
        name = f"emitted:{account}"
        signed = case((col(LedgerRow.credit) == name, LedgerRow.amount_ug), else_=-col(LedgerRow.amount_ug))
        query = (
            sa_select(func.sum(signed))
            .where(or_(col(LedgerRow.debit) == name, col(LedgerRow.credit) == name), col(LedgerRow.at) >= before)
            .group_by(LedgerRow.job_id)
            .having(func.sum(signed) < 0)
        )
        found = dict(self.flows([account], before=before))
        back_ug = -sum(int(amount) for (amount,) in self._session.execute(query).all())
        if back_ug:
            key = (EntryKind.CORRECTION, name, f"budget:{account}")
            found[key] = found.get(key, 0) + back_ug
        return found

    def drawn(self, job_ids: Collection[str]) -> dict[str, list[Drawn]]:
        """By job id, the periods it drew on, oldest first."""
        key = (col(LedgerRow.job_id), col(LedgerRow.debit), col(LedgerRow.credit))
        query = (
            sa_select(*key, func.sum(LedgerRow.amount_ug), func.min(LedgerRow.seq))
            .where(col(LedgerRow.job_id).in_(job_ids))
            .group_by(*key)
        )
        first: dict[tuple[str, str], int] = {}
        totals: dict[tuple[str, str, str], int] = {}
        for job_id, debit, credit, amount, seq in self._session.execute(query).all():
            for name, sign in ((debit, -1), (credit, 1)):
                part, account = name.split(":", 1)
                totals[job_id, account, part] = totals.get((job_id, account, part), 0) + sign * int(amount)
                first[job_id, account] = min(first.get((job_id, account), seq), seq)
        found: dict[str, list[Drawn]] = {}
        for job_id, account in sorted(first, key=lambda key: first[key]):
            held_ug, charged_ug = (totals.get((job_id, account, part), 0) for part in ("held", "emitted"))
            found.setdefault(job_id, []).append(Drawn(account, held_ug, charged_ug))
        return found

    def last_charge(self, job_id: str) -> Booked | None:
        """The newest entry of a job that rests on measured energy."""
        query = _query(None, job_id).where(col(LedgerRow.energy_mj).is_not(None))
        row = self._session.exec(query.order_by(None).order_by(col(LedgerRow.seq).desc()).limit(1)).first()
        return _booked(row) if row else None

    def emitted_entries(self, accounts: Collection[str], *, since: datetime) -> list[tuple[datetime, int]]:
        """When how many micrograms were charged (or, negative, corrected down) to these periods."""
        names = [f"emitted:{account}" for account in accounts]
        columns = (LedgerRow.at, LedgerRow.credit, LedgerRow.amount_ug)
        query = select(*columns).where(
            or_(col(LedgerRow.debit).in_(names), col(LedgerRow.credit).in_(names)), col(LedgerRow.at) >= since
        )
        return [(at, amount if credit in names else -amount) for at, credit, amount in self._session.exec(query).all()]

    def notices(self, accounts: Collection[str]) -> dict[str, dict[float, datetime]]:
        """By period, when it first passed which threshold, in percent."""
        found: dict[str, dict[float, datetime]] = {}
        rows = self._session.exec(select(BudgetNoticeRow).where(col(BudgetNoticeRow.account).in_(accounts))).all()
        for row in rows:
            found.setdefault(row.account, {})[row.threshold_pct] = row.at
        return found

    def requests(self, *, state: RequestState | None = None) -> list[BudgetRequest]:
        """Requests for more, oldest first."""
        query = select(BudgetRequestRow).order_by(col(BudgetRequestRow.id))
        if state is not None:
            query = query.where(BudgetRequestRow.state == state.value)
        return [_request(row) for row in self._session.exec(query).all()]

    def request(self, number: int) -> BudgetRequest:
        """One request for more. Raises NotFound."""
        row = self._session.get(BudgetRequestRow, number)
        if row is None:
            raise NotFound(f"no request {number}; `kilowait budget requests` lists them")
        return _request(row)


class Booking(Books):
    """The books while no one else writes in them: what is read stays true until what is posted has been committed."""

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

    def put_budget(self, budget: Budget) -> None:
        """Add a budget, or replace the one of the same id."""
        self._session.merge(BudgetRow(id=budget.id, record=budget.model_dump(mode="json")))

    def note(self, account: str, threshold_pct: float, *, at: datetime) -> None:
        """Keep when a period passed a threshold."""
        self._session.merge(BudgetNoticeRow(account=account, threshold_pct=threshold_pct, at=at))

    def add_request(self, *, budget_id: str, amount_g: float, why: str, asked_by: str, asked_at: datetime) -> int:
        """Keep a request for more; its number."""
        row = BudgetRequestRow(
            budget_id=budget_id,
            amount_g=amount_g,
            why=why,
            asked_by=asked_by,
            asked_at=asked_at,
            state=RequestState.OPEN.value,
        )
        self._session.add(row)
        self._session.flush()
        assert row.id is not None
        return row.id

    def decide(self, request: BudgetRequest) -> None:
        """Keep what was decided on a request."""
        self._session.merge(BudgetRequestRow(**{**request.model_dump(), "state": request.state.value}))


class Ledger(ABC):
    """The part of the repository that keeps budgets and books."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    @contextmanager
    def books(self) -> Iterator[Books]:
        """The books to look at."""
        with self.reading() as session:
            yield Books(session)

    @contextmanager
    def booking(self) -> Iterator[Booking]:
        """The books for one writer; whoever else wants to write waits. Leaving it with an error posts nothing."""
        with self.writing() as session:
            if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time by itself
                session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            yield Booking(session)

    def budgets(self) -> list[Budget]:
        """All budgets, by id."""
        with self.books() as books:
            return books.budgets()

    def put_budget(self, budget: Budget) -> None:
        """Add a budget, or replace the one of the same id."""
        with self.booking() as books:
            books.put_budget(budget)

    def entries(
        self, *, account: str | None = None, job_id: str | None = None, after: int = 0, limit: int | None = None
    ) -> list[Booked]:
        """Ledger entries after number `after` in order, of one account and/or one job.

        An account is one name, or `*:<id>` for all accounts of a budget's period.
        """
        query = _query(account, job_id).where(col(LedgerRow.seq) > after).limit(limit)
        with self.reading() as session:
            return [_booked(row) for row in session.exec(query).all()]

    def balance_ug(self, account: str, *, job_id: str | None = None) -> int:
        """Credits less debits of an account, of one job where given, in micrograms."""
        return self.balances(account, job_id=job_id).get(account, 0)

    def balances(self, prefix: str, *, job_id: str | None = None) -> Mapping[str, int]:
        """Balances of all accounts whose name starts with `prefix`, of one job where given, in micrograms."""
        totals: dict[str, int] = {}
        with self.reading() as session:
            for column, sign in ((LedgerRow.credit, 1), (LedgerRow.debit, -1)):
                query = select(column, func.sum(LedgerRow.amount_ug)).where(col(column).startswith(prefix))
                if job_id is not None:
                    query = query.where(LedgerRow.job_id == job_id)
                for account, amount in session.exec(query.group_by(column)).all():
                    totals[account] = totals.get(account, 0) + sign * int(amount)
        return totals

    def verify(self, *, noted: str | None = None) -> Chain:
        """Recompute every hash from what is stored; `noted`: a hash that must still be there."""
        chain = Chain(noted=noted)
        with self.reading() as session:
            first, last = session.exec(select(func.min(LedgerRow.seq), func.max(LedgerRow.seq))).one()
        if first is not None and first < 1:
            chain.follow([Unreadable(first, "stands before the first entry; nothing was ever written there")])
        for start in range(0, last or 0, _AT_ONCE):
            chain.follow(self._rows(start + 1, min(last, start + _AT_ONCE)))
        return chain

    def _rows(self, first: int, last: int) -> list[Booked | Unreadable]:
        """Entries `first` to `last`; where one cannot be read as an entry, it is looked for by halves."""
        query = select(LedgerRow).where(col(LedgerRow.seq) >= first, col(LedgerRow.seq) <= last)
        try:
            with self.reading() as session:
                return [_booked(row) for row in session.exec(query.order_by(col(LedgerRow.seq))).all()]
        except OperationalError:  # the database does not answer, which says nothing about entries
            raise
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


def _booked(row: LedgerRow) -> Booked:
    said = {name: getattr(row, name) for name in Booked.model_fields}
    return Booked.model_validate({**said, "kind": EntryKind(row.kind)}, strict=True)


def _request(row: BudgetRequestRow) -> BudgetRequest:
    return BudgetRequest.model_validate(row.model_dump())
