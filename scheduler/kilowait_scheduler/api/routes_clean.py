"""Contracted clean energy per region, and the mix that is left without it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from kilowait_scheduler.core.clean import CleanSupply, ResidualMix
from kilowait_scheduler.core.errors import NotFound
from kilowait_scheduler.core.window import Utc

from .access import CanAdmin, CanLook, ServerDep

router = APIRouter(tags=["accounts"])


@router.get("/clean-supply", dependencies=[CanLook])
def clean_supplies(server: ServerDep) -> list[dict[str, Any]]:
    """Contracts by id, with what each comes to; `hourly` where it is known hour by hour."""
    return [_shape(supply) for supply in server.store.clean_supplies()]


@router.post("/clean-supply", status_code=201, dependencies=[CanAdmin])
def put_clean_supply(supply: CleanSupply, server: ServerDep) -> dict[str, Any]:
    """Add a contract, or replace the one of the same id: `wh` as one value per hour, or one for the whole span."""
    _known_region(supply.region, server)
    server.store.put_clean_supply(supply)
    return _shape(supply)


@router.delete("/clean-supply/{supply_id}", status_code=204, dependencies=[CanAdmin])
def remove_clean_supply(supply_id: str, server: ServerDep) -> None:
    """Remove a contract; reports made from now on know nothing of it."""
    server.store.remove_clean_supply(supply_id)


@router.get("/residual-mixes", dependencies=[CanLook])
def residual_mixes(server: ServerDep) -> list[ResidualMix]:
    """Residual mixes by region and start."""
    return server.store.residual_mixes()


@router.post("/residual-mixes", status_code=201, dependencies=[CanAdmin])
def put_residual_mix(mix: ResidualMix, server: ServerDep) -> ResidualMix:
    """Add a residual mix, or replace the one of the same region and start."""
    _known_region(mix.region, server)
    server.store.put_residual_mix(mix)
    return mix


@router.delete("/residual-mixes", status_code=204, dependencies=[CanAdmin])
def remove_residual_mix(server: ServerDep, region: str, start: Utc) -> None:
    """Remove the residual mix of a region that begins at `start`."""
    server.store.remove_residual_mix(region, start=start)


def _known_region(name: str, server: ServerDep) -> None:
    names = [region.name for region in server.store.regions()]
    if name not in names:
        raise NotFound(f"no region {name!r}; there are {', '.join(names) or 'none yet'}")


def _shape(supply: CleanSupply) -> dict[str, Any]:
    return {
        **supply.model_dump(mode="json", exclude={"wh"}),
        "hourly": supply.hourly,
        "mwh": sum(supply.wh) / 1e6,
    }
