"""Planning past one machine: jobs solved at common prices need nothing of each other, so shards of them run on Ray.

Prices go out and GPU counts come back; insertion and improvement stay in this process. The shards are cut as the
threads of one process cut them, so the plan is the same, wherever it was made.
"""

from __future__ import annotations

import logging
from itertools import pairwise
from typing import Any

import numpy as np

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.planner.arrays import Arrays, slice_of
from kilowait_scheduler.planner.prices import LocalRound, edges
from kilowait_scheduler.planner.problem import Floats, Ints


class _Shard:
    """A range of jobs and what was learned about their floors; lives in a Ray actor."""

    def __init__(self, p: Arrays, floor: Floats, budgets: int) -> None:
        self._round = LocalRound(p, floor, budgets=budgets, chunks=1)

    def round(self, price: Floats, scale: Floats, wanted: Ints) -> tuple[float, Ints, Floats]:
        return self._round(price, scale, wanted)


class RayShards:
    """Makes rounds of pricing that run on the Ray cluster at `address` (`local` starts one here, `auto` finds one)."""

    def __init__(self, address: str) -> None:
        try:
            import ray
        except ImportError:
            raise BadInput("ray: not installed here; pip install 'kilowait[ray]', or plan without --ray") from None
        self._ray: Any = ray
        if not ray.is_initialized():
            try:
                ray.init(address=address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, ValueError) as error:
                raise BadInput(f"ray: no cluster at {address!r}: {str(error).splitlines()[0]}") from None

    def __call__(self, p: Arrays, floor: Floats, budgets: int) -> RayRound:
        return RayRound(self._ray, p, floor, budgets)

    def close(self) -> None:
        self._ray.shutdown()


class RayRound:
    """One round over all shards; the same answer as `LocalRound`, whatever order they finish in."""

    def __init__(self, ray: Any, p: Arrays, floor: Floats, budgets: int) -> None:
        self._ray, self._shape, self._budgets = ray, p.cap.shape, budgets
        # A shard asks for no whole CPU: there may be more shards than CPUs, and they take turns.
        actor = ray.remote(num_cpus=0.1)(_Shard)
        cuts = edges(len(p.first))
        self._ranges = list(pairwise(cuts))
        self._shards = []
        for begin, end in self._ranges:
            pairs = slice(int(p.pair_at[begin]), int(p.pair_at[end]))
            self._shards.append(actor.remote(slice_of(p, begin, end), floor[pairs], budgets))

    def __call__(self, price: Floats, scale: Floats, wanted: Ints) -> tuple[float, Ints, Floats]:
        sent = self._ray.put(price)
        asked = [
            shard.round.remote(sent, scale[begin:end], wanted[begin:end])
            for shard, (begin, end) in zip(self._shards, self._ranges, strict=True)
        ]
        total, use, spent = 0.0, np.zeros(self._shape, dtype=np.int64), np.zeros(self._budgets)
        for paid, used, grams in self._ray.get(asked):
            total += paid
            use += used
            spent += grams
        return total, use, spent
