"""The ledger: nothing is lost between accounts, and settling twice is settling once."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kilowait_scheduler.core.budget import Budget, BudgetScope
from kilowait_scheduler.core.ledger import Entry, EntryKind, balance_ug, charges, hold, release, to_ug

T0 = datetime(2026, 11, 23, tzinfo=UTC)
BUDGET = "nlp-2026-11"
ACCOUNTS = (f"budget:{BUDGET}", f"held:{BUDGET}", f"emitted:{BUDGET}")


def settle(entries: list[Entry], grams: float) -> list[Entry]:
    return charges(
        budget=BUDGET,
        job_id="j",
        grams=grams,
        charged_ug=balance_ug(ACCOUNTS[2], entries),
        held_ug=balance_ug(ACCOUNTS[1], entries),
        at=T0,
    )


@settings(max_examples=150, deadline=None)
@given(st.floats(1e-6, 1e9), st.lists(st.floats(0, 1e9), max_size=8))
def test_settling_brings_the_job_to_its_measured_total_and_conserves_everything(
    held_g: float, totals_g: list[float]
) -> None:
    entries = [hold(budget=BUDGET, job_id="j", grams=held_g, at=T0)]
    for grams in totals_g:
        entries += settle(entries, grams)
        assert balance_ug(ACCOUNTS[2], entries) == to_ug(grams)
        assert settle(entries, grams) == [], "a repetition changes nothing"
        assert sum(balance_ug(account, entries) for account in ACCOUNTS) == 0
        assert balance_ug(ACCOUNTS[1], entries) >= 0, "no more leaves the hold than was in it"
    left = balance_ug(ACCOUNTS[1], entries)
    if left:
        entries.append(release(budget=BUDGET, job_id="j", amount_ug=left, at=T0))
    assert balance_ug(ACCOUNTS[1], entries) == 0
    emitted = to_ug(totals_g[-1]) if totals_g else 0
    assert balance_ug(ACCOUNTS[0], entries) == -emitted


def test_what_was_held_is_spent_first() -> None:
    entries = [hold(budget=BUDGET, job_id="j", grams=10, at=T0)]
    moves = settle(entries, 15)
    assert [(m.kind, m.debit, m.amount_ug) for m in moves] == [
        (EntryKind.CHARGE, ACCOUNTS[1], to_ug(10)),
        (EntryKind.CHARGE, ACCOUNTS[0], to_ug(5)),
    ]


def test_a_revised_history_comes_back_as_a_correction() -> None:
    entries = [hold(budget=BUDGET, job_id="j", grams=10, at=T0)]
    entries += settle(entries, 8)
    (correction,) = settle(entries, 6.5)
    assert (correction.kind, correction.debit, correction.credit) == (EntryKind.CORRECTION, ACCOUNTS[2], ACCOUNTS[0])
    assert correction.amount_ug == to_ug(1.5)


@pytest.mark.parametrize("amount_ug", [0, -1])
def test_an_entry_moves_something_or_does_not_exist(amount_ug: int) -> None:
    with pytest.raises(ValidationError):
        Entry(at=T0, kind=EntryKind.CHARGE, debit="a", credit="b", amount_ug=amount_ug)


def test_an_entry_cannot_be_changed() -> None:
    entry = hold(budget=BUDGET, job_id="j", grams=1, at=T0)
    with pytest.raises(ValidationError):
        entry.amount_ug = 2


@pytest.mark.parametrize("limit_g", [float("nan"), float("inf"), 0, -1, 1e30])
def test_a_budget_has_a_limit_that_can_be_counted(limit_g: float) -> None:
    with pytest.raises(ValidationError):
        Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=limit_g)


def test_a_budget_covers_its_team_and_has_an_account_per_month_in_utc() -> None:
    budget = Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=1)
    assert budget.covers(team="nlp", project="x")
    assert not budget.covers(team="x", project="nlp")
    assert budget.account(datetime.fromisoformat("2026-12-01T00:30:00+01:00")) == "nlp-2026-11"
