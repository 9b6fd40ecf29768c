"""Records that wait in the spool of a meter that is not the one in use."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kilowait_agents.cli import main
from kilowait_agents.clock import WallClock
from kilowait_agents.left import Left
from kilowait_agents.spool import Spool
from kilowait_agents.transport import HttpTransport
from kilowait_agents.uplink import Uplink
from kilowait_agents.wire import Origin, Record, Source

from .conftest import Ingest

Make = Callable[..., Record]


def kept(folder: Path, record: Make, *, records: int, delivered: int = 0) -> None:
    spool = Spool(folder)
    spool.append([record(seq + 1) for seq in range(records)])
    gone = spool.head(delivered)
    spool.sending(gone)
    spool.done(gone)
    spool.close()


def left_in(folder: Path, *, transport: HttpTransport | None = None) -> Left:
    def uplink(outbox: Spool, source: Source) -> Uplink:
        assert transport is not None
        return Uplink(
            outbox=outbox,
            transport=transport,
            origin=Origin(agent_id="agent-1", node="n1", region=None, source=source),
            clock=WallClock(),
            rng=random.Random(1),
            set_aside=lambda records, reason: None,
        )

    return Left(folder, but=folder / "spool-simulated", uplink=None if transport is None else uplink)


@pytest.mark.parametrize(
    ("folder", "mend"),
    [
        ("spool-nvml", "this server's time is a demonstration's"),
        ("spool-nvml-1700000000000000-60", "demonstration that is over"),
        ("spool", "without saying which meter"),
    ],
)
def test_each_folder_whose_records_cannot_be_sent_is_named_once_with_what_to_do(
    tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture, folder: str, mend: str
) -> None:
    kept(tmp_path / folder, record, records=3, delivered=1)
    kept(tmp_path / "spool-simulated", record, records=2)
    left = left_in(tmp_path)
    assert left.waiting == 2
    (said,) = caplog.messages
    assert said.startswith(f"2 records wait in {tmp_path / folder} ")
    assert mend in said
    left.run(lambda: True)
    assert left.waiting == 2


def test_spools_that_are_empty_delivered_or_in_use_are_nothing_to_say(
    tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool-amdsmi").mkdir()
    kept(tmp_path / "spool-nvml", record, records=3, delivered=3)
    kept(tmp_path / "dead" / "spool-nvml", record, records=3)
    beside = Spool(tmp_path / "spool-rapl")
    beside.append([record(1)])
    assert left_in(tmp_path).waiting == 0
    assert caplog.messages == []
    assert list((tmp_path / "spool-amdsmi").iterdir()) == []
    beside.close()


def test_a_spool_that_cannot_be_read_stops_nobody(
    tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    kept(tmp_path / "spool-nvml", record, records=1)
    (tmp_path / "spool-nvml" / "mine.seg").write_bytes(b"?")
    assert left_in(tmp_path).waiting == 0
    assert "mine.seg is not a segment" in caplog.text


@pytest.fixture
def transport(ingest: Ingest) -> Iterator[HttpTransport]:
    transport = HttpTransport(server=ingest.url, token=lambda: "t")
    yield transport
    transport.close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilowait_agents.left._LOOK_S", 0.001)
    monkeypatch.setattr("kilowait_agents.left._AGAIN_S", 0.001)


@pytest.mark.usefixtures("quick")
def test_what_waits_of_other_meters_is_sent_as_theirs_once_however_often_an_answer_is_lost(
    tmp_path: Path, record: Make, ingest: Ingest, transport: HttpTransport
) -> None:
    kept(tmp_path / "spool-nvml", record, records=1200, delivered=3)
    kept(tmp_path / "spool-model", lambda seq: record(seq, stream_epoch="other"), records=2)
    ingest.script = ["lose-ack", None, "lose-ack"]
    left = left_in(tmp_path, transport=transport)
    assert left.waiting == 1199
    left.run(lambda: True)
    assert left.waiting == 0
    of = {
        (one.stream_epoch, one.seq)
        for batch in ingest.attempts
        if batch.origin.source == "nvml"
        for one in batch.records
    }
    assert of == {("epoch-1", seq) for seq in range(4, 1201)}
    assert ingest.stored.keys() == of | {("other", 1), ("other", 2)}
    assert ingest.duplicates > 0
    again = left_in(tmp_path, transport=transport)
    assert again.waiting == 0


@pytest.mark.usefixtures("quick")
def test_nothing_is_sent_before_the_server_is_there_and_a_spool_that_finds_its_agent_is_let_go(
    tmp_path: Path, record: Make, ingest: Ingest, transport: HttpTransport
) -> None:
    kept(tmp_path / "spool-nvml", record, records=2)
    left = left_in(tmp_path, transport=transport)
    asked: list[Spool] = []

    def there() -> bool:
        assert ingest.attempts == []
        asked.append(Spool(tmp_path / "spool-nvml"))  # an agent of that meter starts
        return True

    left.run(there)
    assert left.waiting == 0
    assert ingest.attempts == []
    (its,) = asked
    assert len(its) == 2
    its.close()


def test_an_agent_with_another_meter_sends_what_waits_beside_its_own(
    tmp_path: Path, record: Make, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path / "spool-nvml", record, records=2)
    argv = ["--server", ingest.url, "--state-dir", str(tmp_path), "--meter", "simulated", "--sim-gpus", "1",
            "--interval", "100ms", "--flush", "100ms", "--duration", "3s"]  # fmt: skip
    assert main(argv, env={"KILOWAIT_TOKEN": "t"}) == 0
    said = capsys.readouterr().err
    assert len(re.findall(r"2 records of another meter wait in .*spool-nvml", said)) == 1
    assert re.search(r"what waited in .*spool-nvml is delivered", said)
    sources = {batch.origin.source: len(batch.records) for batch in ingest.attempts}
    assert sources.keys() == {"simulated", "nvml"}
    assert sources["nvml"] == 2
    spool = Spool(tmp_path / "spool-nvml")
    assert len(spool) == 0
    spool.close()
