"""The grid clock: the wall clock in production, a compressed one in demonstrations.

Everything a plan speaks of (deadlines, windows, intensity) is grid time. With `speed` 600 ten minutes of grid pass per
real second, counted from the moment at which wall and grid were tied together.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta


def _wall_us() -> int:
    return time.time_ns() // 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class GridClock:
    """grid = origin_grid + (wall - origin_wall) x speed, all in microseconds since 1970 UTC."""

    speed: float = 1.0
    origin_wall_us: int = 0
    origin_grid_us: int = 0
    wall_us: Callable[[], int] = field(default=_wall_us, compare=False)

    @classmethod
    def starting(cls, at: datetime, *, speed: float) -> GridClock:
        """A clock that shows `at` now and runs `speed` times as fast as the wall."""
        return cls(speed, _wall_us(), (at - _EPOCH) // timedelta(microseconds=1))

    def now(self) -> datetime:
        """Grid time, aware UTC."""
        grid = self.origin_grid_us + (self.wall_us() - self.origin_wall_us) * self.speed
        return _EPOCH + timedelta(microseconds=round(grid))

    def grid(self, real: timedelta) -> timedelta:
        """How much grid time passes in a span of real time."""
        return real * self.speed

    def describe(self) -> dict[str, float | int]:
        """What an agent needs to show the same time."""
        return {
            "speed": self.speed,
            "origin_wall_us": self.origin_wall_us,
            "origin_grid_us": self.origin_grid_us,
        }
