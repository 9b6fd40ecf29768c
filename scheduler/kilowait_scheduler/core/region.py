"""A region: a place that can train: one Ray cluster in one zone, with a number of GPUs and a PUE."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from .money import Tariff

# Uptime Institute's surveys put the industry's mean near 1.55; hyperscalers publish 1.1 to 1.2 (see docs/method.md).
DEFAULT_PUE = 1.2

NAME_PATTERN = r"^[a-z][a-z0-9-]{0,39}$"


class Region(BaseModel):
    """One Ray cluster in one zone.

    `address` is the base URL of its Jobs REST API. `token_env` names the environment variable of the server that holds
    the cluster's bearer token: a reference, never the secret. `intensity_g_per_kwh` is a configured yearly mean, used
    only when neither provider nor typical day answers for the zone. `tariff`: what a kWh costs at the meter.
    `providers`: who is asked about its zone, in this order, in place of the server's setting.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(pattern=NAME_PATTERN)
    zone: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")
    address: str = Field(pattern=r"^https?://.+")
    capacity_gpus: int = Field(ge=1)
    pue: float = Field(default=DEFAULT_PUE, ge=1.0, le=5.0)
    gpu_type: str | None = None
    token_env: str | None = Field(default=None, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    intensity_g_per_kwh: float | None = Field(default=None, ge=0)
    tariff: Tariff | None = None
    providers: tuple[str, ...] | None = None
