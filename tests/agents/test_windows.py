"""Jobs of a few seconds at random moments: how near the counter, read between its ticks, comes to the truth."""

from __future__ import annotations

import random

import pytest

from fake_nvml import FakeNode
from kilowait_agents.nvml import NvmlMeter


@pytest.mark.parametrize(("length_s", "most"), [(1.0, 0.03), (5.0, 0.01), (60.0, 0.001)])
def test_of_three_hundred_windows_at_random_moments_nineteen_in_twenty_are_right(
    node: FakeNode, length_s: float, most: float
) -> None:
    node.gpu(tick_ms=100, phase_ms=33).square(0, 1e6)
    node.write()
    meter = NvmlMeter(nvml=node.pynvml(), clock=node, wait=node.advance)
    rng, errors = random.Random(4), []
    for _ in range(300):
        t0 = rng.uniform(100, 900_000)
        counters = []
        for edge in (t0, t0 + length_s):
            node.at(edge)
            counters.append(meter.read(exact=True)[0].counter_mj or 0)
        truth = node.truth_mj(0, t0, t0 + length_s)
        errors.append(abs(counters[1] - counters[0] - truth) / truth)
    assert sorted(errors)[int(0.95 * len(errors))] <= most
