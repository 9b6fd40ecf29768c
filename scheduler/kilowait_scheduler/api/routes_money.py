"""Ledger, carbon prices, reports and tokens."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.core.errors import BadInput, NotFound
from kilowait_scheduler.core.money import CarbonPrice
from kilowait_scheduler.core.months import month_span
from kilowait_scheduler.core.window import Utc
from kilowait_scheduler.reports.bill import Shape, read_bill
from kilowait_scheduler.reports.formats import forms_of, written
from kilowait_scheduler.reports.model import By
from kilowait_scheduler.reports.progress import Progress
from kilowait_scheduler.reports.reconcile import DEFAULT_TOLERANCE_PCT, Reconciliation, reconcile
from kilowait_scheduler.service.reporting import Asked

from .access import CanAdmin, CanLook, ServerDep
from .routes_budgets import Cursor, PageSize, entry_page

router = APIRouter(tags=["accounts"])


@router.get("/ledger", dependencies=[CanLook])
def ledger(
    server: ServerDep,
    account: str | None = None,
    job: str | None = None,
    cursor: Cursor = 0,
    limit: PageSize = 100,
) -> dict[str, Any]:
    """Ledger entries in order, of one account or job where given, a page at a time: `next` is the next `cursor`."""
    return entry_page(server, account=account, job_id=job, cursor=cursor, limit=limit)


@router.get("/ledger/verification", dependencies=[CanLook])
def verification(
    server: ServerDep,
    noted: Annotated[str | None, Query(pattern="^[0-9a-f]{64}$", description="A hash that was noted earlier.")] = None,
) -> dict[str, Any]:
    """Every hash of the ledger recomputed from what is stored, and where it is not what was written.

    Note `head`, outside this database: as long as `noted=` finds it again, nothing before it was changed.
    """
    chain = server.store.verify(noted=noted)
    return {
        "sound": chain.sound,
        "entries": chain.count,
        "head": chain.head,
        "noted_at": chain.noted_at,
        "faults": [{"seq": fault.seq, "problem": fault.problem} for fault in chain.faults],
    }


@router.get("/carbon-prices", dependencies=[CanLook])
def carbon_prices(server: ServerDep) -> list[CarbonPrice]:
    """Internal prices on carbon, by id."""
    return server.store.carbon_prices()


@router.post("/carbon-prices", status_code=201, dependencies=[CanAdmin])
def put_carbon_price(price: CarbonPrice, server: ServerDep) -> CarbonPrice:
    """Add a price, or replace the one of the same id; jobs that wait are planned with it at once."""
    server.store.put_carbon_price(price)
    server.control.want_plan()
    server.ticker.wake()
    return price


@router.delete("/carbon-prices/{price_id}", status_code=204, dependencies=[CanAdmin])
def remove_carbon_price(price_id: str, server: ServerDep) -> None:
    """Remove a price; jobs that wait are planned without it at once."""
    server.store.remove_carbon_price(price_id)
    server.control.want_plan()
    server.ticker.wake()


@router.get("/reports/savings", dependencies=[CanLook])
async def savings(
    server: ServerDep,
    start: Utc | None = None,
    end: Utc | None = None,
    team: str | None = None,
    by: By | None = None,
    baseline: Baseline = Baseline.RUN_NOW,
    month: Annotated[str | None, Query(description="One month of the time zone, e.g. 2026-11.")] = None,
    timezone: Annotated[str | None, Query(description="Of months; by default the server's for reports.")] = None,
    format_: Annotated[list[str], Query(alias="format", description="May be repeated.")] = ["json"],  # noqa: B006
    watch: Annotated[str | None, Query(max_length=64, description="A name to ask for its progress by.")] = None,
) -> Response:
    """The savings report on jobs submitted in [start, end), in one of the forms of docs/exports.md.

    As `evidence`: a zip of all that it rests on, to recompute it from. Several forms of one report come as a zip with a
    file for each, named after it.

    `by` adds sums per team, project, region or month; `baseline` names what the jobs are compared with.
    """
    forms = forms_of(format_)
    asked = Asked(
        start=start, end=end, team=team, by=by, baseline=baseline, timezone=timezone or server.settings.reports_timezone
    )
    asked, progress = asked.of_month(month), Progress()
    if watch is not None:
        server.reporting.watched[watch] = progress
    try:
        found = await asyncio.wrap_future(server.ticker.submit(server.reporting.evidence(asked, progress=progress)))
    finally:
        if watch is not None:
            server.reporting.watched.pop(watch, None)
    content, media_type = await asyncio.to_thread(written, found, forms)
    return Response(content, media_type=media_type)


@router.get("/reports/progress/{watch}", dependencies=[CanLook])
async def how_far(server: ServerDep, watch: str) -> Progress:
    """How far a report is that is being made under the name `watch`."""
    found = server.reporting.watched.get(watch)
    if found is None:
        raise NotFound(f"no report is being made under the name {watch!r}")
    return found


_LARGEST_BILL = 64 * 1024 * 1024
Pairs = Annotated[list[str] | None, Query(description="Our name of a name of theirs: THEIRS=OURS.")]


@router.post("/reports/reconciliation", dependencies=[CanLook])
async def reconciliation(
    request: Request,
    server: ServerDep,
    shape: Shape | None = None,
    month: Annotated[str | None, Query(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")] = None,
    tolerance_pct: Annotated[float, Query(ge=0, le=100)] = DEFAULT_TOLERANCE_PCT,
    account: Pairs = None,
    region: Pairs = None,
    timezone: Annotated[str, Query(description="Whose months the file has; clouds have those of UTC.")] = "UTC",
) -> Reconciliation:
    """A cloud's carbon export (the body: AWS's or Google's) against our books, per account, region and month.

    Nothing is stored. Every difference is split into parts with names; what the data do not show is `unexplained`.
    """
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BILL:
            raise HTTPException(413, "the file has more than 64 MiB; export fewer months at a time, or gzip it")
    bill = await asyncio.to_thread(read_bill, body, shape=shape, timezone=timezone)
    _, end = month_span(max(line.month for line in bill.lines), timezone)
    asked = Asked(end=end, timezone=timezone)
    found = await asyncio.wrap_future(server.ticker.submit(server.reporting.savings(asked)))
    return await asyncio.to_thread(
        reconcile,
        bill,
        found,
        account_names=_pairs(account, what="account"),
        region_names=_pairs(region, what="region"),
        month=month,
        tolerance_pct=tolerance_pct,
    )


def _pairs(given: list[str] | None, *, what: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given or ()]
    for theirs, sign, ours in pairs:
        if not (theirs and sign and ours):
            raise BadInput(f"{what} {theirs + sign + ours!r}: write THEIRS=OURS, e.g. 123456789012=assistants")
    return {theirs: ours for theirs, _, ours in pairs}


class NewToken(BaseModel):
    name: str
    role: str = "user"
    node: str | None = None


@router.get("/tokens", dependencies=[CanAdmin])
def tokens(server: ServerDep) -> list[dict[str, Any]]:
    """Tokens without their secrets."""
    return [row.model_dump(mode="json", exclude={"sha256"}) for row in server.store.tokens()]


@router.post("/tokens", status_code=201, dependencies=[CanAdmin])
def make_token(body: NewToken, server: ServerDep) -> dict[str, str]:
    """A new token; this answer is the only place its secret is ever shown."""
    id_, secret = server.tokens.make(name=body.name, role=body.role, node=body.node, at=server.clock.now())
    return {"id": id_, "name": body.name, "role": body.role, "secret": secret}


@router.delete("/tokens/{token_id}", status_code=204, dependencies=[CanAdmin])
def revoke(token_id: str, server: ServerDep) -> None:
    """Revoke a token; it stops working at once."""
    server.store.remove_token(token_id)
