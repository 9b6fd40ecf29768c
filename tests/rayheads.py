"""Two real Ray heads on this machine, shared by all tests of a session.

"A" wants a token and "B" is open, so that both ways in are used all the time.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import pytest

from kilowait_scheduler.dispatch import local_heads
from kilowait_scheduler.dispatch.local_heads import LocalHead

T = TypeVar("T")


@pytest.fixture(scope="session")
def ray_regions(
    tmp_path_factory: pytest.TempPathFactory, lane_missing: Callable[[str], NoReturn]
) -> Iterator[dict[str, LocalHead]]:
    """{"A": ..., "B": ...}: two heads with 4 GPUs each by Ray's count, ready to run jobs."""
    lacking = local_heads.missing()
    if lacking is not None:
        lane_missing(lacking)
    folder = tmp_path_factory.mktemp("heads")

    async def start() -> list[LocalHead | BaseException]:
        both = (("A", "token-of-region-a"), ("B", None))
        return await asyncio.gather(
            *(
                LocalHead.start(region=name, run_dir=folder / name, token=token, rng=random.Random())
                for name, token in both
            ),
            return_exceptions=True,
        )

    async def stop(heads: list[LocalHead]) -> None:
        for head in heads:
            await head.stop()

    came = _run(start())
    heads = [head for head in came if isinstance(head, LocalHead)]
    try:
        for problem in came:
            if isinstance(problem, BaseException):
                raise problem
        yield {head.region: head for head in heads}
    finally:
        _run(stop(heads))


def _run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end on a loop of its own: tests that ask for the heads may have one running already."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()
