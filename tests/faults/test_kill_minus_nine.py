"""kill -9 of the server between any two steps of a submit, a relocation or a settlement, on real Ray.

Whatever the step: the job runs once at a time, loses no step, and finishes.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from kilowait_scheduler.client import Client
from kilowait_scheduler.core.events import SuspendWanted
from kilowait_scheduler.core.lifecycle import Policy
from kilowait_scheduler.dispatch.dispatcher import STEPS
from kilowait_scheduler.dispatch.local_heads import LocalHead
from kilowait_scheduler.serve import listen
from kilowait_scheduler.service.book import Book
from kilowait_scheduler.store.engine import open_engine
from kilowait_scheduler.store.repository import Store

pytestmark = [pytest.mark.ray, pytest.mark.timeout(150)]

HERE = Path(__file__).parent
SPEED = 600.0
START = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass
class Site:
    """One server's folder, its regions, and the clock that goes on while the server is dead."""

    folder: Path
    heads: dict[str, LocalHead]
    port: int
    began: float = field(default_factory=time.time)

    @property
    def environment(self) -> dict[str, str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("KILOWAIT_", "RAY_"))}
        now = START + timedelta(seconds=(time.time() - self.began) * SPEED)
        return {
            **clean,
            "KILOWAIT_STATE_DIR": str(self.folder / "state"),
            "KILOWAIT_REGIONS": str(self.folder / "regions.yaml"),
            "KILOWAIT_INTENSITY": str(self.folder / "intensity"),
            "KILOWAIT_CLOCK_SPEED": str(SPEED),
            "KILOWAIT_CLOCK_START": now.isoformat(),
            "KILOWAIT_TICK": "1s",
            "KILOWAIT_FENCE": "5s",  # no cluster restarts in these tests
            "TOKEN_OF_A": self.heads["A"].token or "",
        }

    def write(self, *, clean_a: int, clean_b: int) -> None:
        """Regions, and intensity: `a` is all but free in its first hours, `b` clean from `clean_b` on."""
        regions = [
            {
                "name": "a",
                "zone": "AA",
                "address": self.heads["A"].address,
                "capacity_gpus": 4,
                "token_env": "TOKEN_OF_A",
            },
            {"name": "b", "zone": "BB", "address": self.heads["B"].address, "capacity_gpus": 4},
        ]
        (self.folder / "regions.yaml").write_text(yaml.safe_dump({"regions": regions}))
        (self.folder / "intensity").mkdir()
        for zone, values in (
            ("AA", [1.0 if 24 <= h < 24 + clean_a else 600.0 for h in range(240)]),
            ("BB", [50.0 if h >= 24 + clean_b else 600.0 for h in range(240)]),
        ):
            rows = [f"{(START + HOUR * (h - 24)).isoformat()},{value}" for h, value in enumerate(values)]
            text = "datetime,carbon_intensity_lifecycle\n" + "\n".join(rows) + "\n"
            (self.folder / "intensity" / f"{zone}.csv").write_text(text)

    @contextmanager
    def server(self, *, fatal: str) -> Iterator[subprocess.Popen[bytes]]:
        with (self.folder / "server.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, str(HERE / "crashing_server.py"), str(self.port), fatal, str(self.folder / "died")],
                env=self.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(timeout=30) == 0, "SIGTERM ends it cleanly"

    def client(self) -> Client:
        return Client(
            f"http://127.0.0.1:{self.port}", token=(self.folder / "state" / "admin.token").read_text().strip()
        )

    def await_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True once it serves and its loop goes round; False if it died before."""
        until = time.monotonic() + 60
        while time.monotonic() < until and process.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/readyz", trust_env=False, timeout=2).status_code == 200:
                    return True
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        assert process.poll() is not None, "the server was neither ready nor dead after a minute"
        return False

    def finish(self, job_id: str) -> dict[str, Any]:
        until = time.monotonic() + 90
        with self.client() as client:
            while time.monotonic() < until:
                job = client.job(job_id)
                if job["state"] in ("succeeded", "failed", "cancelled"):
                    return job
                time.sleep(0.3)
        raise AssertionError(f"did not end: {job}")

    def log(self) -> list[str]:
        return (self.folder / "work" / "log").read_text().splitlines()


@pytest.fixture
def site(tmp_path: Path, ray_regions: dict[str, LocalHead]) -> Iterator[Site]:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
    made = Site(tmp_path, ray_regions, port)
    shutil.copy(HERE / "workload.py", tmp_path / "workload.py")
    yield made


def job(
    site: Site,
    *,
    hours: float,
    within: float,
    any_of: list[str],
    steps: int | None = None,
    slow_in: str = "",
    resources: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A job that says it needs `hours`; it ends after `steps` steps, by default as many as fit into its hours."""
    steps = steps or round(hours * 3600 / SPEED / 0.25)
    return {
        "name": "train",
        "entrypoint": f"exec python {site.folder / 'workload.py'} {steps} {site.folder / 'work'} {slow_in}",
        "resources": resources or {"gpus": 2},
        "duration": f"{round(hours * 3600)}s",
        "within": f"{round(within * 3600)}s",
        "regions": {"home": any_of[0], "any_of": any_of},
        "checkpoint": {"path": str(site.folder / "work"), "restart": "30m", "period": "2m", "grace": "10s"},
    }


def submit(site: Site, process: subprocess.Popen[bytes], wanted: dict[str, Any]) -> str:
    assert site.await_ready(process)
    with site.client() as client:
        return str(client.submit(wanted)["job"]["id"])


def await_death(process: subprocess.Popen[bytes]) -> None:
    assert process.wait(timeout=60) == -signal.SIGKILL


def require_one_clean_life(site: Site, job_id: str) -> None:
    """The log shows whole runs one after the other, each going on exactly where the one before had stopped."""
    lines = site.log()
    assert not [line for line in lines if "OVERLAP" in line], lines
    assert [line.split()[0] for line in lines] == ["start", "end"] * (len(lines) // 2), lines
    counts = [int(line.split("step=")[1].split()[0]) for line in lines]
    assert counts[0] == 0
    assert all(counts[i] == counts[i + 1] for i in range(1, len(counts) - 1, 2)), lines
    site_job = site.finish(job_id)
    assert site_job["state"] == "succeeded"
    assert len({run["submission_id"] for run in site_job["runs"]}) == len(site_job["runs"])


@pytest.mark.parametrize("step", [step for step in STEPS if step.startswith("submit")])
def test_death_while_submitting(site: Site, step: str) -> None:
    site.write(clean_a=100, clean_b=200)
    with site.server(fatal=step) as process:
        job_id = submit(site, process, job(site, hours=0.5, within=20, any_of=["a"]))
        await_death(process)
    with site.server(fatal=step) as process:
        assert site.await_ready(process)
        site.finish(job_id)
        require_one_clean_life(site, job_id)
    assert len(site.log()) == 2, "it ran once"


@pytest.mark.parametrize("step", [step for step in STEPS if step.startswith("stop")])
def test_death_while_relocating(site: Site, step: str) -> None:
    # However slow this machine is: every hour in `a` now is worth a restart later, and work is left when `b` is clean.
    site.write(clean_a=4, clean_b=4)
    with site.server(fatal=step) as process:
        job_id = submit(site, process, job(site, hours=20, within=72, any_of=["a", "b"], steps=40, slow_in="a"))
        await_death(process)
    with site.server(fatal=step) as process:
        assert site.await_ready(process)
        done = site.finish(job_id)
        require_one_clean_life(site, job_id)
    assert [run["region"] for run in done["runs"]] == ["a", "b"]


@pytest.mark.parametrize("step", ["stop: sent", "stop: outcome committed"])
def test_death_while_resizing(site: Site, step: str) -> None:
    # Its work does not fit into the clean hours even on all GPUs, so that it begins on few of them before.
    site.write(clean_a=4, clean_b=6)
    elastic = {"gpus": {"min": 2, "max": 4}, "throughput": {2: 1.0, 4: 1.5}}
    wanted = job(site, hours=20, within=20, any_of=["b"], steps=40, slow_in="2", resources=elastic)
    with site.server(fatal=step) as process:
        job_id = submit(site, process, wanted)
        await_death(process)
    with site.server(fatal=step) as process:
        assert site.await_ready(process)
        done = site.finish(job_id)
        require_one_clean_life(site, job_id)
    assert [run["gpus"] for run in done["runs"]] == [2, 4]
    assert [line.split("gpus=")[1] for line in site.log() if line.startswith("start")] == ["2", "4"]


@pytest.mark.parametrize("step", [step for step in STEPS if step.startswith("settle")])
def test_death_while_settling_a_submit_that_may_have_been_sent(site: Site, step: str) -> None:
    site.write(clean_a=100, clean_b=200)
    with site.server(fatal="submit: intent committed") as process:
        job_id = submit(site, process, job(site, hours=1.5, within=20, any_of=["a"]))
        await_death(process)
    (site.folder / "died").unlink()
    store = Store(open_engine(f"sqlite:///{site.folder / 'state' / 'kilowait.db'}"))
    now = START + timedelta(seconds=(time.time() - site.began) * SPEED)
    Book(store, policy=Policy()).apply(job_id, SuspendWanted(at=now))
    store.engine.dispose()
    with site.server(fatal=step) as process:
        site.await_ready(process)
        await_death(process)
    with site.server(fatal=step) as process:
        assert site.await_ready(process)
        with site.client() as client:
            until = time.monotonic() + 40
            while client.job(job_id)["state"] != "suspended" and time.monotonic() < until:
                time.sleep(0.2)
            client.tell(job_id, "resume")
        site.finish(job_id)
        require_one_clean_life(site, job_id)
