"""The spool: what survives a kill, a torn tail, a full disk, a lost file, and days without a server."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.anchors import Anchor, advance, resume_from
from kilowait_agents.coarsen import coarsen
from kilowait_agents.errors import Refused
from kilowait_agents.slots import Slots
from kilowait_agents.spool import Spool, SpoolLimits
from kilowait_agents.wire import Record, Share

from .conftest import SECOND_NS, START_US

Make = Callable[..., Record]


def unsynced(_: int) -> None:
    """Tests do not pull the plug, so nothing needs to reach a platter."""


def series(record: Make, count: int, *, first: int = 1, per: int = 1, **changes: Any) -> list[Record]:
    """Adjoining records of `per` devices, each 900 mJ, counters and all."""
    made = []
    for seq in range(first, first + count):
        step = (seq - 1) // per
        t0_us = START_US + step * 5_000_000
        plain = {
            "device_uuid": f"GPU-{(seq - 1) % per}",
            "t0_us": t0_us,
            "t1_us": t0_us + 5_000_000,
            "mono_dt_ns": 5 * SECOND_NS,
            "counter_end_mj": 900 * (step + 1),
        }
        made.append(record(seq, **{**plain, **changes}))
    return made


@pytest.fixture
def opened() -> Iterator[Callable[..., Spool]]:
    spools: list[Spool] = []

    def make(folder: Path, **rest: Any) -> Spool:
        spools.append(Spool(folder, sync=unsynced, **rest))
        return spools[-1]

    yield make
    for spool in spools:
        with contextlib.suppress(OSError):  # the test closed it
            spool.close()


Open = Callable[..., Spool]


def drained(spool: Spool, *, batch: int = 7) -> list[Record]:
    taken: list[Record] = []
    while records := spool.head(batch):
        spool.sending(records)
        spool.done(records)
        taken += records
    return taken


def test_records_come_back_in_order_whichever_way_they_are_taken(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path, limits=SpoolLimits(segment=600))
    made = series(record, 40)
    for start in range(0, 40, 3):
        spool.append(made[start : start + 3])
    assert len(spool) == 40
    assert spool.head(5) == made[:5] == spool.head(5)
    spool.sending(made[:5])
    spool.done([made[0], made[2]])
    assert spool.head(3) == [made[1], made[3], made[4]]
    assert len(spool) == 38
    assert drained(spool) == [made[1], *made[3:]]
    assert (len(spool), spool.head(1)) == (0, [])
    assert len(list(tmp_path.glob("*.seg"))) == 1, "what is delivered is deleted"


@pytest.mark.parametrize("delivered", [0, 1, 4, 9, 10])
def test_another_life_of_the_agent_goes_on_with_what_was_not_delivered(
    tmp_path: Path, record: Make, opened: Open, delivered: int
) -> None:
    spool = opened(tmp_path, limits=SpoolLimits(segment=600))
    made = series(record, 10)
    for one in made:
        spool.append([one])
    if delivered:
        spool.sending(spool.head(delivered))
        spool.done(spool.head(delivered))
    spool.close()
    again = opened(tmp_path)
    assert len(again) == 10 - delivered
    assert again.resumes["GPU-0"].anchor.counter_mj == 9000
    again.append(series(record, 1, first=11, stream_epoch="epoch-2"))
    assert [one.counter_end_mj for one in drained(again)] == [900 * (n + 1) for n in range(delivered, 11)]


def test_only_one_agent_uses_a_folder(tmp_path: Path, opened: Open) -> None:
    opened(tmp_path)
    with pytest.raises(Refused, match="another agent"):
        opened(tmp_path)


def test_a_tail_torn_at_any_byte_costs_its_frame_and_no_energy(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path / "whole")
    made = series(record, 6)
    for start in (0, 2, 4):
        spool.append(made[start : start + 2])
        if start == 2:
            before = spool.bytes
    after = spool.bytes
    spool.close()
    for cut in range(before, after):
        folder = tmp_path / f"cut-{cut}"
        shutil.copytree(tmp_path / "whole", folder)
        (segment,) = folder.glob("*.seg")
        os.truncate(segment, cut)
        torn = opened(folder)
        assert torn.resumes["GPU-0"].anchor.counter_mj == 3600, "the counter says what the lost frame held"
        assert drained(torn) == made[:4]
        torn.close()


def test_a_byte_that_changed_in_the_tail_is_noticed(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path)
    made = series(record, 4)
    spool.append(made[:2])
    at = spool.bytes
    spool.append(made[2:])
    spool.close()
    (segment,) = tmp_path.glob("*.seg")
    data = bytearray(segment.read_bytes())
    data[at + 30] ^= 1
    segment.write_bytes(data)
    assert drained(opened(tmp_path)) == made[:2]


def test_damage_in_the_middle_ends_the_account_there_and_the_counter_tells_the_rest(
    tmp_path: Path, record: Make, opened: Open, caplog: pytest.LogCaptureFixture
) -> None:
    spool = opened(tmp_path, limits=SpoolLimits(segment=600))
    for one in series(record, 12):
        spool.append([one])
    spool.close()
    _, second, *_ = sorted(tmp_path.glob("*.seg"))
    os.truncate(second, second.stat().st_size - 3)
    again = opened(tmp_path)
    left = drained(again)
    assert again.resumes["GPU-0"].anchor.counter_mj == left[-1].counter_end_mj
    assert "cannot be trusted" in caplog.text
    assert list((tmp_path / "dead").glob("*.seg"))


def test_a_lost_spool_loses_detail_and_no_energy(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path)
    made = series(record, 6)
    spool.append(made)
    spool.sending(spool.head(3))
    spool.done(spool.head(3))
    spool.close()
    for path in tmp_path.glob("*.seg"):
        path.unlink()
    resume = opened(tmp_path).resumes["GPU-0"]
    assert (resume.anchor.counter_mj, resume.doubt_from_us) == (made[2].counter_end_mj, None)


def test_what_was_sent_from_a_lost_spool_is_never_counted_again(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path)
    made = series(record, 6)
    spool.append(made)
    spool.sending(spool.head(2))
    spool.done(spool.head(2))
    spool.sending(spool.head(2))  # ... and no answer came
    spool.close()
    for path in tmp_path.glob("*.seg"):
        path.unlink()
    resume = opened(tmp_path).resumes["GPU-0"]
    assert (resume.anchor.counter_mj, resume.doubt_from_us) == (made[3].counter_end_mj, made[1].t1_us)


def test_a_full_spool_joins_old_records_and_keeps_every_millijoule(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path, limits=SpoolLimits(whole=12_000, segment=40_000, free_share=0))
    made = series(record, 4000, per=2)
    for start in range(0, 4000, 2):
        spool.append(made[start : start + 2])
        assert spool.bytes <= 12_000 + 40_000 + 1_000, "the bound, a segment and the frame that closes it"
    left = drained(spool)
    assert len(left) < 2000
    assert sum(one.energy_mj for one in left) == 900 * 4000
    assert sum(share.energy_mj for one in left for share in one.shares) == 600 * 4000
    for uuid in ("GPU-0", "GPU-1"):
        mine = [one for one in left if one.device_uuid == uuid]
        assert all(a.t1_us == b.t0_us for a, b in pairwise(mine))
        assert max(one.t1_us - one.t0_us for one in mine) > 60_000_000, "minutes were not enough"
    coarse = [one for one in left if "." in one.stream_epoch]
    for epoch in {one.stream_epoch for one in coarse}:
        seqs = [one.seq for one in coarse if one.stream_epoch == epoch]
        assert seqs == list(range(1, len(seqs) + 1)), "no holes in the numbers of an epoch"


def test_what_was_sent_is_never_joined(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path, limits=SpoolLimits(whole=4_000, segment=1_000, free_share=0))
    made = series(record, 400)
    spool.append(made[:3])
    spool.sending(spool.head(3))
    for one in made[3:]:
        spool.append([one])
    assert spool.head(3) == made[:3]
    assert sum(one.energy_mj for one in drained(spool)) == 900 * 400


def test_an_interrupted_coarsening_leaves_one_of_the_two(tmp_path: Path, record: Make, opened: Open) -> None:
    spool = opened(tmp_path)
    spool.append(series(record, 3))
    spool.close()
    (segment,) = tmp_path.glob("*.seg")
    (tmp_path / "0000000001-1.tmp").write_bytes(b"half a file")
    shutil.copy(segment, tmp_path / "0000000001-1.seg")
    again = opened(tmp_path)
    assert len(again) == 3
    assert [path.name for path in tmp_path.glob("*.seg")] == ["0000000001-1.seg"]
    assert list(tmp_path.glob("*.tmp")) == []


def test_a_disk_without_room_takes_nothing_in_part(
    tmp_path: Path, record: Make, opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    made = series(record, 4)
    spool.append(made[:2])
    real = os.pwrite

    def full(file: int, data: bytes, offset: int) -> int:
        real(file, data[:10], offset)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(OSError, match="No space"):
        spool.append(made[2:])
    monkeypatch.setattr(os, "pwrite", real)
    spool.append(made[2:])
    spool.close()
    assert drained(opened(tmp_path)) == made


def test_of_two_slots_the_newer_good_one_counts(tmp_path: Path) -> None:
    slots = Slots(tmp_path / "state")
    assert slots.state is None
    slots.write({"n": 1})
    slots.write({"n": 2})
    size = (tmp_path / "state").stat().st_size
    slots.close()
    assert Slots(tmp_path / "state").state == {"n": 2}
    data = bytearray((tmp_path / "state").read_bytes())
    data[20] ^= 255  # the second state lies in the first slot
    (tmp_path / "state").write_bytes(data)
    slots = Slots(tmp_path / "state")
    assert slots.state == {"n": 1}
    slots.write({"n": 3})
    assert (tmp_path / "state").stat().st_size == size, "a full disk can still keep it"
    assert Slots(tmp_path / "state").state == {"n": 3}


amounts = st.integers(0, 10**9)


@given(st.lists(st.tuples(st.booleans(), amounts, amounts, amounts, st.sampled_from(["a", "b", None])), max_size=60))
def test_joining_keeps_every_sum(rows: list[tuple[bool, int, int, int, str | None]]) -> None:
    records, at = [], {"GPU-0": START_US, "GPU-1": START_US}
    for seq, (second, shared, idle, unattributed, run) in enumerate(rows, start=1):
        uuid = f"GPU-{int(second)}"
        shares = (Share(run_id=run, job_id=None, energy_mj=shared, basis="exclusive"),) if run else ()
        total = (shared if run else 0) + idle + unattributed
        records.append(
            Record(
                agent_id="a", boot_id="b", stream_epoch="e", seq=seq, device_uuid=uuid, device_name="x", scope="gpu",
                t0_us=at[uuid], t1_us=at[uuid] + 5_000_000, mono_dt_ns=5, energy_mj=total, counter_end_mj=None,
                method="counter", quality="measured", uncertainty_pct=5.0, shares=shares, idle_mj=idle,
                unattributed_mj=unattributed,
            )
        )  # fmt: skip
        at[uuid] += 5_000_000
    joined = coarsen(records, longest_us=60_000_000)

    def sums(of: list[Record]) -> dict[Any, int]:
        found: dict[Any, int] = {}
        for one in of:
            parts = {share.run_id: share.energy_mj for share in one.shares}
            for what, mj in {**parts, "idle": one.idle_mj, "none": one.unattributed_mj, "ns": one.mono_dt_ns}.items():
                found[one.device_uuid, what] = found.get((one.device_uuid, what), 0) + mj
        return {key: mj for key, mj in found.items() if mj}

    assert sums(joined) == sums(records)
    assert [one.seq for one in joined] == list(range(1, len(joined) + 1))
    assert all(one.t1_us - one.t0_us <= 60_000_000 for one in joined)


def test_an_anchor_follows_the_counter_through_pieces_and_through_power(record: Make) -> None:
    anchors: dict[str, Anchor] = {}
    a, *_, e = series(record, 5)
    advance(anchors, [a])
    assert (anchors["GPU-0"].counter_mj, anchors["GPU-0"].runs) == (900, None)
    piece = record(2, counter_end_mj=None, shares=(), idle_mj=900, unattributed_mj=0)
    advance(anchors, [piece])
    assert (anchors["GPU-0"].counter_mj, anchors["GPU-0"].runs) == (1800, ())
    stalled = record(3, counter_end_mj=1800, method="power_avg")
    advance(anchors, [stalled, stalled])
    assert (anchors["GPU-0"].counter_mj, anchors["GPU-0"].credit_mj) == (1800, 1800)
    advance(anchors, [e])
    assert (anchors["GPU-0"].counter_mj, anchors["GPU-0"].credit_mj) == (4500, 0)


def test_one_resumes_where_it_is_sure_and_never_before_what_was_sent(record: Make) -> None:
    ends: list[dict[str, Anchor]] = []
    for one in series(record, 3):
        anchors: dict[str, Anchor] = {}
        advance(anchors, [one])
        ends.append(anchors)
    first, second, third = ends
    assert resume_from(kept=third, acked=first, sent=second)["GPU-0"].anchor == third["GPU-0"]
    assert resume_from(kept={}, acked=second, sent=second)["GPU-0"].anchor == second["GPU-0"]
    doubt = resume_from(kept=first, acked={}, sent=third)["GPU-0"]
    assert (doubt.anchor, doubt.doubt_from_us) == (third["GPU-0"], first["GPU-0"].t_us)
    assert resume_from(kept={}, acked={}, sent={}) == {}


def three_segments(record: Make, opened: Callable[..., Spool], folder: Path) -> int:
    """Segments of a few records each, of which the server has the first record; how many records there are."""
    spool, count = opened(folder, limits=SpoolLimits(segment=600)), 0
    while len(list(folder.glob("*.seg"))) < 3:
        count += 1
        spool.append(series(record, 1, first=count))
        if count == 1:
            spool.sending(spool.head(1))
            spool.done(spool.head(1))
    spool.close()
    return count


@pytest.mark.parametrize("cut", [0, 5, 40])
def test_a_last_segment_torn_in_its_first_frame_does_not_count_the_others_again(
    record: Make, opened: Callable[..., Spool], tmp_path: Path, cut: int
) -> None:
    three_segments(record, opened, tmp_path / "spool")
    os.truncate(sorted((tmp_path / "spool").glob("*.seg"))[-1], cut)
    spool = opened(tmp_path / "spool")
    kept = spool.head(100)
    assert spool.resumes["GPU-0"].anchor.counter_mj == kept[-1].counter_end_mj


def test_a_segment_that_holds_nothing_yet_is_no_obstacle_where_room_is_short(
    record: Make, opened: Callable[..., Spool], tmp_path: Path
) -> None:
    first = opened(tmp_path / "spool")
    first.append(series(record, 1))
    first.close()
    second = opened(tmp_path / "spool")
    second._begin_segment()  # a kill, or a full disk, between this and the records
    second.close()
    third = opened(tmp_path / "spool", limits=SpoolLimits(free_share=1.1))
    third.append(series(record, 2, first=2))
    assert len(third.head(10)) == 3
