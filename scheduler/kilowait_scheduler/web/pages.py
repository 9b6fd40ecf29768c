"""The routes of the pages."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from kilowait_scheduler.core.window import Utc
from kilowait_scheduler.reports import page as report_page
from kilowait_scheduler.reports.progress import Progress
from kilowait_scheduler.reports.units import energy_unit, mass_unit
from kilowait_scheduler.reports.words import loud
from kilowait_scheduler.service.reporting import Asked
from kilowait_scheduler.service.tokens import Role

from . import job, overview
from .making import Making
from .phrases import relative, spoken
from .rendering import page, static, stylesheet
from .saved import SavedSoFar
from .session import (
    AGENTS_DO_NOT_LOOK,
    GuardedPage,
    OpenPage,
    local_path,
    role_of,
    server_of,
    sign_in,
    sign_out,
)

_LARGEST_FORM = 8 * 1024  # bytes; a token has about fifty

guarded = APIRouter(route_class=GuardedPage)
open_ = APIRouter(route_class=OpenPage)


def _saved(request: Request) -> SavedSoFar:
    """The app's one report on everything so far."""
    state = request.app.state
    if not hasattr(state, "saved_so_far"):
        state.saved_so_far = SavedSoFar(server_of(request))
    found: SavedSoFar = state.saved_so_far
    return found


def _making(request: Request) -> Making:
    """The app's reports that somebody waits for."""
    state = request.app.state
    if not hasattr(state, "making"):
        state.making = Making(server_of(request))
    found: Making = state.making
    return found


@guarded.get("/")
async def show_overview(request: Request) -> Response:
    """All jobs, all regions, budgets, and what was saved so far."""
    server, saved = server_of(request), _saved(request)
    report = await saved.report()
    view = await run_in_threadpool(overview.gather, server, report)
    totals = report.totals if report else None
    return page(
        "overview.html",
        view=view,
        report=report,
        totals=totals,
        loud=loud(report) if report else [],
        problem=saved.problem,
        mass=mass_unit([totals.saved_g, totals.carbon_g, totals.baseline_g] if totals else []),
        energy=energy_unit([totals.energy_kwh] if totals else []),
        line_mass=mass_unit(value for line in view.recent for value in (line.saved_g, line.carbon_g)),
        budget_mass=mass_unit(status.allowed_g for status in view.budgets),
        relative=relative,
        spoken=spoken,
    )


@guarded.get("/jobs/{job_id}")
async def show_job(request: Request, job_id: str) -> Response:
    """One job: why, plan, runs, journal."""
    server, saved = server_of(request), _saved(request)
    report = await saved.report()
    view = await run_in_threadpool(job.gather, server, job_id, report)
    line, promise = view.line, view.row.record.state.promise
    promised = [promise.carbon_g, promise.run_now_g] if promise else []
    return page(
        "job.html",
        view=view,
        record=view.row.record,
        state=view.row.record.state,
        line=line,
        promise=promise,
        mass=mass_unit([*promised, *([line.carbon_g, line.saved_g] if line else [])]),
        energy=energy_unit([line.energy_kwh] if line else []),
        relative=relative,
        spoken=spoken,
    )


@guarded.get("/report")
async def show_report(
    request: Request,
    start: Utc | None = None,
    end: Utc | None = None,
    month: str | None = None,
    timezone: str | None = None,
    team: str | None = None,
) -> Response:
    """The savings report, self-contained as it is sent to others; of one period or team where given."""
    asked = Asked(start=start, end=end, team=team, timezone=timezone or server_of(request).settings.reports_timezone)
    report = await _making(request).report(asked.of_month(month))
    if isinstance(report, Progress):
        return page("making.html", progress=report)
    html = await run_in_threadpool(report_page.render, report)
    policy = f"{report_page.policy()}; base-uri 'none'; frame-ancestors 'none'"
    return HTMLResponse(html, headers={"Content-Security-Policy": policy})


@open_.get("/login")
async def show_login(next_: Annotated[str, Query(alias="next")] = "/") -> Response:
    """The door."""
    return page("login.html", then=local_path(next_), problem="")


@open_.post("/login")
async def login(request: Request) -> Response:
    """Take a token from the form; a known one that may look opens the door."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return _refuse("/", "That form was sent from another site. Sign in here.", status=403)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_FORM:
            return _refuse("/", "That is too long to be a token.", status=413)
    form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    secret, then = form.get("token", [""])[0].strip(), local_path(form.get("next", ["/"])[0])
    role = await run_in_threadpool(role_of, server_of(request), secret)
    if role is None:
        return _refuse(then, "This token is not known here: mistyped, revoked, or of another server.", status=401)
    if role is Role.AGENT:
        return _refuse(then, AGENTS_DO_NOT_LOOK, status=403)
    return sign_in(request, secret=secret, then=then)


def _refuse(then: str, problem: str, *, status: int) -> Response:
    return page("login.html", status=status, then=then, problem=problem)


@open_.get("/logout")
@open_.post("/logout")
async def logout(request: Request) -> Response:
    """Close the door behind oneself."""
    return sign_out(request)


@open_.get("/static/{name}.css")
async def show_stylesheet(name: str) -> Response:
    """The style sheet, whatever its version was when the page was made."""
    return Response(
        stylesheet(), media_type="text/css", headers={"Cache-Control": "public, max-age=31536000, immutable"}
    )


@open_.get("/static/icon.svg")
async def show_icon() -> Response:
    """The icon in the browser's tab."""
    return Response(static("icon.svg"), media_type="image/svg+xml", headers={"Cache-Control": "public, max-age=86400"})


router = APIRouter(include_in_schema=False)
router.include_router(guarded)
router.include_router(open_)
