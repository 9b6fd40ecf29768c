"""A figure that is not known exactly: low, mid and high, which stay in order through the arithmetic of estimates."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True)
class Range:
    """0 <= low <= mid <= high in one unit. The ends are cautious bounds, not the ends of a confidence interval.

    Products and quotients take all lows together and all highs together: as if every doubt fell on the same side.
    """

    low: float
    mid: float
    high: float

    def __post_init__(self) -> None:
        if not (0 <= self.low <= self.mid <= self.high < math.inf):
            raise ValueError(f"{self.low}, {self.mid}, {self.high} are no range; give 0 <= low <= mid <= high")

    @classmethod
    def exactly(cls, value: float) -> Self:
        """A figure without a range: given, or by definition."""
        return cls(value, value, value)

    def __mul__(self, other: Range | float) -> Range:
        by = other if isinstance(other, Range) else Range.exactly(other)
        return Range(self.low * by.low, self.mid * by.mid, self.high * by.high)

    def __truediv__(self, other: Range | float) -> Range:
        """The low end is divided by the high end of `other`. Raises ZeroDivisionError where that can be 0."""
        by = other if isinstance(other, Range) else Range.exactly(other)
        return Range(self.low / by.high, self.mid / by.mid, self.high / by.low)


def summed(ranges: Iterable[Range | None]) -> Range | None:
    """The sum of all; None where there is none, or one of them is not known."""
    parts = list(ranges)
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    return Range(sum(part.low for part in known), sum(part.mid for part in known), sum(part.high for part in known))


def mean(ranges: Iterable[Range], weights: Iterable[float]) -> Range:
    """Lows, mids and highs averaged, each by weight."""
    parts = list(zip(ranges, weights, strict=True))
    total = sum(weight for _, weight in parts)

    def averaged(pick: Callable[[Range], float]) -> float:
        return sum(pick(part) * weight for part, weight in parts) / total

    low, mid, high = averaged(lambda r: r.low), averaged(lambda r: r.mid), averaged(lambda r: r.high)
    return Range(min(low, mid), mid, max(mid, high))  # of equal parts, rounding may put the mean a hair outside
