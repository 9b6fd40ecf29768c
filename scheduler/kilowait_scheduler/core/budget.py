"""Carbon budgets: who may emit how much in which period, and what happens when it is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from .window import Utc


class BudgetScope(StrEnum):
    ORGANISATION = "organisation"
    TEAM = "team"
    PROJECT = "project"


class Enforcement(StrEnum):
    """SOFT warns; HARD holds new jobs that it does not cover."""

    SOFT = "soft"
    HARD = "hard"


class Budget(BaseModel):
    """`limit_g` grams CO2e per calendar month (UTC) for a team, a project or all."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    scope: BudgetScope
    name: str
    limit_g: float = Field(gt=0, le=1e12)  # a million tonnes; in micrograms still a BIGINT
    enforcement: Enforcement = Enforcement.HARD

    def covers(self, *, team: str, project: str) -> bool:
        match self.scope:
            case BudgetScope.ORGANISATION:
                return True
            case BudgetScope.TEAM:
                return self.name == team
            case BudgetScope.PROJECT:
                return self.name == project

    def account(self, moment: datetime) -> str:
        """The ledger account of the period that holds `moment`, e.g. `nlp-2026-11`."""
        return f"{self.id}-{moment.astimezone(UTC):%Y-%m}"


class BudgetStatus(BaseModel):
    """A budget's period in figures, all grams CO2e."""

    budget: Budget
    account: str
    as_of: Utc
    limit_g: float
    held_g: float
    emitted_g: float

    @property
    def left_g(self) -> float:
        """What new holds may still take; negative where measurement overtook the limit."""
        return self.limit_g - self.held_g - self.emitted_g
