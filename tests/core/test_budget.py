"""Budgets: whom they cover, when their periods begin, what is carried on, who stops, and when they will be used up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kilowait_scheduler.core.allowance import (
    Drawn,
    Position,
    applied,
    carry_due,
    limit_due,
    position,
    refusal,
    settlement,
)
from kilowait_scheduler.core.budget import Budget, CarryOver, Span
from kilowait_scheduler.core.exhaustion import exhaustion, rolling_exhaustion
from kilowait_scheduler.core.ledger import Entry, EntryKind, balance_ug, hold, release, to_ug, transfer

T0 = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)


def budget(**more: Any) -> Budget:
    return Budget.model_validate({"id": "nlp", "scope": "team", "name": "nlp", "limit_g": 1000, **more})


@pytest.mark.parametrize("limit_g", [float("nan"), float("inf"), 0, -1, 1e30])
def test_a_budget_has_a_limit_that_can_be_counted(limit_g: float) -> None:
    with pytest.raises(ValidationError):
        budget(limit_g=limit_g)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"timezone": "Europe/Atlantis"}, "no time zone"),
        ({"timezone": "../etc/passwd"}, "no time zone"),
        ({"period": "rolling"}, "days"),
        ({"days": 30}, "days"),
        ({"period": "once"}, "start and end"),
        ({"start": "2026-11-01T00:00:00Z"}, "start and end"),
        ({"period": "once", "start": "2026-11-02T00:00:00Z", "end": "2026-11-01T00:00:00Z"}, "later"),
        ({"period": "rolling", "days": 7, "carry_over": "unused"}, "carry_over"),
        ({"team": "x"}, "narrows"),
        ({"scope": "project", "project": "x"}, "narrows"),
    ],
)
def test_a_budget_that_does_not_fit_together_is_refused(more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        budget(**more)


def test_every_level_of_the_tree_covers_the_jobs_below_it() -> None:
    job = {"team": "nlp", "project": "chat", "user": "ada"}
    covering = [
        budget(scope="organisation", name="all"),
        budget(),
        budget(scope="project", name="chat"),
        budget(scope="project", name="chat", team="nlp"),
        budget(scope="user", name="ada"),
        budget(scope="user", name="ada", team="nlp", project="chat"),
    ]
    others = [
        budget(name="vision"),
        budget(scope="project", name="nlp"),
        budget(scope="project", name="chat", team="vision"),
        budget(scope="user", name="bob"),
        budget(scope="user", name="ada", project="search"),
    ]
    assert all(one.covers(**job) for one in covering)
    assert not any(one.covers(**job) for one in others)
    assert covering[5].whose == "user ada of project chat of team nlp"


def test_a_month_begins_at_midnight_of_the_budgets_own_zone() -> None:
    berlin = budget(timezone="Europe/Berlin")
    assert berlin.span(datetime(2026, 10, 31, 22, 59, 59, tzinfo=UTC)).account == "nlp-2026-10"
    november = berlin.span(datetime(2026, 10, 31, 23, 0, tzinfo=UTC))
    assert november == Span(
        "nlp-2026-11", datetime(2026, 10, 31, 23, tzinfo=UTC), datetime(2026, 11, 30, 23, tzinfo=UTC)
    )
    october = berlin.before(november)
    # Clocks went back on the 25th: October has an hour more than 31 days.
    assert october.end - october.start == 31 * DAY + timedelta(hours=1)


def test_quarters_follow_the_calendar() -> None:
    quarterly = budget(period="quarter", timezone="America/New_York")
    span = quarterly.span(T0)
    assert (span.account, span.start) == ("nlp-2026-q4", datetime(2026, 10, 1, 4, tzinfo=UTC))
    assert span.end == datetime(2027, 1, 1, 5, tzinfo=UTC), "summer time has ended in between"
    assert quarterly.before(span).account == "nlp-2026-q3"


def test_where_clocks_skip_midnight_the_day_begins_when_they_do() -> None:
    cairo = budget(period="rolling", days=1, timezone="Africa/Cairo")  # 24 April 2026: 00:00 becomes 01:00
    span = cairo.span(datetime(2026, 4, 24, 12, tzinfo=UTC))
    assert span.start == datetime(2026, 4, 23, 22, tzinfo=UTC)
    assert span.end - span.start == timedelta(hours=23)


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Asia/Kathmandu", "Australia/Lord_Howe"]


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(ZONES),
    st.sampled_from([{"period": "month"}, {"period": "quarter"}, {"period": "rolling", "days": 1}]),
    st.datetimes(datetime(2024, 1, 1), datetime(2028, 1, 1)),
)
def test_periods_follow_each_other_without_gap_or_overlap(zone: str, period: dict[str, Any], at: datetime) -> None:
    one = budget(timezone=zone, **period)
    moment = at.replace(tzinfo=UTC)
    span = one.span(moment)
    assert span.contains(moment)
    assert one.span(span.start) == span
    following = one.span(span.end)
    assert following.start == span.end
    assert one.before(following) == span
    assert span.start.astimezone(ZoneInfo(zone)).date() == one.day(span.start)
    assert one.day(span.start - timedelta(microseconds=1)) < one.day(span.start)


def test_a_budget_knows_its_own_accounts_from_those_of_one_with_a_longer_name() -> None:
    assert all(budget().owns(account) for account in ("nlp-2026-11", "nlp-2026-q4", "nlp-rolling", "nlp-once"))
    assert not any(budget().owns(account) for account in ("nlp-x-2026-11", "nlp", "nlp-", "nl-2026-11", "nlp-once-x"))


def flows_of(entries: list[Entry]) -> dict[tuple[EntryKind, str, str], int]:
    return dict(applied({}, entries))


OCTOBER, NOVEMBER = (budget().span(T0 - n * DAY) for n in (30, 0))


def used(span: Span, grams: float) -> list[Entry]:
    one = Drawn(span.account, 0, 0)
    return settlement([one], job_id="j", total_ug=to_ug(grams), energy_mj=1, charged_mj=None, ended=True, at=T0)


@pytest.mark.parametrize(
    ("carry_over", "used_g", "allowed_g"),
    [
        ("none", 400, 1000),
        ("unused", 400, 1600),
        ("unused", 1300, 1000),
        ("overdrawn", 400, 1000),
        ("overdrawn", 1300, 700),
        ("both", 100, 1750),  # 900 were left, three quarters of the limit may be carried
        ("both", 1300, 700),
    ],
)
def test_what_was_left_or_overdrawn_is_carried_as_the_rule_says(
    carry_over: str, used_g: float, allowed_g: float
) -> None:
    one = budget(carry_over=carry_over, carry_cap_pct=75)
    entries = limit_due(one, OCTOBER, {}, past={}, at=T0) + used(OCTOBER, used_g)
    entries += limit_due(one, NOVEMBER, flows_of(entries), past={}, at=T0)
    entries += carry_due(one, OCTOBER, NOVEMBER, flows_of(entries), at=T0)
    assert position(NOVEMBER.account, flows_of(entries)).allowed_ug == to_ug(allowed_g)
    assert carry_due(one, OCTOBER, NOVEMBER, flows_of(entries), at=T0) == [], "once"
    assert limit_due(one, NOVEMBER, flows_of(entries), past={}, at=T0) == []


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 3000), min_size=1, max_size=6), st.sampled_from(CarryOver))
def test_however_late_a_period_is_settled_what_was_carried_ends_at_what_the_rule_says(
    totals_g: list[int], rule: CarryOver
) -> None:
    one = budget(carry_over=rule)
    entries = limit_due(one, OCTOBER, {}, past={}, at=T0) + limit_due(one, NOVEMBER, {}, past={}, at=T0)
    for total in totals_g:
        drawn = Drawn(OCTOBER.account, 0, balance_ug(f"emitted:{OCTOBER.account}", entries))
        entries += settlement(
            [drawn], job_id="j", total_ug=to_ug(total), energy_mj=1, charged_mj=None, ended=True, at=T0
        )
        entries += carry_due(one, OCTOBER, NOVEMBER, flows_of(entries), at=T0)
    left = 1000 - totals_g[-1]
    up, down = rule in (CarryOver.UNUSED, CarryOver.BOTH), rule in (CarryOver.OVERDRAWN, CarryOver.BOTH)
    carried = (max(left, 0) if up else 0) + (min(left, 0) if down else 0)
    flows = flows_of(entries)
    assert position(NOVEMBER.account, flows).left_ug == to_ug(1000 + carried)
    assert position(OCTOBER.account, flows).left_ug == to_ug(left - carried)


def test_in_a_window_that_moves_what_was_used_before_it_is_free_again() -> None:
    one = budget(period="rolling", days=7)
    span = one.span(T0)
    entries = limit_due(one, span, {}, past={}, at=T0 - 9 * DAY) + used(span, 600)
    old = flows_of(entries)
    entries += limit_due(one, span, old, past=old, at=T0)
    entries += [transfer("vision-2026-11", span.account, amount_ug=to_ug(5), at=T0, memo="")]
    where = position(span.account, flows_of(entries))
    assert (where.left_ug, where.emitted_ug) == (to_ug(1005), to_ug(600))
    assert limit_due(one, span, flows_of(entries), past=old, at=T0) == []


def settle(
    entries: list[Entry], total_g: float, energy_mj: int, accounts: list[str], *, ended: bool = True
) -> list[Entry]:
    drawn = [Drawn(a, balance_ug(f"held:{a}", entries), balance_ug(f"emitted:{a}", entries)) for a in accounts]
    rests = [entry.energy_mj for entry in entries if entry.energy_mj is not None]
    return settlement(
        drawn,
        job_id="j",
        total_ug=to_ug(total_g),
        energy_mj=energy_mj,
        charged_mj=rests[-1] if rests else None,
        ended=ended,
        at=T0,
    )


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 10**15),
    st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 3)), max_size=8),
    st.integers(1, 2),
)
def test_settling_brings_the_job_to_its_measured_total_and_conserves_everything(
    held_ug: int, totals: list[tuple[float, int]], periods: int
) -> None:
    accounts = [OCTOBER.account, NOVEMBER.account][:periods]
    names = [f"{part}:{account}" for account in accounts for part in ("budget", "held", "emitted")]
    entries = [hold(account, job_id="j", amount_ug=held_ug, at=T0) for account in accounts]
    for grams, energy_mj in totals:
        entries += settle(entries, grams, energy_mj, accounts)
        assert sum(balance_ug(f"emitted:{account}", entries) for account in accounts) == to_ug(grams)
        assert settle(entries, grams, energy_mj, accounts) == [], "a repetition changes nothing"
        assert sum(balance_ug(name, entries) for name in names) == 0
        for account in accounts:
            assert balance_ug(f"held:{account}", entries) >= 0, "no more leaves the hold than was in it"
            assert balance_ug(f"emitted:{account}", entries) >= 0
    for account in accounts:
        left = balance_ug(f"held:{account}", entries)
        if left:
            entries.append(release(account, job_id="j", amount_ug=left, at=T0))
    emitted_ug = to_ug(totals[-1][0]) if totals else 0
    assert sum(balance_ug(f"budget:{account}", entries) for account in accounts) == -emitted_ug


@settings(max_examples=60, deadline=None)
@given(st.permutations([3, 10, 200, 5_000, 7, 1_000_000]))
def test_readings_that_come_late_in_any_order_end_at_the_same_balances(order: list[int]) -> None:
    entries: list[Entry] = [hold("nlp-2026-11", job_id="j", amount_ug=10**6, at=T0)]
    known = 0
    for energy_mj, arrived in enumerate(order, start=1):
        known += arrived
        entries += settle(entries, known / 1e6, energy_mj, ["nlp-2026-11"])
    parts = ("budget", "held", "emitted")
    assert [balance_ug(f"{part}:nlp-2026-11", entries) for part in parts] == [-1_005_220, 0, 1_005_220]


def test_a_history_that_is_revised_is_corrected_up_or_down_and_never_overwritten() -> None:
    accounts = ["nlp-2026-11"]
    entries: list[Entry] = [hold("nlp-2026-11", job_id="j", amount_ug=to_ug(10), at=T0)]
    entries += settle(entries, 15, 5, accounts)
    assert [(e.kind, e.debit, e.amount_ug) for e in entries[1:]] == [
        (EntryKind.CHARGE, "held:nlp-2026-11", to_ug(10)),
        (EntryKind.CHARGE, "budget:nlp-2026-11", to_ug(5)),
    ]
    (down,) = settle(entries, 13.5, 5, accounts)
    assert (down.kind, down.debit, down.amount_ug) == (EntryKind.CORRECTION, "emitted:nlp-2026-11", to_ug(1.5))
    (up,) = settle([*entries, down], 14, 5, accounts)
    assert (up.kind, up.credit) == (EntryKind.CORRECTION, "emitted:nlp-2026-11")
    (more,) = settle([*entries, down, up], 14.5, 6, accounts)
    assert more.kind is EntryKind.CHARGE, "new energy is a charge"


def test_the_day_on_which_a_budget_is_used_up_follows_from_its_pace_with_a_band() -> None:
    even = exhaustion([10.0] * 14, left_g=55.0, now=T0)
    assert even is not None
    assert (even.at, even.earliest, even.latest) == (T0 + 5.5 * DAY,) * 3
    uneven = exhaustion([0.0, 20.0] * 7, left_g=55.0, now=T0)
    assert uneven is not None and uneven.at is not None and uneven.earliest is not None and uneven.latest is not None
    assert uneven.earliest < uneven.at < uneven.latest
    assert abs(uneven.at - even.at) < timedelta(seconds=1)
    used_up = exhaustion([10.0] * 14, left_g=-1.0, now=T0)
    assert used_up is not None and used_up.at == T0
    idle = exhaustion([0.0] * 14, left_g=5.0, now=T0)
    assert idle is not None and idle.at is None
    assert exhaustion([10.0, 10.0], left_g=5.0, now=T0) is None


def test_half_of_the_limit_is_used_up_in_half_of_the_time() -> None:
    whole, half = (exhaustion([8.0, 12.0] * 7, left_g=left, now=T0) for left in (100.0, 50.0))
    assert whole is not None and half is not None and whole.at is not None and half.at is not None
    assert (half.at - T0) / (whole.at - T0) == pytest.approx(0.5)


def test_what_a_running_job_is_given_back_stays_held_for_it() -> None:
    """Charged on estimates and corrected down, it may still use all that was held for it."""
    account = OCTOBER.account
    held = [hold(account, job_id="j", amount_ug=to_ug(10), at=T0)]
    charged = held + settle(held, 6, 60, [account])
    running = charged + settle(charged, 4, 60, [account], ended=False)
    over = charged + settle(charged, 4, 60, [account])
    assert balance_ug(f"held:{account}", running) == to_ug(6)
    assert balance_ug(f"held:{account}", over) == to_ug(4)


def test_a_window_that_moves_is_used_up_when_more_comes_than_leaves() -> None:
    steady = rolling_exhaustion([10.0] * 14, window_g=[10.0] * 7, allowed_g=75.0, now=T0)
    assert steady is not None
    assert steady.at is None, "as much leaves as comes, and that fits"
    growing = rolling_exhaustion([10.0] * 14, window_g=[0.0] * 4 + [10.0] * 3, allowed_g=65.0, now=T0)
    assert growing is not None
    assert growing.at == T0 + 3.5 * DAY, "nothing leaves in the first four days"
    full = rolling_exhaustion([10.0] * 14, window_g=[10.0] * 7, allowed_g=70.0, now=T0)
    assert full is not None
    assert full.at == T0
    spread = rolling_exhaustion([0.0, 20.0] * 7, window_g=[0.0] * 7, allowed_g=55.0, now=T0)
    assert spread is not None
    assert spread.at == T0 + 5.5 * DAY
    assert spread.earliest is not None
    assert spread.earliest < spread.at
    assert spread.latest is None, "if few come, seven days never hold as much"
    assert rolling_exhaustion([10.0, 10.0], window_g=[0.0] * 7, allowed_g=5.0, now=T0) is None


def test_a_refused_top_up_names_all_that_the_job_needs_and_the_limit() -> None:
    one = budget()
    where = Position(granted_ug=to_ug(1000), held_ug=to_ug(900))
    said = refusal(one, OCTOBER, where, needed_ug=to_ug(500), held_ug=to_ug(300))
    assert "has 0.100 kg left of 1.000 kg, this job needs up to 0.500 kg, of which it holds 0.300 kg." in said
    assert "0.100 kg more would release it" in said
    assert "0.600 kg are held for other jobs" in said
