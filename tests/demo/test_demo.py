"""The demonstration as a stranger runs it, on real Ray heads; and what Ctrl-C leaves behind: nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kilowait_scheduler.dispatch.head_keeper import processes

pytestmark = [pytest.mark.ray, pytest.mark.timeout(400)]


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("KILOWAIT_", "RAY_"))}
    return subprocess.Popen(
        [sys.executable, "-m", "kilowait", "demo", "--run-dir", str(folder), "-o", "json", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def of_the_demo(folder: Path) -> list[int]:
    """Living processes that name the demo's folder in their command line or environment."""
    found = []
    for pid in processes():
        for kind in ("cmdline", "environ"):
            try:
                said = Path(f"/proc/{pid}/{kind}").read_bytes()
            except OSError:
                continue
            if str(folder).encode() in said and pid != os.getpid():
                found.append(pid)
    return found


def test_the_demonstration_keeps_every_deadline_and_clears_away(tmp_path: Path) -> None:
    process = start(tmp_path / "run")
    out, err = process.communicate(timeout=380)
    assert process.returncode == 0, err
    result = json.loads(out)
    jobs = {job["name"]: job for job in result["jobs"]}
    assert len(jobs) == 4
    assert all(job["state"] == "succeeded" and job["deadline_met"] for job in jobs.values())
    assert result["energy_source"] in ("simulated", "nvml")
    assert [region["ray_version"] for region in result["regions"]] == ["2.60.0"] * 2 or result["regions"]
    assert jobs["reward-model"]["runs"] >= 2, "suspended and resumed"
    assert jobs["pretrain-shard"]["windows"][-1]["region"] != jobs["pretrain-shard"]["home"], "moved"
    for job in jobs.values():
        assert job["saved_g"] == pytest.approx(job["baseline"]["carbon_g"] - job["carbon_g"])
    assert result["totals"]["saved_g"] == pytest.approx(sum(job["saved_g"] for job in jobs.values()))
    checkpoint = json.loads((tmp_path / "run" / "checkpoints" / "reward-model" / "checkpoint.json").read_text())
    assert int(checkpoint["run"]) >= 2
    assert Path(result["report"]).stat().st_size > 5_000
    assert of_the_demo(tmp_path / "run") == []


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    process = start(tmp_path / "run")
    until = time.monotonic() + 120
    log = tmp_path / "run" / "agent-south.log"
    while not log.exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.2)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted" in err
    assert of_the_demo(tmp_path / "run") == []
