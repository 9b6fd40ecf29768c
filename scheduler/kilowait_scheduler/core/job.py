"""What a person asks for: a job, as written in a job file, checked in one place.

The schema is the same in YAML, REST and Python. `parse_job` turns whatever came in into a `JobSpec` or into one line
that says where the mistake is and how to mend it.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .duration import Duration
from .errors import BadInput
from .window import Utc


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("contains a line break or another character that cannot be printed; leave it out")
    return text


def _positive(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("must be longer than 0s")
    return value


def _sendable(value: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise ValueError(f"cannot be sent as JSON ({error}); quote dates and give plain values") from None
    return value


# Names go into tables, logs and terminals; databases refuse a NUL.
Label = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, allow_inf_nan=False)


class Priority(StrEnum):
    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Resources(_Strict):
    """A gang of `gpus` GPUs that start and stop together."""

    gpus: int = Field(ge=1, le=100_000)
    gpu_type: str | None = None


class RegionChoice(_Strict):
    """Where the job's baseline runs (`home`) and where it may run (`any_of`, home included unless left out)."""

    home: str
    any_of: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _home_alone(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("home") and not value.get("any_of"):
            return {**value, "any_of": [value["home"]]}
        return value


class Checkpoint(_Strict):
    """Where progress is kept; its presence says that the job may be suspended and moved.

    `period`: how often the job saves by itself; `grace`: time it gets after the stop signal; `restart`: time a resume
    costs at full power before work goes on; `signal`: SIGINT suits Ray Train drivers.
    """

    path: str = Field(min_length=1)
    period: Duration = timedelta(minutes=10)
    grace: Duration = timedelta(seconds=60)
    restart: Duration = timedelta(minutes=5)
    signal: Literal["SIGTERM", "SIGINT"] = "SIGTERM"


class Data(_Strict):
    """The data set: size in GB and the regions that already hold it."""

    size_gb: float = Field(ge=0)
    at: tuple[str, ...] = ()


class CarbonChoice(_Strict):
    """The job's own limit, and which signal plans it."""

    budget_kg: float | None = Field(default=None, gt=0)
    signal: Literal["average", "marginal"] = "average"


class JobSpec(_Strict):
    """A training job: what to run, on how many GPUs, for about how long, and by when."""

    name: Label
    entrypoint: str = Field(min_length=1)
    runtime_env: Annotated[dict[str, Any], AfterValidator(_sendable)] = Field(default_factory=dict)
    resources: Resources
    duration: Annotated[Duration, AfterValidator(_positive)] | None = None
    power_per_gpu_w: float | None = Field(default=None, gt=0, le=5000)
    deadline: Utc | None = None
    within: Duration | None = None
    earliest: Utc | None = None
    regions: RegionChoice | None = None
    checkpoint: Checkpoint | None = None
    data: Data | None = None
    team: Label = "default"
    project: Label = "default"
    priority: Priority = Priority.NORMAL
    carbon: CarbonChoice = CarbonChoice()

    @model_validator(mode="after")
    def _one_deadline(self) -> JobSpec:
        if (self.deadline is None) == (self.within is None):
            raise ValueError("give either deadline (a time) or within (a duration), one of the two")
        return self

    def resolved(self, now: datetime) -> JobSpec:
        """The same job with `within` turned into a deadline counted from `now`."""
        if self.within is None:
            return self
        return self.model_copy(update={"deadline": now + self.within, "within": None})

    @property
    def suspendable(self) -> bool:
        return self.checkpoint is not None

    @property
    def due(self) -> datetime:
        """The deadline of a resolved job."""
        if self.deadline is None:
            raise BadInput(f"job {self.name}: 'within' has not been turned into a deadline yet")
        return self.deadline


def parse_job(data: object) -> JobSpec:
    """A JobSpec from parsed YAML or JSON. Raises BadInput with one line: where, what, and how to mend it."""
    if not isinstance(data, Mapping):
        raise BadInput("job: expected a mapping with name, entrypoint, resources.gpus and deadline or within")
    gpus = data.get("resources", {}).get("gpus") if isinstance(data.get("resources"), Mapping) else None
    if isinstance(gpus, Mapping):
        raise BadInput("job: resources.gpus: elastic sizes (min, max) are not planned yet; give one number")
    try:
        return JobSpec.model_validate(data)
    except ValidationError as error:
        raise BadInput(f"job: {first_problem(error, model=JobSpec)}") from None


def first_problem(error: ValidationError, *, model: type[BaseModel]) -> str:
    """The first problem of a validation as `where: what; how to mend`."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(model, problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"known keys: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {hint}"
    if problem["type"] == "missing":
        return f"{where}: missing; add it"
    if problem["type"] in ("model_type", "model_attributes_type", "dict_type"):
        known = _fields_at(model, problem["loc"]) if problem["type"] != "dict_type" else []
        return f"{where}: expected a mapping{' with ' + ', '.join(sorted(known)) if known else ''}"
    if problem["type"].startswith("datetime"):
        return f"{where}: {problem['input']!r} is not a time; write e.g. 2026-11-24T08:00:00Z"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in path:
        field = current.model_fields.get(str(part))
        if field is None:
            break
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), current)
    return list(current.model_fields)
