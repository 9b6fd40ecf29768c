"""Asking for more: a request that a person makes for a budget, and an admin's word on it."""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from .job import Label
from .window import Utc


class RequestState(StrEnum):
    OPEN = "open"
    APPROVED = "approved"
    REFUSED = "refused"


class Ask(BaseModel):
    """What is asked: `amount_g` more in the period that runs, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    amount_g: float = Field(gt=0, le=1e12)
    why: Label


class BudgetRequest(BaseModel):
    """A request and what was decided; `granted_g` may be other than what was asked."""

    model_config = ConfigDict(frozen=True)

    id: int
    budget_id: str
    amount_g: float
    why: str
    asked_by: str
    asked_at: Utc
    state: RequestState = RequestState.OPEN
    granted_g: float | None = None
    decided_by: str | None = None
    decided_at: Utc | None = None
