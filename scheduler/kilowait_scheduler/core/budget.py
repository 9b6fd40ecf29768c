"""Carbon budgets: who may emit how much in which period, and what happens when it is gone."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from .job import Label
from .months import known_zone, midnight, months_on, zone_of
from .window import Utc

_PERIODS = re.compile(r"\d{4}-\d\d|\d{4}-q[1-4]|rolling|once")


class BudgetScope(StrEnum):
    """Each lies within the one before: a job draws on a budget of every level that covers it."""

    ORGANISATION = "organisation"
    TEAM = "team"
    PROJECT = "project"
    USER = "user"


class Period(StrEnum):
    """MONTH and QUARTER of the calendar; the last `days` days, today included; or ONCE, from `start` to `end`."""

    MONTH = "month"
    QUARTER = "quarter"
    ROLLING = "rolling"
    ONCE = "once"


class Enforcement(StrEnum):
    """SOFT warns; HARD holds new jobs that it does not cover."""

    SOFT = "soft"
    HARD = "hard"


class OnExhausted(StrEnum):
    """What a hard budget does when it is used up: hold new jobs, or also SUSPEND running ones at a checkpoint."""

    HOLD = "hold"
    SUSPEND = "suspend"


class CarryOver(StrEnum):
    """What goes from one month or quarter into the next: what was left, what was overdrawn, both, or nothing."""

    NONE = "none"
    UNUSED = "unused"
    OVERDRAWN = "overdrawn"
    BOTH = "both"


@dataclass(frozen=True)
class Span:
    """One period of a budget: its ledger account, and [start, end) in UTC."""

    account: str
    start: datetime
    end: datetime

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


class Budget(BaseModel):
    """`limit_g` grams CO2e per period for a team, a project, a user or all.

    `team` and `project` narrow a project or a user down to one of several of that name. Periods begin at midnight in
    `timezone`. `carry_cap_pct`: the most that may be carried into the next period, in percent of the limit.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    scope: BudgetScope
    name: Label
    team: Label | None = None
    project: Label | None = None
    limit_g: float = Field(ge=1e-6, le=1e12)  # a microgram, the ledger's unit, to a million tonnes: still a BIGINT
    enforcement: Enforcement = Enforcement.HARD
    on_exhausted: OnExhausted = OnExhausted.HOLD
    period: Period = Period.MONTH
    timezone: Annotated[str, AfterValidator(known_zone)] = "UTC"
    days: int | None = Field(default=None, ge=1, le=366)
    start: Utc | None = None
    end: Utc | None = None
    thresholds_pct: tuple[Annotated[float, Field(gt=0, le=1000)], ...] = (50.0, 80.0, 100.0)
    carry_over: CarryOver = CarryOver.NONE
    carry_cap_pct: float = Field(default=100.0, ge=0, le=1000)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.team is not None and self.scope not in (BudgetScope.PROJECT, BudgetScope.USER):
            raise ValueError(f"team narrows a project or a user, not the scope {self.scope}; leave it out")
        if self.project is not None and self.scope is not BudgetScope.USER:
            raise ValueError(f"project narrows a user, not the scope {self.scope}; leave it out")
        if (self.days is not None) != (self.period is Period.ROLLING):
            raise ValueError("period: rolling and days go together, e.g. days: 30")
        once = self.period is Period.ONCE
        if once != (self.start is not None and self.end is not None) or (not once and (self.start or self.end)):
            raise ValueError("period: once needs start and end, and no other period has them")
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError("end must be later than start")
        if self.carry_over is not CarryOver.NONE and self.period not in (Period.MONTH, Period.QUARTER):
            raise ValueError(f"carry_over goes from month to month or quarter to quarter, not with {self.period}")
        return self

    def covers(self, *, team: str, project: str, user: str) -> bool:
        """Whether a job of these draws on it, within its period."""
        match self.scope:
            case BudgetScope.ORGANISATION:
                return True
            case BudgetScope.TEAM:
                return self.name == team
            case BudgetScope.PROJECT:
                return self.name == project and self.team in (None, team)
            case BudgetScope.USER:
                return self.name == user and self.team in (None, team) and self.project in (None, project)

    def span(self, moment: datetime) -> Span:
        """The period that `moment` lies in; of a budget that is given once its only one, wherever `moment` lies."""
        today = moment.astimezone(zone_of(self.timezone)).date()
        match self.period:
            case Period.MONTH:
                first = today.replace(day=1)
                return self._calendar(first, months_on(first, 1), f"{first:%Y-%m}")
            case Period.QUARTER:
                first = today.replace(month=today.month - (today.month - 1) % 3, day=1)
                return self._calendar(first, months_on(first, 3), f"{first:%Y}-q{(first.month + 2) // 3}")
            case Period.ROLLING:
                assert self.days is not None
                first, tomorrow = today - timedelta(days=self.days - 1), today + timedelta(days=1)
                return self._calendar(first, tomorrow, "rolling")
            case Period.ONCE:
                assert self.start is not None and self.end is not None
                return Span(f"{self.id}-once", self.start, self.end)

    def over(self, moment: datetime) -> bool:
        """Whether its only period has ended; those of the calendar and windows of days go on for ever."""
        return self.period is Period.ONCE and self.span(moment).end <= moment

    def before(self, span: Span) -> Span:
        """The month or quarter before `span`."""
        return self.span(span.start - timedelta(microseconds=1))

    def owns(self, account: str) -> bool:
        """Whether a ledger account is that of one of its periods."""
        head, rest = account[: len(self.id) + 1], account[len(self.id) + 1 :]
        return head == f"{self.id}-" and _PERIODS.fullmatch(rest) is not None

    @property
    def whose(self) -> str:
        """For whom it is, in words."""
        within = [f"{what} {name}" for what, name in (("project", self.project), ("team", self.team)) if name]
        return " of ".join([f"{self.scope} {self.name}", *within])

    def _calendar(self, first: date, following: date, key: str) -> Span:
        start, end = (midnight(day, self.timezone) for day in (first, following))
        return Span(f"{self.id}-{key}", start, end)

    def local(self, moment: datetime) -> str:
        """A moment as people in the budget's zone read it."""
        return f"{moment.astimezone(zone_of(self.timezone)):%d %b %Y %H:%M} {self.timezone}"

    def day(self, moment: datetime) -> date:
        """The calendar day of a moment in the budget's zone."""
        return moment.astimezone(zone_of(self.timezone)).date()
