"""Estimates before anything runs: energy, carbon and money of a training job, in the regions there are."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter

from kilowait_scheduler.core.estimate_request import read
from kilowait_scheduler.core.money import price_of
from kilowait_scheduler.service.estimating import answer
from kilowait_scheduler.service.history import history_for

from .access import CanLook, ServerDep

router = APIRouter(tags=["estimates"])


@router.post("/estimates", dependencies=[CanLook])
async def estimate(body: dict[str, Any], server: ServerDep) -> dict[str, Any]:
    """FLOP, GPU-hours, energy, carbon, embodied carbon and money of a job, with ranges and every assumption.

    The body has `gpu`, one of `params` with `tokens`, `flops`, `gpu_hours`, and whatever is known better than we assume
    (docs/estimate.md). Power is what past jobs on that type of GPU drew, or jobs of the name `like`, where enough were
    measured; carbon has the price of `project`. Stores nothing.
    """
    request, now = read(body), server.clock.now()
    prices = await asyncio.to_thread(server.store.carbon_prices)
    return await answer(
        request,
        now=now,
        regions=await asyncio.to_thread(server.store.regions),
        forecasts=server.grid.forecasts(),
        measured=await asyncio.to_thread(history_for, server.store, request.gpu, like=request.like, now=now),
        carbon_price=price_of(prices, project=request.project, at=now),
    )
