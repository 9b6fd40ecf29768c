"""HTTP to the server, by the standard library; the only module here that knows the network.

Not imported by the loop: a node that writes to a file has no use for it. The agent makes one request at a time, to one
server; a client library would cost it a fifth of its memory and half of its start.
"""

from __future__ import annotations

import base64
import json
import os
import select
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from urllib.parse import SplitResult, unquote, urlsplit

from .errors import Refused, Transient
from .uplink import Answer

_CONNECT_S = 3.0
_ANSWER_S = 15.0


@dataclass(frozen=True, slots=True)
class GridClock:
    """How the server's time runs: `grid = origin_grid + (wall - origin_wall) * speed`; speed 1 is the wall clock."""

    speed: float
    origin_wall_us: int
    origin_grid_us: int


class HttpTransport:
    """Requests to one server, over a connection that is kept. `token` is asked at every request, so that a rotated
    secret is taken up. Proxies and CA certificates are those of the environment (`https_proxy`, `no_proxy`,
    `SSL_CERT_FILE`)."""

    def __init__(self, *, server: str, token: Callable[[], str]) -> None:
        try:
            self._url = urlsplit(server)
            good = self._url.scheme in ("http", "https") and self._url.hostname and self._url.port != 0
        except ValueError:
            good = False
        if not good:
            raise Refused(f"server {server!r} is no address; write it like http://127.0.0.1:8080", field="server")
        self._server = server.rstrip("/")
        self._token = token
        self._proxy = _proxy_for(self._url)
        self._connection: HTTPConnection | None = None

    def another(self) -> HttpTransport:
        """Another way to the same server, for another thread."""
        return HttpTransport(server=self._server, token=self._token)

    def reach(self) -> None:
        """There is a connection that the other side has not hung up. Raises Transient where none can be had."""
        if self._connection is not None and not _readable(self._connection):
            return
        self.close()
        try:
            self._connection = self._connect()
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from error

    def post_readings(self, body: bytes) -> Answer:
        return self._request(
            "POST",
            "/api/v1/readings",
            headers={"Content-Type": "application/json", "Content-Encoding": "gzip"},
            content=body,
        )

    def grid_clock(self) -> GridClock | None:
        """The server's clock; None where it is the wall clock (speed 1, or a server that has no such question).

        Raises Transient if the server cannot be reached or does not answer the question.
        """
        response = self._request("GET", "/api/v1/clock")
        if response.status == 404:
            return None
        if response.status != 200:
            raise Transient(f"{self._server} answers HTTP {response.status} when asked for its clock")
        try:
            answer = json.loads(response.body)
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
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _request(
        self, method: str, path: str, *, headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        head = {"Authorization": f"Bearer {self._token()}", **(headers or {})}
        target = self._url.path.rstrip("/") + path
        if self._proxy is not None and self._url.scheme == "http":
            target = f"{self._server}{path}"
            head |= _proxy_authorization(self._proxy)
        try:
            response, text = self._answered(method, target, content, head)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: a token that no header can carry
            self.close()
            raise self._unreachable(error) from error
        if response.will_close:
            self.close()
        return Answer(
            status=response.status,
            body=text,
            retry_after=response.headers.get("Retry-After"),
            date=response.headers.get("Date"),
        )

    def _unreachable(self, error: Exception) -> Transient:
        what = str(error).strip() or type(error).__name__
        return Transient(f"{self._server} cannot be reached ({what})")

    def _answered(
        self, method: str, target: str, content: bytes | None, head: dict[str, str]
    ) -> tuple[HTTPResponse, bytes]:
        """One request on the connection that is kept, or on a new one if the other side has hung up meanwhile."""
        if self._connection is not None and not _readable(self._connection):
            with suppress(ConnectionError, HTTPException):
                return _exchange(self._connection, method, target, content, head)
        self.close()
        self._connection = self._connect()
        return _exchange(self._connection, method, target, content, head)

    def _connect(self) -> HTTPConnection:
        kind = HTTPSConnection if self._url.scheme == "https" else HTTPConnection
        there = self._proxy or self._url
        assert there.hostname is not None
        connection = kind(there.hostname, there.port or (80 if self._proxy else None), timeout=_CONNECT_S)
        if self._proxy is not None and self._url.scheme == "https":
            assert self._url.hostname is not None
            connection.set_tunnel(self._url.hostname, self._url.port or 443, _proxy_authorization(self._proxy))
        connection.connect()
        connection.sock.settimeout(_ANSWER_S)
        return connection


def _exchange(
    connection: HTTPConnection, method: str, target: str, content: bytes | None, head: dict[str, str]
) -> tuple[HTTPResponse, bytes]:
    connection.request(method, target, content, head)
    response = connection.getresponse()
    return response, response.read()


def _readable(connection: HTTPConnection) -> bool:
    """Between requests that means that the other side has hung up."""
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))


def _proxy_for(url: SplitResult) -> SplitResult | None:
    """The proxy that the environment names for `url`."""
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return None
    from urllib.request import getproxies_environment, proxy_bypass  # costs, and is seldom needed

    named = getproxies_environment().get(url.scheme)
    if not named or proxy_bypass(url.netloc.rpartition("@")[2]):
        return None
    return urlsplit(named if "://" in named else f"http://{named}")


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    known = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(known.encode()).decode()}"}
