"""Settings of the server: from the command line, else the environment, else a config file, else a default."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from kilowait_scheduler.core.duration import Duration
from kilowait_scheduler.core.months import known_zone
from kilowait_scheduler.core.window import Utc


def default_state_dir() -> Path:
    return Path.home() / ".local" / "state" / "kilowait"


def config_file() -> Path:
    """The server's config file: KILOWAIT_CONFIG, or `server.yaml` beside the client's config."""
    given = os.environ.get("KILOWAIT_CONFIG")
    return Path(given) if given else Path.home() / ".config" / "kilowait" / "server.yaml"


class Settings(BaseSettings):
    """Where the server listens, what it remembers where, and whom it asks (docs/settings.md)."""

    model_config = SettingsConfigDict(env_prefix="KILOWAIT_", extra="ignore", frozen=True)

    host: str = Field(default="127.0.0.1", description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    state_dir: Path = Field(default_factory=default_state_dir, description="Folder for database, packages, token.")
    database: str | None = Field(default=None, description="Database URL; default: SQLite in the state folder.")
    regions: Path | None = Field(default=None, description="YAML file with the regions to add at start.")
    intensity: Path | None = Field(default=None, description="CSV file or folder of recorded intensity to replay.")
    intensity_column: str = Field(default="carbon_intensity_lifecycle", description="Column of those files to read.")
    intensity_shift: Duration = Field(default=timedelta(0), description="Added to the recording's times.")
    electricity_maps_token: SecretStr | None = Field(default=None, description="Token for Electricity Maps.")
    electricity_maps_url: str = Field(
        default="https://api.electricitymaps.com/v4", description="Base URL of Electricity Maps."
    )
    neso: Literal["on", "off"] = Field(default="on", description="Ask NESO (no key needed) for zone GB.")
    neso_url: str = Field(default="https://api.carbonintensity.org.uk", description="Base URL of NESO.")
    energy_charts: Literal["on", "off"] = Field(
        default="off", description="Ask Energy-Charts (no key needed; CC BY 4.0) for European countries."
    )
    energy_charts_url: str = Field(default="https://api.energy-charts.info", description="Base URL of Energy-Charts.")
    entsoe_token: SecretStr | None = Field(default=None, description="Token for ENTSO-E's Transparency Platform.")
    entsoe_url: str = Field(default="https://web-api.tp.entsoe.eu/api", description="Base URL of ENTSO-E.")
    eia_key: SecretStr | None = Field(default=None, description="Key for the U.S. EIA's API.")
    eia_url: str = Field(default="https://api.eia.gov/v2", description="Base URL of EIA.")
    carbon_aware_sdk_url: str | None = Field(default=None, description="Base URL of your Carbon Aware SDK WebAPI.")
    carbon_aware_sdk_signal: str | None = Field(
        default=None, description="What its source gives, needed: average/lifecycle or average/direct."
    )
    watttime_user: str | None = Field(default=None, description="User of WattTime (marginal intensity, to look at).")
    watttime_password: SecretStr | None = Field(default=None, description="Password for WattTime.")
    watttime_url: str = Field(default="https://api.watttime.org", description="Base URL of WattTime.")
    open_meteo: Literal["on", "off"] = Field(
        default="off", description="Ask Open-Meteo for weather (no key; CC BY 4.0; free for non-commercial use)."
    )
    open_meteo_url: str = Field(default="https://api.open-meteo.com/v1", description="Base URL of Open-Meteo.")
    open_meteo_past_url: str = Field(
        default="https://previous-runs-api.open-meteo.com/v1", description="Base URL of its past forecasts."
    )
    providers: str = Field(
        default="electricity-maps, neso, entsoe, eia, energy-charts, carbon-aware-sdk",
        description="Order in which providers are asked, where a region lists none.",
    )
    quotas: str = Field(default="", description="Requests allowed per provider, e.g. `electricity-maps 1000/day`.")
    forecast_every: Duration = Field(default=timedelta(minutes=30), description="Time between fetches (grid time).")
    stale_after: Duration = Field(default=timedelta(hours=6), description="Age from which a forecast is too old.")
    tick: Duration = Field(default=timedelta(seconds=5), description="How often the control loop runs (real time).")
    slot: Duration = Field(
        default=timedelta(minutes=15), ge=timedelta(minutes=1), description="Length of a planning slot."
    )
    margin: float = Field(default=0.15, ge=0, le=5, description="Share of a job's work kept free before its deadline.")
    wait_share_per_h: float = Field(
        default=0.0002, ge=0, le=1, description="Price of an hour of waiting, as a share of the job's run-now carbon."
    )
    power_per_gpu_w: float = Field(default=400.0, gt=0, description="Power per busy GPU if unsaid.")
    fence: Duration = Field(default=timedelta(seconds=90), description="Wait after a cluster lost a run.")
    reports_dir: Path | None = Field(default=None, description="Folder to write a report of each past month to.")
    reports_timezone: Annotated[str, AfterValidator(known_zone)] = Field(
        default="UTC", description="Time zone of those months, and of reports where none is asked for."
    )
    clock_speed: float = Field(default=1.0, gt=0, description="Above 1 only in demonstrations.")
    clock_start: Utc | None = Field(default=None, description="Grid time at start; default: now.")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **named: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What was passed in wins over the environment, the environment over the config file."""
        file = YamlConfigSettingsSource(settings_cls, yaml_file=config_file())
        return named["init_settings"], named["env_settings"], file

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.state_dir / 'kilowait.db'}"
