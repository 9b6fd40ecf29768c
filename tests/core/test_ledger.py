"""The ledger: nothing is lost between accounts, settling twice is settling once, and one changed byte is found."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from kilowait_scheduler.core.ledger import (
    GENESIS,
    SOURCE,
    Booked,
    Chain,
    Entry,
    EntryKind,
    Unreadable,
    balance_ug,
    canonical,
    chained,
    charges,
    grant,
    hold,
    release,
    to_ug,
    transfer,
)

T0 = datetime(2026, 11, 23, tzinfo=UTC)
NLP = "nlp-2026-11"
ACCOUNTS = (f"budget:{NLP}", f"held:{NLP}", f"emitted:{NLP}")
BUDGET, HELD, EMITTED = ACCOUNTS


def settle(entries: list[Entry], grams: float, *, energy_mj: int = 1) -> list[Entry]:
    rests = [entry.energy_mj for entry in entries if entry.energy_mj is not None]
    return charges(
        NLP,
        job_id="j",
        total_ug=to_ug(grams),
        energy_mj=energy_mj,
        charged_ug=balance_ug(EMITTED, entries),
        charged_mj=rests[-1] if rests else None,
        held_ug=balance_ug(HELD, entries),
        at=T0,
    )


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 10**15), st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 3)), max_size=8))
def test_settling_brings_the_job_to_its_measured_total_and_conserves_everything(
    held_ug: int, totals: list[tuple[float, int]]
) -> None:
    entries = grant(NLP, amount_ug=10**18, at=T0)
    entries.append(hold(NLP, job_id="j", amount_ug=held_ug, at=T0))
    for grams, energy_mj in totals:
        entries += settle(entries, grams, energy_mj=energy_mj)
        assert balance_ug(EMITTED, entries) == to_ug(grams)
        assert settle(entries, grams, energy_mj=energy_mj) == [], "a repetition changes nothing"
        assert sum(balance_ug(account, entries) for account in ACCOUNTS) == 10**18
        assert balance_ug(HELD, entries) >= 0, "no more leaves the hold than was in it"
    left = balance_ug(HELD, entries)
    if left:
        entries.append(release(NLP, job_id="j", amount_ug=left, at=T0))
    assert balance_ug(HELD, entries) == 0
    emitted_ug = to_ug(totals[-1][0]) if totals else 0
    assert balance_ug(BUDGET, entries) == 10**18 - emitted_ug
    assert sum(balance_ug(account, entries) for account in (SOURCE, *ACCOUNTS)) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 10**12), min_size=1, max_size=7), st.randoms(use_true_random=False))
def test_readings_that_come_late_in_any_order_end_at_the_same_balances(
    readings_ug: list[int], order: random.Random
) -> None:
    shuffled = list(readings_ug)
    order.shuffle(shuffled)
    balances = []
    for arrivals in (readings_ug, shuffled):
        entries: list[Entry] = [hold(NLP, job_id="j", amount_ug=10**6, at=T0)]
        known = 0
        for energy_mj, arrived in enumerate(arrivals, start=1):
            known += arrived
            entries += settle(entries, known / 1e6, energy_mj=energy_mj)
        balances.append([balance_ug(account, entries) for account in ACCOUNTS])
    assert balances[0] == balances[1]


def test_what_was_held_is_spent_first() -> None:
    entries: list[Entry] = [hold(NLP, job_id="j", amount_ug=to_ug(10), at=T0)]
    moves = settle(entries, 15)
    assert [(m.kind, m.debit, m.amount_ug) for m in moves] == [
        (EntryKind.CHARGE, HELD, to_ug(10)),
        (EntryKind.CHARGE, BUDGET, to_ug(5)),
    ]


def test_a_history_that_is_revised_is_corrected_up_or_down_and_never_overwritten() -> None:
    entries: list[Entry] = [hold(NLP, job_id="j", amount_ug=to_ug(10), at=T0)]
    entries += settle(entries, 8, energy_mj=5)
    (down,) = settle(entries, 6.5, energy_mj=5)
    assert (down.kind, down.debit, down.credit) == (EntryKind.CORRECTION, EMITTED, BUDGET)
    assert down.amount_ug == to_ug(1.5)
    (up,) = settle([*entries, down], 7, energy_mj=5)
    assert (up.kind, up.debit, up.credit) == (EntryKind.CORRECTION, HELD, EMITTED)
    (more,) = settle([*entries, down, up], 7.5, energy_mj=6)
    assert more.kind is EntryKind.CHARGE, "new energy is a charge"


def test_a_limit_may_be_raised_lowered_and_handed_over() -> None:
    entries = grant(NLP, amount_ug=100, at=T0) + grant(NLP, amount_ug=-30, at=T0) + grant(NLP, amount_ug=0, at=T0)
    entries.append(transfer(NLP, "vision-2026-11", amount_ug=20, at=T0, memo="agreed"))
    assert balance_ug(BUDGET, entries) == 50
    assert balance_ug("budget:vision-2026-11", entries) == 20
    assert balance_ug(SOURCE, entries) == -70


@pytest.mark.parametrize("amount_ug", [0, -1])
def test_an_entry_moves_something_or_does_not_exist(amount_ug: int) -> None:
    with pytest.raises(ValidationError):
        Entry(at=T0, kind=EntryKind.CHARGE, debit="a", credit="b", amount_ug=amount_ug)


def test_an_entry_cannot_be_changed() -> None:
    entry = hold(NLP, job_id="j", amount_ug=1, at=T0)
    with pytest.raises(ValidationError):
        entry.amount_ug = 2


def book(entries: list[Entry]) -> list[Booked]:
    booked: list[Booked] = []
    for entry in entries:
        booked.append(chained(booked[-1].hash if booked else GENESIS, len(booked) + 1, entry))
    return booked


def some(count: int) -> list[Booked]:
    return book([hold(NLP, job_id=f"j{n}", amount_ug=n + 1, at=T0 + timedelta(seconds=n)) for n in range(count)])


def checked(entries: list[Booked | Unreadable], *, noted: str | None = None) -> Chain:
    chain = Chain(noted=noted)
    chain.follow(entries)
    return chain


def test_the_hash_is_what_anyone_can_recompute() -> None:
    (first,) = some(1)
    text = (
        '{"amount_ug":1,"at":"2026-11-23T00:00:00.000000+00:00","credit":"held:nlp-2026-11",'
        '"debit":"budget:nlp-2026-11","energy_mj":null,"job_id":"j0","kind":"hold","memo":"","seq":1}'
    )
    assert canonical(1, first) == text
    assert first.hash == hashlib.sha256(("0" * 64 + text).encode()).hexdigest()


def test_a_moment_is_hashed_the_same_whatever_offset_it_was_written_with() -> None:
    entry = hold(NLP, job_id="j", amount_ug=1, at=T0)
    other = hold(NLP, job_id="j", amount_ug=1, at=T0.astimezone(timezone(timedelta(hours=5))))
    assert canonical(1, entry) == canonical(1, other)


def test_a_ledger_as_written_is_sound_and_a_noted_hash_is_found_again() -> None:
    entries = some(5)
    chain = checked([*entries], noted=entries[2].hash)
    assert (chain.sound, chain.count, chain.head, chain.noted_at) == (True, 5, entries[-1].hash, 3)
    assert checked([]).head == GENESIS
    assert checked([], noted=GENESIS).sound


CHANGES = st.one_of(
    st.fixed_dictionaries({"amount_ug": st.integers(1, 2**62)}),
    st.fixed_dictionaries({"debit": st.text(max_size=5)}),
    st.fixed_dictionaries({"credit": st.text(max_size=5)}),
    st.fixed_dictionaries({"memo": st.text(max_size=5)}),
    st.fixed_dictionaries({"job_id": st.none() | st.text(max_size=5)}),
    st.fixed_dictionaries({"energy_mj": st.integers(0, 9)}),
    st.fixed_dictionaries({"kind": st.sampled_from(EntryKind)}),
    st.fixed_dictionaries({"hash": st.text("0123456789abcdef", min_size=64, max_size=64)}),
    st.builds(lambda us: {"at": T0 + timedelta(microseconds=us)}, st.integers(0, 10**9)),
)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 8), st.data(), CHANGES)
def test_whatever_is_changed_in_one_entry_is_found_at_its_place_and_nowhere_else(
    count: int, data: st.DataObject, change: dict[str, object]
) -> None:
    entries = some(count)
    place = data.draw(st.integers(0, count - 1))
    changed = entries[place].model_copy(update=change)
    found = checked([*entries[:place], changed, *entries[place + 1 :]])
    if changed == entries[place]:
        assert found.sound
        return
    wanted = {place + 1}
    if "hash" in change and place + 1 < count:
        wanted.add(place + 2)  # it was chained to the hash that is not there any more
    assert {fault.seq for fault in found.faults} == wanted
    assert found.faults[0].seq == place + 1


def test_entries_taken_out_slipped_in_or_cut_off_are_found() -> None:
    entries = some(5)
    (gone,) = checked([*entries[:2], *entries[3:]]).faults
    assert (gone.seq, gone.problem) == (3, "missing: the next entry is number 4")
    again = chained(entries[1].hash, 3, hold(NLP, job_id="x", amount_ug=9, at=T0))
    (slipped,) = checked([*entries[:2], again, *entries[3:]]).faults
    assert slipped.seq == 4, "the entry after the one that was exchanged no longer follows"
    cut = checked([*entries[:4]], noted=entries[4].hash)
    assert not cut.faults
    assert not cut.sound, "a ledger cut at its end looks whole; the hash that was noted says that it is not"


def test_a_row_that_is_no_entry_any_more_is_named_and_the_rest_is_judged_all_the_same() -> None:
    entries = some(5)
    spoilt = entries[3].model_copy(update={"amount_ug": 77})
    found = checked([entries[0], Unreadable(2, "amount"), entries[2], spoilt, entries[4]])
    assert [(fault.seq, fault.problem[:6]) for fault in found.faults] == [(2, "amount"), (4, "what i")]
