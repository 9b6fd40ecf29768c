"""Whose a process is by Ray's own word: the last to be asked, where neither environment nor ancestors tell.

Ray's dashboard lists the actors and running tasks of the cluster with their pids, and the jobs with the submission ids
that Kilowait gave them. One question at a time and seldom: a cluster has other things to do.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from .attribute import RunIdentity
from .clock import boot_ns
from .errors import Refused
from .wire import valid_id

_TIMEOUT_S = 2.0
_ASK_EVERY_NS = 10_000_000_000
_AFTER_TROUBLE_NS = 60_000_000_000
_MOST = 10_000

_log = logging.getLogger(__name__)


class RayRuns:
    """The runs of this node's processes by the dashboard at `url`; `token` is the cluster's RAY_AUTH_TOKEN.

    A pid is looked up as Ray's processes know it, which in a container is not as the host does (NSpid). That it is
    this process and not one of another node or container is told by the address of its node, which a process must have.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        proc: Path = Path("/proc"),
        now_ns: Callable[[], int] = boot_ns,
    ) -> None:
        try:
            self._url = urlsplit(url)
            good = self._url.scheme in ("http", "https") and self._url.hostname and self._url.port != 0
        except ValueError:
            good = False
        if not good:
            raise Refused(f"--ray {url!r} is no address; write it like http://head:8265", field="ray")
        self._head = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._proc = proc
        self._now_ns = now_ns
        self._ask_at_ns = self._asked_ns = 0
        self._trouble = False
        self._runs: dict[int, dict[str, RunIdentity]] = {}
        """By pid, and by the address of its node."""

    def run_of(self, pid: int, started_ns: int) -> RunIdentity | None:
        """The run that Ray runs in the process `pid` of the host; None if it says none, or nothing at all.

        What Ray said before the process was started, in ns since boot, was of another one with that number.
        """
        run = self._told(pid, started_ns)
        if run is None and self._now_ns() >= self._ask_at_ns:
            self._ask()
            run = self._told(pid, started_ns)
        return run

    def _told(self, pid: int, started_ns: int) -> RunIdentity | None:
        if started_ns > self._asked_ns:
            return None
        there = self._runs.get(self._inner(pid), {})
        return next((run for address, run in there.items() if self._has(pid, address)), None)

    def _has(self, pid: int, address: str) -> bool:
        """Whether the process is at `address`: whether that is one of its network namespace."""
        net = self._proc / str(pid) / "net"
        try:
            there = ip_address(address)
            if there.is_loopback:  # every network has it, so it names ours only, and only where that asks itself
                ours = self._proc / "self" / "net"
                return _is_loopback(self._url.hostname or "") and (ours / "dev").samefile(net / "dev")
            if there.version == 6:
                return there.packed.hex() in (net / "if_inet6").read_text(encoding="ascii").split()
            local = rf"\|-- {re.escape(address)}\n\s+/32 host LOCAL"
            return re.search(local, (net / "fib_trie").read_text(encoding="ascii")) is not None
        except (OSError, ValueError):
            return False

    def _inner(self, pid: int) -> int:
        """The pid as the process itself sees it."""
        try:
            lines = (self._proc / str(pid) / "status").read_text(encoding="utf-8", errors="replace").splitlines()
            return int(next(line for line in lines if line.startswith("NSpid:")).split()[-1])
        except (OSError, StopIteration, ValueError):
            return pid

    def _ask(self) -> None:
        asked_ns = self._now_ns()
        try:
            runs: dict[int, dict[str, RunIdentity]] = {}
            for pid, address, run in self._listed():
                runs.setdefault(pid, {})[address] = run
            self._runs, self._asked_ns = runs, asked_ns
        except (OSError, HTTPException, ValueError, TypeError, KeyError, AttributeError) as error:
            if not self._trouble:
                _log.warning(
                    "Ray's dashboard at %s does not say whose processes are whose: %s", self._url.netloc, error
                )
            self._trouble, self._ask_at_ns = True, self._now_ns() + _AFTER_TROUBLE_NS
            return
        self._trouble, self._ask_at_ns = False, self._now_ns() + _ASK_EVERY_NS

    def _listed(self) -> Iterator[tuple[int, str, RunIdentity]]:
        """(pid, address of its node, run) of the drivers, tasks and actors of all submissions."""
        jobs = [job for job in self._get("/api/jobs/") if valid_id(job["submission_id"] or "")]
        for job in jobs:
            if driver := job.get("driver_info"):
                yield int(driver["pid"]), driver["node_ip_address"], RunIdentity(job["submission_id"])
        submissions = {job["job_id"]: job["submission_id"] for job in jobs}
        addresses = {node["node_id"]: node["node_ip"] for node in self._state("nodes")}
        tasks = [(task["worker_pid"], task) for task in self._state("tasks", state="RUNNING")]
        actors = [(actor["pid"], actor) for actor in self._state("actors", state="ALIVE")]
        for pid, one in [*tasks, *actors]:
            run_id, address = submissions.get(one["job_id"]), addresses.get(one["node_id"])
            if type(pid) is int and pid and run_id and address:
                yield pid, address, RunIdentity(run_id)

    def _state(self, what: str, **wanted: str) -> list[dict[str, Any]]:
        filters = [
            pair
            for key, value in wanted.items()
            for pair in (("filter_keys", key), ("filter_predicates", "="), ("filter_values", value))
        ]
        query = urlencode([("limit", str(_MOST)), ("detail", "1"), *filters])
        found: list[dict[str, Any]] = self._get(f"/api/v0/{what}?{query}")["data"]["result"]["result"]
        return found

    def _get(self, path: str) -> Any:
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        assert self._url.hostname is not None
        connection = kind(self._url.hostname, self._url.port, timeout=_TIMEOUT_S)
        try:
            connection.request("GET", self._url.path.rstrip("/") + path, headers=self._head)
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise ValueError(f"HTTP {answer.status}")
            return json.loads(text)
        finally:
            connection.close()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
