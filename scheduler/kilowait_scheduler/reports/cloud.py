"""A report in the shapes in which AWS and Google export carbon: one row per account (our project), region and month.

Both count the jobs that have figures, by when their energy was drawn. A part without a reading is only in
Google's, which has a column for the making of its GPUs. docs/exports.md says what each column holds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from kilowait_scheduler.core.carbon import METHOD
from kilowait_scheduler.core.clean import MarketBased
from kilowait_scheduler.core.months import month_span
from kilowait_scheduler.core.ranges import Range, summed

from .cells import csv_text
from .model import Report, Use
from .uses import market_based_of

PRODUCT = "kilowait"
AWS_UNIT = "MTCO2e"
GRAMS_PER_T = 1e6

AWS_COLUMNS = (
    "last_refresh_timestamp",
    "location",
    "model_version",
    "payer_account_id",
    "product_code",
    "region_code",
    "total_lbm_emissions_unit",
    "total_lbm_emissions_value",
    "total_mbm_emissions_unit",
    "total_mbm_emissions_value",
    "usage_account_id",
    "usage_period_end",
    "usage_period_start",
)

GOOGLE_COLUMNS = (
    "usage_month",
    "billing_account_id",
    "project.id",
    "project.number",
    "service.id",
    "service.description",
    "location.location",
    "location.region",
    "carbon_model_version",
    "carbon_footprint_kgCO2e.scope1",
    "carbon_footprint_kgCO2e.scope2.location_based",
    "carbon_footprint_kgCO2e.scope2.market_based",
    "carbon_footprint_kgCO2e.scope3",
    "carbon_footprint_total_kgCO2e.location_based",
    "carbon_footprint_total_kgCO2e.market_based",
    "carbon_footprint_total_kgCO2e.after_offsets",
)


@dataclass(frozen=True)
class Account:
    """What a project's jobs emitted in one region and month (`2026-11`), in [start, end) of UTC; energy and carbon are
    None where GPUs were held and no meter has readings."""

    project: str
    region: str
    month: str
    start: datetime
    end: datetime
    energy_kwh: float | None
    carbon_g: float | None
    embodied_g: Range | None
    market_based: MarketBased | None


def accounts(report: Report) -> list[Account]:
    """By project, region and month, in order."""
    parts: dict[tuple[str, str, str], list[Use]] = {}
    for job in report.jobs:
        for use in job.uses:
            parts.setdefault((job.project, use.region, use.month), []).append(use)
    return [
        Account(
            *where,
            *month_span(where[2], report.timezone),
            energy_kwh=_known(use.energy_kwh for use in uses),
            carbon_g=_known(use.carbon_g for use in uses),
            embodied_g=summed(use.embodied_g for use in uses),
            market_based=market_based_of(uses),
        )
        for where, uses in sorted(parts.items())
    ]


def _known(figures: Iterable[float | None]) -> float | None:
    """The sum of those that are known; None where none is."""
    found = [figure for figure in figures if figure is not None]
    return sum(found) if found else None


def to_aws(report: Report) -> str:
    """CSV in the columns of the carbon emissions table of AWS Data Exports; figures are metric tonnes."""
    zones = {region.name: region.zone for region in report.regions}
    rows = (
        {
            "last_refresh_timestamp": _aws_time(report.generated_at),
            "location": zones.get(account.region),
            "model_version": METHOD,
            "payer_account_id": PRODUCT,
            "product_code": PRODUCT,
            "region_code": account.region,
            "total_lbm_emissions_unit": AWS_UNIT,
            "total_lbm_emissions_value": account.carbon_g / GRAMS_PER_T,
            "total_mbm_emissions_unit": AWS_UNIT,
            "total_mbm_emissions_value": account.market_based.carbon_g / GRAMS_PER_T if account.market_based else None,
            "usage_account_id": account.project,
            "usage_period_end": _aws_time(account.end),
            "usage_period_start": _aws_time(account.start),
        }
        for account in accounts(report)
        if account.carbon_g is not None
    )
    return csv_text(AWS_COLUMNS, rows)


def to_google(report: Report) -> str:
    """JSON lines as BigQuery exports the Carbon Footprint table: records nested, unknown figures null."""
    return "".join(json.dumps(nested(row), ensure_ascii=False) + "\n" for row in _google(report))


def to_google_csv(report: Report) -> str:
    """The same rows flattened: the names of nested fields joined with dots, unknown figures empty."""
    return csv_text(GOOGLE_COLUMNS, _google(report))


def _google(report: Report) -> Iterator[dict[str, object]]:
    zones = {region.name: region.zone for region in report.regions}
    for account in accounts(report):
        located_kg = account.carbon_g / 1000 if account.carbon_g is not None else None
        market_kg = account.market_based.carbon_g / 1000 if account.market_based is not None else None
        made_kg = account.embodied_g.mid / 1000 if account.embodied_g is not None else None
        values = (
            f"{account.month}-01",
            PRODUCT,
            account.project,
            "",
            PRODUCT,
            f"Kilowait {METHOD}",
            zones.get(account.region),
            account.region,
            int(METHOD.partition("@")[2]),
            None,
            located_kg,
            market_kg,
            made_kg,
            located_kg + made_kg if located_kg is not None and made_kg is not None else None,
            market_kg + made_kg if market_kg is not None and made_kg is not None else None,
            None,
        )
        yield dict(zip(GOOGLE_COLUMNS, values, strict=True))


def nested(row: dict[str, object]) -> dict[str, object]:
    """A row whose names have dots, as records within records."""
    found: dict[str, object] = {}
    for name, value in row.items():
        *outer, last = name.split(".")
        inside = found
        for part in outer:
            inside = inside.setdefault(part, {})  # type: ignore[assignment]
        inside[last] = value
    return found


def _aws_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
