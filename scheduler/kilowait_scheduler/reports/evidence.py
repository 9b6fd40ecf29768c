"""What a report rests on, as files that anyone can recompute it from (docs/recompute.py, docs/method.md).

Holds the energy of each job, split into useful work and overhead; the intensity used, slot by slot; where and when
each job's baseline works; its best schedule on what came; the regions' PUE; contracts for clean energy with the load
that they were shared among; the report itself; and a manifest with methods, sources and a hash of every file.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from kilowait_forecasters.intensity import IntensitySeries
from kilowait_scheduler.core.baseline import Counterfactual
from kilowait_scheduler.core.course import from_us
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.resizing import stints_of
from kilowait_scheduler.core.stack import Stack

from .ceiling import Ceiling
from .cells import csv_text
from .contracted import Contracted
from .measured import Measured
from .model import Report
from .render import to_json


@dataclass(frozen=True)
class Evidence:
    """A report with all that its figures were made from, by job id and region name."""

    report: Report
    jobs: Sequence[Measured]
    baselines: Mapping[str, Counterfactual]
    ceilings: Mapping[str, Ceiling]
    regions: Sequence[Region]
    intensity: Mapping[str, IntensitySeries]
    contracted: Contracted

    def files(self) -> dict[str, str]:
        """The files by name."""
        figured = {line.id for line in self.report.jobs if line.carbon_g is not None}
        jobs = [job for job in self.jobs if job.record.id in figured]
        found = {
            "intervals.csv": _csv(
                ("job_id", "part", "start", "end", "energy_mj", "region", "uncertainty_pct", "estimated"),
                (row for job in jobs for row in _intervals(job)),
            ),
            "intensity.csv": _csv(
                ("region", "start", "end", "g_per_kwh", "estimated"),
                (
                    (name, slot.start.isoformat(), slot.end.isoformat(), slot.g_per_kwh, _word(slot.estimated))
                    for name, series in sorted(self.intensity.items())
                    for slot in series.slots
                ),
            ),
            "baselines.csv": _csv(
                ("job_id", "baseline", "region", "start", "end", "slack_us", "grounds"),
                (row for job in jobs for row in self._baseline(job)),
            ),
            "ceilings.csv": _csv(
                ("job_id", "region", "start", "end", "restart_us", "restart_mj", "ran_in_time"),
                (row for job in jobs for row in self._ceiling(job)),
            ),
            "sizes.csv": _csv(
                ("job_id", "since", "gpus", "speed", "baseline_gpus", "baseline_speed", "best_gpus", "best_speed"),
                (row for job in jobs for row in _sizes(job)),
            ),
            "regions.csv": _csv(
                ("region", "zone", "pue"), ((region.name, region.zone, region.pue) for region in self.regions)
            ),
            "report.json": to_json(self.report),
            **self.contracted.files(),
        }
        manifest = {
            "report": {"start": self.report.start.isoformat(), "end": self.report.end.isoformat()},
            "made_at": self.report.generated_at.isoformat(),
            "methods": list(self.report.method),
            "signal": self.report.signal,
            "intensity_sources": {name: series.source for name, series in sorted(self.intensity.items())},
            "sha256": {name: hashlib.sha256(text.encode()).hexdigest() for name, text in sorted(found.items())},
        }
        return {**found, "manifest.json": json.dumps(manifest, indent=2) + "\n"}

    def packed(self) -> bytes:
        """The files as one zip; the same evidence gives the same bytes."""
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in self.files().items():
                archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
        return out.getvalue()

    def _ceiling(self, job: Measured) -> Iterable[tuple[object, ...]]:
        """The stretches of its best schedule, in order; none where there is none to tell."""
        ceiling = self.ceilings.get(job.record.id)
        for stay in ceiling.stays if ceiling is not None else ():
            energy_mj = stay.restart_mj(job.through, job.worked)
            restart_us = round(stay.restart_s * 1_000_000)
            span = (stay.start.isoformat(), stay.end.isoformat())
            yield job.record.id, stay.region, *span, str(restart_us), str(energy_mj), _word(job.in_time)

    def _baseline(self, job: Measured) -> Iterable[tuple[object, ...]]:
        """The windows of its counterfactual, in order."""
        against = self.baselines[job.record.id]
        slack_us = against.slack // timedelta(microseconds=1)
        for start, end in against.windows:
            yield (
                job.record.id,
                self.report.baseline_name,
                against.region,
                start.isoformat(),
                end.isoformat(),
                str(slack_us),
                against.grounds,
            )


def _intervals(job: Measured) -> Iterable[tuple[object, ...]]:
    for part, intervals in (("useful", Stack.of([job.useful]).sorted().rows), ("overhead", job.overhead)):
        for one in intervals:
            yield (
                job.record.id,
                part,
                one.start.isoformat(),
                one.end.isoformat(),
                str(one.energy_mj),
                one.region,
                one.uncertainty_pct,
                _word(one.estimated),
            )


def _sizes(job: Measured) -> Iterable[tuple[object, ...]]:
    """Of an elastic job: on how many GPUs and how fast it worked from when on, and on how many others would have."""
    record = job.record
    if job.resized is None:
        return
    for stint in stints_of(record.state):
        sizes = (stint.gpus, record.gpus, record.best_size)
        pairs = ((str(gpus), record.state.speed_on(gpus)) for gpus in sizes)
        yield record.id, from_us(stint.since_us).isoformat(), *(cell for pair in pairs for cell in pair)


def _word(value: bool) -> str:  # noqa: FBT001 - it is the value to be written
    return "true" if value else "false"


def _csv(names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return csv_text(names, (dict(zip(names, row, strict=True)) for row in rows))
