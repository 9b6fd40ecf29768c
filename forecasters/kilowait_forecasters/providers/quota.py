"""How many requests a service allows us: as the operator states it, and as the service's own headers tell."""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from kilowait_forecasters.errors import Refused, Transient

_SPANS_S = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86_400.0}
_LIMIT = re.compile(r"(\d+)/(second|minute|hour|day)")
# Names of the headers that count down, in drafts and in the wild.
_REMAINING = ("ratelimit-remaining", "x-ratelimit-remaining", "x-rate-limit-remaining")
_RESET = ("ratelimit-reset", "x-ratelimit-reset", "x-rate-limit-reset")


@dataclass(frozen=True)
class Limit:
    """At most `count` requests in any `span_s` seconds; written `1000/day`."""

    count: int
    span_s: float

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `1000/day` back. Raises Refused on anything else."""
        found = _LIMIT.fullmatch(text.strip())
        if found is None or int(found[1]) < 1:
            raise Refused(f"{text.strip()!r} is no limit; write e.g. 60/minute, 500/hour or 1000/day")
        return cls(int(found[1]), _SPANS_S[found[2]])


class Quota:
    """Counts requests against `limits`, and stops them while the service says that none are left.

    Spans slide, so no fixed window the service may count by sees more. What was used before a restart is not known.
    `clock` gives seconds that only rise; `wall` seconds since 1970, which some services count to; `sleep` waits.
    """

    def __init__(
        self,
        *limits: Limit,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._limits = limits
        self._clock, self._wall, self._sleep = clock, wall, sleep
        self._queue = asyncio.Lock()
        self._used: deque[float] = deque()
        self._closed_until = float("-inf")

    def take(self, who: str) -> None:
        """Count one request. Raises Transient, saying in how many seconds there is one again."""
        now = self._clock()
        longest_s = max((limit.span_s for limit in self._limits), default=0.0)
        while self._used and self._used[0] <= now - longest_s:
            self._used.popleft()
        free_at = self._closed_until
        for limit in self._limits:
            if len(self._used) >= limit.count:
                # The request that has to leave the span before another one fits into it.
                free_at = max(free_at, self._used[-limit.count] + limit.span_s)
        if free_at > now:
            why = "as it wished" if free_at == self._closed_until else "its quota is used up"
            raise Transient(
                f"{who}: not asked, {why}; free again in {free_at - now:.0f} s",
                retry_after_s=free_at - now,
            )
        if self._limits:
            self._used.append(now)

    async def turn(self, who: str, *, within_s: float) -> None:
        """Count one request as soon as there is one, first come first served. Raises Transient if not `within_s`."""
        by = self._clock() + within_s
        async with self._queue:
            while True:
                try:
                    return self.take(who)
                except Transient as error:
                    wait_s = error.retry_after_s or 0.0
                    if self._clock() + wait_s >= by:
                        raise
                # Rounding: what is left of a wait after itself is below the clock's own steps.
                await self._sleep(wait_s + 1e-3)

    def close(self, wait_s: float) -> None:
        """Allow no request for so long (a day at most): the service asked for it."""
        self._closed_until = max(self._closed_until, self._clock() + min(max(wait_s, 0.0), _SPANS_S["day"]))

    def told(self, headers: Mapping[str, str]) -> None:
        """Take in what an answer's headers say is left."""
        remaining, reset = _number(headers, _REMAINING), _number(headers, _RESET)
        if remaining is None or remaining > 0 or reset is None:
            return
        # Small numbers are seconds to wait, large ones the time since 1970, the largest that in milliseconds.
        reset_s = reset / 1000 if reset > 1e11 else reset
        self.close(reset_s - self._wall() if reset_s > 1e9 else reset_s)


def _number(headers: Mapping[str, str], names: tuple[str, ...]) -> float | None:
    for name in names:
        value = headers.get(name, "").strip()
        if value.isdecimal():
            return float(value)
    return None
