from __future__ import annotations

import contextlib
import gzip
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.energy import split_mj
from kilowait_agents.errors import OtherVersion, Refused
from kilowait_agents.wire import (
    MAX_RECORDS,
    RECORD_COLUMNS,
    SHARE_COLUMNS,
    Batch,
    Origin,
    Record,
    Share,
    pack,
    unpack,
)
from kilowait_agents.wire_columns import unpack_columns

from .conftest import START_US

Make = Callable[..., Record]
ORIGIN = Origin(agent_id="agent-1", node="node-1", region="eu-north", source="nvml")


def batch(*records: Record, **changes: Any) -> Batch:
    return Batch(**{"origin": ORIGIN, "sent_at_us": START_US, "records": records, **changes})


def read(text: str | bytes) -> Batch:
    """What the text says, read both ways, which have to agree."""
    body = gzip.compress(text if isinstance(text, bytes) else text.encode(), 1)
    try:
        read = unpack(body)
    except Refused as refused:
        with pytest.raises(Refused) as again:
            unpack_columns(body)
        assert (str(again.value), again.value.field) == (str(refused), refused.field)
        raise
    assert unpack_columns(body) == (read.origin, *read.columns())
    return read


def mended(text: str, path: str, value: Any) -> str:
    """The JSON with one value replaced (or removed: ...), by a path like `records.energy_mj.0`."""
    message = json.loads(text)
    *steps, last = path.split(".")
    at: Any = message
    for step in steps:
        at = at[int(step)] if step.isdecimal() else at[step]
    if value is ...:
        del at[int(last) if isinstance(at, list) else last]
    elif isinstance(at, list):
        at[int(last)] = value
    else:
        at[last] = value
    return json.dumps(message)


@given(
    energy_mj=st.integers(min_value=0, max_value=2**53 - 1),
    parts=st.lists(st.integers(min_value=0, max_value=100), min_size=2, max_size=6),
    quality=st.sampled_from(["measured", "recovered", "estimated"]),
    method=st.sampled_from(["counter", "power_avg", "power_inst", "model"]),
    counter_end_mj=st.none() | st.integers(min_value=0, max_value=2**53 - 1),
    note=st.none() | st.just("the energy counter restarted: 5 mJ before, 1 mJ now"),
    speed=st.sampled_from([1.0, 1.5, 3600.0]),
)
def test_a_batch_comes_back_from_the_wire_as_it_was(
    record: Make, energy_mj: int, parts: list[int], speed: float, **rest: Any
) -> None:
    idle_mj, unattributed_mj, *shared = split_mj(energy_mj, parts)
    shares = tuple(Share(f"run-{at}", None if at else "job", mj, "equal") for at, mj in enumerate(shared))
    one = record(energy_mj=energy_mj, idle_mj=idle_mj, unattributed_mj=unattributed_mj, shares=shares, **rest)
    sent = batch(one, origin=Origin("agent-1", "n", None, "simulated", speed))
    assert read(sent.to_json()) == sent
    assert unpack(pack(sent)) == sent
    assert gzip.decompress(pack(sent)).decode() == sent.to_json()


def test_the_message_is_versioned_and_says_where_it_comes_from(record: Make) -> None:
    message = json.loads(batch(record()).to_json())
    assert {name: value for name, value in message.items() if name not in ("records", "shares")} == {
        "version": 2,
        "agent_id": "agent-1",
        "node": "node-1",
        "region": "eu-north",
        "source": "nvml",
        "clock_speed": 1.0,
        "sent_at_us": START_US,
    }
    assert message["records"]["energy_mj"] == [900]
    assert message["shares"] == {
        "record": [0], "run_id": ["run-1"], "job_id": ["job-1"], "energy_mj": [600], "basis": ["exclusive"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("version", 3, "version"),
        ("version", True, "version"),
        ("node", ..., "node"),
        ("node", "a b", "node"),
        ("region", 5, "region"),
        ("source", "guess", "source"),
        ("clock_speed", 0, "clock_speed"),
        ("clock_speed", "1", "clock_speed"),
        ("sent_at_us", 1.5, "sent_at_us"),
        ("extra", 1, "extra"),
        ("records", [], "records"),
        ("records", {}, "records.boot_id"),
        ("records.note", ..., "records.note"),
        ("records.note", [], "records.note"),
        ("records.note", "no", "records.note"),
        ("records.colour", ["blue"], "records.colour"),
        ("records.energy_mj.0", 900.0, "records[0].energy_mj"),
        ("records.energy_mj.0", True, "records[0].energy_mj"),
        ("records.energy_mj.0", -1, "records[0].energy_mj"),
        ("records.energy_mj.0", 2**53, "records[0].energy_mj"),
        ("records.t0_us.0", 9 * 10**18, "records[0].t0_us"),
        ("records.energy_mj.0", None, "records[0].energy_mj"),
        ("records.energy_mj.0", 901, "records[0].energy_mj"),
        ("records.idle_mj.0", 199, "records[0].energy_mj"),
        ("records.quality.0", "gap", "records[0].energy_mj"),
        ("records.quality.0", "good", "records[0].quality"),
        ("records.quality.0", ["measured"], "records[0].quality"),
        ("records.method.0", "magic", "records[0].method"),
        ("records.scope.0", "rack", "records[0].scope"),
        ("records.seq.0", 0, "records[0].seq"),
        ("records.seq.0", True, "records[0].seq"),
        ("records.t1_us.0", START_US + 1_000_000, "records[0].t1_us"),
        ("records.uncertainty_pct.0", -1, "records[0].uncertainty_pct"),
        ("records.uncertainty_pct.0", 10**400, "records[0].uncertainty_pct"),
        ("records.device_uuid.0", "", "records[0].device_uuid"),
        ("records.device_uuid.0", "x" * 129, "records[0].device_uuid"),
        ("records.device_name.0", "a\u0000b", "records[0].device_name"),
        ("records.note.0", 5, "records[0].note"),
        ("shares.run_id.0", "run 1", "records[0].shares[0].run_id"),
        ("shares.job_id.0", 5, "records[0].shares[0].job_id"),
        ("shares.energy_mj.0", 600.5, "records[0].shares[0].energy_mj"),
        ("shares.basis.0", "because", "records[0].shares[0].basis"),
        ("shares", None, "shares"),
        ("shares", [], "shares"),
        ("shares.basis", ..., "shares.basis"),
        ("shares.run_id", [], "shares.run_id"),
        ("shares.record.0", 1, "shares.record"),
        ("shares.record.0", -1, "shares.record"),
        ("shares.record.0", False, "shares.record"),
        ("shares.record.0", 0.0, "shares.record"),
    ],
)
def test_anything_that_is_not_exactly_a_batch_is_refused_by_the_name_of_its_field(
    record: Make, path: str, value: Any, field: str
) -> None:
    with pytest.raises(Refused) as refused:
        read(mended(batch(record()).to_json(), path, value))
    assert refused.value.field == field
    assert field in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_run_that_is_named_twice_in_a_record_is_refused(record: Make) -> None:
    share = Share("run-1", "job-1", 300, "equal")
    with pytest.raises(Refused, match="name each run once"):
        record(shares=(share, share))


def test_a_sequence_number_that_appears_twice_in_a_batch_is_refused(record: Make) -> None:
    with pytest.raises(Refused, match="twice"):
        batch(record(1), record(1))


@pytest.mark.parametrize("count", [0, MAX_RECORDS + 1])
def test_a_batch_of_none_or_too_many_records_is_refused_before_they_are_read(record: Make, count: int) -> None:
    text = mended(batch(record()).to_json(), "records", {name: [None] * count for name in RECORD_COLUMNS})
    with pytest.raises(Refused, match=f"1 to 1000 records, got {count}"):
        read(text)


def test_shares_that_do_not_stand_with_their_records_in_order_are_refused(record: Make) -> None:
    with pytest.raises(Refused, match=r"shares.record must rise from 0 to 1, got 0"):
        read(mended(batch(record(1), record(2)).to_json(), "shares.record", [1, 0]))


def test_a_batch_of_another_release_is_told_from_a_bad_one_whatever_it_is_made_of() -> None:
    with pytest.raises(OtherVersion, match="version must be 2, got 1; run agent and server of the same release"):
        read('{"version": 1, "records": [{"seq": 1}]}')


@pytest.mark.parametrize("text", ["", "[]", "3", "{", '{"version": NaN}', '{"a": 1, "a": 2}', b"\xff", "[" * 100_000])
def test_what_is_not_even_a_message_is_refused(text: str | bytes) -> None:
    with pytest.raises(Refused):
        read(text)


@given(which=st.integers(0, 10**6), again=st.sampled_from(['"{}":7', '"{}" :7', '"{}"\n:7', '"\\u00{:x}{}":7']))
def test_a_member_given_twice_is_refused_wherever_and_however_it_is_written(
    record: Make, which: int, again: str
) -> None:
    text = batch(record(1, device_name='odd": name'), record(2)).to_json()
    members = list(re.finditer(r'[{,]"(\w+)":', text))
    member = members[which % len(members)]
    name = member[1]
    twice = again.format(name) if "u00" not in again else again.format(ord(name[0]), name[1:])
    first, rest = text[: member.start() + 1], text[member.start() + 1 :]
    with pytest.raises(Refused, match="given twice"):
        read(f"{first}{twice},{rest}")
    assert read(f"{first} {rest}").records[0].device_name == 'odd": name'


def test_a_body_that_unpacks_to_far_more_than_a_batch_is_refused_without_unpacking_it() -> None:
    with pytest.raises(Refused, match="larger than"):
        unpack(gzip.compress(b" " * 50_000_000), max_bytes=1_000_000)


def test_a_body_that_is_cut_short_or_no_gzip_is_refused(record: Make) -> None:
    body = pack(batch(record()))
    for damaged in (body[:-1], body[:10], body + b"x", b"", b"plain"):
        with pytest.raises(Refused):
            unpack(damaged)
    assert unpack(body, max_bytes=len(batch(record()).to_json())) == batch(record())


@given(st.data())
def test_damage_to_any_one_byte_never_raises_anything_but_refused(record: Make, data: st.DataObject) -> None:
    body = bytearray(batch(record()).to_json().encode())
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(body))
    except Refused as refused:
        assert str(refused)


PLACES = [
    *(f"records.{name}{place}" for name in RECORD_COLUMNS for place in ("", ".0", ".1")),
    *(f"shares.{name}{place}" for name in SHARE_COLUMNS for place in ("", ".0", ".1")),
    "shares", "records", "agent_id", "sent_at_us",
]  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2**53) | st.floats(allow_nan=False) | st.text(max_size=3)
    | st.sampled_from(["gap", "agent-1", "run-1", 900, 600, 5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["run_id", "x"]), inner, max_size=2),
    max_leaves=3,
)  # fmt: skip


@given(place=st.sampled_from(PLACES), value=ODD | st.just(...))
def test_whatever_stands_in_a_field_both_ways_of_reading_agree(record: Make, place: str, value: Any) -> None:
    with contextlib.suppress(Refused):
        read(mended(batch(record(1), record(2)).to_json(), place, value))
