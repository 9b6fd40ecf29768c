"""Clocks: where on the time line a reading belongs, and how long something took.

A clock has two hands. `now_us` places energy in the hours of the grid, so it follows the system's wall clock; it never
goes backwards. `mono_ns` only ever measures durations.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from .errors import Refused

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_ns() -> int:
    """Nanoseconds since boot, including suspend (CLOCK_BOOTTIME); plain monotonic time where there is no such clock."""
    return time.clock_gettime_ns(_BOOT)


class Clock(Protocol):
    """Time as the agent sees it."""

    def now_us(self) -> int:
        """Microseconds since 1970-01-01 UTC; never less than an earlier answer."""
        ...

    def mono_ns(self) -> int:
        """Nanoseconds from an arbitrary start; for durations on this clock."""
        ...


class WallClock:
    """The system's wall clock, made safe against steps.

    A step forward is followed at once: one interval is long on paper. After a step back our time runs at half speed
    until the system has caught up, so intervals stay in order, never overlap, and no energy is placed twice. Safe
    between threads.
    """

    def __init__(self, *, wall_ns: Callable[[], int] = time.time_ns, mono_ns: Callable[[], int] = boot_ns) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns
        self._lock = threading.Lock()
        self._last_us = wall_ns() // 1000
        self._last_mono_us = mono_ns() // 1000

    def now_us(self) -> int:
        with self._lock:
            mono_us = self._mono_ns() // 1000
            slowed_us = self._last_us + max(0, mono_us - self._last_mono_us) // 2
            self._last_us = max(self._wall_ns() // 1000, slowed_us)
            self._last_mono_us = mono_us
            return self._last_us

    def not_before(self, us: int) -> None:
        """From now on answer with later times than `us`, where an earlier life of the agent had got to."""
        with self._lock:
            self._last_us = max(self._last_us, us)

    def mono_ns(self) -> int:
        return self._mono_ns()


class CompressedClock:
    """Grid time for demonstrations: `grid = origin_grid + (wall - origin_wall) * speed`.

    One real second passes as `speed` seconds of the grid's day. Both hands run at that speed.
    """

    def __init__(self, *, wall: Clock, origin_wall_us: int, origin_grid_us: int, speed: float) -> None:
        if not 0 < speed < float("inf"):
            raise Refused(f"clock speed {speed} is not a positive number; 1 is real time", field="speed")
        self._wall = wall
        self._origin_wall_us = origin_wall_us
        self._origin_grid_us = origin_grid_us
        self._ratio = float(speed).as_integer_ratio()
        self.speed = speed

    def scale(self, amount: int) -> int:
        """`amount` (ns, µs or mJ) times the speed, rounded down; monotone, and exact for whole speeds."""
        numerator, denominator = self._ratio
        return amount * numerator // denominator

    def grid_us(self, wall_us: int) -> int:
        """The grid time that belongs to a wall time."""
        return self._origin_grid_us + self.scale(wall_us - self._origin_wall_us)

    def now_us(self) -> int:
        return self.grid_us(self._wall.now_us())

    def mono_ns(self) -> int:
        return self.scale(self._wall.mono_ns())
