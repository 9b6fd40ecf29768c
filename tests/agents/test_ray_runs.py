"""Whose a process is by Ray's word, against a dashboard that answers as Ray 2.60's was seen to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from kilowait_agents.attribute import RunIdentity
from kilowait_agents.errors import Refused
from kilowait_agents.owners import Owners
from kilowait_agents.ray_runs import RayRuns

from .conftest import running

HERE, THERE = "10.0.0.1", "10.0.0.2"


class Dashboard:
    """What is asked of it, and its answers by path."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.tokens: list[str | None] = []
        self.url = ""
        self.fails = False
        self.jobs: Any = [
            {
                "type": "SUBMISSION",
                "job_id": "02000000",
                "submission_id": "kw-0a1-1",
                "driver_info": {"id": "02000000", "node_ip_address": HERE, "pid": "40"},
            },
            {"type": "SUBMISSION", "job_id": None, "submission_id": "kw-0a2-1", "driver_info": None},
            {"type": "DRIVER", "job_id": "01000000", "submission_id": None},
        ]
        self.rows: dict[str, list[dict[str, Any]]] = {
            "nodes": [{"node_id": "n1", "node_ip": HERE}, {"node_id": "n2", "node_ip": THERE}],
            "tasks": [
                {"worker_pid": 41, "job_id": "02000000", "node_id": "n1"},
                {"worker_pid": 42, "job_id": "02000000", "node_id": "n2"},
                {"worker_pid": None, "job_id": "02000000", "node_id": None},
                {"worker_pid": 43, "job_id": "01000000", "node_id": "n1"},
            ],
            "actors": [{"pid": 51, "job_id": "02000000", "node_id": "n1"}],
        }

    def answer(self, path: str) -> Any:
        place = urlsplit(path)
        self.asked.append(place.path)
        if place.path == "/api/jobs/":
            return self.jobs
        what = place.path.removeprefix("/api/v0/")
        query = parse_qs(place.query)
        wanted = {"tasks": ["RUNNING"], "actors": ["ALIVE"]}.get(what)
        assert query.get("filter_values") == wanted
        return {"result": True, "msg": "", "data": {"result": {"total": 1, "result": self.rows[what]}}}


@contextmanager
def answering(dashboard: Dashboard) -> Iterator[None]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            dashboard.tokens.append(self.headers["Authorization"])
            body = json.dumps(dashboard.answer(self.path)).encode()
            self.send_response(500 if dashboard.fails else 200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    dashboard.url = f"http://127.0.0.1:{server.server_address[1]}"
    with running(server):
        yield


@pytest.fixture
def dashboard() -> Iterator[Dashboard]:
    made = Dashboard()
    with answering(made):
        yield made


class Time:
    ns = 0

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A /proc with some processes, all at this node's address, and the agent."""
    for pid in (9, 40, 41, 42, 43, 51):
        process(tmp_path, pid)
    return tmp_path


def process(
    proc: Path, pid: int, *, inner: int | None = None, address: str = HERE, network: str = "of the agent"
) -> None:
    net = proc / str(pid) / "net"
    for folder, of in ((proc / "self" / "net", "of the agent"), (net, network)):
        folder.mkdir(parents=True, exist_ok=True)
        (proc / of).touch()
        (folder / "dev").unlink(missing_ok=True)
        (folder / "dev").hardlink_to(proc / of)
    (proc / str(pid) / "status").write_text(f"Name:\tray::f\nNSpid:\t{pid}\t{inner or pid}\n")
    (net / "fib_trie").write_text(
        f"Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 10.0.0.0\n        /24 link UNICAST\n"
        f"     |-- {THERE}\n        /32 link BROADCAST\n     |-- {address}\n        /32 host LOCAL\n"
    )
    (net / "if_inet6").write_text("fd000000000000000000000000000007 02 40 00 80     eth0\n")


def runs_of(dashboard: Dashboard, time: Time, proc: Path, **rest: Any) -> RayRuns:
    return RayRuns(dashboard.url, proc=proc, now_ns=time, **rest)


def test_driver_tasks_and_actors_of_this_node_belong_to_the_submission_of_their_job(
    dashboard: Dashboard, time: Time, proc: Path
) -> None:
    runs = runs_of(dashboard, time, proc, token="s3cret")
    ours = RunIdentity("kw-0a1-1")
    assert [runs.run_of(pid, 0) for pid in (40, 41, 51, 42, 43, 9)] == [ours, ours, ours, None, None, None]
    assert len(dashboard.asked) == 4, "asked once; what it does not know now it is not asked for at once again"
    assert set(dashboard.tokens) == {"Bearer s3cret"}
    time.ns += 10_000_000_000
    dashboard.rows["actors"].append({"pid": 9, "job_id": "02000000", "node_id": "n1"})
    assert runs.run_of(9, 0) == ours


def test_what_was_said_before_a_process_began_was_of_another_with_its_pid(
    dashboard: Dashboard, time: Time, proc: Path
) -> None:
    runs = runs_of(dashboard, time, proc)
    assert runs.run_of(41, 0) == RunIdentity("kw-0a1-1")
    time.ns += 5_000_000_000
    assert runs.run_of(41, time.ns) is None, "it is too early to ask again"
    time.ns += 5_000_000_000
    dashboard.rows["tasks"] = []
    assert runs.run_of(41, time.ns - 5_000_000_000) is None


def test_a_process_in_a_container_is_known_by_its_pid_and_address_there(
    dashboard: Dashboard, time: Time, tmp_path: Path
) -> None:
    """Two containers of a node, of two jobs, have processes of the same number."""
    process(tmp_path, 7777, inner=41)
    process(tmp_path, 8888, inner=41, address=THERE)
    dashboard.jobs.append({"type": "SUBMISSION", "job_id": "03000000", "submission_id": "kw-0a3-1"})
    dashboard.rows["tasks"].append({"worker_pid": 41, "job_id": "03000000", "node_id": "n2"})
    runs = runs_of(dashboard, time, tmp_path)
    assert [runs.run_of(pid, 0) for pid in (7777, 8888)] == [RunIdentity("kw-0a1-1"), RunIdentity("kw-0a3-1")]


@pytest.mark.parametrize(
    ("address", "ours"), [("127.0.0.2", True), ("fd00::7", True), ("fd00::8", False), ("no address", False)]
)
def test_a_node_may_have_an_address_of_the_loopback_or_of_ipv6(
    dashboard: Dashboard, time: Time, proc: Path, address: str, ours: bool
) -> None:
    dashboard.rows["nodes"][0]["node_ip"] = address
    assert runs_of(dashboard, time, proc).run_of(41, 0) == (RunIdentity("kw-0a1-1") if ours else None)


def test_the_loopback_of_another_container_is_not_ours(dashboard: Dashboard, time: Time, tmp_path: Path) -> None:
    """Its processes may have the numbers that ours have."""
    process(tmp_path, 41)
    process(tmp_path, 7777, inner=41, network="of a container")
    dashboard.rows["nodes"][0]["node_ip"] = "127.0.0.1"
    runs = runs_of(dashboard, time, tmp_path)
    assert [runs.run_of(pid, 0) for pid in (41, 7777)] == [RunIdentity("kw-0a1-1"), None]


@pytest.mark.parametrize("odd", [None, {"not": "a list"}, [1], [{"job_id": 3}]])
def test_a_dashboard_that_does_not_answer_is_said_once_and_left_alone_for_a_while(
    dashboard: Dashboard, time: Time, proc: Path, caplog: pytest.LogCaptureFixture, odd: Any
) -> None:
    good, dashboard.fails = dashboard.jobs, odd is None
    dashboard.jobs = odd
    runs = runs_of(dashboard, time, proc)
    for _ in range(3):
        assert runs.run_of(41, 0) is None
        time.ns += 20_000_000_000
    assert len(dashboard.asked) == 1
    dashboard.jobs, dashboard.fails = good, False
    time.ns += 40_000_000_000
    assert runs.run_of(41, 0) == RunIdentity("kw-0a1-1")
    assert len(caplog.records) == 1


def test_it_is_asked_last_and_what_it_said_holds_for_the_life_of_the_process() -> None:
    asked: list[int] = []

    def elsewhere(pid: int, started_ns: int) -> RunIdentity | None:
        asked.append(pid)
        return RunIdentity("kw-0a1-1")

    owners = Owners(elsewhere=elsewhere)
    assert owners.identify(os.getpid()) == RunIdentity("kw-0a1-1")
    assert owners.identify(os.getpid()) == RunIdentity("kw-0a1-1")
    assert asked == [os.getpid()]
    assert owners.identify(2**22 + 1) is None, "who is not there is nobody's"
    assert asked == [os.getpid()]


def test_a_process_is_its_parents_run_by_that_word_too() -> None:
    """What a task starts with an empty environment is not known to Ray; the task is."""
    owners = Owners(elsewhere=lambda pid, started_ns: RunIdentity("kw-0a1-1") if pid == os.getpid() else None)
    with subprocess.Popen(["sleep", "60"], env={}, start_new_session=True) as child:
        try:
            assert owners.identify(child.pid) == RunIdentity("kw-0a1-1")
        finally:
            child.kill()


def test_who_started_a_container_does_not_speak_for_it(tmp_path: Path) -> None:
    """By its pid, which counts among the host's, it may be mistaken for a process that Ray has in another container."""
    for pid, parent, numbers in ((300, 1, "300"), (7000, 300, "7000 1"), (7001, 7000, "7001 2")):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} (x) S {parent} 0 {' 0' * 16} {pid} {' 0' * 30}")
        (tmp_path / str(pid) / "status").write_text(f"Name:\tx\nNSpid:\t{numbers}\n")
    known = {300: RunIdentity("kw-0a1-1")}
    owners = Owners(proc=tmp_path, elsewhere=lambda pid, started_ns: known.get(pid))
    assert [owners.identify(pid) for pid in (300, 7000, 7001)] == [known[300], None, None]
    known[7000] = RunIdentity("kw-0a2-1")
    assert owners.identify(7001) == known[7000]


@pytest.mark.parametrize("url", ["head:8265", "ftp://head", "http://", "http://head:0"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="is no address"):
        RayRuns(url)
