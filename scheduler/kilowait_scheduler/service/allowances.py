"""What people do with budgets: look where they stand, ask for more and decide on it, hand over, ask "what if"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime, timedelta

from pydantic import BaseModel

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.allowance import position
from kilowait_scheduler.core.budget import Budget, Enforcement, Period
from kilowait_scheduler.core.budget_request import Ask, BudgetRequest, RequestState
from kilowait_scheduler.core.errors import Conflict, NotFound, Refused
from kilowait_scheduler.core.exhaustion import Exhaustion, exhaustion, rolling_exhaustion
from kilowait_scheduler.core.ledger import SOURCE, UG_PER_G, Entry, EntryKind, budget, to_ug, transfer
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.state import Want
from kilowait_scheduler.core.window import Utc
from kilowait_scheduler.store.ledger import Books
from kilowait_scheduler.store.repository import Store

from .budgets import due, standing
from .planning import Planning

_PACE_DAYS = 28  # four weeks: whole weeks, for weekends are not like other days


class BudgetStatus(BaseModel):
    """A budget's period that runs, in figures, all grams CO2e. `allowed_g` is the limit and what was added to it.

    `left_g` is what new holds may still take; negative where measurement overtook the limit. `committed_pct`: held and
    emitted as a share of `allowed_g`. `passed`: when which threshold was passed.
    """

    budget: Budget
    account: str
    start: Utc
    end: Utc
    as_of: Utc
    limit_g: float
    allowed_g: float
    held_g: float
    emitted_g: float
    left_g: float
    committed_pct: float
    passed: dict[float, Utc]
    exhaustion: Exhaustion | None


class WhatIf(BaseModel):
    """A budget under another limit: when it would be used up at its pace, and what that does to the jobs that wait.

    `held`: names of waiting jobs that it would not cover. Carbon is that of their plans, on the forecast.
    """

    limit_g: float
    left_g: float
    exhaustion: Exhaustion | None
    held: list[str]
    planned_g: float
    planned_now_g: float


class Allowances:
    """Raises NotFound, Refused and Conflict in sentences for people. `wake` has held jobs looked at again."""

    def __init__(self, *, store: Store, planning: Planning, clock: GridClock, wake: Callable[[], None]) -> None:
        self._store, self._planning, self._clock, self._wake = store, planning, clock, wake

    def budget(self, budget_id: str) -> Budget:
        """One budget. Raises NotFound."""
        with self._store.books() as books:
            return _budget(books, budget_id)

    def put(self, one: Budget) -> BudgetStatus:
        """Add a budget, or replace the one of the same id; held jobs are looked at again at once.

        Raises Conflict where its kind of period would change: what was used would not count in the new one.
        """
        now = self._clock.now()
        with self._store.booking() as booking:
            known = next((other for other in booking.budgets() if other.id == one.id), None)
            if known is not None and known.period is not one.period:
                raise Conflict(
                    f"budget {one.id}: its period is {known.period} and stays so; set a new budget beside it"
                )
            booking.put_budget(one)
            booking.post(due(booking, one, now=now)[0])
        self._wake()
        return self.status(one.id)

    def statuses(self) -> list[BudgetStatus]:
        """Where every budget stands."""
        now = self._clock.now()
        with self._store.books() as books:
            return [_status(books, one, now=now) for one in books.budgets()]

    def status(self, budget_id: str) -> BudgetStatus:
        """Where one budget stands."""
        with self._store.books() as books:
            return _status(books, _budget(books, budget_id), now=self._clock.now())

    def requests(self, *, state: RequestState | None = None) -> list[BudgetRequest]:
        """Requests for more, oldest first."""
        with self._store.books() as books:
            return books.requests(state=state)

    def ask(self, budget_id: str, ask: Ask, *, by: str) -> BudgetRequest:
        """Keep a request for more, for an admin to decide on."""
        with self._store.booking() as booking:
            now = self._clock.now()
            _going_on(_budget(booking, budget_id), now=now)
            number = booking.add_request(
                budget_id=budget_id, amount_g=ask.amount_g, why=ask.why, asked_by=by, asked_at=now
            )
            return booking.request(number)

    def approve(self, number: int, *, by: str, amount_g: float | None = None) -> BudgetRequest:
        """Give what was asked, or `amount_g`, to the period that runs."""
        now = self._clock.now()
        with self._store.booking() as booking:
            asked = _open(booking.request(number))
            one = _going_on(_budget(booking, asked.budget_id), now=now)
            granted_g = asked.amount_g if amount_g is None else amount_g
            account = one.span(now).account
            given = Entry(
                at=now,
                kind=EntryKind.EXTENSION,
                debit=SOURCE,
                credit=budget(account),
                amount_ug=max(to_ug(granted_g), 1),
                memo=f"request {number} of {asked.asked_by}, approved by {by}",
            )
            booking.post([*due(booking, one, now=now)[0], given])
            booking.decide(_decided(asked, RequestState.APPROVED, by=by, at=now, granted_g=granted_g))
        self._wake()
        return self._request(number)

    def refuse(self, number: int, *, by: str) -> BudgetRequest:
        """Say no to a request."""
        with self._store.booking() as booking:
            asked = _open(booking.request(number))
            booking.decide(_decided(asked, RequestState.REFUSED, by=by, at=self._clock.now(), granted_g=None))
        return self._request(number)

    def transfer(self, giver_id: str, taker_id: str, *, amount_g: float, by: str, memo: str = "") -> None:
        """Hand over a part of what one budget has left to another, for the periods that run. Raises Refused."""
        now, amount_ug = self._clock.now(), max(to_ug(amount_g), 1)
        if giver_id == taker_id:
            raise Conflict(f"budget {giver_id}: it cannot give to itself; name another budget")
        with self._store.booking() as booking:
            giver, taker = _budget(booking, giver_id), _going_on(_budget(booking, taker_id), now=now)
            booking.post([entry for one in (giver, taker) for entry in due(booking, one, now=now)[0]])
            account = giver.span(now).account
            left_ug = position(account, booking.flows([account])).left_ug
            if left_ug < amount_ug:
                raise Refused(
                    f"budget {giver_id} has {left_ug / UG_PER_G / 1000:.3f} kg left; give at most that",
                    reason=Reason.BUDGET_EXHAUSTED,
                )
            said = f"by {by}: {memo}" if memo else f"by {by}"
            booking.post([transfer(account, taker.span(now).account, amount_ug=amount_ug, at=now, memo=said)])
        self._wake()

    def what_if(self, budget_id: str, *, limit_pct: float) -> WhatIf:
        """The budget with `limit_pct` percent of its limit, beside how it is; changes nothing.

        Raises Conflict outside its period: no job draws on it then.
        """
        now = self._clock.now()
        with self._store.books() as books:
            one = _going_on(_budget(books, budget_id), now=now)
            if now < one.span(now).start:
                raise Conflict(f"budget {one.id}: its period begins on {one.local(one.span(now).start)}; ask then")
            less_g = one.limit_g * (1 - limit_pct / 100)
            status = _status(books, one, now=now, less_g=less_g)
        waiting = [
            record
            for record in self._store.active_jobs()
            if record.state.want is Want.RUN
            and record.state.live_run is None
            and one.covers(team=record.spec.team, project=record.spec.project, user=record.user)
        ]
        held, planned_g, planned_now_g = [], 0.0, 0.0
        if waiting and one.enforcement is Enforcement.HARD:
            known = self._planning.knowledge(waiting)
            left_g = {
                name: max(grams - less_g, 0.0) if name == status.account else grams
                for name, grams in known.budgets_g.items()
            }
            before = self._planning.ask(waiting, known=known)
            after = self._planning.ask(waiting, known=replace(known, budgets_g=left_g))
            planned_now_g = sum(decision.carbon_g for decision in before)
            room_g = left_g.get(status.account, 0.0)
            for decision in sorted(after, key=lambda d: d.record.submitted_at):
                if decision.carbon_p90_g > room_g:
                    held.append(decision.record.spec.name)
                else:
                    room_g -= decision.carbon_p90_g
                    planned_g += decision.carbon_g
        return WhatIf(
            limit_g=one.limit_g - less_g,
            left_g=status.left_g,
            exhaustion=status.exhaustion,
            held=held,
            planned_g=planned_g,
            planned_now_g=planned_now_g,
        )

    def _request(self, number: int) -> BudgetRequest:
        with self._store.books() as books:
            return books.request(number)


def _budget(books: Books, budget_id: str) -> Budget:
    found = next((one for one in books.budgets() if one.id == budget_id), None)
    if found is None:
        raise NotFound(f"no budget {budget_id!r}; `kilowait budget` lists them")
    return found


def _going_on(one: Budget, *, now: datetime) -> Budget:
    """`one`, if anything can still be emitted under it. Raises Conflict."""
    if one.over(now):
        raise Conflict(f"budget {one.id}: its period ended on {one.local(one.span(now).end)}; name one that runs")
    return one


def _open(asked: BudgetRequest) -> BudgetRequest:
    if asked.state is not RequestState.OPEN:
        raise Conflict(f"request {asked.id} has been {asked.state} by {asked.decided_by} already")
    return asked


def _decided(
    asked: BudgetRequest, state: RequestState, *, by: str, at: datetime, granted_g: float | None
) -> BudgetRequest:
    return asked.model_copy(update={"state": state, "decided_by": by, "decided_at": at, "granted_g": granted_g})


def _status(books: Books, one: Budget, *, now: datetime, less_g: float = 0.0) -> BudgetStatus:
    """`less_g`: grams less than the limit is, for a what-if."""
    span = one.span(now)
    where = standing(books, one, span.account, now=now)
    allowed_g = where.allowed_ug / UG_PER_G - less_g
    held_g, emitted_g = where.held_ug / UG_PER_G, where.emitted_ug / UG_PER_G
    committed_g = held_g + emitted_g
    return BudgetStatus(
        budget=one,
        account=span.account,
        start=span.start,
        end=span.end,
        as_of=now,
        limit_g=one.limit_g,
        allowed_g=allowed_g,
        held_g=held_g,
        emitted_g=emitted_g,
        left_g=allowed_g - committed_g,
        committed_pct=100 * committed_g / allowed_g if allowed_g > 0 else (100.0 if committed_g else 0.0),
        passed=dict(sorted(books.notices([span.account]).get(span.account, {}).items())),
        exhaustion=_exhaustion(books, one, left_g=allowed_g - emitted_g, allowed_g=allowed_g, now=now),
    )


def _exhaustion(books: Books, one: Budget, *, left_g: float, allowed_g: float, now: datetime) -> Exhaustion | None:
    daily_g = _daily_g(books, one, now=now)
    if one.period is not Period.ROLLING or one.days is None:
        return exhaustion(daily_g, left_g=left_g, now=now)
    span = one.span(now)
    window = dict.fromkeys((one.day(now) - timedelta(days=ago) for ago in reversed(range(one.days))), 0.0)
    for at, amount_ug in books.emitted_entries([span.account], since=span.start):
        window[one.day(at)] = window.get(one.day(at), 0.0) + amount_ug / UG_PER_G
    return rolling_exhaustion(daily_g, window_g=list(window.values()), allowed_g=allowed_g, now=now)


def _daily_g(books: Books, one: Budget, *, now: datetime) -> list[float]:
    """Grams emitted under a budget on each of its last whole days, from its first one on, at most four weeks."""
    today = one.day(now)
    since = now - timedelta(days=_PACE_DAYS + 1)
    accounts = {one.span(now - timedelta(days=day)).account for day in range(_PACE_DAYS + 2)}
    days: dict[date, float] = {}
    for at, amount_ug in books.emitted_entries(accounts, since=since):
        days[one.day(at)] = days.get(one.day(at), 0.0) + amount_ug / UG_PER_G
    if not days:
        return []
    first = max(min(days), today - timedelta(days=_PACE_DAYS))
    return [days.get(first + timedelta(days=n), 0.0) for n in range((today - first).days)]
