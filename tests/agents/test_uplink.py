from __future__ import annotations

import base64
import random
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from kilowait_agents.errors import Refused, Transient
from kilowait_agents.spool import Spool
from kilowait_agents.transport import GridClock, HttpTransport
from kilowait_agents.uplink import Uplink, UplinkSettings
from kilowait_agents.wire import Batch, Origin, Record, pack

from .conftest import HandClock, Ingest

Make = Callable[..., Record]
Scripted = Callable[..., Callable[[Any], None]]
ORIGIN = Origin(agent_id="agent-1", node="node-1", region=None, source="simulated")


class Parts:
    """An uplink to the local server, its outbox, and what was set aside."""

    def __init__(self, url: str, folder: Path, *, batch_records: int = 4, settle: Any = None) -> None:
        self.transport = HttpTransport(server=url, token=lambda: "s3cret")
        self.outbox = Spool(folder / "spool")
        self.aside: list[tuple[int, str]] = []
        self.uplink = Uplink(
            outbox=self.outbox,
            transport=self.transport,
            origin=ORIGIN,
            clock=HandClock(),
            rng=random.Random(1),
            set_aside=self._keep,
            settle=settle,
            settings=UplinkSettings(batch_records=batch_records),
        )

    def close(self) -> None:
        self.transport.close()
        self.outbox.close()

    def _keep(self, records: Sequence[Record], reason: str) -> None:
        self.aside += [(record.seq, reason) for record in records]

    def drain(self, *, steps: int = 100) -> list[float]:
        """Steps until nothing is left, without waiting; the delays that were asked for."""
        delays: list[float] = []
        while (delay_s := self.uplink.step()) is not None and len(delays) < steps:
            delays.append(delay_s)
        return delays


@pytest.fixture
def parts(ingest: Ingest, tmp_path: Path) -> Iterator[Parts]:
    made = Parts(ingest.url, tmp_path)
    yield made
    made.close()


def seqs(ingest: Ingest) -> list[int]:
    return sorted(seq for _, seq in ingest.stored)


def test_records_arrive_in_order_in_batches_and_leave_the_outbox_only_then(
    parts: Parts, ingest: Ingest, record: Make
) -> None:
    parts.outbox.append([record(seq) for seq in range(1, 11)])
    assert parts.drain() == [0.0, 0.0, 0.0]
    assert [[one.seq for one in batch.records] for batch in ingest.attempts] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert ingest.attempts[0].origin == ORIGIN
    assert set(ingest.tokens) == {"Bearer s3cret"}
    assert len(parts.outbox) == 0


def test_nothing_to_send_is_nothing_to_do(parts: Parts, ingest: Ingest) -> None:
    assert parts.uplink.step() is None
    assert ingest.attempts == []


def test_a_server_in_trouble_is_asked_again_at_growing_random_distances(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted
) -> None:
    ingest.script = [scripted(503)] * 12
    parts.outbox.append([record(1)])
    *waits, last = parts.drain()
    assert last == 0.0
    ceilings = [min(60.0, 2.0**attempt) for attempt in range(12)]
    assert all(ceiling / 10 <= wait <= ceiling for wait, ceiling in zip(waits, ceilings, strict=True))
    assert len(set(waits)) == 12
    assert seqs(ingest) == [1]


def test_after_a_success_patience_starts_anew(parts: Parts, ingest: Ingest, record: Make, scripted: Scripted) -> None:
    ingest.script = [scripted(500)] * 8
    parts.outbox.append([record(1)])
    parts.drain()
    ingest.script = [scripted(500)]
    parts.outbox.append([record(2)])
    assert parts.drain()[0] <= 1.0


def test_a_server_that_asks_for_patience_gets_it(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted
) -> None:
    in_a_minute = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)
    ingest.script = [
        scripted(429, headers={"Retry-After": "7"}),
        scripted(503, headers={"Retry-After": in_a_minute}),
        scripted(429, headers={"Retry-After": "999999"}),
        scripted(429, headers={"Retry-After": "soon"}),
    ]
    parts.outbox.append([record(1)])
    by_number, by_date, too_long, unreadable, _ = parts.drain()
    assert 7 <= by_number <= 8
    assert 55 <= by_date <= 61
    assert 3600 <= too_long <= 3601
    assert unreadable <= 8
    assert seqs(ingest) == [1]


def test_a_lost_ack_makes_duplicates_and_no_difference(parts: Parts, ingest: Ingest, record: Make) -> None:
    ingest.script = ["lose-ack", "lose-ack"]
    parts.outbox.append([record(seq) for seq in range(1, 7)])
    parts.drain()
    assert ingest.duplicates == 8
    assert seqs(ingest) == [1, 2, 3, 4, 5, 6]
    assert sum(one.energy_mj for one in ingest.stored.values()) == 6 * 900


def test_records_outlast_a_partition(
    tmp_path: Path, ingest: Ingest, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as closed:  # a port that is ours and that nobody listens on
        closed.bind(("127.0.0.1", 0))
        parts = Parts(f"http://127.0.0.1:{closed.getsockname()[1]}", tmp_path)
        parts.outbox.append([record(seq) for seq in range(1, 4)])
        assert all(delay > 0 for delay in parts.drain(steps=5))
    assert len(parts.outbox) == 3
    assert len(caplog.records) == 1, "the same trouble is said once"
    parts.transport = parts.uplink._transport = HttpTransport(server=ingest.url, token=lambda: "s3cret")
    parts.drain()
    assert seqs(ingest) == [1, 2, 3]
    assert "takes readings again" in caplog.text
    parts.close()


@pytest.mark.parametrize("status", [401, 403, 404, 307, 408, 426])
def test_a_refusal_that_is_not_about_the_records_never_costs_a_record(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted, status: int
) -> None:
    ingest.script = [scripted(status)] * 3
    parts.outbox.append([record(1)])
    parts.drain()
    assert parts.aside == []
    assert seqs(ingest) == [1]


def test_the_one_record_that_the_server_cannot_take_is_found_set_aside_and_said(
    parts: Parts, ingest: Ingest, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    ingest.refuse = {6}
    parts.outbox.append([record(seq) for seq in range(1, 13)])
    parts.drain()
    assert seqs(ingest) == [1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]
    assert parts.aside == [(6, "HTTP 422: this record is odd")]
    assert "epoch-1/6" in caplog.text
    assert len(parts.outbox) == 0, "a hole that cannot be filled does not block what comes after it"


def test_a_batch_that_is_too_large_is_sent_in_halves(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted
) -> None:
    ingest.script = [scripted(413), scripted(413)]
    parts.outbox.append([record(seq) for seq in range(1, 5)])
    parts.drain()
    assert [len(batch.records) for batch in ingest.attempts] == [4, 2, 1, 2, 1]
    assert parts.aside == []


def test_a_server_restored_from_an_older_copy_gets_what_we_still_have(
    parts: Parts, ingest: Ingest, record: Make
) -> None:
    parts.outbox.append([record(seq) for seq in range(1, 5)])
    parts.drain()
    del ingest.stored["epoch-1", 3]
    parts.outbox.append([record(5), record(6)])
    parts.drain()
    assert seqs(ingest) == [1, 2, 4, 5, 6]
    assert len(parts.outbox) == 0


@pytest.mark.parametrize(
    "body", [None, {}, {"stored_through": 5}, {"stored_through": {"epoch-1": 0}}, {"stored_through": {}}, [1]]
)
def test_an_answer_that_does_not_say_what_is_stored_lets_nothing_go(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted, body: Any
) -> None:
    ingest.script = [scripted(200, body=body)]
    parts.outbox.append([record(1)])
    first, second = parts.drain()
    assert (first > 0, second) == (True, 0.0)
    assert seqs(ingest) == [1]


def test_an_answer_that_claims_more_than_was_sent_costs_nothing(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted
) -> None:
    ingest.script = [scripted(200, body={"stored_through": {"epoch-1": 10**9}})]
    parts.outbox.append([record(seq) for seq in range(1, 7)])
    parts.drain()
    assert seqs(ingest) == [5, 6]


def test_a_part_that_was_not_stored_is_sent_again(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted
) -> None:
    ingest.script = [scripted(200, body={"stored_through": {"epoch-1": 2}})]
    parts.outbox.append([record(seq) for seq in range(1, 5)])
    parts.drain()
    assert [one.seq for one in ingest.attempts[1].records] == [3, 4]


def test_records_of_two_lives_of_an_agent_are_acknowledged_apart(parts: Parts, ingest: Ingest, record: Make) -> None:
    parts.outbox.append([record(1), record(2), record(1, stream_epoch="epoch-2"), record(2, stream_epoch="epoch-2")])
    parts.drain()
    assert len(parts.outbox) == 0
    assert len(ingest.stored) == 4


def test_what_an_agent_kept_under_an_earlier_name_is_still_sent_under_it(
    parts: Parts, ingest: Ingest, record: Make
) -> None:
    old = [replace(record(seq), agent_id="agent-0", stream_epoch="before") for seq in (1, 2)]
    parts.outbox.append([*old, record(1), record(2)])
    parts.drain()
    assert [batch.origin.agent_id for batch in ingest.attempts] == ["agent-0", "agent-1"]
    assert len(ingest.stored) == 4
    assert len(parts.outbox) == 0


def test_what_never_left_for_want_of_a_connection_is_owed_in_full_even_if_the_spool_is_lost(
    parts: Parts, tmp_path: Path, record: Make
) -> None:
    parts.outbox.append([record(1)])
    parts.drain()
    parts.transport.close()
    away = HttpTransport(server="http://127.0.0.1:9", token=lambda: "t")
    cut_off = Uplink(
        outbox=parts.outbox,
        transport=away,
        origin=ORIGIN,
        clock=HandClock(),
        rng=random.Random(1),
        set_aside=parts._keep,
    )
    parts.outbox.append([record(2), record(3)])
    assert cut_off.step() is not None
    lost = tmp_path / "lost"
    lost.mkdir()
    shutil.copy(tmp_path / "spool" / "anchors", lost)
    spool = Spool(lost)
    assert spool.resumes["GPU-0"].doubt_from_us is None
    assert spool.resumes["GPU-0"].anchor.t_us == record(1).t1_us
    spool.close()


def test_nothing_is_sent_before_the_clock_is_settled(tmp_path: Path, ingest: Ingest, record: Make) -> None:
    answers: list[Any] = [Transient("down"), True]

    def settle() -> bool:
        answer = answers.pop(0)
        if isinstance(answer, Transient):
            raise answer
        return bool(answer)

    parts = Parts(ingest.url, tmp_path, settle=settle)
    parts.outbox.append([record(1), record(2)])
    first, second = parts.drain()
    assert first > 0
    assert second == 0
    assert (answers, len(ingest.attempts)) == ([], 1)
    parts.close()


def test_records_of_the_wrong_clock_are_never_sent(tmp_path: Path, ingest: Ingest, record: Make) -> None:
    parts = Parts(ingest.url, tmp_path, settle=lambda: False)
    parts.outbox.append([record(1)])
    assert parts.uplink.step() is None
    assert parts.uplink.mismatch.is_set()
    assert ingest.attempts == []
    assert not parts.uplink.drain(within_s=1, wait=lambda _: None)
    parts.close()


def test_the_last_records_leave_when_the_sender_is_stopped(parts: Parts, ingest: Ingest, record: Make) -> None:
    sender = threading.Thread(target=parts.uplink.run)
    sender.start()
    parts.outbox.append([record(seq) for seq in range(1, 10)])
    parts.uplink.stop()
    sender.join(10)
    assert not sender.is_alive()
    assert seqs(ingest) == list(range(1, 10))


def test_draining_gives_up_when_its_time_is_over(
    parts: Parts, ingest: Ingest, record: Make, scripted: Scripted
) -> None:
    ingest.script = [scripted(503)] * 50
    parts.outbox.append([record(1)])
    waited: list[float] = []
    assert not parts.uplink.drain(within_s=5, wait=waited.append)
    assert sum(waited) <= 5
    assert len(parts.outbox) == 1


def test_the_server_s_clock_is_asked_for_and_understood(parts: Parts, ingest: Ingest) -> None:
    assert parts.transport.grid_clock() is None, "404: a server that lives on the wall clock"
    ingest.grid_clock = {"speed": 1.0, "origin_wall_us": 5, "origin_grid_us": 5}
    assert parts.transport.grid_clock() is None
    ingest.grid_clock = {"speed": 3600, "origin_wall_us": 5, "origin_grid_us": 7}
    assert parts.transport.grid_clock() == GridClock(speed=3600, origin_wall_us=5, origin_grid_us=7)


@pytest.mark.parametrize(
    "odd",
    [
        {"speed": 0, "origin_wall_us": 5, "origin_grid_us": 5},
        {"speed": "fast", "origin_wall_us": 5, "origin_grid_us": 5},
        {"speed": 60, "origin_wall_us": 5.5, "origin_grid_us": 5},
        {"speed": 60},
        [1],
    ],
)
def test_a_clock_that_cannot_run_is_no_answer(parts: Parts, ingest: Ingest, odd: Any) -> None:
    ingest.grid_clock = odd
    with pytest.raises(Transient):
        parts.transport.grid_clock()


@pytest.mark.parametrize(
    "server", ["127.0.0.1:8080", "ftp://host", "http://", "server", "http://[::1", "http://h:99999999"]
)
def test_a_server_that_is_no_address_is_refused(server: str) -> None:
    with pytest.raises(Refused, match="is no address"):
        HttpTransport(server=server, token=lambda: "")


def test_a_connection_that_the_server_gave_up_is_no_trouble(parts: Parts, ingest: Ingest, record: Make) -> None:
    """Servers hang up on those who are silent for some seconds, which agents are."""

    def hang_up(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")
        handler.close_connection = True  # without a word of it to the other side

    ingest.script = [hang_up]
    assert parts.transport.post_readings(_one(record)).status == 200
    assert parts.transport.post_readings(_one(record)).status == 200
    assert len(ingest.stored) == 1


def _one(record: Make) -> bytes:
    return pack(Batch(ORIGIN, 0, (record(1),)))


@pytest.mark.parametrize("user", ["", "me:s%40cret@"])
def test_a_proxy_of_the_environment_is_asked_and_those_it_is_not_for_are_not(
    ingest: Ingest, record: Make, monkeypatch: pytest.MonkeyPatch, user: str
) -> None:
    seen: list[tuple[str, str | None]] = []

    def proxy(handler: Any) -> None:
        seen.append((handler.path, handler.headers["Proxy-Authorization"]))
        handler.send_response(204)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    ingest.script = [proxy]
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.setenv("http_proxy", ingest.url.replace("//", f"//{user}"))
    transport = HttpTransport(server="http://kilowait.example:8080/base/", token=lambda: "t")
    assert transport.post_readings(_one(record)).status == 204
    transport.close()
    known = base64.b64encode(b"me:s@cret").decode()
    assert seen == [("http://kilowait.example:8080/base/api/v1/readings", f"Basic {known}" if user else None)]
    monkeypatch.setenv("no_proxy", "kilowait.example")
    with pytest.raises(Transient, match=r"kilowait\.example"):
        HttpTransport(server="http://kilowait.example:8080", token=lambda: "t").post_readings(_one(record))
