"""A report as JSON, one row per job (CSV, Parquet) or one self-contained HTML page; all carry the same figures."""

from __future__ import annotations

import json
from dataclasses import is_dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from . import page, parquet
from .cells import csv_text
from .model import JobLine, RanWindow, Report


def to_json(report: Report) -> str:
    """The report's fields under their own names; times in ISO 8601 with offset, unknown figures as null."""
    return json.dumps(report, ensure_ascii=False, allow_nan=False, default=_plain) + "\n"


def _plain(value: object) -> object:
    if isinstance(value, datetime):  # first, as most are
        return value.isoformat()
    if is_dataclass(value):
        return vars(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    raise TypeError(f"a report holds a {type(value).__name__}, which has no JSON form")


def to_csv(report: Report) -> str:
    """One row per job; units in the column names, unknown figures empty, windows as `region start/end; ...`."""
    return csv_text(COLUMNS, map(_row, report.jobs))


def to_parquet(report: Report) -> bytes:
    """The rows of the CSV with their types; unknown figures are null. Raises BadInput without pyarrow."""
    return parquet.write(COLUMNS, [_row(job) for job in report.jobs])


COLUMNS = (
    "job_id",
    "name",
    "team",
    "project",
    "state",
    "home",
    "gpus",
    "submitted_at",
    "deadline",
    "finished_at",
    "deadline_met",
    "runs",
    "windows",
    "why",
    "energy_kwh",
    "carbon_g",
    "baseline_name",
    "baseline_carbon_g",
    "baseline_start",
    "baseline_region",
    "baseline_grounds",
    "saved_g",
    "saved_pct",
    "uncertainty_g",
    "time_shift_g",
    "region_shift_g",
    "resizing_g",
    "fixed_size_g",
    "overheads_g",
    "market_based_g",
    "hourly_matched_kwh",
    "hourly_matched_pct",
    "gpu_h",
    "embodied_low_g",
    "embodied_g",
    "embodied_high_g",
    "sci_g_per_gpu_h",
    "energy_cost",
    "energy_cost_currency",
    "carbon_cost",
    "carbon_cost_currency",
    "promised_saved_g",
    "ceiling_saved_g",
    "ceiling_pct",
    "ceiling_note",
    "estimated_pct",
    "measured_pct",
    "provisional",
    "final_from",
    "note",
)


def _row(job: JobLine) -> dict[str, Any]:
    baseline, levers = job.baseline, job.levers
    values: dict[str, Any] = {
        **vars(job),
        "job_id": job.id,
        "windows": "; ".join(_window(window) for window in job.windows),
        "baseline_name": baseline.name if baseline else None,
        "baseline_carbon_g": baseline.carbon_g if baseline else None,
        "baseline_region": baseline.region if baseline else None,
        "baseline_grounds": baseline.grounds if baseline else None,
        "time_shift_g": levers.time_shift_g if levers else None,
        "region_shift_g": levers.region_shift_g if levers else None,
        "resizing_g": levers.resizing_g if levers else None,
        "fixed_size_g": levers.fixed_size_g if levers else None,
        "overheads_g": levers.overheads_g if levers else None,
        "market_based_g": job.market_based.carbon_g if job.market_based else None,
        "embodied_low_g": job.embodied_g.low if job.embodied_g else None,
        "embodied_g": job.embodied_g.mid if job.embodied_g else None,
        "embodied_high_g": job.embodied_g.high if job.embodied_g else None,
        "energy_cost": job.energy_cost.amount if job.energy_cost else None,
        "energy_cost_currency": job.energy_cost.currency if job.energy_cost else None,
        "carbon_cost": job.carbon_cost.amount if job.carbon_cost else None,
        "carbon_cost_currency": job.carbon_cost.currency if job.carbon_cost else None,
    }
    return {column: values[column] for column in COLUMNS}


def _window(window: RanWindow) -> str:
    """A window that is still open has nothing after the slash."""
    return f"{window.region} {window.start.isoformat()}/{window.end.isoformat() if window.end else ''}"


def to_html(report: Report) -> str:
    """One self-contained HTML page with pictures: no script, nothing from outside, fit for paper."""
    return page.render(report)
