"""The ledger in the database: append only, exact, chained, and never overdrawn, however many submissions race."""

from __future__ import annotations

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.allowance import Drawn
from kilowait_scheduler.core.budget import Budget, BudgetScope, CarryOver, Enforcement, OnExhausted, Period
from kilowait_scheduler.core.budget_request import Ask, BudgetRequest, RequestState
from kilowait_scheduler.core.errors import Conflict, Refused
from kilowait_scheduler.core.ledger import Entry, EntryKind, balance_ug, grant, hold, release, to_ug
from kilowait_scheduler.core.state import Phase, RunPhase
from kilowait_scheduler.service.allowances import Allowances
from kilowait_scheduler.service.budgets import Budgets, standing
from kilowait_scheduler.service.planning import Planning
from kilowait_scheduler.store.engine import open_engine
from kilowait_scheduler.store.repository import Store

from .sample import HOUR, T0, at_once, record, run, with_runs

NLP = Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=1000)
ALL = Budget(id="all", scope=BudgetScope.ORGANISATION, name="all", limit_g=450)


def post(store: Store, *entries: Entry) -> None:
    with store.booking() as books:
        books.post(entries)


def plain(store: Store, **which: str) -> list[Entry]:
    """Entries as they were given, without their place and hash."""
    return [Entry(**entry.model_dump(exclude={"seq", "hash"})) for entry in store.entries(**which)]


def test_racing_holds_never_overdraw_a_hard_budget(store: Store) -> None:
    store.put_budget(NLP)
    store.put_budget(ALL.model_copy(update={"limit_g": 990.0}))
    # Another server on the same database, with connections of its own.
    stores = [store, Store(open_engine(store.engine.url.render_as_string(hide_password=False)))]
    budgets = [Budgets(one) for one in stores]

    def submit(number: int) -> bool:
        job = record(f"j{number:03}", team="nlp")
        refusal = budgets[number % 2].reserve(job, grams=9.9, now=T0)
        if not refusal and number % 7 == 0:  # some are cancelled at once: what they held is for others to have
            return budgets[number % 2].close(job, now=T0) and False
        return not refusal

    results: list[bool | BaseException] = []
    for first in range(0, 500, 50):  # 500 submissions, fifty at a time
        results += at_once(50, lambda number, first=first: submit(first + number))
    stores[1].engine.dispose()
    assert not [result for result in results if isinstance(result, BaseException)]
    assert sum(map(bool, results)) == 100, "all that fits is admitted, and nothing beyond"
    for account in ("nlp-2026-11", "all-2026-11"):
        assert store.balance_ug(f"held:{account}") == 100 * to_ug(9.9)
        left = store.balance_ug(f"budget:{account}")
        entries = store.entries(account=f"budget:{account}")
        lowest, running = 0, 0
        for entry in entries:
            running += entry.amount_ug if entry.credit.startswith("budget:") else -entry.amount_ug
            lowest = min(lowest, running)
        assert left >= 0
        assert lowest == 0, "at no entry was it over"
    assert store.verify().sound


def test_what_was_emitted_counts_against_the_limit_too(store: Store) -> None:
    store.put_budget(NLP)
    budgets = Budgets(store)
    budgets.settle(record("0a1", team="nlp"), grams=1, energy_mj=1, now=T0)
    assert "0.999 kg left of 1.000 kg" in budgets.reserve(record("0a2", team="nlp"), grams=1000, now=T0)
    assert budgets.reserve(record("0a2", team="nlp"), grams=999, now=T0) == ""


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
    assert store.entries(job_id="0a2") == [], "not even for a moment"
    assert store.balance_ug("held:nlp-2026-11") == to_ug(400)
    budgets.close(fits, now=T0)
    assert store.balances("held:") == {"held:nlp-2026-11": 0, "held:all-2026-11": 0}
    assert budgets.reserve(not_fits, grams=100, now=T0) == ""


def test_a_soft_budget_refuses_nobody_and_still_counts(store: Store) -> None:
    store.put_budget(NLP.model_copy(update={"enforcement": Enforcement.SOFT}))
    budgets = Budgets(store)
    assert budgets.reserve(record("0a1", team="nlp"), grams=5000, now=T0) == ""
    assert store.balance_ug("held:nlp-2026-11") == to_ug(5000)
    assert store.balance_ug("budget:nlp-2026-11") == to_ug(-4000)


def test_a_changed_limit_is_granted_or_taken_back_by_an_entry(store: Store) -> None:
    budgets = Budgets(store)
    for number, (limit_g, left_g) in enumerate(((1000.0, 999.0), (400.0, 398.0), (700.0, 697.0))):
        store.put_budget(NLP.model_copy(update={"limit_g": limit_g}))
        assert budgets.reserve(record(f"0a{number}", team="nlp"), grams=1, now=T0) == ""
        assert store.balance_ug("budget:nlp-2026-11") == to_ug(left_g)
    grants = [entry for entry in store.entries() if entry.kind is EntryKind.GRANT]
    assert [(entry.debit, entry.amount_ug) for entry in grants] == [
        ("source", to_ug(1000)),
        ("budget:nlp-2026-11", to_ug(600)),
        ("source", to_ug(300)),
    ]


def test_settling_again_or_downwards_ends_at_the_measured_total(store: Store) -> None:
    store.put_budget(NLP)
    budgets = Budgets(store)
    job = record("0a1", team="nlp")
    budgets.reserve(job, grams=100, now=T0)
    steps = ((30.0, 3), (30.0, 3), (130.0, 13), (120.0, 13), (120.0, 13), (125.0, 13))
    for number, (grams, energy_mj) in enumerate(steps):
        budgets.settle(job, grams=grams, energy_mj=energy_mj, now=T0 + number * HOUR)
        assert store.balance_ug("emitted:nlp-2026-11", job_id=job.id) == to_ug(grams)
    budgets.close(job, now=T0)
    assert store.balance_ug("held:nlp-2026-11") == 0
    kinds = [entry.kind.value for entry in store.entries(job_id=job.id)]
    # What was taken back stayed held until the job was closed.
    assert kinds == ["hold", "charge", "charge", "charge", "correction", "correction", "release"]


@pytest.mark.parametrize("amount_ug", [1, 2**53 + 1, 2**62])
def test_amounts_are_exact_integers_of_any_size_we_need(store: Store, amount_ug: int) -> None:
    (entry,) = grant("x", amount_ug=amount_ug, at=T0, memo="ü")
    post(store, entry)
    assert plain(store) == [entry]
    assert store.balance_ug("budget:x") == amount_ug
    assert store.balance_ug("source") == -amount_ug
    assert store.balances("budget:") == {"budget:x": amount_ug}


def test_entries_are_found_by_account_and_job_in_order_and_by_pages(store: Store) -> None:
    first = hold("a", job_id="j1", amount_ug=1, at=T0)
    second = hold("b", job_id="j2", amount_ug=2, at=T0)
    third = release("a", job_id="j1", amount_ug=5, at=T0, memo="done")
    post(store, first, second, third)
    assert plain(store, account="held:a") == [first, third]
    assert plain(store, account="*:b") == [second]
    assert plain(store, job_id="j2") == [second]
    assert store.entries(account="held:a", job_id="j2") == []
    assert [entry.seq for entry in store.entries(after=1, limit=1)] == [2]
    assert store.balance_ug("nobody") == 0
    with store.books() as books:
        assert books.drawn(["j1", "j3"]) == {"j1": [Drawn("a", -4, 0)]}
    everything = {account for entry in store.entries() for account in (entry.debit, entry.credit)}
    assert sum(balance_ug(account, store.entries()) for account in everything) == 0


def test_a_booking_that_fails_writes_nothing(store: Store) -> None:
    def post_and_fail() -> None:
        with store.booking() as books:
            books.post([hold("a", job_id="j", amount_ug=1, at=T0)])
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        post_and_fail()
    assert store.entries() == []
    post(store, hold("a", job_id="j", amount_ug=1, at=T0))
    assert store.verify().sound


WRITES = {
    "change": "UPDATE ledger SET amount_ug = 1",
    "removal": "DELETE FROM ledger WHERE seq = 2",
    "removal of all": "DELETE FROM ledger",
    "entry out of line": "INSERT INTO ledger SELECT 9, at, kind, debit, credit, 5, job_id, energy_mj, memo, hash "
    "FROM ledger WHERE seq = 1",
    "entry in place of one": "INSERT INTO ledger SELECT seq, at, kind, debit, credit, 5, job_id, energy_mj, memo, hash "
    "FROM ledger WHERE seq = 1",
}
SQLITE = {
    "replacement": "REPLACE INTO ledger SELECT seq, at, kind, debit, credit, 5, job_id, energy_mj, memo, hash "
    "FROM ledger WHERE seq = 2"
}
POSTGRES = {"truncation": "TRUNCATE ledger"}


def filled(store: Store) -> None:
    post(store, *(hold("a", job_id=f"j{number}", amount_ug=number, at=T0) for number in range(1, 6)))


def execute(store: Store, *statements: str) -> None:
    with store.writing() as session:
        for statement in statements:
            session.execute(text(statement))


def test_the_database_itself_refuses_to_change_or_lose_an_entry(store: Store) -> None:
    filled(store)
    before = store.entries()
    own = SQLITE if store.engine.dialect.name == "sqlite" else POSTGRES
    for statement in {**WRITES, **own}.values():
        with pytest.raises((DBAPIError, IntegrityError), match="append only"):
            execute(store, statement)
    assert store.entries() == before


SQLITE_GUARDS = ("ledger_keeps_entries", "ledger_loses_nothing", "ledger_has_no_gaps")


def tamper(store: Store, statement: str) -> None:
    """As somebody who owns the database can: guards off, one statement."""
    if store.engine.dialect.name == "sqlite":
        off = [f"DROP TRIGGER IF EXISTS {name}" for name in SQLITE_GUARDS]
    else:
        off = ["ALTER TABLE ledger DISABLE TRIGGER ALL"]
    execute(store, *off, statement)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount_ug", "amount_ug + 1"),
        ("debit", "'budget:b'"),
        ("credit", "'held:A'"),
        ("kind", "'charge'"),
        ("job_id", "NULL"),
        ("energy_mj", "0"),
        ("memo", "' '"),
        ("hash", "'0' || substr(hash, 2)"),
    ],
)
def test_one_changed_byte_is_located(store: Store, column: str, value: str) -> None:
    filled(store)
    tamper(store, f"UPDATE ledger SET {column} = {value} WHERE seq = 3")
    chain = store.verify()
    if chain.sound:  # one time in sixteen the hash began with 0 anyway
        assert column == "hash"
        return
    assert chain.faults[0].seq == 3


@pytest.mark.parametrize("column", ["kind", "amount_ug", "at"])
def test_a_byte_that_makes_an_entry_unreadable_is_located_too(store: Store, column: str) -> None:
    filled(store)
    typed = store.engine.dialect.name == "postgresql" and column != "kind"
    spoilt = {"amount_ug": "-3", "at": "timestamptz '2026-11-23 01:02:04Z'"}.get(column, "") if typed else "'x'"
    tamper(store, f"UPDATE ledger SET {column} = {spoilt} WHERE seq = 4")
    (fault,) = store.verify().faults
    assert fault.seq == 4


def test_a_ledger_that_was_cut_is_found_by_a_hash_that_was_noted(store: Store) -> None:
    filled(store)
    noted = store.verify().head
    assert store.verify(noted=noted).noted_at == 5
    tamper(store, "DELETE FROM ledger WHERE seq >= 4")
    assert store.verify().sound
    assert not store.verify(noted=noted).sound


def test_an_entry_slipped_in_before_the_first_one_is_found(store: Store) -> None:
    post(store, *grant("nlp", amount_ug=10, at=T0), hold("nlp", job_id="0a1", amount_ug=4, at=T0))
    noted = store.verify().head
    columns = "seq, at, kind, debit, credit, amount_ug, memo, hash"
    row = f"-1, '{T0:%Y-%m-%d %H:%M:%S}', 'grant', 'source', 'budget:nlp', 5, '', 'x'"
    tamper(store, f"INSERT INTO ledger ({columns}) VALUES ({row})")
    assert not store.verify(noted=noted).sound


def test_what_a_running_job_is_given_back_stays_its_own(store: Store) -> None:
    store.put_budget(NLP.model_copy(update={"limit_g": 10.0}))
    budgets, job = Budgets(store), record("0a1", team="nlp", phase=Phase.RUNNING)
    assert budgets.reserve(job, grams=10, now=T0) == ""
    budgets.settle(job, grams=6, energy_mj=60, now=T0 + HOUR)
    budgets.settle(job, grams=4, energy_mj=60, now=T0 + 2 * HOUR)
    assert budgets.reserve(record("0a2", team="nlp"), grams=2, now=T0 + 2 * HOUR) != ""


def test_a_job_that_waits_holds_what_its_plan_needs_by_now(store: Store) -> None:
    store.put_budget(NLP.model_copy(update={"limit_g": 10.0}))
    budgets, job = Budgets(store), record("0a1", team="nlp")
    assert budgets.reserve(job, grams=2, now=T0) == ""
    assert budgets.reserve(job, grams=6, now=T0 + HOUR) == ""
    assert -balance_ug("budget:nlp-2026-11", store.entries()) + to_ug(10) == to_ug(6)
    assert "needs up to" in budgets.reserve(job, grams=50, now=T0 + 2 * HOUR)


def test_a_spent_budget_that_suspends_lets_nobody_go_on_with_an_old_hold(store: Store) -> None:
    suspends = NLP.model_copy(update={"limit_g": 10.0, "on_exhausted": OnExhausted.SUSPEND})
    store.put_budget(suspends)
    budgets, job = Budgets(store), record("0a1", team="nlp", phase=Phase.RUNNING)
    assert budgets.reserve(job, grams=10, now=T0) == ""
    budgets.settle(job, grams=6, energy_mj=60, now=T0 + HOUR)
    store.put_budget(suspends.model_copy(update={"limit_g": 5.0}))
    budgets.begin(now=T0 + 2 * HOUR)
    assert budgets.reserve(job, grams=3, now=T0 + 2 * HOUR) != ""


def test_a_running_job_that_its_hold_covers_is_charged_every_quarter_of_an_hour(store: Store) -> None:
    store.put_budget(NLP)
    budgets = Budgets(store)
    job = record("0a1", team="nlp", phase=Phase.RUNNING)
    budgets.reserve(job, grams=100, now=T0)
    for minute in range(31):
        budgets.settle(job, grams=1.0 + minute, energy_mj=1 + minute, now=T0 + minute * HOUR / 60)
    charged = [entry.at for entry in store.entries(job_id=job.id) if entry.kind is EntryKind.CHARGE]
    assert charged == [T0, T0 + HOUR / 4, T0 + HOUR / 2]
    budgets.settle(job, grams=101.0, energy_mj=99, now=T0 + 32 * HOUR / 60)
    assert store.balance_ug("emitted:nlp-2026-11") == to_ug(101), "beyond its hold it is charged at once"


def test_a_job_draws_on_the_period_in_which_its_hold_was_taken(store: Store) -> None:
    store.put_budget(NLP)
    budgets = Budgets(store)
    early, late = record("0a1", team="nlp"), record("0a2", team="nlp")
    december = T0 + 10 * 24 * HOUR
    assert budgets.reserve(early, grams=900, now=T0) == ""
    assert "The next period begins 01 Dec 2026 00:00 UTC" in budgets.reserve(late, grams=900, now=T0)
    assert budgets.reserve(late, grams=900, now=december) == "", "a new month has a new limit"
    for job in (early, late):
        budgets.settle(job, grams=500, energy_mj=1, now=december)
    assert store.balance_ug("emitted:nlp-2026-11", job_id=early.id) == to_ug(500)
    assert store.balance_ug("emitted:nlp-2026-12", job_id=late.id) == to_ug(500)
    limits, drawn = budgets.rows([early, late], now=december)
    assert drawn == {early.id: "nlp-2026-11", late.id: "nlp-2026-12"}
    assert limits == {"nlp-2026-11": 500, "nlp-2026-12": 500}


def test_what_a_month_left_comes_into_the_next_even_where_no_server_ran_for_months(store: Store) -> None:
    one = NLP.model_copy(update={"carry_over": CarryOver.BOTH, "carry_cap_pct": 300.0})
    store.put_budget(one)
    budgets = Budgets(store)
    job = record("0a1", team="nlp")
    budgets.reserve(job, grams=400, now=T0)
    february = T0 + 75 * 24 * HOUR
    assert budgets.begin(now=february)
    assert not budgets.begin(now=february)
    # December and January passed unused: 600 + 1000 + 1000 + 1000.
    assert store.balance_ug("budget:nlp-2027-02") == to_ug(3600)
    assert store.balance_ug("budget:nlp-2026-11") == 0
    assert store.verify().sound


def test_thresholds_are_noted_once_and_logged(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put_budget(NLP)
    budgets = Budgets(store)
    for number, grams in enumerate((400, 150, 300)):
        budgets.reserve(record(f"0a{number}", team="nlp"), grams=grams, now=T0)
        budgets.begin(now=T0 + number * HOUR)
        budgets.begin(now=T0 + number * HOUR)
    with store.books() as books:
        assert books.notices(["nlp-2026-11"]) == {"nlp-2026-11": {50.0: T0 + HOUR, 80.0: T0 + 2 * HOUR}}
    assert [message[-39:] for message in caplog.messages] == [
        f"team nlp): {pct} % of its limit are held or emitted"[-39:] for pct in (50, 80)
    ]


def test_a_job_goes_on_being_charged_where_it_holds_after_a_budgets_end_and_not_where_it_came_too_late(
    store: Store,
) -> None:
    day = 24 * HOUR
    once = Budget(
        id="once", scope=BudgetScope.TEAM, name="nlp", limit_g=1000, period=Period.ONCE, start=T0, end=T0 + day
    )
    store.put_budget(once)
    budgets = Budgets(store)
    job = record("0a1", team="nlp", phase=Phase.RUNNING)
    budgets.reserve(job, grams=100, now=T0)
    budgets.settle(job, grams=30, energy_mj=1, now=T0 + 2 * day)
    assert store.balance_ug("emitted:once-once") == to_ug(30)
    assert budgets.reserve(record("0a2", team="nlp"), grams=9000, now=T0 + 2 * day) == "", "it has ended"
    ended = record("0a1", team="nlp", phase=Phase.SUCCEEDED)
    store.put_budget(NLP)
    budgets.settle(ended, grams=40, energy_mj=2, now=T0 + 2 * day)
    assert store.balance_ug("emitted:once-once") == to_ug(40)
    assert store.balance_ug("emitted:nlp-2026-11") == 0


def test_what_a_late_correction_takes_back_of_days_that_left_a_window_is_not_given_twice(store: Store) -> None:
    week = Budget(id="week", scope=BudgetScope.TEAM, name="nlp", limit_g=1000, period=Period.ROLLING, days=7)
    store.put_budget(week)
    budgets, job = Budgets(store), record("0a1", team="nlp", phase=Phase.SUCCEEDED)
    budgets.begin(now=T0)
    assert budgets.reserve(record("0a1", team="nlp"), grams=400, now=T0) == ""
    budgets.settle(job, grams=400, energy_mj=1, now=T0)
    later = T0 + 9 * 24 * HOUR
    budgets.begin(now=later)
    assert store.balance_ug("budget:week-rolling") == to_ug(1000), "what was emitted has left the window"
    budgets.settle(job, grams=300, energy_mj=1, now=later)
    budgets.begin(now=later)
    assert store.balance_ug("budget:week-rolling") == to_ug(1000), "and so has what was corrected of it"
    with store.books() as books:
        where = standing(books, week, "week-rolling", now=later)
    assert (where.emitted_ug, where.allowed_ug) == (0, to_ug(1000))
    budgets.settle(job, grams=320, energy_mj=1, now=later)
    budgets.begin(now=later)
    assert store.balance_ug("budget:week-rolling") == to_ug(1000)


def test_a_hold_follows_a_plan_that_needs_less_until_the_job_has_begun(store: Store) -> None:
    store.put_budget(NLP)
    budgets, job = Budgets(store), record("0a1", team="nlp")
    assert budgets.reserve(job, grams=500, now=T0) == ""
    assert not budgets.release_spare(job, grams=470, now=T0), "a tenth more than needed is no reason to move"
    assert budgets.release_spare(job, grams=200, now=T0)
    assert store.balance_ug("held:nlp-2026-11") == to_ug(200)
    assert store.balance_ug("budget:nlp-2026-11") == to_ug(800)
    assert budgets.reserve(job, grams=600, now=T0) == "", "and up again"
    assert store.balance_ug("held:nlp-2026-11") == to_ug(600)
    begun = job.model_copy(update={"state": with_runs(job, RunPhase.PENDING)})
    assert not budgets.release_spare(begun, grams=1, now=T0)


def test_what_a_job_that_has_begun_needs_on_top_is_promised_to_nobody_else(store: Store) -> None:
    store.put_budget(NLP.model_copy(update={"limit_g": 100.0}))
    budgets, first, second = Budgets(store), record("0a1", team="nlp"), record("0a2", team="nlp")
    assert budgets.reserve(first, grams=10, now=T0) == ""
    lost = run("0a1", 1, RunPhase.LOST).model_copy(update={"started_at": T0, "ended_at": T0 + HOUR})
    begun = first.model_copy(
        update={"state": first.state.model_copy(update={"runs": (lost,), "phase": Phase.SUSPENDED})}
    )
    budgets.settle(begun, grams=5, energy_mj=5, now=T0 + HOUR)
    assert budgets.reserve(begun, grams=80, now=T0 + HOUR) == "", "it goes on"
    assert store.balance_ug("held:nlp-2026-11") == to_ug(80)
    assert budgets.reserve(second, grams=20, now=T0 + HOUR) != ""
    assert budgets.reserve(second, grams=15, now=T0 + HOUR) == ""
    assert budgets.reserve(begun, grams=200, now=T0 + 2 * HOUR) == "", "beyond the limit, if it must be"
    assert budgets.reserve(record("0a3", team="nlp"), grams=0.1, now=T0 + 2 * HOUR) != ""
    budgets.close(begun, now=T0 + 3 * HOUR)
    assert budgets.reserve(record("0a3", team="nlp"), grams=50, now=T0 + 3 * HOUR) == ""


def test_of_two_decisions_at_once_one_stands_and_a_budget_gives_no_more_than_it_has(store: Store) -> None:
    engine = open_engine(store.engine.url.render_as_string(hide_password=False))  # another server's connections
    clock = GridClock(1.0, 0, int(T0.timestamp() * 1e6), wall_us=lambda: 0)
    servers = [
        Allowances(store=one, planning=Planning, clock=clock, wake=lambda: None)  # type: ignore[arg-type]
        for one in (store, Store(engine))
    ]
    store.put_budget(NLP)
    store.put_budget(ALL)
    number = servers[0].ask("nlp", Ask(amount_g=10.0, why="more"), by="ada").id

    def decide(n: int) -> BudgetRequest:
        server = servers[n % 2]
        return server.refuse(number, by=f"{n}") if n % 3 == 0 else server.approve(number, by=f"{n}")

    decided = [one for one in at_once(12, decide) if not isinstance(one, Conflict)]
    assert len(decided) == 1 and isinstance(decided[0], BudgetRequest), decided
    granted_ug = to_ug(10.0) if decided[0].state is RequestState.APPROVED else 0
    given = [entry.amount_ug for entry in store.entries() if entry.kind is EntryKind.EXTENSION]
    assert sum(given) == granted_ug

    handed = at_once(12, lambda n: servers[n % 2].transfer("all", "nlp", amount_g=100.0, by=f"{n}"))
    engine.dispose()
    assert [one for one in handed if one is not None and not isinstance(one, Refused)] == []
    assert handed.count(None) == 4
    assert store.balance_ug("budget:all-2026-11") == to_ug(50.0)
    assert store.balance_ug("budget:nlp-2026-11") == to_ug(1400.0) + granted_ug
    assert store.verify().sound
