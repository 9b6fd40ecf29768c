"""What a person asks an estimate for, checked in one place; the command line and the API read it the same way.

Messages name fields in backticks, so that each door can put its own spelling there (`gpu_hours`, --gpu-hours).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from .duration import Duration
from .errors import BadInput
from .gpus import Precision
from .job import Label, first_problem
from .money import Currency

_LONGEST_SEARCH = timedelta(days=366)


def _searchable(value: timedelta) -> timedelta:
    if not timedelta(0) < value <= _LONGEST_SEARCH:
        raise ValueError(f"give more than 0s and at most {_LONGEST_SEARCH.days}d")
    return value


class EstimateRequest(BaseModel):
    """One of `params` with `tokens`, `flops` or `gpu_hours`, on a type of GPU; the rest replaces assumptions of ours.

    `tflops` is what one GPU achieves, `mfu` the share of its peak at `precision`. `power_w` is what one GPU draws with
    its share of the host, unless `node_factor` says that the host comes on top. One of `zone`, `region` and
    `intensity_g_per_kwh` says where. `within` is the time in which the best window is looked for. A server also knows
    what jobs of the name `like` drew, and the carbon price of a `project`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    gpu: str = Field(min_length=1, max_length=200)
    params: float | None = Field(default=None, gt=0, le=1e15)
    tokens: float | None = Field(default=None, gt=0, le=1e17)
    flops: float | None = Field(default=None, gt=0, le=1e33)
    gpu_hours: float | None = Field(default=None, gt=0, le=1e14)
    gpus: int | None = Field(default=None, ge=1, le=100_000_000)
    precision: Precision = Precision.FP16
    mfu: float | None = Field(default=None, ge=0.001, le=1)
    tflops: float | None = Field(default=None, ge=0.001, le=1e6)
    power_w: float | None = Field(default=None, gt=0, le=1e5)
    node_factor: float | None = Field(default=None, ge=1, le=5)
    pue: float | None = Field(default=None, ge=1, le=5)
    zone: str | None = Field(default=None, max_length=100)
    region: str | None = Field(default=None, max_length=100)
    intensity_g_per_kwh: float | None = Field(default=None, ge=0, le=1e4)
    embodied_kg: float | None = Field(default=None, ge=0, le=1e6)
    price_per_kwh: Decimal | None = Field(default=None, ge=0, le=Decimal(10**6), max_digits=18)
    currency: Currency | None = None
    within: Annotated[Duration, AfterValidator(_searchable)] = timedelta(days=7)
    like: Label | None = None
    project: Label = "default"

    @model_validator(mode="after")
    def _says_one_thing(self) -> EstimateRequest:
        self._require_one_amount()
        if self.mfu is not None and self.tflops is not None:
            raise ValueError("`mfu` and `tflops` both say how fast a GPU works; give one")
        places = _given(zone=self.zone, region=self.region, intensity_g_per_kwh=self.intensity_g_per_kwh)
        if len(places) > 1:
            raise ValueError(f"{' and '.join(places)} both say how dirty the electricity is; give one")
        if (self.price_per_kwh is None) != (self.currency is None):
            raise ValueError("`price_per_kwh` and `currency` go together, e.g. 0.12 and EUR")
        return self

    def _require_one_amount(self) -> None:
        if (self.params is None) != (self.tokens is None):
            there, missing = ("`params`", "`tokens`") if self.tokens is None else ("`tokens`", "`params`")
            raise ValueError(f"{there} needs {missing} too: the work is 6 x parameters x tokens")
        amounts = _given(params=self.params, flops=self.flops, gpu_hours=self.gpu_hours)
        if not amounts:
            raise ValueError("say how much work it is: `params` with `tokens`, or `flops`, or `gpu_hours`")
        if len(amounts) > 1:
            raise ValueError(f"{' and '.join(amounts)} both say how much work it is; give one")


def _given(**fields: object) -> list[str]:
    return [f"`{name}`" for name, value in fields.items() if value is not None]


def read(given: Mapping[str, Any]) -> EstimateRequest:
    """An EstimateRequest from parsed JSON or options. Raises BadInput: one line, naming the first mistake."""
    if not isinstance(given, Mapping):
        raise BadInput("expected an object with `gpu` and `params` with `tokens`, or `flops`, or `gpu_hours`")
    try:
        return EstimateRequest.model_validate(given)
    except ValidationError as error:
        where = error.errors(include_url=False)[0]["loc"]
        said = first_problem(error, model=EstimateRequest)
        if where:
            said = f"`{where[0]}`{said.removeprefix(str(where[0]))}"
        raise BadInput(said) from None
