"""A circuit breaker: after a few calls without an answer the next ones fail at once, and one at a time tries again.

Pure: the caller passes in the time, in seconds of any clock that only goes forward.
"""

from __future__ import annotations

# Three misses in a row are no hiccup. The pauses then double, and a region that came back waits a minute at most.
_MISSES_TO_OPEN = 3
_FIRST_PAUSE_S = 2.0
_LONGEST_PAUSE_S = 60.0


class Breaker:
    """Closed while calls are answered; open for a pause after several in a row were not; then one trial call."""

    def __init__(self) -> None:
        self._misses = 0
        self._opens_until_s: float | None = None
        self._trial = False

    def wait_s(self, now_s: float) -> float:
        """Seconds until a call is let through, 0 if it is now. Asking takes no permit."""
        if self._opens_until_s is None:
            return 0.0
        if now_s < self._opens_until_s:
            return self._opens_until_s - now_s
        return _FIRST_PAUSE_S if self._trial else 0.0

    def permit(self, now_s: float) -> bool:
        """Whether a call may go out now; each granted permit ends in `answered`, `missed` or `abandoned`."""
        if self.wait_s(now_s) > 0:
            return False
        self._trial = self._opens_until_s is not None
        return True

    def answered(self) -> None:
        """The cluster answered, whatever it said."""
        self._misses = 0
        self._opens_until_s = None
        self._trial = False

    def missed(self, now_s: float) -> None:
        """No answer came."""
        self._misses += 1
        self._trial = False
        over = self._misses - _MISSES_TO_OPEN
        if over >= 0:
            # The exponent is bounded, or a region that is down for a month overflows a float.
            self._opens_until_s = now_s + min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(over, 10))

    def abandoned(self) -> None:
        """The call was given up before anything could be learnt from it."""
        self._trial = False
