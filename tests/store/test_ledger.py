"""The ledger in the database: append only, exact, and never overdrawn, however many submissions race."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event

from kilowait_scheduler.core.budget import Budget, BudgetScope, Enforcement
from kilowait_scheduler.core.ledger import Entry, EntryKind, hold, release, to_ug
from kilowait_scheduler.service.budgets import Budgets
from kilowait_scheduler.store.repository import Store

from .sample import T0, at_once, record

NLP = Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=1000)
ALL = Budget(id="all", scope=BudgetScope.ORGANISATION, name="all", limit_g=450)
LIMIT_UG = to_ug(1000)


def test_racing_holds_never_overdraw_a_hard_budget(store: Store) -> None:
    store.put_budget(NLP)

    def take(number: int) -> bool:
        entry = hold(budget="nlp-2026-11", job_id=f"j{number}", grams=99.0, at=T0)
        return store.append_within(entry, limit_ug=LIMIT_UG, budget_id="nlp")

    results: list[Any] = []
    for _ in range(5):  # 50 submissions, ten at a time
        results += at_once(10, take)
    assert not [result for result in results if isinstance(result, BaseException)]
    assert sum(results) == 10
    assert store.balance_ug("held:nlp-2026-11") == to_ug(990)
    assert len(store.entries()) == 10


def test_what_was_emitted_counts_against_the_limit_too(store: Store) -> None:
    store.put_budget(NLP)
    spent = Entry(at=T0, kind=EntryKind.CHARGE, debit="budget:nlp-2026-11", credit="emitted:nlp-2026-11", amount_ug=1)
    store.append([spent])
    entry = hold(budget="nlp-2026-11", job_id="j", grams=1000, at=T0)
    assert not store.append_within(entry, limit_ug=LIMIT_UG, budget_id="nlp")
    assert store.entries() == [spent]


def test_a_job_holds_all_of_its_budgets_or_none(store: Store) -> None:
    store.put_budget(NLP)
    store.put_budget(ALL)
    budgets = Budgets(store)
    fits, not_fits = record("0a1", team="nlp"), record("0a2", team="nlp")
    assert budgets.reserve(fits, grams=400, now=T0) == ""
    assert budgets.reserve(fits, grams=400, now=T0) == "", "once"
    refusal = budgets.reserve(not_fits, grams=100, now=T0)
    assert "budget all" in refusal
    assert "0.050 kg left" in refusal
    assert store.balance_ug("held:nlp-2026-11", job_id="0a2") == 0
    assert store.balance_ug("held:nlp-2026-11") == to_ug(400)
    budgets.close(fits, now=T0)
    assert store.balances("held:") == {"held:nlp-2026-11": 0, "held:all-2026-11": 0}
    assert budgets.reserve(not_fits, grams=100, now=T0) == ""


def test_a_soft_budget_refuses_nobody_and_still_counts(store: Store) -> None:
    store.put_budget(NLP.model_copy(update={"enforcement": Enforcement.SOFT}))
    budgets = Budgets(store)
    assert budgets.reserve(record("0a1", team="nlp"), grams=5000, now=T0) == ""
    status = budgets.status(store.budgets()[0], now=T0)
    assert (status.held_g, status.left_g) == (5000, -4000)


def test_settling_again_or_downwards_ends_at_the_measured_total(store: Store) -> None:
    store.put_budget(NLP)
    budgets = Budgets(store)
    job = record("0a1", team="nlp")
    budgets.reserve(job, grams=100, now=T0)
    for grams in (30.0, 30.0, 130.0, 120.0, 120.0):
        budgets.settle(job, grams=grams, now=T0)
        assert store.balance_ug("emitted:nlp-2026-11", job_id=job.id) == to_ug(grams)
    budgets.close(job, now=T0)
    assert store.balance_ug("held:nlp-2026-11") == 0
    kinds = [entry.kind.value for entry in store.entries(job_id=job.id)]
    assert kinds == ["hold", "charge", "charge", "charge", "correction"]


@pytest.mark.parametrize("amount_ug", [1, 2**53 + 1, 2**62])
def test_amounts_are_exact_integers_of_any_size_we_need(store: Store, amount_ug: int) -> None:
    entry = Entry(at=T0, kind=EntryKind.GRANT, debit="source", credit="budget:x", amount_ug=amount_ug, memo="ü")
    store.append([entry])
    assert store.entries() == [entry]
    assert store.balance_ug("budget:x") == amount_ug
    assert store.balance_ug("source") == -amount_ug
    assert store.balances("budget:") == {"budget:x": amount_ug}


def test_entries_are_found_by_account_and_job_in_order(store: Store) -> None:
    first = hold(budget="a", job_id="j1", grams=1, at=T0)
    second = hold(budget="b", job_id="j2", grams=2, at=T0)
    third = release(budget="a", job_id="j1", amount_ug=5, at=T0, memo="done")
    store.append([first, second, third])
    assert store.entries(account="held:a") == [first, third]
    assert store.entries(job_id="j2") == [second]
    assert store.entries(account="held:a", job_id="j2") == []
    assert store.balance_ug("nobody") == 0


@contextmanager
def statements(store: Store) -> Iterator[list[str]]:
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        seen.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    yield seen
    event.remove(store.engine, "before_cursor_execute", note)


def test_nothing_the_repository_can_do_changes_or_removes_an_entry(store: Store) -> None:
    store.put_budget(NLP)
    entry = hold(budget="nlp-2026-11", job_id="0a1", grams=1, at=T0)
    store.append([entry])
    job = store.add_job(record("0a1", team="nlp"))
    budgets = Budgets(store)
    with statements(store) as seen:
        store.append([entry])
        store.append_within(entry, limit_ug=LIMIT_UG, budget_id="nlp")
        store.put_budget(NLP.model_copy(update={"limit_g": 1.0}))
        budgets.settle(job, grams=5, now=T0)
        budgets.settle(job, grams=1, now=T0)
        budgets.close(job, now=T0)
    touching = [statement.split()[0].upper() for statement in seen if "ledger" in statement.lower()]
    assert set(touching) == {"INSERT", "SELECT"}
    assert store.entries()[0] == entry
