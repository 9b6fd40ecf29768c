"""kill -9 of the server while readings come in: what was acknowledged is there, once."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from sqlmodel import col, func, select

from kilowait_scheduler.store.engine import migrate, open_engine
from kilowait_scheduler.store.repository import Store
from kilowait_scheduler.store.tables import ReadingRow, ShareRow

_INTAKE = """
import sys
from datetime import UTC, datetime
from kilowait_agents.wire import Batch, Origin, Record, Share, pack
from kilowait_scheduler.intake.readings import read_batch
from kilowait_scheduler.store.engine import open_engine
from kilowait_scheduler.store.repository import Store
store, through = Store(open_engine(sys.argv[1])), int(sys.argv[2])
def record(seq):
    return Record(
        agent_id="a", boot_id="b", stream_epoch="e", seq=seq, device_uuid="GPU-0", device_name="x", scope="gpu",
        t0_us=seq * 10**6, t1_us=(seq + 1) * 10**6, mono_dt_ns=10**9, energy_mj=1000, counter_end_mj=None,
        method="counter", quality="measured", uncertainty_pct=5.0, shares=(Share("r", "j", 1000, "exclusive"),),
        idle_mj=0, unattributed_mj=0,
    )
while True:  # as an agent does: the batch after what was acknowledged, again and again
    records = tuple(record(seq) for seq in range(through + 1, through + 51))
    body = pack(Batch(Origin("a", "n", "r", "nvml"), 0, records))
    stored, conflicts = store.add_readings(read_batch(body), at=datetime.now(UTC))
    assert not conflicts
    through = stored["e"]
    print(through, flush=True)
"""


@pytest.mark.slow
def test_what_was_acknowledged_outlives_kill_minus_nine_and_is_stored_once(empty_url: str) -> None:
    engine = open_engine(empty_url)
    migrate(engine)
    acknowledged = 0
    for life in range(6):
        server = subprocess.Popen(
            [sys.executable, "-c", _INTAKE, empty_url, str(acknowledged)], stdout=subprocess.PIPE, text=True
        )
        assert server.stdout is not None
        for _ in range(4):
            acknowledged = int(server.stdout.readline())
        time.sleep(0.003 * life)  # somewhere in the next batch
        server.kill()
        server.wait()
        server.stdout.close()
        with Store(engine).reading() as session:
            count, highest = session.exec(select(func.count(), func.max(ReadingRow.seq))).one()
            shared = session.exec(select(func.sum(col(ShareRow.energy_mj)))).one()
        assert count == highest, "no holes, nothing twice"
        assert count >= acknowledged
        assert shared == 1000 * count, "readings and their shares are stored together"
    engine.dispose()
