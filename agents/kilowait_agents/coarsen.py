"""Fewer records for the same energy: what a full disk gives up is detail, never a joule. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .wire import Record, Share

STEPS_US = (60_000_000, 900_000_000)
"""To one minute first, then to a quarter of an hour."""


def coarsen(records: Sequence[Record], *, longest_us: int) -> list[Record]:
    """`records` with neighbours of one device joined where they differ in nothing but time and amount.

    Joined are records that adjoin, had the same runs on the same basis, and say the same of how they were measured.
    Energy, shares and monotonic time are the sums, so every total stays exact. Numbers run on from the first one's.
    """
    open_at: dict[str, int] = {}
    kept: list[Record] = []
    for record in records:
        place = open_at.get(record.device_uuid)
        joined = None if place is None else _join(kept[place], record, longest_us=longest_us)
        if place is not None and joined is not None:
            kept[place] = joined
        else:
            open_at[record.device_uuid] = len(kept)
            kept.append(record)
    first = records[0].seq if records else 1
    return [replace(record, seq=first + index) for index, record in enumerate(kept)]


def _join(a: Record, b: Record, *, longest_us: int) -> Record | None:
    alike = (
        a.t1_us == b.t0_us
        and b.t1_us - a.t0_us <= longest_us
        and _kind(a) == _kind(b)
        and bool(a.idle_mj) == bool(b.idle_mj)
        and bool(a.unattributed_mj) == bool(b.unattributed_mj)
    )
    if not alike:
        return None
    return replace(
        b,
        t0_us=a.t0_us,
        mono_dt_ns=a.mono_dt_ns + b.mono_dt_ns,
        energy_mj=a.energy_mj + b.energy_mj,
        shares=tuple(
            Share(run_id=x.run_id, job_id=x.job_id, energy_mj=x.energy_mj + y.energy_mj, basis=x.basis)
            for x, y in zip(a.shares, b.shares, strict=True)
        ),
        idle_mj=a.idle_mj + b.idle_mj,
        unattributed_mj=a.unattributed_mj + b.unattributed_mj,
    )


def _kind(record: Record) -> tuple[object, ...]:
    return (
        record.stream_epoch,
        record.boot_id,
        record.scope,
        record.method,
        record.quality,
        record.uncertainty_pct,
        record.note,
        [(share.run_id, share.job_id, share.basis) for share in record.shares],
    )
