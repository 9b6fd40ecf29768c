"""A report as a manifest of the Impact Framework: its inputs and outputs, which `if-run` computes anew."""

from __future__ import annotations

from datetime import UTC, datetime

import yaml

from kilowait_scheduler.core.carbon import METHOD

from .model import JobLine, Report, Use
from .rows import ran_s

_CARBON, _INTENSITY = "carbon-operational", "grid/carbon-intensity"


def to_manifest(report: Report) -> str:
    """YAML: one child per project, in it one per job, with an input and an output per region and month.

    `energy` is kWh with PUE, carbon is g; `grid/carbon-intensity` is what the job's own hours come to (g/kWh).
    A job without figures has no inputs.
    """
    projects: dict[str, dict[str, object]] = {}
    for job in report.jobs:
        projects.setdefault(job.project, {})[job.id] = _job(job, report)
    plugin = {
        "method": "Multiply",
        "path": "builtin",
        "config": {"input-parameters": ["energy", _INTENSITY], "output-parameter": _CARBON},
    }
    manifest = {
        "name": "kilowait-savings-report",
        "description": f"Jobs submitted from {report.start.isoformat()} to {report.end.isoformat()}; {METHOD}, "
        f"location-based, {report.signal}",
        "tags": {"kind": "ai-training", "category": "on-premise"},
        "initialize": {"plugins": {_CARBON: plugin}},
        "tree": {"children": {project: {"children": jobs} for project, jobs in sorted(projects.items())}},
    }
    return str(yaml.safe_dump(manifest, sort_keys=False, allow_unicode=True))


def _job(job: JobLine, report: Report) -> dict[str, object]:
    inputs = [_input(job, use, report) for use in job.uses if use.energy_kwh]
    carbon = [use.carbon_g for use in job.uses if use.energy_kwh]
    return {
        "defaults": {"job/name": job.name, "job/team": job.team},
        "pipeline": {"compute": [_CARBON]},
        "inputs": inputs,
        "outputs": [{**given, _CARBON: grams} for given, grams in zip(inputs, carbon, strict=True)],
    }


def _input(job: JobLine, use: Use, report: Report) -> dict[str, object]:
    month = datetime.strptime(use.month, "%Y-%m").replace(tzinfo=UTC)
    began = [window.start for window in job.windows if window.region == use.region]
    found: dict[str, object] = {
        "timestamp": max(month, min(began, default=month)).isoformat(),
        "duration": ran_s(job, use, report),
        "cloud/region": use.region,
        "energy": use.energy_kwh,
        _INTENSITY: (use.carbon_g or 0.0) / (use.energy_kwh or 1.0),
    }
    if use.embodied_g is not None:
        found["carbon-embodied"] = use.embodied_g.mid
    return found
