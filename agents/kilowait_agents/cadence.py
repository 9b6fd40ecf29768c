"""How often to ask the driver: once a second where that is cheap, more rarely where it costs."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from .meter import Meter

# A driver's counter took 4 ms of CPU per GPU on an H200 (docs/benchmarks/agent.md): read once a second on a node of
# eight, that is 3 % of a core for nothing, since counters lose nothing in between. Together these are 2.5 s per hour.
_READING_SHARE = 0.0004  # of a core
_LOOKING_SHARE = 0.0003


@dataclass(frozen=True, slots=True)
class Cadence:
    """How often, in real seconds: looks at the processes, readings of the counters, and records at the latest.

    Readings are also taken at each start and end of a run. `speed` is that of the meter's clock.
    """

    look_s: float = 1.0
    interval_s: float = 1.0
    flush_s: float = 5.0
    speed: float = 1.0


def affordable(meter: Meter, *, flush_s: float, speed: float) -> Cadence:
    """A cadence that keeps the CPU of asking `meter` low, from what it costs now. Raises what the meter raises."""
    interval_s = _rarely(_cpu_s(lambda: meter.read()), share=_READING_SHARE, longest_s=30.0)
    look_s = _rarely(_cpu_s(lambda: meter.processes()), share=_LOOKING_SHARE, longest_s=5.0)
    look_s = min(look_s, interval_s)
    return Cadence(look_s=look_s, interval_s=interval_s, flush_s=max(flush_s, interval_s), speed=speed)


def _rarely(cost_s: float, *, share: float, longest_s: float) -> float:
    return float(round(min(longest_s, max(1.0, cost_s / share))))


def _cpu_s(ask: Callable[[], object]) -> float:
    """CPU seconds of one call: the least of three, so that the first, which loads things, does not count."""
    costs = []
    for _ in range(3):
        before = time.thread_time()
        ask()
        costs.append(time.thread_time() - before)
    return min(costs)
