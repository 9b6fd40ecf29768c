"""A server's REST API as Python calls, for the command line and for people's own scripts. Needs httpx alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import httpx

DEFAULT_SERVER = "http://127.0.0.1:8080"


class ServerError(Exception):
    """The server said no: `status` (HTTP), `reason` (machine word, for refusals); the message is its own sentence."""

    def __init__(self, message: str, *, status: int, reason: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason


class ServerUnreachable(Exception):
    """No answer from the server; the message says where it was looked for."""


class Client:
    """Calls one server. `token` may be left out for the few routes that need none."""

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy from the environment has no business between a person and a server on their own machine.
        local = httpx.URL(self.server).host in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self.server, headers=headers, timeout=timeout_s, transport=transport, trust_env=not local
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Server and token from KILOWAIT_SERVER and KILOWAIT_TOKEN or KILOWAIT_TOKEN_FILE."""
        token = os.environ.get("KILOWAIT_TOKEN")
        file = os.environ.get("KILOWAIT_TOKEN_FILE")
        if token is None and file:
            token = Path(file).read_text().strip()
        return cls(os.environ.get("KILOWAIT_SERVER", DEFAULT_SERVER), token=token)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        json: object = None,
        content: bytes | None = None,
        params: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """One call below /api/v1. Raises ServerUnreachable or ServerError."""
        query = {key: value for key, value in (params or {}).items() if value is not None}
        try:
            response = self._http.request(
                method, f"/api/v1/{path}", json=json, content=content, params=query, headers=headers
            )
        except httpx.HTTPError as error:
            detail = str(error) or type(error).__name__
            raise ServerUnreachable(
                f"no answer from {self.server} ({detail}); is `kilowait serve` running? --server or KILOWAIT_SERVER"
            ) from None
        if response.is_success:
            return response
        raise _error_of(response)

    def get(self, path: str, **params: Any) -> Any:
        return self.call("GET", path, params=params).json()

    def submit(
        self, job: dict[str, Any], *, package: bytes | None = None, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Submit a job (the schema of a job file), with its zipped working directory where it has one."""
        name = self.call("POST", "packages", content=package).json()["package"] if package is not None else None
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        answer: dict[str, Any] = self.call("POST", "jobs", json=job, params={"package": name}, headers=headers).json()
        return answer

    def plan(self, job: dict[str, Any]) -> dict[str, Any]:
        """What would be done with a job, without effect."""
        answer: dict[str, Any] = self.call("POST", "plans", json=job).json()
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"jobs/{job_id}")
        return answer

    def jobs(self, *, state: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """All jobs, page by page."""
        cursor = None
        while True:
            page = self.get("jobs", state=state, cursor=cursor)
            yield from page["jobs"]
            cursor = page["next"]
            if cursor is None:
                return

    def tell(self, job_id: str, command: str) -> dict[str, Any]:
        """`cancel`, `suspend` or `resume` a job."""
        answer: dict[str, Any] = self.call("POST", f"jobs/{job_id}/{command}").json()
        return answer


def _error_of(response: httpx.Response) -> ServerError:
    try:
        body = response.json()
        detail, reason = str(body["detail"]), body.get("reason")
    except (ValueError, KeyError, TypeError):
        detail, reason = f"the server answered {response.status_code} without an explanation", None
    return ServerError(detail, status=response.status_code, reason=reason)
