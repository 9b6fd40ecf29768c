"""Everything that happens, as it happens: server-sent events from the journal."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from .access import CanLook, ServerDep

router = APIRouter(tags=["events"])

_EVERY_S = 1.0


@router.get("/events", dependencies=[CanLook])
async def events(
    request: Request, server: ServerDep, last_event_id: Annotated[int | None, Header()] = None
) -> StreamingResponse:
    """A stream of journal entries from now on, or from after Last-Event-ID."""
    start = last_event_id if last_event_id is not None else await asyncio.to_thread(server.store.last_event)

    async def stream() -> AsyncIterator[str]:
        position = start
        while not await request.is_disconnected():
            for number, job_id, event in await asyncio.to_thread(server.store.events_after, position):
                position = number
                data = json.dumps({"job": job_id, **event.model_dump(mode="json")})
                yield f"id: {number}\nevent: {event.type}\ndata: {data}\n\n"
            await asyncio.sleep(_EVERY_S)

    return StreamingResponse(stream(), media_type="text/event-stream")
