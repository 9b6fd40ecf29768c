"""Regions and forecasts, the clock, and the agents' readings."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from kilowait_scheduler.core.errors import BadInput, NotFound
from kilowait_scheduler.core.job import first_problem
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.intake.readings import read_batch
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.entitlement import grants

from .access import CanAdmin, CanLook, Reporter, ServerDep
from .shapes import forecast_shape, health_shape, intensity_now, source_of

log = logging.getLogger("kilowait.intake")

router = APIRouter(tags=["grid"])

_LARGEST_BATCH = 8 * 1024 * 1024


@router.get("/regions", dependencies=[CanLook])
def regions(server: ServerDep) -> list[dict[str, Any]]:
    """Every region with its zone's intensity now, where that number comes from, and its cluster's health."""
    now = server.clock.now()
    return [
        {
            **region.model_dump(),
            "now_g_per_kwh": intensity_now(server.grid.view(region.zone), now=now),
            "forecast": source_of(server.grid.view(region.zone), now=now),
            "cluster": health_shape(server.control.health.get(region.name)),
        }
        for region in server.store.regions()
    ]


@router.post("/regions", status_code=201, dependencies=[CanAdmin])
def put_region(region: Region, server: ServerDep) -> Region:
    """Add a region, or replace the one of the same name."""
    server.add_region(region)
    return region


@router.patch("/regions/{name}", dependencies=[CanAdmin])
def change_region(name: str, body: dict[str, Any], server: ServerDep) -> Region:
    """Change some fields of a region."""
    known = next((region for region in server.store.regions() if region.name == name), None)
    if known is None:
        raise NotFound(f"no region {name!r}")
    try:
        changed = Region.model_validate({**known.model_dump(), **body, "name": name})
    except ValidationError as error:
        raise BadInput(f"region {name}: {first_problem(error, model=Region)}") from None
    server.add_region(changed)
    return changed


@router.get("/forecasts", dependencies=[CanLook])
async def forecasts(
    server: ServerDep,
    zone: Annotated[str | None, Query(description="One zone; default: all in use.")] = None,
    signal: Annotated[
        Literal["average", "marginal"],
        Query(description="marginal: to look at, asked for now; plans and accounts are kept in average."),
    ] = "average",
) -> list[dict[str, Any]]:
    """Current forecasts with band, source, age, and who did not answer."""
    used = {region.zone for region in await asyncio.to_thread(server.store.regions)}
    zones, now = [zone] if zone else sorted(used), server.clock.now()
    if signal == "marginal":
        # Asked for now, of any zone: WattTime's regions are other ones than those in use.
        views = await asyncio.gather(*(server.grid.marginal_view(one, now=now) for one in zones))
        return [forecast_shape(view, now=now) for view in views]
    if zone and zone not in used:
        raise NotFound(f"no region is in zone {zone!r}; zones in use: {', '.join(sorted(used)) or 'none'}")
    return [forecast_shape(server.grid.view(one), now=now) for one in zones]


@router.get("/grants", dependencies=[CanLook])
async def granted(server: ServerDep) -> list[dict[str, Any]]:
    """What the providers that say so grant our keys for the zones in use; asked for now."""
    zones = sorted({region.zone for region in await asyncio.to_thread(server.store.regions)})
    return [asdict(one) for one in await grants(server.probes, zones, now=server.clock.now())]


@router.get("/clock")
def clock(server: ServerDep) -> dict[str, Any]:
    """Grid time, and how it runs against the wall: 1 everywhere but in demonstrations."""
    return {**server.clock.describe(), "now": server.clock.now().isoformat()}


@router.post("/readings")
async def readings(request: Request, server: ServerDep, reporter: Reporter) -> dict[str, Any]:
    """Store a gzipped batch of interval records once; answers how far each stream is stored without a hole.

    A token that is bound to a node sends that node's readings only, under the name of an agent of that node.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BATCH:
            raise HTTPException(413, "batch too large; send fewer records at a time")
    return {"stored_through": await asyncio.to_thread(_store, bytes(body), server=server, node=reporter.node)}


def _store(body: bytes, *, server: Server, node: str | None) -> dict[str, int]:
    """Keep a batch that may only be of `node` (None: of any); how far each of its streams is stored without a hole."""
    batch = read_batch(body)
    agent_id = batch.agent_id
    others = set() if node is None else (set(batch.columns["node"]) | server.store.nodes_of(agent_id)) - {node}
    if others:
        raise HTTPException(
            403, f"this token may only send the readings of node {node}, not of {', '.join(sorted(others))}"
        )
    stored, conflicts = server.store.add_readings(batch, at=server.clock.now())
    if conflicts:
        log.error("agent %s sent other content under known sequences %s", agent_id, conflicts[:5])
        raise HTTPException(409, f"sequences {conflicts[:5]} were stored before with other content")
    return stored
