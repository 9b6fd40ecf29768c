"""Estimates before anything runs: energy, carbon and money of a training job, in the regions there are."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from kilowait_scheduler.core.estimate_request import read
from kilowait_scheduler.service.estimating import answer

from .access import CanLook, ServerDep

router = APIRouter(tags=["estimates"])


@router.post("/estimates", dependencies=[CanLook])
async def estimate(body: dict[str, Any], server: ServerDep) -> dict[str, Any]:
    """FLOP, GPU-hours, energy, carbon, embodied carbon and money of a job, with ranges and every assumption.

    The body has `gpu`, one of `params` with `tokens`, `flops`, `gpu_hours`, and whatever is known better than we assume
    (docs/estimate.md). Stores nothing.
    """
    regions = await asyncio.to_thread(server.store.regions)
    return await answer(read(body), now=server.clock.now(), regions=regions, forecasts=server.grid.forecasts())
