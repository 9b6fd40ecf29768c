"""A record that comes again has the digest it had, and one that says anything else has another."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kilowait_agents.wire import BASES, METHODS, QUALITIES, SCOPES, Batch, Origin, Record, Share
from kilowait_scheduler.intake.digests import digests

IDS = st.from_regex(r"[a-z0-9][a-z0-9-]{0,9}", fullmatch=True)
AMOUNTS = st.integers(0, 2**53 - 1) | st.integers(0, 3)
TEXTS = st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=5)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("boot_id", "stream_epoch", "device_uuid"), IDS),
    **dict.fromkeys(("energy_mj", "idle_mj", "unattributed_mj"), AMOUNTS),
    "agent_id": st.just("agent"),
    "seq": st.integers(1, 2**53 - 1),
    "device_name": TEXTS,
    "scope": st.sampled_from(sorted(SCOPES)),
    "t0_us": AMOUNTS,
    "t1_us": AMOUNTS,
    "mono_dt_ns": st.integers(0, 2**63 - 1),
    "counter_end_mj": st.none() | AMOUNTS,
    "method": st.sampled_from(sorted(METHODS)),
    "quality": st.sampled_from(sorted(QUALITIES)),
    "uncertainty_pct": st.floats(0, 1e6),
    "note": st.none() | TEXTS,
}
SHARES = st.lists(
    st.builds(Share, IDS, st.none() | IDS, AMOUNTS, st.sampled_from(sorted(BASES))),
    max_size=3,
    unique_by=lambda share: share.run_id,
).map(tuple)


class Loose(Record):
    """A record of which nothing has to fit together: what is told apart here are values."""

    def __post_init__(self) -> None:
        pass


RECORDS = st.builds(Loose, shares=SHARES, **VALUES)


def digests_of(*records: Record) -> list[str]:
    batch = Batch.__new__(Batch)
    for name, value in (("origin", Origin("agent", "n", None, "nvml")), ("sent_at_us", 0), ("records", records)):
        object.__setattr__(batch, name, value)
    return digests("agent", *batch.columns())


@settings(max_examples=50)
@given(st.lists(RECORDS, min_size=1, max_size=5))
def test_a_record_s_digest_is_the_same_in_whatever_batch_and_place_it_comes(records: list[Record]) -> None:
    alone = [digests_of(record)[0] for record in records]
    assert digests_of(*records) == alone
    assert digests_of(*records[::-1]) == alone[::-1]


@settings(max_examples=50)
@given(RECORDS, st.data())
def test_a_record_in_which_any_one_value_is_another_has_another_digest(record: Record, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([field.name for field in fields(Record) if field.name != "agent_id"]))
    value = data.draw(SHARES if name == "shares" else VALUES[name])
    if name == "shares":
        assume(set(value) != set(record.shares))
    else:
        assume(value != getattr(record, name))
    assert digests_of(replace(record, **{name: value})) != digests_of(record)


@settings(max_examples=50)
@given(RECORDS)
def test_values_that_change_places_make_another_digest(record: Record) -> None:
    assume(record.t0_us != record.t1_us)
    assert digests_of(replace(record, t0_us=record.t1_us, t1_us=record.t0_us)) != digests_of(record)


def test_a_digest_does_not_change_from_one_release_to_the_next() -> None:
    record = Record(
        agent_id="agent", boot_id="b", stream_epoch="e", seq=1, device_uuid="GPU-0", device_name="H100", scope="gpu",
        t0_us=0, t1_us=5_000_000, mono_dt_ns=5 * 10**9, energy_mj=900, counter_end_mj=None, method="counter",
        quality="measured", uncertainty_pct=5.0, shares=(Share("r", "j", 600, "exclusive"),), idle_mj=300,
        unattributed_mj=0,
    )  # fmt: skip
    assert digests_of(record) == ["732e00035fd8c80b"]
