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

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

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


Gpus = Annotated[int, Field(ge=1, le=100_000)]


_MOST_SIZES, _WIDEST = 16, 10_000  # of a throughput curve: how many numbers of GPUs, and how far apart


class GpuRange(_Strict):
    """From `min` to `max` GPUs, both included."""

    min: Gpus
    max: Gpus


def _one_or_range(value: Any) -> str:
    return "gpus as a range" if isinstance(value, (Mapping, GpuRange)) else "gpus as a number"


class Resources(_Strict):
    """A gang of GPUs that start and stop together.

    `gpus` is their number, or the range of an elastic job; then `throughput` gives, for each number that it may run on,
    the work it gets done per time, in any unit.
    """

    gpus: Annotated[
        Annotated[Gpus, Tag("gpus as a number")] | Annotated[GpuRange, Tag("gpus as a range")],
        Discriminator(_one_or_range),
    ]
    throughput: dict[Gpus, Annotated[float, Field(gt=0)]] | None = None
    gpu_type: str | None = None

    @model_validator(mode="after")
    def _throughput_of_the_range(self) -> Resources:
        if isinstance(self.gpus, int):
            if self.throughput is not None:
                raise ValueError("throughput goes with a range, e.g. gpus: {min: 2, max: 8}")
            return self
        low, high = self.gpus.min, self.gpus.max
        if low > high:
            raise ValueError(f"gpus: min {low} is more than max {high}")
        if self.throughput is None:
            raise ValueError("gpus as a range needs throughput by number of GPUs, e.g. throughput: {2: 1.0, 4: 1.9}")
        missing = [size for size in (low, high) if size not in self.throughput]
        if missing:
            raise ValueError(f"throughput: no value for {missing[0]} GPUs; give at least those of min and max")
        if len(self.throughput) > _MOST_SIZES:
            raise ValueError(f"throughput: {len(self.throughput)} numbers of GPUs; give at most {_MOST_SIZES}")
        if max(self.throughput.values()) > _WIDEST * min(self.throughput.values()):
            raise ValueError(f"throughput: its values lie more than a factor of {_WIDEST:,} apart")
        outside = [size for size in self.throughput if not low <= size <= high]
        if outside:
            raise ValueError(f"throughput: {outside[0]} GPUs lie outside the range {low} to {high}")
        return self

    @property
    def speeds(self) -> dict[int, float]:
        """Work per time by number of GPUs, 1.0 on the fewest; of a job of one size that size alone."""
        if isinstance(self.gpus, int) or self.throughput is None:
            return {self.gpus if isinstance(self.gpus, int) else self.gpus.min: 1.0}
        slowest = self.throughput[self.gpus.min]
        return {size: self.throughput[size] / slowest for size in sorted(self.throughput)}


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
    """A training job: what to run, on how many GPUs, for about how long, and by when.

    `duration`: its running time; of an elastic job that on the fewest GPUs.
    """

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
    try:
        return JobSpec.model_validate(data)
    except ValidationError as error:
        raise BadInput(f"job: {first_problem(error, model=JobSpec)}") from None


def first_problem(error: ValidationError, *, model: type[BaseModel]) -> str:
    """The first problem of a validation as `where: what; how to mend`."""
    problems = error.errors(include_url=False)
    # A key that is misspelt is also missing; its own problem says more.
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    where = ".".join(str(part) for part in problem["loc"] if " " not in str(part))  # names of alternatives left out
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
    message = problem_words(problem)
    return f"{where}: {message}" if where else message


def problem_words(problem: Mapping[str, Any]) -> str:
    """What is wrong, in words for people, of one problem of a validation; without its place."""
    if problem["type"].startswith("datetime"):
        return f"{problem['input']!r} is not a time; write e.g. 2026-11-24T08:00:00Z"
    return str(problem["msg"]).removeprefix("Value error, ")


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in path:
        field = current.model_fields.get(str(part))
        if field is None:
            break
        candidates = _parts_of(field.annotation)
        current = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), current)
    return list(current.model_fields)


def _parts_of(annotation: Any) -> list[Any]:
    """An annotation and all that it is made of."""
    return [annotation, *(part for inner in getattr(annotation, "__args__", ()) for part in _parts_of(inner))]
