"""Advice on a job: levers ranked by what they would have saved, and what one really saved."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query

from kilowait_scheduler.advisor.lever import Kind

from .access import CanLook, ServerDep

router = APIRouter(tags=["jobs"])


@router.get("/jobs/{job_id}/advice", dependencies=[CanLook])
async def advice(
    job_id: str,
    server: ServerDep,
    compare: Annotated[str | None, Query(description="A later job of the same name.")] = None,
    applied: Annotated[list[Kind] | None, Query(description="Levers it used; else those its record shows.")] = None,
    work: Annotated[float, Query(gt=0, le=1e6, description="How much work it did, in units of the job's.")] = 1.0,
) -> dict[str, Any]:
    """What would have made the job cleaner, by its own record (docs/advisor.md); null is what is not known."""
    asked = server.advising.answer(job_id, other=compare, applied=applied or (), work=work)
    return await asyncio.wrap_future(server.ticker.submit(asked))
