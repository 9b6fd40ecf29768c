from __future__ import annotations

import configparser
import shlex
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from kilowait_agents.exporter import serving
from kilowait_agents.metrics import Counted, render
from kilowait_agents.settings import parse_settings
from kilowait_agents.wire import Record

from .conftest import Ingest
from .test_uplink import Parts

Make = Callable[..., Record]


def test_energy_is_counted_by_device_and_quality(record: Make) -> None:
    counted = Counted()
    counted.count(
        [record(1), record(2), record(3, quality="gap", energy_mj=0, shares=(), idle_mj=0, unattributed_mj=0)]
    )
    text = render(counted.samples())
    assert 'kilowait_agent_energy_joules_total{device="GPU-0",quality="measured"} 1.8' in text
    assert "# TYPE kilowait_agent_records_total counter\nkilowait_agent_records_total 3.0\n" in text


def test_labels_are_escaped() -> None:
    line = render([("x", "gauge", "help", [({"a": 'say "hi"\\\n'}, 1.0)])]).splitlines()[-1]
    assert line == 'kilowait_agent_x{a="say \\"hi\\"\\\\\\n"} 1.0'


def test_prometheus_finds_them_at_their_address_and_nothing_else() -> None:
    counted = Counted()
    with (
        serving(("127.0.0.1", 0), counted.samples) as port,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=False) as client,
    ):
        answer = client.get("/metrics")
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert "kilowait_agent_records_total 0.0" in answer.text
        assert client.get("/").status_code == 404


@pytest.mark.parametrize(("ahead_s", "said"), [(0, False), (1.5, False), (10, True), (-3600, True)])
def test_a_clock_that_is_not_the_server_s_is_said_once(
    ingest: Ingest, tmp_path: Path, record: Make, caplog: pytest.LogCaptureFixture, ahead_s: float, said: bool
) -> None:
    parts = Parts(ingest.url, tmp_path)
    for seq in (1, 2):
        parts.outbox.append([record(seq)])
        stamped_s = parts.uplink._clock.now_us() / 1e6
        parts.uplink._compare_clocks(formatdate(stamped_s + ahead_s, usegmt=True))
    assert parts.uplink.skew_s is not None
    assert caplog.text.count("let NTP set both") == int(said)
    parts.drain()
    assert parts.uplink.delivered_at_s is not None
    parts.close()


def test_the_systemd_unit_starts_an_agent_that_the_agent_understands(tmp_path: Path) -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read(Path(__file__).parents[2] / "agents" / "systemd" / "kilowait-agent.service")
    token = tmp_path / "token"
    token.write_text("t")
    _, agent, *words = shlex.split(unit["Service"]["ExecStart"].replace("${CREDENTIALS_DIRECTORY}", str(tmp_path)))
    settings = parse_settings(words, {"KILOWAIT_SERVER": "http://h", "STATE_DIRECTORY": "/var/lib/kilowait-agent"})
    assert (agent, settings.meter) == ("agent", "nvml")
    assert settings.state_dir == Path("/var/lib") / unit["Service"]["StateDirectory"]
    assert unit["Service"]["Restart"] == "always"
    assert "RestartPreventExitStatus" not in unit["Service"]
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"
