"""One region's Ray cluster, through its Jobs REST API and nothing else.

Built on how Ray 2.60 was measured to behave (docs/adr/0002): a submission id is created only if absent, a duplicate
answers HTTP 500, a timeout does not mean "not submitted", and the version is answered even when no job can run.
"""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import quote

import httpx

from . import ray_answers
from .executor import (
    OUR_PREFIX,
    TOMBSTONE,
    Accepted,
    AlreadyThere,
    Ambiguous,
    ClusterInfo,
    DispatchError,
    NotConnected,
    NotSent,
    ObservedRun,
    Outcome,
    Refused,
    Rejected,
    SubmitRequest,
    Transient,
    UnknownRun,
    Unreachable,
    WrongAddress,
)
from .ray_http import RayHttp, Verify
from .ray_packages import MAX_PACKAGE_BYTES, package_name, unsendable

_UPLOAD_S: Final = 120.0
# The use of GPUs is good to know; nothing waits long for it.
_USAGE_S: Final = 5.0
_LOG_LINES: Final = 10_000
_LOG_BYTES: Final = 4 * 1024 * 1024

_T = TypeVar("_T")


class RayJobsExecutor:
    """The Jobs API of the cluster at `address` (http or https, with or without a path).

    `token` is the cluster's RAY_AUTH_TOKEN; `headers` go with every call; `verify` is a CA bundle or an SSL context. A
    `client` that is passed in is used as it is and stays open. `submit_wait_s`: Ray itself waits 10 s for its agent,
    and the first submission on a fresh head takes a second more. `clock` counts seconds, for the pauses between calls
    to a cluster that does not answer.
    """

    def __init__(
        self,
        *,
        region: str,
        address: str,
        client: httpx.AsyncClient | None = None,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        verify: Verify = True,
        submit_wait_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._region = region
        self._submit_wait_s = submit_wait_s
        self._http = RayHttp(
            region=region, address=address, client=client, token=token, headers=headers, verify=verify, clock=clock
        )

    @property
    def region(self) -> str:
        return self._region

    async def probe(self) -> ClusterInfo:
        """See `Executor.probe`. The list of nodes is the proof: it needs the GCS, as jobs do."""
        session_name, ray_version = await self._version()
        what = "list the nodes"
        response = await self._http.send("GET", "/api/v0/nodes?detail=1&limit=10000", what=what)
        try:
            alive, gpus = ray_answers.alive_of(self._http.json(response, what=what))
        except ValueError as error:
            raise self._http.bad(what, str(error)) from None
        return ClusterInfo(
            session_name=session_name,
            ray_version=ray_version,
            nodes_alive=alive,
            gpus_total=gpus,
            gpus_used=await self._gpus_used() if gpus else 0,
        )

    async def submit(self, request: SubmitRequest) -> Outcome:
        """See `Executor.submit`."""
        try:
            body = _body(request)
            session_name, _ = await self._version()
            if request.working_dir_zip is not None:
                body["runtime_env"]["working_dir"] = await self._upload(request.working_dir_zip)
        except Refused as error:
            return Rejected(f"run {request.submission_id}: {error}")
        except Transient as error:
            return NotSent(str(error))
        outcome = await self._post(body, session_name=session_name)
        if isinstance(outcome, Accepted | AlreadyThere):
            # A head that was restarted in between would be recorded under the wrong incarnation: as a run it has lost.
            try:
                session_now, _ = await self._version()
            except DispatchError as error:
                return Ambiguous(f"run {request.submission_id} was taken and then the cluster fell silent: {error}")
            if session_now != session_name:
                return Ambiguous(f"{self._http.name} was restarted while it took run {request.submission_id}")
        return outcome

    async def observe(self, prefix: str = OUR_PREFIX) -> dict[str, ObservedRun]:
        """See `Executor.observe`."""
        what = "list the jobs"
        response = await self._http.send("GET", "/api/jobs/", what=what)
        try:
            return ray_answers.runs_of(self._http.json(response, what=what), prefix=prefix)
        except ValueError as error:
            raise self._http.bad(what, str(error)) from None

    async def get(self, submission_id: str) -> ObservedRun | None:
        """See `Executor.get`."""
        run = await self._look_up(submission_id)
        return None if run is None or run.is_tombstone else run

    async def stop(self, submission_id: str) -> bool:
        """See `Executor.stop`."""
        what = f"stop run {submission_id}"
        response = await self._http.send("POST", _path(submission_id, "/stop"), what=what)
        if _unknown(response, submission_id):
            return False
        return self._field(response, "stopped", bool, what=what)

    async def tombstone(self, submission_id: str) -> Literal["won", "original_won"]:
        """See `Executor.tombstone`. The id is created only if absent, so exactly one of the two ever runs."""
        body = {"submission_id": submission_id, "entrypoint": "true", "metadata": {TOMBSTONE: "1"}}
        match await self._post(body, session_name=""):
            # An earlier tombstone whose answer was lost holds the id just as well.
            case Accepted() | AlreadyThere(mine=True):
                return "won"
            case AlreadyThere():
                return "original_won"
            case NotSent(detail) | Ambiguous(detail) | Rejected(detail):
                raise Unreachable(f"run {submission_id} is not settled yet: {detail}")

    async def logs(self, submission_id: str) -> str:
        """See `Executor.logs`: the last 10,000 lines, and of these at most 4 MiB."""
        run = await self._look_up(submission_id)
        if run is None:
            raise UnknownRun(f"{self._http.name} does not know run {submission_id}, so it has no log of it")
        what = f"read the log of run {submission_id}"
        if run.driver_node_id is not None:
            # The state API reads the end of the file on the driver's node; the Jobs API only ever sends all of it.
            file = {"node_id": run.driver_node_id, "filename": f"job-driver-{submission_id}.log"}
            lines = {"lines": str(_LOG_LINES)}
            tail = await self._http.tail("/api/v0/logs/file", params=file | lines, what=what, limit_bytes=_LOG_BYTES)
            if tail is not None:
                return tail.decode(errors="replace")
        response = await self._http.send("GET", _path(submission_id, "/logs"), what=what)
        if _unknown(response, submission_id):
            raise UnknownRun(f"{self._http.name} has just forgotten run {submission_id}, so it has no log of it")
        return self._field(response, "logs", str, what=what)[-_LOG_BYTES:]

    async def delete(self, submission_id: str) -> None:
        """See `Executor.delete`."""
        what = f"delete run {submission_id}"
        response = await self._http.send("DELETE", _path(submission_id), what=what)
        if ray_answers.says_live(response.text) and not response.is_success:
            message = f"{self._http.name}: run {submission_id} has not ended; stop it and wait before deleting it"
            raise Refused(message, reason="run_is_live")
        if not _unknown(response, submission_id):
            self._http.json(response, what=what)

    async def close(self) -> None:
        """See `Executor.close`."""
        await self._http.close()

    async def _version(self) -> tuple[str, str]:
        """(session name, Ray version). Answered by a head that cannot run jobs any more, so it proves no life."""
        what = "read the version"
        response = await self._http.send("GET", "/api/version", what=what, proves_life=False)
        session_name = self._field(response, "session_name", str, what=what)
        return session_name, self._field(response, "ray_version", str, what=what)

    async def _gpus_used(self) -> int | None:
        what = "read the cluster status"
        try:
            response = await self._http.send("GET", "/api/cluster_status", what=what, wait_s=_USAGE_S)
            return ray_answers.gpus_used_of(self._http.json(response, what=what))
        except (Transient, WrongAddress):
            return None

    async def _look_up(self, submission_id: str) -> ObservedRun | None:
        """One run or tombstone; None only on Ray's own word that there is none."""
        what = f"look up run {submission_id}"
        response = await self._http.send("GET", _path(submission_id), what=what)
        if _unknown(response, submission_id):
            return None
        try:
            return ray_answers.run_of(self._http.json(response, what=what))
        except ValueError as error:
            raise self._http.bad(what, str(error)) from None

    async def _post(self, body: Mapping[str, Any], *, session_name: str) -> Outcome:
        submission_id = body["submission_id"]
        what = f"submit run {submission_id}"
        try:
            response = await self._http.send("POST", "/api/jobs/", what=what, json=body, wait_s=self._submit_wait_s)
        except NotConnected as error:
            return NotSent(str(error))
        except Unreachable as error:
            return Ambiguous(str(error))
        text = response.text
        said = ray_answers.one_line(text)
        if response.is_success:
            try:
                named = self._field(response, "submission_id", str, what=what)
            except Transient as error:
                return Ambiguous(str(error))
            return Accepted(session_name) if named == submission_id else Ambiguous(f"{what}: it names it {named!r}")
        if ray_answers.says_exists(text):
            return await self._whose(submission_id, body["metadata"], session_name=session_name)
        if response.status_code in (404, 405):
            self._http.json(response, what=what)  # raises
        if response.is_client_error or ray_answers.says_invalid(text):
            return Rejected(f"{self._http.name} does not take run {submission_id}: {said}")
        # It may have gone wrong before or after the run was recorded, and Ray does not say which.
        return Ambiguous(f"cannot {what}: {self._http.name} answers HTTP {response.status_code}: {said}")

    async def _whose(self, submission_id: str, metadata: Mapping[str, str], *, session_name: str) -> Outcome:
        try:
            run = await self._look_up(submission_id)
        except DispatchError as error:
            return Ambiguous(f"the id of run {submission_id} is taken, but not yet known by whom: {error}")
        if run is None:
            return Ambiguous(f"the id of run {submission_id} was taken a moment ago and is unknown now")
        mine = all(run.metadata.get(key) == value for key, value in metadata.items())
        return AlreadyThere(session_name, mine)

    async def _upload(self, archive: Path) -> str:
        """The URI of the archive in the cluster's own store, put there if it is not; it is kept for a short while.

        Packages live in the head's memory, so they are gone after a restart, and unused ones are collected: hence the
        look just before each submission.
        """
        try:
            data = await asyncio.to_thread(archive.read_bytes)
        except OSError as error:
            detail = error.strerror or type(error).__name__
            raise Refused(
                f"the package {archive.name} cannot be read: {detail}", reason="package_unreadable"
            ) from error
        if len(data) > MAX_PACKAGE_BYTES:
            message = f"the package {archive.name} has {len(data)} bytes, Ray takes at most {MAX_PACKAGE_BYTES}"
            raise Refused(message, reason="package_too_large")
        name = package_name(data)
        path, what = f"/api/packages/gcs/{name}", f"upload package {name}"
        if await self._has_package(path, what=what):
            return f"gcs://{name}"
        sent = await self._http.send("PUT", path, what=what, content=data, wait_s=_UPLOAD_S)
        if sent.status_code == 413:
            raise Refused(f"{self._http.name} does not take packages of {len(data)} bytes", reason="package_too_large")
        if not sent.is_success:
            raise self._http.bad(what, f"HTTP {sent.status_code}: {ray_answers.one_line(sent.text)}")
        if not await self._has_package(path, what=what):
            raise self._http.bad(what, "it took the package and does not have it")
        return f"gcs://{name}"

    async def _has_package(self, path: str, *, what: str) -> bool:
        response = await self._http.send("GET", path, what=what)
        if response.status_code == 404 and "does not exist" in response.text:
            return False
        if not response.is_success:
            self._http.json(response, what=what)  # raises
        return True

    def _field(self, response: httpx.Response, name: str, kind: type[_T], *, what: str) -> _T:
        said = self._http.json(response, what=what)
        value = said.get(name) if isinstance(said, dict) else None
        if not isinstance(value, kind):
            raise self._http.bad(what, f"no {name} in it")
        return value


def _path(submission_id: str, rest: str = "") -> str:
    return f"/api/jobs/{quote(submission_id, safe='')}{rest}"


def _unknown(response: httpx.Response, submission_id: str) -> bool:
    return response.status_code == 404 and ray_answers.says_unknown(response.text, submission_id)


def _body(request: SubmitRequest) -> dict[str, Any]:
    """The submission as Ray wants it, all but an uploaded working directory; Refused where Ray would choke on it."""
    runtime_env = dict(request.runtime_env)
    if request.working_dir_zip is not None:
        runtime_env.pop("working_dir", None)
        runtime_env.pop("excludes", None)  # they were applied when the archive was made
    problem = unsendable(runtime_env)
    if problem:
        raise Refused(problem, reason="runtime_env")
    stop = {
        # Ray reads whole seconds; a fraction would fail the run at its stop.
        "RAY_JOB_STOP_WAIT_TIME_S": str(math.ceil(request.grace_s)),
        "RAY_JOB_STOP_SIGNAL": request.stop_signal,
    }
    runtime_env["env_vars"] = {**request.merged_env, **stop}
    body: dict[str, Any] = {
        "submission_id": request.submission_id,
        "entrypoint": request.entrypoint,
        "metadata": dict(request.metadata),
        "runtime_env": runtime_env,
    }
    if request.entrypoint_gpus:
        body["entrypoint_num_gpus"] = request.entrypoint_gpus
    try:
        json.dumps(body)
    except (TypeError, ValueError) as error:
        raise Refused(f"the runtime_env cannot be written as JSON: {error}", reason="runtime_env") from None
    return body
