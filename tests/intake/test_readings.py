"""What an agent sends is what is kept, value for value, in whatever batch it comes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_agents.wire import Batch, Origin, Record, Share, pack
from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.intake.readings import read_batch

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ORIGIN = Origin("agent", "node", None, "nvml")


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    keys = draw(st.lists(st.tuples(st.sampled_from(["e1", "e2", "e3"]), st.integers(1, 9)), min_size=1, unique=True))
    return [draw(record(epoch, seq)) for epoch, seq in keys]


@st.composite
def record(draw: st.DrawFn, epoch: str, seq: int) -> Record:
    runs = draw(st.lists(st.sampled_from(["kw-0a1-1", "kw-0a2-12", "mine"]), max_size=3, unique=True))
    amounts = draw(st.lists(st.integers(0, 2**40), min_size=2 + len(runs), max_size=2 + len(runs)))
    quality = draw(st.sampled_from(["measured", "recovered", "estimated", "gap"]))
    if quality == "gap":
        amounts = [0] * len(amounts)
    jobs = st.none() | st.just("job")
    shares = [Share(run, draw(jobs), mj, "equal") for run, mj in zip(runs, amounts[2:], strict=True)]
    t0_us = draw(st.integers(0, 2**52))
    whole: dict[str, Any] = {
        "agent_id": "agent", "boot_id": "b", "stream_epoch": epoch, "seq": seq, "device_name": "H100", "scope": "gpu",
        "device_uuid": draw(st.sampled_from(["GPU-0", "GPU-1"])), "t0_us": t0_us,
        "t1_us": t0_us + draw(st.integers(1, 10**9)), "mono_dt_ns": 1, "energy_mj": sum(amounts),
        "counter_end_mj": draw(st.none() | st.integers(0, 2**53 - 1)), "method": "counter", "quality": quality,
        "uncertainty_pct": draw(st.sampled_from([5.0, 7.0])), "shares": tuple(shares), "idle_mj": amounts[0],
        "unattributed_mj": amounts[1], "note": draw(st.none() | st.just("odd")),
    }  # fmt: skip
    return Record(**whole)


def row(record: Record, digest: str) -> Reading:
    jobs = {"kw-0a1-1": "0a1", "kw-0a2-12": "0a2", "mine": "mine"}
    return Reading(
        record.agent_id, record.stream_epoch, record.seq, "unknown", "node", "nvml", record.device_uuid,
        EPOCH + timedelta(microseconds=record.t0_us), EPOCH + timedelta(microseconds=record.t1_us), record.energy_mj,
        record.idle_mj, record.unattributed_mj, record.quality, record.method, record.uncertainty_pct, digest,
        tuple(RunShare(one.run_id, one.job_id or jobs[one.run_id], one.energy_mj) for one in record.shares),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(records())
def test_a_batch_is_read_as_each_of_its_records_by_hand(given: list[Record]) -> None:
    read = read_batch(pack(Batch(ORIGIN, 0, tuple(given))))
    by_hand = [row(one, digest) for one, digest in zip(given, read.columns["digest"], strict=True)]
    expected = Readings.of(by_hand)
    assert read.agent_id == "agent"
    assert read.shares == expected.shares
    assert read.columns == expected.columns


@settings(max_examples=60, deadline=None)
@given(records())
def test_epochs_part_a_batch_and_lose_or_double_nothing(given: list[Record]) -> None:
    rows = [row(one, str(place)) for place, one in enumerate(given)]
    parts = dict(Readings.of(rows).by_epoch())
    assert list(parts) == sorted({one.stream_epoch for one in given})
    for epoch, part in parts.items():
        assert part == Readings.of([one for one in rows if one.stream_epoch == epoch])
    assert sum(len(part) for part in parts.values()) == len(rows)
