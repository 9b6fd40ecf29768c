"""The ledger: nothing is lost between accounts, and one changed byte is found."""

from __future__ import annotations

import hashlib
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
    grant,
    hold,
    transfer,
)

T0 = datetime(2026, 11, 23, tzinfo=UTC)
NLP = "nlp-2026-11"
BUDGET = f"budget:{NLP}"


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
