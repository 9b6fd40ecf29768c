"""A server's REST API as Python calls, for the command line and for people's own scripts. Needs httpx alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

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


class BadSetting(ValueError):
    """The server's address or the token cannot be used; the message says why, and never shows a token."""


def read_token(path: Path) -> str:
    """The token in a file. Raises BadSetting where the file cannot be read or holds none."""
    try:
        return _checked(path.read_text(encoding="utf-8"), source=f"token file {path}")
    except UnicodeDecodeError:
        raise BadSetting(f"token file {path}: not UTF-8 text; give --token-file or KILOWAIT_TOKEN") from None
    except OSError as error:
        raise BadSetting(f"token file {path}: {error.strerror}; give --token-file or KILOWAIT_TOKEN") from None


def environment_token() -> str | None:
    """The token of KILOWAIT_TOKEN, else of the file that KILOWAIT_TOKEN_FILE names. Empty variables count as unset."""
    if token := os.environ.get("KILOWAIT_TOKEN"):
        return _checked(token, source="KILOWAIT_TOKEN")
    file = os.environ.get("KILOWAIT_TOKEN_FILE")
    return read_token(Path(file)) if file else None


def segment(text: str) -> str:
    """A name as one part of a path below /api/v1, whatever signs it has."""
    return quote(text, safe="")


class Client:
    """Calls one server. `token` may be left out for the few routes that need none.

    Raises BadSetting where `server` is no http or https address or `token` is no line of ASCII.
    """

    def __init__(
        self,
        server: str = DEFAULT_SERVER,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.server = server.rstrip("/")
        headers = {"Authorization": f"Bearer {_checked(token, source='token')}"} if token else {}
        # A proxy from the environment has no business between a person and a server on their own machine.
        local = _host(self.server) in ("127.0.0.1", "localhost", "::1")
        self._http = httpx.Client(
            base_url=self.server, headers=headers, timeout=timeout_s, transport=transport, trust_env=not local
        )

    @classmethod
    def from_environment(cls) -> Self:
        """Server and token from KILOWAIT_SERVER and KILOWAIT_TOKEN, else KILOWAIT_TOKEN_FILE."""
        return cls(os.environ.get("KILOWAIT_SERVER") or DEFAULT_SERVER, token=environment_token())

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
        """What a route below /api/v1 answers, parsed."""
        return self._data(self.call("GET", path, params=params))

    def post(self, path: str, *, json: object = None, **more: Any) -> Any:
        """What a route answers to a POST, parsed. `more` as for `call`."""
        return self._data(self.call("POST", path, json=json, **more))

    def submit(
        self, job: dict[str, Any], *, package: bytes | None = None, idempotency_key: str | None = None
    ) -> dict[str, Any]:
        """Submit a job (the schema of a job file), with its zipped working directory where it has one."""
        name = self.post("packages", content=package)["package"] if package is not None else None
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else None
        answer: dict[str, Any] = self.post("jobs", json=job, params={"package": name}, headers=headers)
        return answer

    def plan(self, job: dict[str, Any]) -> dict[str, Any]:
        """What would be done with a job, without effect."""
        answer: dict[str, Any] = self.post("plans", json=job)
        return answer

    def job(self, job_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = self.get(f"jobs/{segment(job_id)}")
        return answer

    def jobs(self, *, state: list[str] | None = None) -> Iterator[dict[str, Any]]:
        """All jobs, page by page."""
        return self.pages("jobs", "jobs", state=state)

    def pages(self, path: str, items: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All `items` that a route answers, page by page."""
        cursor = None
        while True:
            page = self.get(path, **params, cursor=cursor)
            yield from page[items]
            cursor = page["next"]
            if cursor is None:
                return

    def tell(self, job_id: str, command: str) -> dict[str, Any]:
        """`cancel`, `suspend` or `resume` a job."""
        answer: dict[str, Any] = self.post(f"jobs/{segment(job_id)}/{command}")
        return answer

    def _data(self, response: httpx.Response) -> Any:
        try:
            return response.json()
        except ValueError:
            raise ServerUnreachable(
                f"{self.server} answers, but not as a Kilowait server does; check --server or KILOWAIT_SERVER"
            ) from None


def _checked(token: str, *, source: str) -> str:
    token = token.strip()
    if not token:
        raise BadSetting(f"{source}: empty; it should be the one line that `kilowait token create` printed")
    if not (token.isascii() and token.isprintable()):
        raise BadSetting(f"{source}: a token is one line of ASCII letters and digits, and this is not")
    return token


def _host(server: str) -> str:
    try:
        url = httpx.URL(server)
        # What names a host is settled only when it is looked up; httpx then fails outside its own errors.
        url.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError) as error:
        raise BadSetting(f"server {server!r}: {error}; write http://HOST:PORT or https://HOST") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise BadSetting(f"server {server!r}: no address of a server; write http://HOST:PORT or https://HOST")
    return url.host


def _error_of(response: httpx.Response) -> ServerError:
    try:
        body = response.json()
        detail, reason = str(body["detail"]), body.get("reason")
    except (ValueError, KeyError, TypeError):
        detail, reason = f"the server answered {response.status_code} without an explanation", None
    return ServerError(detail, status=response.status_code, reason=reason)
