"""Whose a process is by Ray's word, against a dashboard that answers as Ray 2.60's was seen to."""

from __future__ import annotations

import json
import os
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
            {"type": "SUBMISSION", "job_id": "02000000", "submission_id": "kw-0a1-1"},
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


def runs_of(dashboard: Dashboard, time: Time, proc: Path, **rest: Any) -> RayRuns:
    return RayRuns(dashboard.url, addresses=frozenset({HERE}), proc=proc, now_ns=time, **rest)


def test_tasks_and_actors_of_this_node_belong_to_the_submission_of_their_job(
    dashboard: Dashboard, time: Time, tmp_path: Path
) -> None:
    runs = runs_of(dashboard, time, tmp_path, token="s3cret")
    ours = RunIdentity("kw-0a1-1")
    assert [runs.run_of(pid, 0) for pid in (41, 51, 42, 43, 9)] == [ours, ours, None, None, None]
    assert len(dashboard.asked) == 4, "asked once; what it does not know now it is not asked for at once again"
    assert set(dashboard.tokens) == {"Bearer s3cret"}
    time.ns += 10_000_000_000
    dashboard.rows["actors"].append({"pid": 9, "job_id": "02000000", "node_id": "n1"})
    assert runs.run_of(9, 0) == ours


def test_what_was_said_before_a_process_began_was_of_another_with_its_pid(
    dashboard: Dashboard, time: Time, tmp_path: Path
) -> None:
    runs = runs_of(dashboard, time, tmp_path)
    assert runs.run_of(41, 0) == RunIdentity("kw-0a1-1")
    time.ns += 5_000_000_000
    assert runs.run_of(41, time.ns) is None, "it is too early to ask again"
    time.ns += 5_000_000_000
    dashboard.rows["tasks"] = []
    assert runs.run_of(41, time.ns - 5_000_000_000) is None


def test_a_process_in_a_container_is_known_by_the_pid_it_has_there(
    dashboard: Dashboard, time: Time, tmp_path: Path
) -> None:
    (tmp_path / "7777").mkdir()
    (tmp_path / "7777" / "status").write_text("Name:\tray::f\nNSpid:\t7777\t41\n")
    assert runs_of(dashboard, time, tmp_path).run_of(7777, 0) == RunIdentity("kw-0a1-1")


@pytest.mark.parametrize("odd", [None, {"not": "a list"}, [1], [{"job_id": 3}]])
def test_a_dashboard_that_does_not_answer_is_said_once_and_left_alone_for_a_while(
    dashboard: Dashboard, time: Time, tmp_path: Path, caplog: pytest.LogCaptureFixture, odd: Any
) -> None:
    good, dashboard.fails = dashboard.jobs, odd is None
    dashboard.jobs = odd
    runs = runs_of(dashboard, time, tmp_path)
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


@pytest.mark.parametrize("url", ["head:8265", "ftp://head", "http://", "http://head:0"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="is no address"):
        RayRuns(url)
