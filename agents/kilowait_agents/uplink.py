"""Uplink: records from the outbox to the server, until the server holds every one of them.

Nothing leaves the outbox before the server has said that it is stored; a repeated record is harmless, a lost one is
not. Failures are told apart by whose they are: the network's and the server's are waited out, however long; a record
that the server cannot take is found, set aside and said, and never blocks the others.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import takewhile
from typing import Protocol

from .clock import Clock
from .energy import kwh
from .errors import Transient
from .outbox import Outbox
from .wire import MAX_RECORDS, Batch, Origin, Record, pack

# Answers that speak about the content. Every other failure is about the way there (wrong address, wrong token, a
# server that is busy or down): the records are good, so they are kept and sent again.
_CONTENT_STATUSES = frozenset({400, 409, 413, 415, 422})
_ADVICE = {
    401: "the token is not accepted; give a valid one with --token-file",
    403: "the token may not send readings; give one that may with --token-file",
    404: "no readings are taken there; check --server",
    **dict.fromkeys((301, 302, 303, 307, 308), "it redirects; give --server the address it redirects to"),
}

_SKEW_S = 2.5  # two seconds, and the half that the header's cut may hide

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back over HTTP; `retry_after` and `date` are the raw headers."""

    status: int
    body: bytes = b""
    retry_after: str | None = None
    date: str | None = None


class Transport(Protocol):
    """The one way out of this process."""

    def reach(self) -> None:
        """The server can be spoken to. Raises Transient where it cannot; then nothing was sent."""
        ...

    def post_readings(self, body: bytes) -> Answer:
        """Send a packed batch. Raises Transient where no answer came: it may have arrived all the same."""
        ...


@dataclass(frozen=True, slots=True)
class UplinkSettings:
    """How hard to try; seconds and records."""

    batch_records: int = 500
    first_backoff_s: float = 1.0
    longest_backoff_s: float = 60.0
    longest_retry_after_s: float = 3600.0
    """A server may ask for patience up to here; beyond it we take the liberty to ask."""
    drain_s: float = 5.0
    """How long the last records are waited for at the end of the process."""


class Uplink:
    """Sends the outbox's records in order.

    `settle` is asked once before the first batch leaves and says whether the clock that stamped the records is the
    server's; when it is not, nothing is sent and `mismatch` is set. `set_aside` is given records that the server will
    never take, and the reason.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        transport: Transport,
        origin: Origin,
        clock: Clock,
        rng: random.Random,
        set_aside: Callable[[Sequence[Record], str], None],
        settle: Callable[[], bool] | None = None,
        settings: UplinkSettings | None = None,
    ) -> None:
        self._outbox = outbox
        self._transport = transport
        self._origin = origin
        self._clock = clock
        self._rng = rng
        self._set_aside = set_aside
        self._settle = settle
        self._settings = settings or UplinkSettings()
        self._limit = min(self._settings.batch_records, MAX_RECORDS)
        self._failures = 0
        self._trouble: str | None = None
        self._skewed = False
        self.skew_s: float | None = None
        """How far the server's clock is ahead of this machine's, to half a second; None before it was heard of."""
        self.delivered_at_s: float | None = None
        """When the server last took records, in seconds since 1970."""
        self.refused_records = 0
        self._news = threading.Event()
        self._stopped = threading.Event()
        self.mismatch = threading.Event()

    @property
    def delivering(self) -> bool:
        """The server took the last records that were offered to it."""
        return self.delivered_at_s is not None and self._trouble is None

    def wake(self) -> None:
        """There is something to send."""
        self._news.set()

    def stop(self) -> None:
        """Let `run` try once more to empty the outbox, then return."""
        self._stopped.set()
        self._news.set()

    def run(self) -> None:
        """Send until stopped or `mismatch`; for a thread of its own."""
        while not self._stopped.is_set() and not self.mismatch.is_set():
            delay_s = self.attempt()
            if delay_s is None:
                self._news.wait()
                self._news.clear()
            else:
                self._stopped.wait(delay_s)
        self.drain(within_s=self._settings.drain_s, wait=time.sleep)

    def drain(self, *, within_s: float, wait: Callable[[float], object]) -> bool:
        """Send what is left, for at most `within_s` of waiting; True if nothing is left."""
        left_s = within_s
        while not self.mismatch.is_set():
            delay_s = self.step()
            if delay_s is None:
                break
            if delay_s > left_s:
                return False
            left_s -= delay_s
            wait(delay_s)
        return len(self._outbox) == 0

    def attempt(self) -> float | None:
        """The same as `step`; a fault of ours must not end the delivery of a node's energy without a word."""
        try:
            return self.step()
        except Exception:
            _log.exception("sending readings failed unexpectedly; they are kept and sent again")
            return self._backoff_s()

    def step(self) -> float | None:
        """One attempt: seconds until the next is due (0: at once), or None if there is nothing to send."""
        if not len(self._outbox):
            return None
        try:
            self._transport.reach()  # before anything is asked, read back, packed, and noted as sent
            if self._settle is not None:
                if not self._settle():
                    self.mismatch.set()
                    return None
                self._settle = None
            head = self._outbox.head(self._limit)
            if not head:
                return None
            # An agent that was given another name still owes what it kept under the old one.
            origin = replace(self._origin, agent_id=head[0].agent_id)
            records = list(takewhile(lambda record: record.agent_id == origin.agent_id, head))
            batch = Batch(origin=origin, sent_at_us=self._clock.now_us(), records=tuple(records))
            self._outbox.sending(records)
            answer = self._transport.post_readings(pack(batch))
            return self._take(records, answer)
        except Transient as error:
            return self._later(str(error), retry_after_s=error.retry_after_s)

    def _take(self, records: Sequence[Record], answer: Answer) -> float:
        if 200 <= answer.status < 300:
            self._compare_clocks(answer.date)
            stored = _stored_through(answer.body)
            if not self._forget(records, stored):
                raise Transient("the server answered 200 but stored nothing; see its log")
            self._limit = min(2 * self._limit, self._settings.batch_records, MAX_RECORDS)
            self._failures = 0
            self.delivered_at_s = time.time()
            if self._trouble is not None:
                _log.warning("the server takes readings again; %d records wait", len(self._outbox))
                self._trouble = None
            return 0.0
        said = f"HTTP {answer.status}{_detail(answer.body)}"
        if answer.status not in _CONTENT_STATUSES:
            advice = _ADVICE.get(answer.status)
            raise Transient(f"{said}; {advice}" if advice else said, retry_after_s=_seconds(answer.retry_after))
        if len(records) > 1:  # one of them is at fault, or there are too many: halve until it stands alone
            self._limit = len(records) // 2
            return 0.0
        record = records[0]
        _log.error(
            "record %s/%d of %s (%.6f kWh) is refused by the server and set aside: %s",
            record.stream_epoch, record.seq, record.device_uuid, kwh(record.energy_mj), said,
        )  # fmt: skip
        self.refused_records += 1
        self._set_aside([record], said)
        self._outbox.done([record])
        return self._backoff_s()

    def _forget(self, records: Sequence[Record], stored: dict[str, int]) -> bool:
        """Let go of what the server holds; False if that is none of `records`.

        The server's number stands still at a hole. Where the hole is one that we cannot fill (a record set aside or
        lost, a server restored from an older copy), waiting for it would block everything behind it: a 2xx means that
        this batch was committed, so its records of that epoch are done.
        """
        progress = False
        for stream_epoch in {record.stream_epoch for record in records}:
            sent = [record for record in records if record.stream_epoch == stream_epoch]
            through = stored.get(stream_epoch)
            if through is None:
                continue
            if through >= sent[0].seq:
                self._outbox.done([record for record in sent if record.seq <= through])
                progress = True
            elif through < sent[0].seq - 1:
                _log.debug("the server misses %s/%d to %d", stream_epoch, through + 1, sent[0].seq - 1)
                self._outbox.done(sent)
                progress = True
        return progress

    def _compare_clocks(self, date: str | None) -> None:
        """Say it once if this machine's clock is wrong: energy would be put into the wrong hour of the grid."""
        if date is None or self._origin.clock_speed != 1:
            return
        try:
            there_s = parsedate_to_datetime(date).timestamp() + 0.5  # the header is cut to whole seconds
        except ValueError:
            return
        self.skew_s = there_s - self._clock.now_us() / 1e6  # of the clock that stamps the records
        skewed = abs(self.skew_s) > _SKEW_S
        if skewed and not self._skewed:
            _log.warning("the server's clock is %.1f s ahead of this machine's; let NTP set both", self.skew_s)
        self._skewed = skewed

    def _later(self, reason: str, *, retry_after_s: float | None) -> float:
        if reason != self._trouble:
            _log.warning("readings cannot be delivered: %s; they are kept and sent again", reason)
            self._trouble = reason
        delay_s = self._backoff_s()
        if retry_after_s is None:
            return delay_s
        asked_s = min(max(0.0, retry_after_s), self._settings.longest_retry_after_s)
        # Never earlier than asked, and not all agents in the same instant.
        return asked_s + self._rng.uniform(0, self._settings.first_backoff_s)

    def _backoff_s(self) -> float:
        """Exponential with full jitter, so that a fleet does not come back as one."""
        ceiling_s = min(self._settings.longest_backoff_s, self._settings.first_backoff_s * 2 ** min(self._failures, 16))
        self._failures += 1
        return self._rng.uniform(ceiling_s / 10, ceiling_s)


def _stored_through(body: bytes) -> dict[str, int]:
    """The highest contiguous sequence number the server holds, per epoch. Raises Transient if it does not say."""
    try:
        answer = json.loads(body)
        stored = answer["stored_through"]
        if all(isinstance(epoch, str) and type(seq) is int and seq >= 0 for epoch, seq in stored.items()):
            return dict(stored)
    except (ValueError, TypeError, KeyError, AttributeError):
        pass
    raise Transient("the answer does not say what is stored; is this a Kilowait server?")


def _detail(body: bytes) -> str:
    """One short line of an error answer (RFC 9457 or not), with a colon before it; empty if it says nothing."""
    text = body.decode(errors="replace")
    try:
        problem = json.loads(text)
        text = str(problem.get("detail") or problem.get("title") or "")
    except (ValueError, AttributeError):
        pass
    line = " ".join(text.split())[:200]
    return f": {line}" if line else ""


def _seconds(retry_after: str | None) -> float | None:
    """Retry-After as seconds (RFC 9110: a number or a date); None if absent or unreadable."""
    if retry_after is None:
        return None
    if retry_after.strip().isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
