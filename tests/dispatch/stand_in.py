"""A Ray dashboard that answers in the shapes of Ray 2.60, and oddly where it is told to."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from kilowait_scheduler.dispatch.ray_jobs import RayJobsExecutor

NODES = {
    "result": True,
    "msg": "",
    "data": {
        "result": {
            "total": 3,
            "num_after_truncation": 3,
            "result": [
                {"node_id": "n1", "state": "ALIVE", "resources_total": {"CPU": 4.0, "GPU": 4.0}},
                {"node_id": "n2", "state": "ALIVE", "resources_total": {"CPU": 4.0, "GPU": 2.5}},
                {"node_id": "n3", "state": "DEAD", "resources_total": {"GPU": 8.0}},
            ],
        }
    },
}
STATUS = {"result": True, "data": {"clusterStatus": {"loadMetricsReport": {"usage": {"GPU": [1.5, 6.5]}}}}}

EXISTS = """Traceback (most recent call last):
  File "/venv/ray/dashboard/modules/job/job_head.py", line 419, in submit_job
    resp = await job_agent_client.submit_job_internal(submit_request)
RuntimeError: Request failed with status code 400: Traceback (most recent call last):
  File "/venv/ray/dashboard/modules/job/job_manager.py", line 553, in submit_job
    raise ValueError(
ValueError: Job with submission_id {0} already exists. Please use a different submission_id.
.
"""

Oddity = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


@dataclass
class StandIn:
    """`odd` maps "METHOD /path" to an answer of one's own; `calls` lists what was asked."""

    session_name: str = "session_1"
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)
    odd: dict[str, Oddity] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    requests: list[httpx.Request] = field(default_factory=list)
    time_s: float = 0.0

    def executor(self, **options: Any) -> RayJobsExecutor:
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        options = {"region": "north", "address": "http://ray.test:8265/", "clock": lambda: self.time_s, **options}
        return RayJobsExecutor(client=client, **options)

    def say(self, call: str, status: int = 200, text: str = "", **how: Any) -> None:
        """Answer this call with just this."""
        self.odd[call] = lambda _request: httpx.Response(status, text=text, **how)

    def fail(self, call: str, error: Exception) -> None:
        def raising(_request: httpx.Request) -> httpx.Response:
            raise error

        self.odd[call] = raising

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.calls.append(f"{request.method} {path}")
        self.requests.append(request)
        odd = self.odd.get(f"{request.method} {path}") or self.odd.get("*")
        if odd is not None:
            answer = odd(request)
            return answer if isinstance(answer, httpx.Response) else await answer
        return self._regular(request, path)

    def _regular(self, request: httpx.Request, path: str) -> httpx.Response:
        if path == "/api/version":
            return httpx.Response(
                200, json={"version": "4", "ray_version": "2.60.0", "session_name": self.session_name}
            )
        if path == "/api/v0/nodes":
            return httpx.Response(200, json=NODES)
        if path == "/api/cluster_status":
            return httpx.Response(200, json=STATUS)
        if path.startswith("/api/packages/gcs/"):
            return self._package(request, path.rsplit("/", 1)[-1])
        if path == "/api/jobs/" and request.method == "GET":
            return httpx.Response(200, json=list(self.rows.values()))
        if path == "/api/jobs/":
            body = json.loads(request.content)
            name = body["submission_id"]
            if name in self.rows:
                return httpx.Response(500, text=EXISTS.format(name))
            self.rows[name] = row(name, "PENDING", metadata=body["metadata"])
            return httpx.Response(200, json={"job_id": name, "submission_id": name})
        name, _, verb = path.removeprefix("/api/jobs/").partition("/")
        if not path.startswith("/api/jobs/") or verb not in ("", "stop", "logs"):
            return httpx.Response(404, text="404: Not Found")
        return self._job(request, name, verb)

    def _package(self, request: httpx.Request, name: str) -> httpx.Response:
        if request.method == "PUT":
            self.packages[name] = request.content
        if name not in self.packages:
            return httpx.Response(404, text=f"Package gcs://{name} does not exist")
        return httpx.Response(200)

    def _job(self, request: httpx.Request, name: str, verb: str) -> httpx.Response:
        if name not in self.rows:
            return httpx.Response(404, text=f"Job {name} does not exist")
        if verb == "stop":
            return httpx.Response(200, json={"stopped": self.rows[name]["status"] in ("PENDING", "RUNNING")})
        if verb == "logs":
            return httpx.Response(200, json={"logs": "working\n"})
        if request.method == "DELETE":
            del self.rows[name]
            return httpx.Response(200, json={"deleted": True})
        return httpx.Response(200, json=self.rows[name])


def row(name: str, status: str, **changes: Any) -> dict[str, Any]:
    """A row of the job list, with all the fields that Ray sends."""
    return {
        "type": "SUBMISSION",
        "job_id": None,
        "submission_id": name,
        "driver_info": None,
        "status": status,
        "entrypoint": "true",
        "message": "Job is currently running.",
        "error_type": None,
        "start_time": 1_795_412_724_352,
        "end_time": None,
        "metadata": {},
        "runtime_env": None,
        "driver_agent_http_address": None,
        "driver_node_id": None,
        "driver_exit_code": None,
        **changes,
    }
