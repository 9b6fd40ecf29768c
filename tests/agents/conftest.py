"""What the agent's tests share: a clock that is set by hand, readings and records in one line, a real local server."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from fake_nvml import FakeNode, build
from kilowait_agents.reading import Reading
from kilowait_agents.wire import Batch, Record, Share, unpack

START_US = 1_767_225_600_000_000  # 2026-01-01T00:00:00Z
SECOND_NS = 1_000_000_000


@dataclass
class HandClock:
    """Both hands move only when told."""

    us: int = START_US
    ns: int = 5 * SECOND_NS

    def now_us(self) -> int:
        return self.us

    def mono_ns(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.us += round(seconds * 1e6)
        self.ns += round(seconds * 1e9)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Our own libnvidia-ml.so.1, compiled once per session."""
    return build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def node(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """An empty node in virtual time: give it GPUs, then `write()` it.

    The library stays loaded in this process, without a driver once the test's scenario is gone.
    """
    monkeypatch.setenv("FAKE_NVML", "")
    return FakeNode(nvml_library, tmp_path / "node")


@pytest.fixture(scope="session")
def reading() -> Callable[..., Reading]:
    """A reading `at_s` seconds after the start; no sensor answers unless given."""

    def make(at_s: float, *, counter_mj: int | None = None, power_mw: int | None = None, **rest: Any) -> Reading:
        return Reading(
            device_uuid=rest.pop("device_uuid", "GPU-0"),
            name="a GPU",
            scope="gpu",
            counter_mj=counter_mj,
            power_mw=power_mw,
            t_us=START_US + round(at_s * 1e6),
            mono_ns=5 * SECOND_NS + round(at_s * 1e9),
            **rest,
        )

    return make


@pytest.fixture(scope="session")
def record() -> Callable[..., Record]:
    """A valid record of 900 mJ: 600 to run-1, 200 idle, 100 unattributed."""

    def make(seq: int = 1, **changes: Any) -> Record:
        plain: dict[str, Any] = {
            "agent_id": "agent-1",
            "boot_id": "b00t",
            "stream_epoch": "epoch-1",
            "seq": seq,
            "device_uuid": "GPU-0",
            "device_name": "a GPU",
            "scope": "gpu",
            "t0_us": START_US + seq * 1_000_000,
            "t1_us": START_US + (seq + 1) * 1_000_000,
            "mono_dt_ns": SECOND_NS,
            "energy_mj": 900,
            "counter_end_mj": 12_345,
            "method": "counter",
            "quality": "measured",
            "uncertainty_pct": 5.0,
            "shares": (Share(run_id="run-1", job_id="job-1", energy_mj=600, basis="exclusive"),),
            "idle_mj": 200,
            "unattributed_mj": 100,
        }
        return Record(**{**plain, **changes})

    return make


@dataclass
class Ingest:
    """A real HTTP server on loopback that stores readings by their key, as the contract asks.

    `script` holds what happens to the next requests, one by one: a callable that answers in place of storing, or
    "lose-ack" (store, then hang up). `refuse` names sequence numbers whose batches are answered 422.
    """

    stored: dict[tuple[str, int], Record] = field(default_factory=dict)
    attempts: list[Batch] = field(default_factory=list)
    tokens: list[str | None] = field(default_factory=list)
    script: list[Any] = field(default_factory=list)
    refuse: set[int] = field(default_factory=set)
    grid_clock: dict[str, Any] | None = None
    duplicates: int = 0
    url: str = ""

    def take(self, batch: Batch) -> dict[str, int]:
        for record in batch.records:
            key = (record.stream_epoch, record.seq)
            self.duplicates += key in self.stored
            assert self.stored.setdefault(key, record) == record
        return {epoch: self.through(epoch) for epoch in {record.stream_epoch for record in batch.records}}

    def through(self, epoch: str) -> int:
        seq = 0
        while (epoch, seq + 1) in self.stored:
            seq += 1
        return seq


def answer(status: int, *, body: Any = None, headers: dict[str, str] | None = None) -> Callable[[Any], None]:
    """A scripted answer."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        text = json.dumps(body).encode() if body is not None else b""
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text)

    return send


@pytest.fixture
def scripted() -> Callable[..., Callable[[Any], None]]:
    return answer


def serve(state: Ingest) -> ThreadingHTTPServer:
    """The server of `state` on a free port of loopback; its socket is of the caller's network namespace."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 65536  # head and body in one packet; apart, they meet the delayed ACK and cost 40 ms

        def do_GET(self) -> None:
            state.tokens.append(self.headers.get("Authorization"))
            if self.path == "/api/v1/clock" and state.grid_clock is not None:
                answer(200, body=state.grid_clock)(self)
            else:
                answer(404)(self)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Content-Encoding"] == "gzip"
            state.tokens.append(self.headers.get("Authorization"))
            batch = unpack(body)
            state.attempts.append(batch)
            step = state.script.pop(0) if state.script else None
            if callable(step):
                step(self)
                return
            if any(record.seq in state.refuse for record in batch.records):
                answer(422, body={"title": "bad", "detail": "this record is odd"})(self)
                return
            stored = state.take(batch)
            if step == "lose-ack":
                self.close_connection = True
                return
            answer(200, body={"stored_through": stored})(self)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    return server


@contextmanager
def running(server: ThreadingHTTPServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def ingest(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ingest]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    state = Ingest()
    with running(serve(state)):
        yield state
