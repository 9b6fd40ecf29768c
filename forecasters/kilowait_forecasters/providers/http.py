"""The one place that opens connections to a provider: one verb, bounded in time, with its failures sorted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote, quote_plus

import httpx
import stamina

from kilowait_forecasters.errors import Permanent, Transient

from .payload import shown
from .quota import Quota

T = TypeVar("T")

# A year of hourly rows with every field the services send is below 4 MiB; more is not an answer to our questions.
LARGEST_BODY_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class Patience:
    """How long one question may take. The defaults keep a planning tick short while a provider is down."""

    connect_s: float = 3.0
    read_s: float = 10.0
    total_s: float = 20.0
    attempts: int = 3
    first_wait_s: float = 0.5
    longest_wait_s: float = 5.0


class Http:
    """GET for documents of one service.

    `headers` and `key` (sent with every question, among its parameters) hold secrets: their values are cut out of every
    message. `setting` names what the operator mends when the service refuses us. `passing` are beginnings of the
    service's own sentences (lower case) which, with a 400 or 404, describe a state that passes rather than a wrong
    question. With a status in `answers` the body is the answer. `busy_s` is what a 429 that names no wait stands for.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        *,
        name: str,
        setting: str,
        headers: Mapping[str, str] | None = None,
        key: Mapping[str, str] | None = None,
        passing: tuple[str, ...] = (),
        answers: frozenset[int] = frozenset({200}),
        busy_s: float | None = None,
        quota: Quota | None = None,
        patience: Patience | None = None,
    ) -> None:
        self.name = name
        self._client = client
        self._base_url = base_url.rstrip("/")
        self._setting = setting
        self._passing = passing
        self._answers = answers
        self._busy_s = busy_s
        self._quota = quota or Quota()
        self._patience = patience or Patience()
        self._key = dict(key or {})
        self._lasting = tuple(value for value in (*(headers or {}).values(), *self._key.values()) if value)
        self._secrets = self._lasting
        for value in self._secrets:
            if not (value.isascii() and value.isprintable() and value == value.strip()):
                raise Permanent(f"{name}: {setting} holds a line break or another unprintable character; write it anew")
        self._headers = {"Accept": "application/json, */*;q=0.5", "User-Agent": user_agent(), **(headers or {})}

    def use_token(self, token: str) -> None:
        """Send `token` as bearer token from now on, in place of an earlier one."""
        self._headers["Authorization"] = f"Bearer {token}"
        self._secrets = (*self._lasting, token)

    async def get(self, path: str, params: Mapping[str, str] | None = None, *, about: str = "") -> Any:
        """The JSON document at `path`, parsed; `get_text` says the rest."""
        return await self._ask(path, params, about=about, read=self._parsed)

    async def get_text(self, path: str, params: Mapping[str, str] | None = None, *, about: str = "") -> str:
        """The document at `path`. `about` names the input in messages, e.g. `zone DE`.

        Waits for its turn where the quota has one in time. Tries again on Transient only, and not where the service
        wants us back later than we are willing to wait; until then it is not asked anything else either. Raises
        Transient or Permanent.
        """
        return await self._ask(path, params, about=about, read=self._decoded)

    async def _ask(
        self, path: str, params: Mapping[str, str] | None, *, about: str, read: Callable[[bytes, str], T]
    ) -> T:
        who = " ".join(filter(None, (self.name, path, f"for {about}" if about else "")))
        patience = self._patience
        last: Transient | None = None
        loop = asyncio.get_running_loop()
        by = loop.time() + patience.total_s
        try:
            async with asyncio.timeout(patience.total_s):
                async for attempt in stamina.retry_context(
                    on=self._pause,
                    attempts=patience.attempts,
                    timeout=patience.total_s,
                    wait_initial=patience.first_wait_s,
                    wait_jitter=patience.first_wait_s,
                    wait_max=patience.longest_wait_s,
                ):
                    # Waiting for the quota is no attempt: nothing was asked.
                    await self._quota.turn(who, within_s=by - loop.time())
                    with attempt:
                        try:
                            return await self._once(path, params, who=who, read=read)
                        except Transient as error:
                            last = error
                            raise
        except TimeoutError as error:
            if last is not None:
                raise last from error
            raise Transient(f"{who}: no whole answer within {patience.total_s:g} s; the service is slow") from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _pause(self, error: Exception) -> bool | float:
        if not isinstance(error, Transient):
            return False
        if error.retry_after_s is None:
            return True
        return error.retry_after_s if error.retry_after_s <= self._patience.longest_wait_s else False

    async def _once(
        self, path: str, params: Mapping[str, str] | None, *, who: str, read: Callable[[bytes, str], T]
    ) -> T:
        patience = self._patience
        try:
            async with self._client.stream(
                "GET",
                f"{self._base_url}/{path}" if path else self._base_url,
                params={**(params or {}), **self._key} or None,
                headers=self._headers,
                timeout=httpx.Timeout(patience.read_s, connect=patience.connect_s, pool=patience.connect_s),
                follow_redirects=False,
            ) as response:
                body = bytearray()
                async for chunk in response.aiter_bytes():
                    body += chunk
                    if len(body) > LARGEST_BODY_BYTES:
                        raise Transient(f"{who}: the answer exceeds {LARGEST_BODY_BYTES >> 20} MiB; not read on")
        except httpx.ConnectTimeout as error:
            raise Transient(f"{who}: no connection within {patience.connect_s:g} s; check the network") from error
        except httpx.TimeoutException as error:
            raise Transient(f"{who}: silent for {patience.read_s:g} s; the service is slow") from error
        except httpx.ConnectError as error:
            raise Transient(f"{who}: cannot connect ({self._safe(str(error))}); check the network") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise Permanent(f"{who}: {self._safe(self._base_url)} is not an http(s) address; mend the URL") from error
        except httpx.HTTPError as error:
            # Other messages may quote what was sent; the kind of failure is enough.
            raise Transient(f"{who}: the connection broke off ({type(error).__name__})") from error
        self._quota.told(response.headers)
        if response.status_code not in self._answers:
            self._fail(response, bytes(body), who=who)
        if not body.strip():
            raise Transient(f"{who}: the answer is empty")
        return read(bytes(body), who)

    def _decoded(self, body: bytes, who: str) -> str:
        try:
            return body.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise Transient(f"{who}: the answer is no text in UTF-8 ({len(body)} bytes)") from error

    def _parsed(self, body: bytes, who: str) -> Any:
        if body.lstrip()[:1] == b"<":
            raise Transient(f"{who}: a web page came instead of JSON: {self._sentence(body)}")
        try:
            return json.loads(body, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise Transient(f"{who}: the answer is not whole JSON ({len(body)} bytes)") from error

    def _fail(self, response: httpx.Response, body: bytes, *, who: str) -> NoReturn:
        status = response.status_code
        sentence = self._sentence(body)
        said = f"{who}: {status}" + (f": {sentence}" if sentence else "")
        if status in (401, 403):
            raise Permanent(f"{said}; check {self._setting} and what its plan includes", status=status)
        if status == 501:
            raise Permanent(f"{said}; the service does not offer this", status=status)
        if status in (408, 425, 429) or status >= 500:
            after_s = retry_after_s(response.headers)
            if status == 429 and after_s is None:
                after_s = self._busy_s
            if after_s is not None:
                self._quota.close(after_s)
            wish = f"; asked to wait {after_s:g} s" if after_s is not None else ""
            raise Transient(f"{said}{wish}", retry_after_s=after_s)
        if status in (400, 404) and sentence.lower().startswith(self._passing):
            raise Transient(said)
        if 300 <= status < 400:
            raise Permanent(f"{said}; the service has moved, mend its URL", status=status)
        if status < 300:
            raise Transient(f"{said}; an answer without the data asked for")
        raise Permanent(said, status=status)

    def _sentence(self, body: bytes) -> str:
        """What the service says went wrong, on one line and without our key; the title or text of a web page."""
        text = body[:20_000].decode("utf-8", errors="replace")
        try:
            told = _told(json.loads(text))
        except (ValueError, RecursionError):
            told = _page_text(text) if text.lstrip().startswith("<") else text
        return shown(self._safe(told), longest=200)

    def _safe(self, text: str) -> str:
        for secret in self._secrets:
            # Services repeat addresses too, in which it is written with % and +.
            for written in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}:
                text = re.sub(re.escape(written), "***", text, flags=re.IGNORECASE)
        return text


def user_agent() -> str:
    """`kilowait/<version>`; some services turn away clients without a name of their own."""
    try:
        return f"kilowait/{version('kilowait')}"
    except PackageNotFoundError:
        return "kilowait/unpackaged"


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds of the Retry-After header, both its forms, never negative; None where absent or unreadable.

    A date is measured against the answer's own Date header, so that neither side's clock needs to be right.
    """
    value = headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        wait = parsedate_to_datetime(value) - parsedate_to_datetime(headers["date"])
    except (KeyError, TypeError, ValueError):
        return None
    return max(wait.total_seconds(), 0.0)


def _told(body: object) -> str:
    """The sentence in an error document: under the usual names, those inside them, else the document itself."""
    if isinstance(body, list) and body:
        return _told(body[0])
    if not isinstance(body, Mapping):
        return str(body)
    found = []
    for key in ("error", "title", "message", "reason", "detail", "msg"):
        value = body.get(key)
        if isinstance(value, Mapping | list):
            found.append(_told(value))
        elif isinstance(value, str):
            found.append(value)
    return ": ".join(dict.fromkeys(found))


def _page_text(page: str) -> str:
    """The visible text of a web page, crudely; good enough to recognise which gateway sent it."""
    pieces = (piece.partition(">")[2] for piece in page.split("<"))
    return " ".join(piece.strip() for piece in pieces if piece.strip())


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
