"""What can happen to a job, and what we may then be told to do. Facts only; the rules are in `lifecycle`.

Events are journalled as JSON and replayed, so they are plain data and only ever gain optional fields.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from .reasons import Reason
from .window import Utc, Window


class Status(StrEnum):
    """What a cluster says of a run."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class _Event(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    at: Utc


class Promise(BaseModel):
    """What a plan promised on the forecast of its time: grams CO2e (PUE included) and IT energy of the work left."""

    model_config = ConfigDict(frozen=True)

    carbon_g: float
    carbon_p90_g: float
    run_now_g: float
    energy_kwh: float


class Planned(_Event):
    """The planner's answer: run in these windows, for this reason, and what that promises."""

    type: Literal["planned"] = "planned"
    windows: tuple[Window, ...]
    reason: Reason
    detail: str = ""
    promise: Promise | None = None


class Held(_Event):
    """It may not start, or not go on: budget, approval."""

    type: Literal["held"] = "held"
    reason: Reason
    detail: str = ""


class Ticked(_Event):
    """Time went by."""

    type: Literal["ticked"] = "ticked"


class Submitted(_Event):
    """The cluster has the run (freshly, or already: the same id)."""

    type: Literal["submitted"] = "submitted"
    run: int
    session_name: str = ""


class SubmitFailed(_Event):
    """The run surely does not exist there. `permanent`: asking again changes nothing."""

    type: Literal["submit_failed"] = "submit_failed"
    run: int
    permanent: bool
    detail: str = ""


class SubmitUnclear(_Event):
    """The cluster may or may not have the run."""

    type: Literal["submit_unclear"] = "submit_unclear"
    run: int
    detail: str = ""


class StopSent(_Event):
    """The cluster accepted the stop signal."""

    type: Literal["stop_sent"] = "stop_sent"
    run: int


class NeverStarted(_Event):
    """A tombstone took the run's id: it has not started and never will."""

    type: Literal["never_started"] = "never_started"
    run: int


class Observed(_Event):
    """The cluster's own word on a run. `user_error`: the program failed, not the cluster. `began`: it was begun, also
    where nobody looked while it ran."""

    type: Literal["observed"] = "observed"
    run: int
    status: Status
    began: bool = False
    user_error: bool = False
    detail: str = ""


class Missing(_Event):
    """The cluster answers and does not know the run. `new_session`: it has been restarted since."""

    type: Literal["missing"] = "missing"
    run: int
    new_session: bool


class Unreachable(_Event):
    """The cluster of a live run does not answer."""

    type: Literal["unreachable"] = "unreachable"
    run: int
    detail: str = ""


class SuspendWanted(_Event):
    type: Literal["suspend_wanted"] = "suspend_wanted"


class ResumeWanted(_Event):
    type: Literal["resume_wanted"] = "resume_wanted"


class CancelWanted(_Event):
    type: Literal["cancel_wanted"] = "cancel_wanted"


Event = Annotated[
    Planned
    | Held
    | Ticked
    | Submitted
    | SubmitFailed
    | SubmitUnclear
    | StopSent
    | NeverStarted
    | Observed
    | Missing
    | Unreachable
    | SuspendWanted
    | ResumeWanted
    | CancelWanted,
    Field(discriminator="type"),
]

EVENT: TypeAdapter[Event] = TypeAdapter(Event)


class StartRun(BaseModel):
    """Submit run `run` (again, under the same id, until the cluster's answer is clear)."""

    model_config = ConfigDict(frozen=True)
    run: int


class StopRun(BaseModel):
    """Send run `run` its stop signal."""

    model_config = ConfigDict(frozen=True)
    run: int


class SettleRun(BaseModel):
    """Find out whether run `run` exists, and make sure that it never starts if it does not."""

    model_config = ConfigDict(frozen=True)
    run: int


class Replan(BaseModel):
    """The plan no longer fits what happened."""

    model_config = ConfigDict(frozen=True)


Instruction = StartRun | StopRun | SettleRun | Replan
