from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest

from fake_nvml import FakeNode
from kilowait_agents.cli import _agent_id, main
from kilowait_agents.duration import parse_duration
from kilowait_agents.errors import Refused
from kilowait_agents.settings import parse_settings
from kilowait_agents.sink import JsonLines
from kilowait_agents.wire import Origin, Record, Share

from .conftest import Ingest

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("KILOWAIT_")}
Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def spawn(tmp_path: Path) -> Iterator[Spawn]:
    started: list[subprocess.Popen[str]] = []

    def run(*argv: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *argv],
            env={**CLEAN, "NO_PROXY": "127.0.0.1", "KILOWAIT_AGENT_STATE_DIR": str(tmp_path / "state"), **(env or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def agent(*argv: str) -> tuple[str, ...]:
    return ("-m", "kilowait_agents", "--meter", "simulated", "--node", "n1", *argv)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def check(records: list[dict[str, Any]]) -> None:
    """What every reader of the records may rely on."""
    assert [one["seq"] for one in records] == list(range(1, len(records) + 1))
    for one in records:
        parts = sum(share["energy_mj"] for share in one["shares"]) + one["idle_mj"] + one["unattributed_mj"]
        assert parts == one["energy_mj"]
        assert one["source"] == "simulated"
        assert all(type(one[name]) is int for name in ("energy_mj", "idle_mj", "unattributed_mj", "t0_us", "t1_us"))
    for uuid in {one["device_uuid"] for one in records}:
        mine = [one for one in records if one["device_uuid"] == uuid]
        assert all(a["t1_us"] == b["t0_us"] for a, b in itertools.pairwise(mine))


def until(condition: Callable[[], bool], *, within_s: float = 10) -> bool:
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_the_sink_holds_records_that_conserve_adjoin_and_name_the_run(tmp_path: Path, spawn: Spawn) -> None:
    sink = tmp_path / "records.jsonl"
    region = f"region-{os.getpid()}"  # ours alone: other tests start runs on this machine at the same time
    measuring = spawn(*agent("--sink", str(sink), "--duration", "2s", "--interval", "50ms", "--sim-gpus", "3",
                             "--flush", "500ms", "--region", region))  # fmt: skip
    assert until(sink.exists)
    run = {"KILOWAIT_RUN_ID": "r-1", "KILOWAIT_JOB_ID": "j-1", "KILOWAIT_REGION": region, "KILOWAIT_GPUS": "2"}
    training = spawn("-S", "-c", "import time; time.sleep(1)", env=run)
    elsewhere = spawn("-S", "-c", "import time; time.sleep(1)", env={**run, "KILOWAIT_REGION": "us-west"})
    _, said = measuring.communicate(timeout=20)
    training.wait()
    elsewhere.wait()
    assert measuring.returncode == 0, said
    assert "SIMULATED" in said

    records = lines(sink)
    check(records)
    uuids = {one["device_uuid"] for one in records}
    assert uuids == {"SIM-n1-0", "SIM-n1-1", "SIM-n1-2"}
    for uuid in uuids:
        mine = [one for one in records if one["device_uuid"] == uuid]
        assert 1.9e6 < mine[-1]["t1_us"] - mine[0]["t0_us"] < 6e6
    shares = [share for one in records for share in one["shares"]]
    assert {(share["run_id"], share["job_id"], share["basis"]) for share in shares} == {("r-1", "j-1", "exclusive")}
    held = [one for one in records if one["shares"]]
    seconds = sum(one["mono_dt_ns"] for one in held) / 1e9
    assert 1.6 < seconds < 5, "two GPUs for the second that the run lived"
    assert sum(one["energy_mj"] for one in held) == pytest.approx(400_000 * seconds, rel=0.021)
    assert {one["device_uuid"] for one in records if one["shares"]} == {"SIM-n1-0", "SIM-n1-1"}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_with_the_last_partial_interval(
    tmp_path: Path, spawn: Spawn, number: signal.Signals
) -> None:
    sink = tmp_path / "records.jsonl"
    measuring = spawn(*agent("--sink", str(sink), "--sim-gpus", "1", "--interval", "1h"))
    assert until(sink.exists)
    time.sleep(0.3)  # real time in another process: there has to be some energy to settle
    sent_us = time.time_ns() // 1000
    measuring.send_signal(number)
    _, said = measuring.communicate(timeout=10)
    assert measuring.returncode == 0, said
    (record,) = lines(sink)
    assert 0 <= record["t1_us"] - sent_us < 2_000_000
    assert record["energy_mj"] > 0


def test_records_reach_the_server_with_the_token_and_the_identity_of_the_state_dir(
    tmp_path: Path, ingest: Ingest
) -> None:
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    argv = ["--server", ingest.url, "--token-file", str(token), "--state-dir", str(tmp_path / "state"), "--node", "n1",
            "--meter", "simulated", "--sim-gpus", "2", "--interval", "50ms", "--duration", "200ms"]  # fmt: skip
    env = {"KILOWAIT_REGION": "eu-north"}
    assert main(argv, env=env) == 0
    assert main(argv, env=env) == 0
    assert set(ingest.tokens) == {"Bearer s3cret"}
    (agent_id,) = {batch.origin.agent_id for batch in ingest.attempts}
    assert agent_id.startswith("eu-north:n1-")
    epochs = {epoch for epoch, _ in ingest.stored}
    assert len(epochs) == 2
    for epoch in epochs:
        assert ingest.through(epoch) == sum(1 for one, _ in ingest.stored if one == epoch)
    for batch in ingest.attempts:
        assert (batch.origin.node, batch.origin.region, batch.origin.source) == ("n1", "eu-north", "simulated")


def test_a_name_that_a_power_cut_left_empty_is_given_anew(tmp_path: Path, ingest: Ingest) -> None:
    (tmp_path / "agent-id").write_text("")
    argv = ["--server", ingest.url, "--state-dir", str(tmp_path), "--node", "n1", "--meter", "simulated",
            "--sim-gpus", "1", "--interval", "50ms", "--duration", "200ms"]  # fmt: skip
    assert main(argv, env={"KILOWAIT_TOKEN": "t"}) == 0
    assert ingest.attempts[0].origin.agent_id.startswith("n1-")


def test_records_wait_for_the_meter_that_made_them_and_never_pass_for_another_s(
    tmp_path: Path, ingest: Ingest, node: FakeNode
) -> None:
    node.gpu().const(0, 100, 500)
    node.write()
    node.pynvml()
    argv = ["--state-dir", str(tmp_path), "--interval", "50ms", "--duration", "200ms", "--sim-gpus", "1"]
    env = {"KILOWAIT_TOKEN": "t"}
    assert main(["--server", "http://127.0.0.1:9", "--meter", "simulated", *argv], env=env) == 0
    assert main(["--server", ingest.url, "--meter", "nvml", *argv], env=env) == 0
    assert {record.device_uuid.startswith("GPU-") for record in ingest.stored.values()} == {True}
    assert main(["--server", ingest.url, "--meter", "simulated", *argv], env=env) == 0
    for batch in ingest.attempts:
        simulated = {record.device_uuid.startswith("SIM-") for record in batch.records}
        assert simulated == {batch.origin.source == "simulated"}
    assert len({batch.records[0].stream_epoch for batch in ingest.attempts}) == 3


def test_a_server_that_runs_faster_than_the_day_gets_its_own_time(tmp_path: Path, ingest: Ingest) -> None:
    ingest.grid_clock = {"speed": 3600.0, "origin_wall_us": time.time_ns() // 1000, "origin_grid_us": 10**15}
    argv = ["--server", ingest.url, "--state-dir", str(tmp_path), "--meter", "simulated", "--sim-gpus", "1",
            "--interval", "50ms", "--duration", "400ms"]  # fmt: skip
    assert main(argv, env={"KILOWAIT_TOKEN": "t", "KILOWAIT_REGION": f"region-{os.getpid()}"}) == 0
    records = [ingest.stored[key] for key in sorted(ingest.stored)]
    assert {batch.origin.clock_speed for batch in ingest.attempts} == {3600.0}
    assert 10**15 <= records[0].t0_us < 10**15 + 10 * 3_600_000_000
    seconds = (records[-1].t1_us - records[0].t0_us) / 1e6
    assert seconds == pytest.approx(1440, rel=0.6)
    assert sum(one.energy_mj for one in records) / 1000 / seconds == pytest.approx(60, rel=0.03)
    assert {one.quality for one in records} == {"measured"}


def test_a_server_that_is_away_at_the_start_costs_no_energy(ingest: Ingest, spawn: Spawn) -> None:
    argv = agent("--server", ingest.url, "--sim-gpus", "1", "--interval", "100ms", "--flush", "200ms")
    ingest.grid_clock = {"speed": "not yet"}
    measuring = spawn(*argv, env={"KILOWAIT_TOKEN": "t"})
    assert until(lambda: len(ingest.tokens) >= 1)
    ingest.grid_clock = None
    assert until(lambda: len(ingest.stored) >= 3, within_s=15)
    measuring.send_signal(signal.SIGTERM)
    _, said = measuring.communicate(timeout=15)
    assert measuring.returncode == 0, said
    assert "measuring on the wall clock meanwhile" in said
    records = [ingest.stored[key] for key in sorted(ingest.stored)]
    assert records[0].seq == 1
    assert all(a.t1_us == b.t0_us for a, b in itertools.pairwise(records))


def test_a_clock_that_turns_out_to_be_another_makes_it_start_anew(ingest: Ingest, spawn: Spawn) -> None:
    ingest.grid_clock = {"speed": "not yet"}
    argv = agent("--server", ingest.url, "--sim-gpus", "1", "--interval", "100ms", "--flush", "200ms")
    measuring = spawn(*argv, env={"KILOWAIT_TOKEN": "t"})
    assert until(lambda: len(ingest.tokens) >= 1)
    ingest.grid_clock = {"speed": 60, "origin_wall_us": time.time_ns() // 1000, "origin_grid_us": 10**15}
    assert until(lambda: len(ingest.stored) >= 3, within_s=15)
    measuring.send_signal(signal.SIGTERM)
    _, said = measuring.communicate(timeout=15)
    assert measuring.returncode == 0, said
    assert "starting anew" in said
    assert {batch.origin.clock_speed for batch in ingest.attempts} == {60.0}
    assert all(one.t0_us < 2 * 10**15 // 1 and one.t0_us >= 10**15 for one in ingest.stored.values())


def test_records_that_the_server_will_never_take_are_kept_in_the_state_dir(tmp_path: Path, ingest: Ingest) -> None:
    ingest.refuse = {1}
    argv = ["--server", ingest.url, "--state-dir", str(tmp_path), "--meter", "simulated", "--sim-gpus", "1",
            "--interval", "100ms", "--flush", "100ms", "--duration", "400ms"]  # fmt: skip
    assert main(argv, env={"KILOWAIT_TOKEN": "t"}) == 0
    (refused,) = lines(tmp_path / "dead" / "refused.jsonl")
    assert (refused["seq"], refused["refused"]) == (1, "HTTP 422: this record is odd")
    assert Record(**{
        name: value for name, value in refused.items() if name not in ("refused", "shares")
    }, shares=tuple(Share(**share) for share in refused["shares"]))  # fmt: skip
    assert len(ingest.stored) >= 3


@pytest.mark.parametrize("torn", [False, True])
def test_agents_that_start_together_on_one_state_directory_have_one_name(tmp_path: Path, torn: bool) -> None:
    together = Barrier(4)

    def named(folder: Path) -> str:
        settings = parse_settings(["--server", "http://h", "--state-dir", str(folder)], {"KILOWAIT_TOKEN": "t"})
        together.wait()
        return _agent_id(settings)

    with ThreadPoolExecutor(4) as agents:
        for start in range(10):
            folder = tmp_path / str(start)
            if torn:
                folder.mkdir()
                (folder / "agent-id").touch()
            names = set(agents.map(named, [folder] * 4))
            assert names == {(folder / "agent-id").read_text().strip()}


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "nowhere to put the records"),
        (["--sink", "x", "--server", "http://h"], "exclude each other"),
        (["--server", "http://h"], "no token"),
        (["--server", "http://h", "--token-file", "/nonexistent/t"], "cannot be read"),
        (["--server", "h:80", "--token-file", "{token}"], "is no address"),
        (["--sink", "x", "--interval", "5"], "not a duration"),
        (["--sink", "x", "--interval", "1ms"], "too short"),
        (["--sink", "x", "--duration", "0s"], "no time at all"),
        (["--sink", "x", "--node", "a b"], "--node 'a b' is no name"),
        (["--sink", "x", "--meter", "magic"], "invalid choice"),
        (["--sink", "x", "--colour"], "unrecognized arguments"),
        (["--sink", "{tmp}/none/x", "--meter", "simulated"], "cannot write records"),
        (["--sink", "{tmp}/x", "--meter", "simulated", "--sim-gpus", "0"], "at least 1 GPU"),
        (["--sink", "{tmp}/x", "--meter", "simulated", "--state-dir", "{token}"], "cannot be used"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], argv: list[str], says: str
) -> None:
    token = tmp_path / "token"
    token.write_text("t")
    filled = [one.format(tmp=tmp_path, token=token) for one in argv]
    assert main(filled, env={}) == 2
    out, err = capsys.readouterr()
    last = err.strip().splitlines()[-1]
    assert says in last
    assert last.startswith("kilowait agent: ")
    assert out == ""
    assert "Traceback" not in err


def test_settings_come_from_arguments_then_the_environment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    env = {
        "KILOWAIT_SERVER": "http://env",
        "KILOWAIT_TOKEN_FILE": str(tmp_path / "token"),
        "KILOWAIT_REGION": "us-west",
        "KILOWAIT_NODE": "node-9",
    }
    settings = parse_settings([], env)
    assert (settings.server, settings.read_token()) == ("http://env", "from-file")
    assert (settings.region, settings.node, settings.meter) == ("us-west", "node-9", "auto")
    (tmp_path / "token").write_text("rotated\n")
    assert settings.read_token() == "rotated"
    given = parse_settings(["--server", "http://arg", "--region", "eu"], {**env, "KILOWAIT_TOKEN": "plain"})
    assert (given.server, given.region, given.read_token()) == ("http://arg", "eu", "plain")
    assert parse_settings(["--sink", "x"], env).server is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("6h", 21600), ("2d", 172800), ("PT6H", 21600), ("P1DT30M", 88200), ("250ms", 0.25),
     ("1.5h", 5400), ("1h30m", 5400), ("PT1M30S", 90)],
)  # fmt: skip
def test_durations_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "5 s", "s", "-5s", "1w", "PT", "P", "P1D T1H", "1e3s", "5S"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(Refused, match="not a duration"):
        parse_duration(text)


def test_a_sink_on_a_full_disk_holds_each_record_once(record: Callable[..., Record], tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    sink = JsonLines(path=path, origin=Origin("a", "n", None, "nvml"))
    sink.write([record(1)])
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, hard))
    try:
        for _ in range(3):  # the agent offers them again until they are taken
            with pytest.raises(OSError):
                sink.write([record(2)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    sink.write([record(2)])
    assert [json.loads(line)["seq"] for line in path.read_text().splitlines()] == [1, 2]
    sink._file.close()
