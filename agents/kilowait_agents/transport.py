"""HTTP to the server, by httpx; the only module here that knows the network.

Not imported by the loop: httpx costs half a second of CPU, and a node that writes to a file has no use for it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from .errors import Refused, Transient
from .uplink import Answer

_TIMEOUT = httpx.Timeout(15.0, connect=3.0)


@dataclass(frozen=True, slots=True)
class GridClock:
    """How the server's time runs: `grid = origin_grid + (wall - origin_wall) * speed`; speed 1 is the wall clock."""

    speed: float
    origin_wall_us: int
    origin_grid_us: int


class HttpTransport:
    """Requests to one server. `token` is asked at every request, so that a rotated secret is taken up."""

    def __init__(self, *, server: str, token: Callable[[], str], client: httpx.Client | None = None) -> None:
        try:
            url = httpx.URL(server)
        except httpx.InvalidURL:
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
            raise Refused(f"server {server!r} is no address; write it like http://127.0.0.1:8080", field="server")
        self._server = server.rstrip("/")
        self._token = token
        self._client = client or httpx.Client(timeout=_TIMEOUT)

    def post_readings(self, body: bytes) -> Answer:
        response = self._request(
            "POST",
            "/api/v1/readings",
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            content=body,
        )
        return Answer(
            status=response.status_code,
            body=response.content,
            retry_after=response.headers.get("Retry-After"),
            date=response.headers.get("Date"),
        )

    def grid_clock(self) -> GridClock | None:
        """The server's clock; None where it is the wall clock (speed 1, or a server that has no such question).

        Raises Transient if the server cannot be reached or does not answer the question.
        """
        response = self._request("GET", "/api/v1/clock")
        if response.status_code == 404:
            return None
        if response.status_code != 200:
            raise Transient(f"{self._server} answers HTTP {response.status_code} when asked for its clock")
        try:
            answer = json.loads(response.content)
            speed = answer["speed"]
            if type(speed) in (int, float) and speed == 1:
                return None
            clock = GridClock(
                speed=speed, origin_wall_us=answer["origin_wall_us"], origin_grid_us=answer["origin_grid_us"]
            )
        except (ValueError, TypeError, KeyError) as error:
            raise Transient(f"{self._server} does not answer with a clock; is this a Kilowait server?") from error
        origins = (clock.origin_wall_us, clock.origin_grid_us)
        if (
            type(speed) not in (int, float)
            or not 0 < speed < float("inf")
            or any(type(at) is not int for at in origins)
        ):
            raise Transient(f"{self._server} answers with a clock that cannot run: {answer}")
        return clock

    def close(self) -> None:
        self._client.close()

    def _request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> httpx.Response:
        try:
            return self._client.request(
                method,
                f"{self._server}{path}",
                headers={"Authorization": f"Bearer {self._token()}", **(headers or {})},
                content=content,
            )
        except httpx.HTTPError as error:
            what = str(error).strip() or type(error).__name__
            raise Transient(f"{self._server} cannot be reached ({what})") from error
