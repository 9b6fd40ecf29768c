"""Budgets: where they stand, what they are, who asks for more, who gives, and what if."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kilowait_scheduler.core.budget import Budget
from kilowait_scheduler.core.budget_request import Ask, BudgetRequest, RequestState
from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.job import first_problem
from kilowait_scheduler.service.allowances import BudgetStatus, WhatIf
from kilowait_scheduler.service.compose import Server
from kilowait_scheduler.service.tokens import Caller

from .access import CanAdmin, CanChange, CanLook, ServerDep

router = APIRouter(tags=["budgets"])

Cursor = Annotated[int, Query(ge=0, le=2**63 - 1, description="Number of the last entry of the page before.")]
Number = Annotated[int, Path(ge=1, le=2**63 - 1)]
PageSize = Annotated[int, Query(ge=1, le=1000)]
Grams = Annotated[float, Field(gt=0, le=1e12)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Transfer(_Body):
    """What is handed over, and to which budget."""

    to: str
    amount_g: Grams
    memo: str = Field(default="", max_length=100, pattern=r"^[^\x00-\x1f\x7f]*$")


class Approval(_Body):
    """How much is granted; what was asked, where it is left out."""

    amount_g: Grams | None = None


@router.get("/budgets", dependencies=[CanLook])
def budgets(server: ServerDep) -> list[BudgetStatus]:
    """Every budget's period that runs: what is allowed, held, emitted and left, and when it will be used up."""
    return server.allowances.statuses()


@router.post("/budgets", status_code=201, dependencies=[CanAdmin])
def put_budget(budget: Budget, server: ServerDep) -> BudgetStatus:
    """Add a budget, or replace the one of the same id; held jobs are looked at again at once."""
    return server.allowances.put(budget)


@router.get("/budgets/requests", dependencies=[CanLook])
def requests(server: ServerDep, state: RequestState | None = None) -> list[BudgetRequest]:
    """Requests for more, oldest first."""
    return server.allowances.requests(state=state)


@router.post("/budgets/requests/{number}/approve")
def approve(
    number: Number, server: ServerDep, caller: Annotated[Caller, CanAdmin], body: Approval | None = None
) -> BudgetRequest:
    """Grant a request, or another amount, to the budget's period that runs."""
    return server.allowances.approve(number, by=caller.name, amount_g=body.amount_g if body else None)


@router.post("/budgets/requests/{number}/refuse")
def refuse(number: Number, server: ServerDep, caller: Annotated[Caller, CanAdmin]) -> BudgetRequest:
    """Refuse a request."""
    return server.allowances.refuse(number, by=caller.name)


@router.get("/budgets/{budget_id}", dependencies=[CanLook])
def budget(budget_id: str, server: ServerDep) -> BudgetStatus:
    """One budget's period that runs."""
    return server.allowances.status(budget_id)


@router.patch("/budgets/{budget_id}", dependencies=[CanAdmin])
def change_budget(budget_id: str, body: dict[str, Any], server: ServerDep) -> BudgetStatus:
    """Change some fields of a budget, for example its limit."""
    known = server.allowances.budget(budget_id).model_dump(exclude_unset=True)
    try:
        changed = Budget.model_validate({**known, **body, "id": budget_id})
    except ValidationError as error:
        raise BadInput(f"budget {budget_id}: {first_problem(error, model=Budget)}") from None
    return server.allowances.put(changed)


@router.get("/budgets/{budget_id}/entries", dependencies=[CanLook])
def entries(budget_id: str, server: ServerDep, cursor: Cursor = 0, limit: PageSize = 100) -> dict[str, Any]:
    """Ledger entries of the period that runs, in order, a page at a time: pass `next` as `cursor` for the following."""
    account = server.allowances.budget(budget_id).span(server.clock.now()).account
    return entry_page(server, account=f"*:{account}", cursor=cursor, limit=limit)


@router.get("/budgets/{budget_id}/what-if", dependencies=[CanLook])
def what_if(
    budget_id: str,
    server: ServerDep,
    limit_pct: Annotated[float, Query(gt=0, le=1000, description="Of the limit that it has; 80: a fifth less.")] = 80,
) -> WhatIf:
    """The budget under another limit: when it would be used up, which waiting jobs it would hold; changes nothing."""
    return server.allowances.what_if(budget_id, limit_pct=limit_pct)


@router.post("/budgets/{budget_id}/requests", status_code=201)
def ask(budget_id: str, body: Ask, server: ServerDep, caller: Annotated[Caller, CanChange]) -> BudgetRequest:
    """Ask for more in the period that runs; an admin decides."""
    return server.allowances.ask(budget_id, body, by=caller.name)


@router.post("/budgets/{budget_id}/transfers", status_code=201)
def transfer(
    budget_id: str, body: Transfer, server: ServerDep, caller: Annotated[Caller, CanAdmin]
) -> list[BudgetStatus]:
    """Hand a part of what is left over to another budget; where the two then stand."""
    server.allowances.transfer(budget_id, body.to, amount_g=body.amount_g, by=caller.name, memo=body.memo)
    return [server.allowances.status(one) for one in (budget_id, body.to)]


def entry_page(server: Server, *, cursor: int, limit: int, **which: str | None) -> dict[str, Any]:
    """A page of ledger entries, and where the next one begins."""
    found = server.store.entries(after=cursor, limit=limit + 1, **which)
    page = found[:limit]
    return {"entries": page, "next": page[-1].seq if len(found) > limit else None}
