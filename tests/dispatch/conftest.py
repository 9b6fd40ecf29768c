"""The bench, on a cluster in memory and on real Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kilowait_scheduler.dispatch.fake import FakeExecutor

from .bench import Bench, Clock, fake_program


@pytest.fixture(params=["fake", pytest.param("ray", marks=pytest.mark.ray)])
def bench_name(request: pytest.FixtureRequest) -> str:
    if request.param == "ray":
        request.getfixturevalue("ray_regions")
    return str(request.param)


@pytest.fixture
async def bench(bench_name: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    if bench_name == "fake":
        clock = Clock()

        async def let_pass(seconds: float) -> None:
            clock.pass_s(seconds)

        a, b = (FakeExecutor(region=name, now=clock, programs=fake_program, gpus=4) for name in "AB")
        yield Bench(a, b, tmp_path, let_pass, bench_name)
        return
    regions = request.getfixturevalue("ray_regions")
    real = Bench(regions["A"].executor(), regions["B"].executor(), tmp_path, asyncio.sleep, bench_name)
    try:
        yield real
    finally:
        # The heads are shared: nothing of one test may hold GPUs in the next.
        for executor in (real.a, real.b):
            for submission_id in real.ids:
                await executor.stop(submission_id)
            await executor.close()
