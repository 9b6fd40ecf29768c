"""A report as rows that programs for costs and footprints read: FOCUS, and CodeCarbon's emissions.csv."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from kilowait_agents.emissions_csv import COLUMNS as CODECARBON_COLUMNS
from kilowait_scheduler.core.carbon import METHOD
from kilowait_scheduler.core.months import month_span, months_of

from .cells import csv_text
from .cloud import PRODUCT
from .model import JobLine, Report, Use
from .uses import regions_of

FOCUS_COLUMNS = (
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "InvoiceIssuerName",
    "ListCost",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_EnergyKilowattHours",
    "x_CarbonLocationBasedGrams",
    "x_CarbonMarketBasedGrams",
    "x_EnergyHourlyMatchedKilowattHours",
    "x_CarbonEmbodiedGrams",
    "x_CarbonBaselineGrams",
    "x_CarbonSavedGrams",
    "x_CarbonBaselineName",
    "x_CarbonMethod",
)


def to_focus(report: Report) -> str:
    """CSV in columns of FOCUS 1.2: one row per job, region and month; carbon in custom ones (`x_`), power as cost.

    Baseline and saving belong to a job as a whole: they stand in its first row. A row is a charge: where no meter has
    readings there is none.
    """
    return csv_text(FOCUS_COLUMNS, (row for job in report.jobs for row in _focus(job, report)))


def _focus(job: JobLine, report: Report) -> Iterator[dict[str, object]]:
    charged = (use for use in job.uses if use.energy_kwh is not None)
    for number, use in enumerate(charged):
        first = number == 0
        month = month_span(use.month, report.timezone)
        start, end = _ran(job, use, report) or month
        cost = use.energy_cost
        yield {
            **dict.fromkeys(("BilledCost", "ContractedCost", "EffectiveCost", "ListCost"), cost and cost.amount),
            **dict.fromkeys(("BillingAccountId", "BillingAccountName", "InvoiceIssuerName"), PRODUCT),
            **dict.fromkeys(("ProviderName", "PublisherName", "ServiceName"), PRODUCT),
            "BillingCurrency": cost and cost.currency,
            "BillingPeriodStart": _focus_time(month[0]),
            "BillingPeriodEnd": _focus_time(month[1]),
            "ChargeCategory": "Usage",
            "ChargeDescription": f"Electricity of job {job.name}",
            "ChargeFrequency": "Usage-Based",
            "ChargePeriodStart": _focus_time(start),
            "ChargePeriodEnd": _focus_time(end + timedelta(seconds=1, microseconds=-1)),  # the next whole second
            "PricingCategory": "Standard",
            **dict.fromkeys(("ConsumedQuantity", "PricingQuantity", "x_EnergyKilowattHours"), use.energy_kwh),
            **dict.fromkeys(("ConsumedUnit", "PricingUnit"), "kWh"),
            **dict.fromkeys(("RegionId", "RegionName"), use.region),
            "ResourceId": job.id,
            "ResourceName": job.name,
            "ResourceType": "Job",
            "ServiceCategory": "AI and Machine Learning",
            "ServiceSubcategory": "Machine Learning",
            **dict.fromkeys(("SubAccountId", "SubAccountName"), job.project),
            "Tags": json.dumps({"team": job.team, "project": job.project}, ensure_ascii=False),
            "x_CarbonLocationBasedGrams": use.carbon_g,
            "x_CarbonMarketBasedGrams": use.market_based.carbon_g if use.market_based else None,
            "x_EnergyHourlyMatchedKilowattHours": use.hourly_matched_kwh,
            "x_CarbonEmbodiedGrams": use.embodied_g.mid if use.embodied_g else None,
            "x_CarbonBaselineGrams": job.baseline.carbon_g if first and job.baseline else None,
            "x_CarbonSavedGrams": job.saved_g if first else None,
            "x_CarbonBaselineName": job.baseline.name if job.baseline else None,
            "x_CarbonMethod": METHOD,
        }


def _focus_time(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _ran(job: JobLine, use: Use, report: Report) -> tuple[datetime, datetime] | None:
    """From the first to the last moment in which the job ran in a region and month; None where it did not."""
    spans = _spans(job, use, report)
    return (min(start for start, _ in spans), max(end for _, end in spans)) if spans else None


def _spans(job: JobLine, use: Use, report: Report) -> list[tuple[datetime, datetime]]:
    return [
        (start, end)
        for window in job.windows
        if window.region == use.region
        for month, start, end in months_of(window.start, window.end or report.generated_at, report.timezone)
        if month == use.month
    ]


def ran_s(job: JobLine, use: Use, report: Report) -> float:
    """How many seconds the job ran in a region and month."""
    return sum(((end - start) / timedelta(seconds=1) for start, end in _spans(job, use, report)), 0.0)


def to_codecarbon(report: Report) -> str:
    """CSV in the columns of CodeCarbon's emissions.csv, one row per job that has figures; kWh with PUE."""
    known = (job for job in report.jobs if job.carbon_g is not None)  # one that is empty makes their sums unknown
    return csv_text(CODECARBON_COLUMNS, (_codecarbon(job, report) for job in known))


def _codecarbon(job: JobLine, report: Report) -> dict[str, object]:
    ends = [window.end or report.generated_at for window in job.windows]
    ran = [end - window.start for window, end in zip(job.windows, ends, strict=True)]
    seconds = sum(ran, timedelta(0)) / timedelta(seconds=1) if ran else None
    kg = job.carbon_g / 1000 if job.carbon_g is not None else None
    regions = regions_of(job)
    pues = {region.pue for region in report.regions if region.name in regions}
    last = max(ends, default=job.finished_at or report.generated_at)
    return {
        "timestamp": f"{last.astimezone(UTC):%Y-%m-%dT%H:%M:%S}",
        "project_name": job.project,
        "run_id": job.id,
        "experiment_id": job.name,
        "duration": seconds,
        "emissions": kg,
        "emissions_rate": kg / seconds if kg is not None and seconds else None,
        "energy_consumed": job.energy_kwh,
        "region": " > ".join(regions),
        "gpu_count": job.gpus,
        "on_cloud": "N",  # as CodeCarbon has it where it knows of no cloud; its viewer stops where nothing is said
        "pue": pues.pop() if len(pues) == 1 else None,
    }
