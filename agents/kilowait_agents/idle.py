"""What a device draws when nobody holds it, as this node has seen it; relearned as it changes. Pure."""

from __future__ import annotations

from collections import deque

_DAY_US = 86_400_000_000
_APART_US = 60_000_000  # one observation a minute is plenty, and bounds the memory
_LOW = 0.05  # the 5th percentile clocks that are still up after a job do not count as idle


class IdlePower:
    """The 5th percentile of the mean power of a device's idle stretches over the last day, in mW."""

    def __init__(self) -> None:
        self._seen: deque[tuple[int, int]] = deque()
        self.mw: int | None = None
        """None before anything was seen."""

    def see(self, *, at_us: int, energy_mj: int, length_ns: int) -> None:
        """A stretch of `length_ns` that ended at `at_us`, through which nobody held the device."""
        if length_ns <= 0 or (self._seen and at_us - self._seen[-1][0] < _APART_US):
            return
        self._seen.append((at_us, energy_mj * 1_000_000_000 // length_ns))
        while self._seen[0][0] < at_us - _DAY_US:
            self._seen.popleft()
        ordered = sorted(power for _, power in self._seen)
        self.mw = ordered[int(_LOW * len(ordered))]
