"""The wire to one Ray dashboard: addresses, tokens, timeouts, the breaker, and what each failure means."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
import time
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from . import ray_answers
from .breaker import Breaker
from .executor import BadAnswer, NotConnected, Permanent, Unauthorized, Unreachable, WrongAddress

_CONNECT_S: Final = 3.0
_READ_S: Final = 15.0
_CONCURRENT: Final = 4
# What stands before a cluster says when the cluster itself does not answer, or when it should be left in peace.
_GATEWAY: Final = frozenset({429, 502, 503, 504})

Verify = ssl.SSLContext | str | Path | bool


class RayHttp:
    """Calls to the dashboard of one region; at most four at a time.

    A cluster that does not answer is left alone for growing pauses, during which calls fail at once.
    """

    def __init__(
        self,
        *,
        region: str,
        address: str,
        client: httpx.AsyncClient | None,
        token: str | None,
        headers: Mapping[str, str] | None,
        verify: Verify,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = f"region {region} ({address.rstrip('/')})"
        # Said at each call and not here: a region that is set up wrongly must not keep the others from being built.
        self._flaw = _flaw(region, address, token)
        self._base = address.rstrip("/")
        self._has_token = token is not None
        self._headers = {**({"Authorization": f"Bearer {token.strip()}"} if token else {}), **(headers or {})}
        self._own_client = client is None
        # A proxy of the environment is for the world outside; it would swallow calls to this very machine.
        self._client = client or httpx.AsyncClient(verify=_trust(verify), trust_env=not _is_local(address))
        self._clock = clock
        self._breaker = Breaker()
        self._slots = asyncio.Semaphore(_CONCURRENT)

    async def send(
        self,
        method: str,
        path: str,
        *,
        what: str,
        wait_s: float = _READ_S,
        json: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        proves_life: bool = True,
    ) -> httpx.Response:
        """The answer, whatever its status, except where the cluster itself did not get to speak.

        Raises NotConnected, Unreachable, Unauthorized or WrongAddress. `what` completes "cannot ...". A whole call
        takes at most `wait_s` and a connection's time more. Where `proves_life` is False, an answer is no reason to
        believe that other calls would be answered.
        """
        async with self._call(what, wait_s=wait_s, proves_life=proves_life):
            response = await self._client.request(
                method, self._base + path, json=json, content=content, headers=self._headers, timeout=_timeout(wait_s)
            )
            self._judge(response, what=what)
            return response

    async def tail(self, path: str, *, params: Mapping[str, str], what: str, limit_bytes: int) -> bytes | None:
        """The last `limit_bytes` of an answer of any length; None if the status is not 200. Errors as in `send`."""
        async with self._call(what, wait_s=2 * _READ_S, proves_life=True):
            kept = b""
            async with self._client.stream(
                "GET", self._base + path, params=params, headers=self._headers, timeout=_timeout(_READ_S)
            ) as response:
                self._judge(response, what=what)
                if response.status_code != 200:
                    return None
                async for chunk in response.aiter_bytes():
                    kept = (kept + chunk)[-limit_bytes:]
            return kept

    def json(self, response: httpx.Response, *, what: str) -> Any:
        """The JSON of a successful answer; WrongAddress where there is no such route, else BadAnswer."""
        if response.status_code in (404, 405):
            raise WrongAddress(f"cannot {what}: {self.name} has no Ray Jobs API there; check the region's address")
        if not response.is_success:
            raise self.bad(what, f"HTTP {response.status_code}: {ray_answers.one_line(response.text)}")
        try:
            return response.json()
        except ValueError:
            kind = response.headers.get("content-type", "no content type").split(";")[0]
            start = ray_answers.one_line(response.text, limit=80)
            raise self.bad(what, f"not JSON but {kind}: {start!r}; is a proxy or a login page in between?") from None

    def bad(self, what: str, detail: str) -> BadAnswer:
        """The error for an answer that does not fit the API."""
        return BadAnswer(f"cannot {what}: {self.name} answered with something else ({detail})")

    async def close(self) -> None:
        """Close the connections, unless the client belongs to someone else."""
        if self._own_client:
            await self._client.aclose()

    @contextlib.asynccontextmanager
    async def _call(self, what: str, *, wait_s: float, proves_life: bool) -> AsyncIterator[None]:
        if self._flaw is not None:
            raise type(self._flaw)(str(self._flaw))
        async with self._slots:
            if not self._breaker.permit(self._clock()):
                pause_s = self._breaker.wait_s(self._clock())
                message = (
                    f"cannot {what}: {self.name} did not answer several times; it is asked again in {pause_s:.0f} s"
                )
                raise NotConnected(message, retry_after_s=pause_s)
            try:
                async with asyncio.timeout(_CONNECT_S + wait_s):
                    yield
            except BaseException as error:
                failure = self._failure(error, what=what, wait_s=wait_s)
                if isinstance(failure, Unreachable):
                    self._breaker.missed(self._clock())
                    failure.retry_after_s = max(self._breaker.wait_s(self._clock()), 1.0)
                elif isinstance(error, WrongAddress | Unauthorized):
                    self._breaker.answered()
                else:
                    self._breaker.abandoned()
                if failure is None or failure is error:
                    raise
                raise failure from error
            if proves_life:
                self._breaker.answered()
            else:
                self._breaker.abandoned()

    def _failure(self, error: BaseException, *, what: str, wait_s: float) -> Exception | None:
        """The error of ours that `error` is or means; None for what is not about the cluster, as a cancellation."""
        match error:
            case Unreachable() | Unauthorized() | WrongAddress():
                return error
            case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.ProxyError() | httpx.PoolTimeout():
                if _untrusted(error):
                    hint = "give its CA bundle as `verify`"
                    return WrongAddress(f"cannot {what}: the certificate of {self.name} is not trusted; {hint}")
                detail = _said(error) or "the connection was not made in time"
                return NotConnected(f"cannot {what}: {self.name} cannot be reached: {detail}")
            case httpx.UnsupportedProtocol() | httpx.InvalidURL() | httpx.LocalProtocolError():
                return WrongAddress(f"cannot {what}: {self.name}: {_said(error)}")
            case TimeoutError() | httpx.TimeoutException():
                return Unreachable(f"cannot {what}: {self.name} did not answer within {wait_s:.0f} s")
            case httpx.HTTPError():
                return Unreachable(f"cannot {what}: {self.name} broke off: {_said(error)}")
        return None

    def _judge(self, response: httpx.Response, *, what: str) -> None:
        status = response.status_code
        if status in (401, 403):
            if not self._has_token:
                hint = "it wants a token: set this region's token to the cluster's RAY_AUTH_TOKEN"
            elif status == 401:
                hint = "the token did not arrive: a proxy may eat it; send it as header X-Ray-Authorization too"
            else:
                hint = "it does not accept this region's token: set it to the cluster's RAY_AUTH_TOKEN"
            raise Unauthorized(f"cannot {what}: {self.name} answers HTTP {status}; {hint}")
        if response.is_redirect:
            target = response.headers.get("location", "elsewhere").split("?")[0]
            raise WrongAddress(
                f"cannot {what}: {self.name} points to {target}; set the region's address to where it leads"
            )
        if status in _GATEWAY:
            raise Unreachable(f"cannot {what}: {self.name} answers HTTP {status}: the gateway says it is not available")


def _flaw(region: str, address: str, token: str | None) -> Permanent | None:
    """What is wrong with the set-up of a region, if that can be seen without asking the cluster."""
    try:
        parts = urlsplit(address)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is no number, half a bracket
        usable = False
    if not usable:
        shown = re.sub(r"//[^/]*@", "//", address)
        return WrongAddress(f"region {region}: {shown!r} is no address; use http://HOST:8265 or https://HOST")
    if parts.username or parts.password or parts.query or parts.fragment:
        return WrongAddress(f"region {region}: its address holds more than host, port and path; a token is set apart")
    if token is not None and not re.fullmatch(r"[\x21-\x7e]+", token.strip()):
        return Unauthorized(f"region {region}: its token is empty or garbled; set it to the cluster's RAY_AUTH_TOKEN")
    return None


def _is_local(address: str) -> bool:
    return bool(re.match(r"https?://(localhost|127\.|\[::1\])", address))


def _timeout(wait_s: float) -> httpx.Timeout:
    return httpx.Timeout(wait_s, connect=_CONNECT_S)


def _trust(verify: Verify) -> ssl.SSLContext | bool:
    if isinstance(verify, str | Path):
        return ssl.create_default_context(cafile=str(verify))
    return verify


def _untrusted(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY_FAILED" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False


def _said(error: Exception) -> str:
    return ray_answers.one_line(str(error)) or type(error).__name__
