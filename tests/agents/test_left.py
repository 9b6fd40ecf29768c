"""Records that wait in the spool of a meter that is not the one in use."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from kilowait_agents.cli import main
from kilowait_agents.left import left_records
from kilowait_agents.spool import Spool
from kilowait_agents.wire import Record

from .conftest import Ingest

Make = Callable[..., Record]


def kept(folder: Path, record: Make, *, records: int, delivered: int = 0) -> None:
    spool = Spool(folder)
    spool.append([record(seq + 1) for seq in range(records)])
    gone = spool.head(delivered)
    spool.sending(gone)
    spool.done(gone)
    spool.close()


@pytest.mark.parametrize(
    ("folder", "mend"),
    [
        ("spool-nvml", "--meter nvml "),
        ("spool-amdsmi", "--meter amd "),
        ("spool-model", "--meter host "),
        ("spool-nvml-1700000000000000-60", "demonstration"),
        ("spool", "without saying which meter"),
    ],
)
def test_each_folder_with_records_is_named_once_with_what_to_do(
    tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture, folder: str, mend: str
) -> None:
    kept(tmp_path / folder, record, records=3, delivered=1)
    kept(tmp_path / "spool-simulated", record, records=2)
    assert left_records(tmp_path, but=tmp_path / "spool-simulated") == 2
    (said,) = caplog.messages
    assert said.startswith(f"2 records wait in {tmp_path / folder} ")
    assert mend in said


def test_spools_that_are_empty_delivered_or_in_use_are_nothing_to_say(
    tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "spool-amdsmi").mkdir()
    kept(tmp_path / "spool-nvml", record, records=3, delivered=3)
    kept(tmp_path / "dead" / "spool-nvml", record, records=3)
    beside = Spool(tmp_path / "spool-rapl")
    beside.append([record(1)])
    assert left_records(tmp_path, but=tmp_path / "spool-simulated") == 0
    assert caplog.messages == []
    assert list((tmp_path / "spool-amdsmi").iterdir()) == []
    beside.close()


def test_a_spool_that_cannot_be_read_stops_nobody(
    tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture
) -> None:
    kept(tmp_path / "spool-nvml", record, records=1)
    (tmp_path / "spool-nvml" / "mine.seg").write_bytes(b"?")
    assert left_records(tmp_path, but=tmp_path / "spool-simulated") == 0
    assert "mine.seg is not a segment" in caplog.text


def test_an_agent_with_another_meter_says_what_waits_and_leaves_it(
    tmp_path: Path, record: Make, ingest: Ingest, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(tmp_path / "spool-nvml", record, records=2)
    argv = ["--server", ingest.url, "--state-dir", str(tmp_path), "--meter", "simulated", "--sim-gpus", "1",
            "--interval", "100ms", "--flush", "100ms", "--duration", "300ms"]  # fmt: skip
    assert main(argv, env={"KILOWAIT_TOKEN": "t"}) == 0
    assert len(re.findall(r"2 records wait in .*spool-nvml", capsys.readouterr().err)) == 1
    assert {batch.origin.source for batch in ingest.attempts} == {"simulated"}
    spool = Spool(tmp_path / "spool-nvml")
    assert len(spool) == 2
    spool.close()
