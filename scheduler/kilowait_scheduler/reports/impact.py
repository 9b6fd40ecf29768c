"""A report as a manifest of the Impact Framework: its inputs and outputs, which `if-run` computes anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from kilowait_scheduler.core.carbon import METHOD
from kilowait_scheduler.core.months import month_span

from .model import JobLine, Report, Use
from .rows import ran_s

_CARBON, _INTENSITY = "carbon-operational", "grid/carbon-intensity"


def to_manifest(report: Report) -> str:
    """YAML: one child per project, in it one per job, with an input and an output per region and month.

    `energy` is kWh with PUE, carbon is g; `grid/carbon-intensity` is what the job's own hours come to (g/kWh).
    A job without energy is not in it: `if-run` stops at a child that has no inputs.
    """
    projects: dict[str, dict[str, object]] = {}
    for job in report.jobs:
        uses = [use for use in job.uses if use.energy_kwh]
        if uses:
            projects.setdefault(job.project, {})[job.id] = _job(job, uses, report)
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
        "tree": {
            "pipeline": {"compute": [_CARBON]},
            "children": {project: {"children": jobs} for project, jobs in sorted(projects.items())},
        },
    }
    return yaml.dump(manifest, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Quotes all text that could be a number: which is one differs between YAML 1.1, ours, and 1.2, theirs."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if text[:1] in "+-.0123456789" else None)


_Dumper.add_representer(str, _text)


def _job(job: JobLine, uses: Sequence[Use], report: Report) -> dict[str, object]:
    named = {"job/name": job.name, "job/team": job.team}
    inputs = [_input(job, use, report) for use in uses]
    return {"defaults": named, "inputs": inputs, "outputs": [_output(given, named) for given in inputs]}


def _output(given: dict[str, Any], named: dict[str, str]) -> dict[str, object]:
    """As the framework makes it, to the last bit: defaults and input together, and the product."""
    return {**named, **given, _CARBON: given["energy"] * given[_INTENSITY]}


def _input(job: JobLine, use: Use, report: Report) -> dict[str, Any]:
    month, _ = month_span(use.month, report.timezone)
    began = [window.start for window in job.windows if window.region == use.region]
    found: dict[str, Any] = {
        "timestamp": max(month, min(began, default=month)).isoformat(),
        "duration": ran_s(job, use, report),
        "cloud/region": use.region,
        "energy": use.energy_kwh,
        _INTENSITY: (use.carbon_g or 0.0) / (use.energy_kwh or 1.0),
    }
    if use.embodied_g is not None:
        found["carbon-embodied"] = use.embodied_g.mid
    return found
