"""Budgets, ledger, reports and tokens."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError

from kilowait_scheduler.core.budget import Budget, BudgetStatus
from kilowait_scheduler.core.errors import BadInput, NotFound
from kilowait_scheduler.core.job import first_problem
from kilowait_scheduler.core.window import Utc
from kilowait_scheduler.reports.render import to_csv, to_html, to_json
from kilowait_scheduler.service.compose import Server

from .access import CanAdmin, CanLook, ServerDep

router = APIRouter(tags=["accounts"])

Cursor = Annotated[int, Query(ge=0, description="Number of the last entry of the page before.")]
PageSize = Annotated[int, Query(ge=1, le=1000)]


@router.get("/budgets", dependencies=[CanLook])
def budgets(server: ServerDep) -> list[dict[str, Any]]:
    """Every budget with this month's limit, what is held, what has been emitted and what is left."""
    return [_status(budget, server) for budget in server.store.budgets()]


@router.post("/budgets", status_code=201, dependencies=[CanAdmin])
def put_budget(budget: Budget, server: ServerDep) -> dict[str, Any]:
    """Add a budget, or replace the one of the same id; held jobs are looked at again at once."""
    server.store.put_budget(budget)
    server.control.want_plan()
    server.ticker.wake()
    return _status(budget, server)


@router.patch("/budgets/{budget_id}", dependencies=[CanAdmin])
def change_budget(budget_id: str, body: dict[str, Any], server: ServerDep) -> dict[str, Any]:
    """Change some fields of a budget, for example its limit."""
    try:
        changed = Budget.model_validate({**_budget(budget_id, server).model_dump(), **body, "id": budget_id})
    except ValidationError as error:
        raise BadInput(f"budget {budget_id}: {first_problem(error, model=Budget)}") from None
    return put_budget(changed, server)


@router.get("/budgets/{budget_id}/entries", dependencies=[CanLook])
def budget_entries(budget_id: str, server: ServerDep, cursor: Cursor = 0, limit: PageSize = 100) -> dict[str, Any]:
    """This month's ledger entries of a budget in order, a page at a time: pass `next` as `cursor` for the following."""
    account = _budget(budget_id, server).account(server.clock.now())
    return _page(server, account=f"*:{account}", cursor=cursor, limit=limit)


def _budget(budget_id: str, server: Server) -> Budget:
    found = next((budget for budget in server.store.budgets() if budget.id == budget_id), None)
    if found is None:
        raise NotFound(f"no budget {budget_id!r}; `kilowait budget` lists them")
    return found


def _status(budget: Budget, server: Server) -> dict[str, Any]:
    status: BudgetStatus = server.budgets.status(budget, now=server.clock.now())
    return {**status.model_dump(mode="json"), "left_g": status.left_g}


@router.get("/ledger", dependencies=[CanLook])
def ledger(
    server: ServerDep,
    account: str | None = None,
    job: str | None = None,
    cursor: Cursor = 0,
    limit: PageSize = 100,
) -> dict[str, Any]:
    """Ledger entries in order, of one account or job where given, a page at a time: `next` is the next `cursor`."""
    return _page(server, account=account, job_id=job, cursor=cursor, limit=limit)


def _page(server: Server, *, cursor: int, limit: int, **which: str | None) -> dict[str, Any]:
    found = server.store.entries(after=cursor, limit=limit + 1, **which)
    page = found[:limit]
    return {"entries": page, "next": page[-1].seq if len(found) > limit else None}


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


@router.get("/reports/savings", dependencies=[CanLook])
async def savings(
    server: ServerDep,
    start: Utc | None = None,
    end: Utc | None = None,
    team: str | None = None,
    format_: Annotated[str, Query(alias="format")] = "json",
) -> Response:
    """The savings report on jobs submitted in [start, end), as `json`, `csv` or one self-contained `html` page."""
    work = server.reporting.savings(start=start, end=end, team=team)
    report = await asyncio.wrap_future(server.ticker.submit(work))
    match format_:
        case "json":
            return Response(to_json(report), media_type="application/json")
        case "csv":
            return PlainTextResponse(to_csv(report), media_type="text/csv")
        case "html":
            return HTMLResponse(to_html(report))
    raise BadInput(f"format {format_!r} does not exist; use json, csv or html")


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
