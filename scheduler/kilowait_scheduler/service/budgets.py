"""Budgets that act: a hold when a job is admitted, charges as energy is measured, the rest released when it ends."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from kilowait_scheduler.core.allowance import (
    Drawn,
    Flows,
    Position,
    applied,
    carry_due,
    limit_due,
    position,
    refusal,
    settlement,
)
from kilowait_scheduler.core.budget import Budget, CarryOver, Enforcement, OnExhausted, Period, Span
from kilowait_scheduler.core.ledger import UG_PER_G, Entry, hold, release, to_ug
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.store.ledger import Books
from kilowait_scheduler.store.repository import Store

log = logging.getLogger("kilowait.budgets")

# A running job is charged this often (grid time) as long as its hold covers it: held or emitted, its budget has
# promised it all the same. At its end, and where its hold does not cover it, it is charged at once.
_CHARGE_EVERY = timedelta(minutes=15)
_SPARE = 0.1  # share of its need that a waiting job may hold beyond it
_LONGEST_PAUSE = 24  # periods without a server that are still opened, and carried through, one by one


class Budgets:
    """The ledger's use cases. A job draws on every budget that covers it, in the period in which its hold was taken."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin(self, *, now: datetime) -> bool:
        """Open the periods that have begun, grant changed limits, note the thresholds that were passed.

        True where a budget has other limits than before: jobs may be waiting for that.
        """
        with self._store.books() as books:
            stale = {one.id for one in books.budgets() if due(books, one, now=now)[0] or _passed(books, one, now=now)}
        changed = False
        if stale:
            with self._store.booking() as booking:
                for one in [one for one in booking.budgets() if one.id in stale]:
                    entries, _ = due(booking, one, now=now)
                    booking.post(entries)
                    changed = changed or bool(entries)
                    for pct in _passed(booking, one, now=now):
                        booking.note(one.span(now).account, pct, at=now)
                        log.warning("budget %s (%s): %g %% of its limit are held or emitted", one.id, one.whose, pct)
        return changed

    def rows(self, records: Sequence[JobRecord], *, now: datetime) -> tuple[dict[str, float], dict[str, str]]:
        """What hard budgets leave for `records` to emit, in grams by account, and the account each draws on, by job id.

        A job under several draws on the one with the least left. What these jobs hold already is theirs to use.
        """
        left: dict[str, float] = {}
        drawn: dict[str, str] = {}
        with self._store.books() as books:
            hard = [one for one in books.budgets() if one.enforcement is Enforcement.HARD]
            held_by = books.drawn([record.id for record in records]) if hard else {}
            for record in records if hard else ():
                accounts = []
                for one in _covering(hard, record, now=now):
                    own = [part for part in held_by.get(record.id, ()) if one.owns(part.account)]
                    account = own[-1].account if own and own[-1].held_ug > 0 else one.span(now).account
                    if account not in left:
                        left[account] = max(standing(books, one, account, now=now).left_ug, 0) / UG_PER_G
                    left[account] += sum(max(part.held_ug, 0) for part in own if part.account == account) / UG_PER_G
                    accounts.append(account)
                if accounts:
                    drawn[record.id] = min(accounts, key=left.__getitem__)
        return left, drawn

    def reserve(self, record: JobRecord, *, grams: float, now: datetime, until: datetime | None = None) -> str:
        """Hold `grams` for the job in every budget that covers it, once. Returns the refusal in sentences, or "".

        All or nothing, and one at a time: however many ask at once, a hard budget never promises more than it has. A
        soft budget never refuses. A job that has begun is refused only where it holds nothing under a budget that
        suspends running ones; else it may go on, and what it needs is held beyond the limit if need be, so that nobody
        else is promised it.
        """
        wanted_ug, until = max(to_ug(grams), 1), until or now
        with self._store.books() as books:
            lacking = self._lacking(books, record, wanted_ug=wanted_ug, now=now, until=until)
            refused = _refused(books, lacking, wanted_ug=wanted_ug, now=now)
            if refused or not lacking:
                return refused
        with self._store.booking() as booking:
            lacking = self._lacking(booking, record, wanted_ug=wanted_ug, now=now, until=until)
            for missing in lacking:
                booking.post(due(booking, missing.budget, now=now)[0])
            refused = _refused(booking, lacking, wanted_ug=wanted_ug, now=now)
            if not refused:
                booking.post([hold(m.account, job_id=record.id, amount_ug=m.amount_ug, at=now) for m in lacking])
            return refused

    def release_spare(self, record: JobRecord, *, grams: float, now: datetime) -> bool:
        """Give back what a job that has not begun holds beyond `grams`, which its plan now needs; True where it did.

        A tenth more than needed stays, so that holds do not go up and down with every forecast. A job that has begun
        keeps all: what its runs used may not be charged yet.
        """
        if any(run.started_at is not None for run in record.state.runs) or record.state.live_run is not None:
            return False
        enough_ug = round(max(to_ug(grams), 1) * (1 + _SPARE))
        with self._store.books() as books:
            if all(part.held_ug <= enough_ug for part in books.drawn([record.id]).get(record.id, ())):
                return False
        with self._store.booking() as booking:
            spare = [part for part in booking.drawn([record.id]).get(record.id, ()) if part.held_ug > enough_ug]
            memo = "its plan needs less"
            booking.post(
                [
                    release(p.account, job_id=record.id, amount_ug=p.held_ug - max(to_ug(grams), 1), at=now, memo=memo)
                    for p in spare
                ]
            )
        return bool(spare)

    def _lacking(
        self, books: Books, record: JobRecord, *, wanted_ug: int, now: datetime, until: datetime
    ) -> list[_Missing]:
        """What is still to be held for the job, by budget and period: all, or what its plan now needs on top."""
        drawn = books.drawn([record.id]).get(record.id, [])
        begun = any(run.started_at is not None for run in record.state.runs)
        found = []
        for one in _covering(books.budgets(), record, now=now, until=until):
            own = [
                p for p in drawn if one.owns(p.account) and p.held_ug > 0 and not _spent(books, one, p.account, now=now)
            ]
            goes_on = begun and (bool(own) or one.on_exhausted is OnExhausted.HOLD)
            missing_ug = wanted_ug - (own[-1].held_ug if own else 0)
            if missing_ug > 0:
                account = own[-1].account if own else one.span(now).account
                may_refuse = one.enforcement is Enforcement.HARD and not goes_on
                found.append(_Missing(one, account, missing_ug, may_refuse))
        return found

    def settle(self, record: JobRecord, *, grams: float, energy_mj: int, now: datetime) -> bool:
        """Charge what the job has emitted so far; a repetition or a revision brings the ledger to the same total.

        True where a budget got something back: the total was corrected down.
        """
        with self._store.books() as books:
            found = _charges(books, record, total_ug=to_ug(grams), energy_mj=energy_mj, now=now)
        if not found:
            return False
        with self._store.booking() as booking:
            found = _charges(booking, record, total_ug=to_ug(grams), energy_mj=energy_mj, now=now)
            booking.post(found)
        return any(entry.debit.startswith("emitted:") and entry.credit.startswith("budget:") for entry in found)

    def close(self, record: JobRecord, *, now: datetime) -> bool:
        """Release what is still held for a job that has ended; True where there was something."""
        memo = record.state.phase.value
        with self._store.booking() as booking:
            back = [part for part in booking.drawn([record.id]).get(record.id, ()) if part.held_ug > 0]
            booking.post([release(p.account, job_id=record.id, amount_ug=p.held_ug, at=now, memo=memo) for p in back])
        return bool(back)

    def overdrawn(self, records: Iterable[JobRecord], *, now: datetime) -> dict[str, str]:
        """Of the running `records`, by job id, those that a used-up budget suspends, and why.

        Used up is a period whose limit has been emitted: no job under it goes on. Where it is only promised away
        beyond its limit, those stop that have used up what was held for them.
        """
        why: dict[str, str] = {}
        with self._store.books() as books:
            acting = [
                one
                for one in books.budgets()
                if one.enforcement is Enforcement.HARD and one.on_exhausted is OnExhausted.SUSPEND
            ]
            running = [record for record in records if record.state.live_run is not None] if acting else []
            drawn = books.drawn([record.id for record in running]) if running else {}
            known: dict[str, Position] = {}
            for record in running:
                for one in acting:
                    # The newest period it drew on: the end of an older one must not stop it for ever.
                    for part in [part for part in drawn.get(record.id, ()) if one.owns(part.account)][-1:]:
                        account = part.account
                        where = known.setdefault(account, standing(books, one, account, now=now))
                        gone = where.emitted_ug >= where.allowed_ug
                        if gone or (where.left_ug < 0 and part.held_ug <= 0):
                            used, allowed = (ug / UG_PER_G / 1000 for ug in (where.emitted_ug, where.allowed_ug))
                            said = f"budget {one.id} ({one.whose}) has emitted {used:.3f} kg of {allowed:.3f} kg"
                            why[record.id] = said if gone else f"{said}, and this job all that was held for it"
        return why


@dataclass(frozen=True)
class _Missing:
    """What a job still needs under a budget, and whether that may refuse it."""

    budget: Budget
    account: str
    amount_ug: int
    may_refuse: bool


def _refused(books: Books, lacking: Iterable[_Missing], *, wanted_ug: int, now: datetime) -> str:
    """What a budget that may refuse says if it has too little left; "" where none does."""
    for missing in lacking:
        one, amount_ug = missing.budget, missing.amount_ug
        if missing.may_refuse:
            where = standing(books, one, missing.account, now=now)
            if where.left_ug < amount_ug:
                return refusal(one, one.span(now), where, needed_ug=wanted_ug, held_ug=wanted_ug - amount_ug)
    return ""


def _covering(
    budgets: Iterable[Budget], record: JobRecord, *, now: datetime, until: datetime | None = None
) -> list[Budget]:
    """The budgets that a job draws on at this moment, or by `until`, when its plan ends."""
    spec = record.spec
    return [
        one
        for one in budgets
        if one.covers(team=spec.team, project=spec.project, user=record.user)
        and (one.span(now).contains(now) or now < one.span(now).start < (until or now))
    ]


def due(books: Books, one: Budget, *, now: datetime) -> tuple[list[Entry], Flows]:
    """What still has to be booked for a budget's period that runs at `now`, and its flows as they are then."""
    spans = _spans(books, one, now=now)
    flows = books.flows([span.account for span in spans])
    found: list[Entry] = []
    for before, span in pairwise(spans if len(spans) > 1 else [None, *spans]):
        assert span is not None
        past = books.gone(span.account, before=span.start) if one.period is Period.ROLLING else {}
        entries = limit_due(one, span, flows, past=past, at=now)
        if before is not None:
            entries += carry_due(one, before, span, applied(flows, entries), at=now)
        flows = applied(flows, entries)
        found += entries
    return found, flows


def _spans(books: Books, one: Budget, *, now: datetime) -> list[Span]:
    """The period that runs, after the last one before it that was opened where something is carried over.

    Periods in which no server ran come between the two, so that what is carried passes through them.
    """
    current = one.span(now)
    spans = [current]
    while one.carry_over is not CarryOver.NONE and len(spans) <= _LONGEST_PAUSE:
        spans.insert(0, one.before(spans[0]))
        if books.flows([spans[0].account]):
            return spans
        if books.flows([current.account]):
            break
    return [current]


def standing(books: Books, one: Budget, account: str, *, now: datetime) -> Position:
    """Where a period of a budget stands, with what is due to the one that runs."""
    span = one.span(now)
    if account != span.account:
        return position(account, books.flows([account]))
    where = position(account, due(books, one, now=now)[1])
    if one.period is not Period.ROLLING:
        return where
    gone_ug = position(account, books.gone(account, before=span.start)).emitted_ug  # was granted anew
    return replace(where, granted_ug=where.granted_ug - gone_ug, emitted_ug=where.emitted_ug - gone_ug)


def _spent(books: Books, one: Budget, account: str, *, now: datetime) -> bool:
    """Whether all of a period's limit has been emitted under a budget that suspends: a hold there lets no job go on."""
    if one.enforcement is not Enforcement.HARD or one.on_exhausted is not OnExhausted.SUSPEND:
        return False
    where = standing(books, one, account, now=now)
    return where.emitted_ug >= where.allowed_ug


def _passed(books: Books, one: Budget, *, now: datetime) -> list[float]:
    """Thresholds that are passed and have not been noted yet; in a window that moves, not within its length."""
    span = one.span(now)
    pct = standing(books, one, span.account, now=now).committed_pct
    noted = books.notices([span.account]).get(span.account, {})
    return [t for t in sorted(one.thresholds_pct) if t <= pct and (t not in noted or noted[t] < span.start)]


def _charges(books: Books, record: JobRecord, *, total_ug: int, energy_mj: int, now: datetime) -> list[Entry]:
    """What brings the job's charges to `total_ug` under every budget it draws on, also past the period's end.

    Under a budget that came while the job was running, it draws on the period that runs; one that came later leaves it.
    """
    last = books.last_charge(record.id)
    drawn = books.drawn([record.id]).get(record.id, [])
    soon = last is not None and now - last.at < _CHARGE_EVERY and not record.state.phase.final
    found: list[Entry] = []
    budgets = books.budgets()
    joined = [] if record.state.phase.final else _covering(budgets, record, now=now)
    for one in budgets:
        own = [part for part in drawn if one.owns(part.account)]
        if not own and one in joined:
            own = [Drawn(one.span(now).account, 0, 0)]
        if not own:
            continue
        covered_ug = sum(part.charged_ug for part in own) + own[-1].held_ug
        if soon and total_ug <= covered_ug:
            continue
        found += settlement(
            own,
            job_id=record.id,
            total_ug=total_ug,
            energy_mj=energy_mj,
            charged_mj=last.energy_mj if last is not None else None,
            ended=record.state.phase.final,
            at=now,
        )
    return found
