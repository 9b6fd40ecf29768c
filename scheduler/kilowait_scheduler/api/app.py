"""The ASGI application: REST under `/api/v1`, pages under `/`, health and metrics beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from importlib.metadata import version

from fastapi import APIRouter, FastAPI
from fastapi.responses import JSONResponse, PlainTextResponse

from kilowait_scheduler.metrics import exposition
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.web.pages import router as pages

from . import (
    problems,
    routes_advice,
    routes_budgets,
    routes_clean,
    routes_estimates,
    routes_events,
    routes_grid,
    routes_jobs,
    routes_money,
)


def create_app(server: Server) -> FastAPI:
    """An app for a composed server; the control loop runs from start-up to shutdown."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        server.ticker.start()
        yield
        server.ticker.stop()
        server.close()

    app = FastAPI(
        title="Kilowait",
        version=version("kilowait"),
        summary="Carbon-aware job scheduler for AI training clusters",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.server = server
    problems.install(app)
    v1 = APIRouter(prefix="/api/v1")
    books = (routes_budgets, routes_money, routes_clean)
    for routes in (routes_jobs, routes_grid, *books, routes_advice, routes_estimates, routes_events):
        v1.include_router(routes.router)
    app.include_router(v1)
    app.include_router(pages)

    @app.get("/healthz", include_in_schema=False)
    def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> JSONResponse:
        """Ready while the database answers and the control loop has gone round lately."""
        problem = _not_ready(server)
        return JSONResponse({"status": problem or "ok"}, status_code=503 if problem else 200)

    @app.get("/metrics", include_in_schema=False)
    def metrics() -> PlainTextResponse:
        return PlainTextResponse(exposition(server.store), media_type="text/plain; version=0.0.4; charset=utf-8")

    return app


def _not_ready(server: Server) -> str:
    try:
        server.store.regions()
    except Exception as error:
        return f"the database does not answer: {type(error).__name__}"
    ticked = server.control.ticked_at
    if ticked is None:
        return "the control loop has not gone round yet"
    age = (server.clock.now() - ticked) / server.clock.speed
    limit = max(3 * server.settings.tick, timedelta(seconds=60))
    return f"the control loop last went round {age.total_seconds():.0f} s ago" if age > limit else ""
