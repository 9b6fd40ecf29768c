"""The HTML page of a report: the template, filled."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

from . import pictures, words
from .model import JobLine, Report, Totals
from .templating import environment, style, style_source
from .units import UNKNOWN, Unit, energy_unit, mass_unit

# A page that a person can open and print: of more jobs the largest are in the table, and all are in the CSV.
_MOST_JOBS = 200
_MOST_NAMES = 20
_LONGEST = 1e5  # of the unit in which sums are shown


def render(report: Report) -> str:
    """The page: one file without scripts or anything from outside."""
    css = style("base.css", "pictures.css", "report.css")
    template = environment(__package__).get_template("report.html")
    return template.render(
        report=report,
        css=Markup(css),  # noqa: S704 - our own file; escaped, its selectors would break
        policy=policy(),
        headline=words.headline(report),
        loud=words.loud(report),
        meanings={name: words.MEANINGS.get(name, "") for name in report.method},
        deadlines=words.deadlines(report.jobs),
        deadline_word=words.deadline_word,
        shown=_shown(report),
        most_names=_MOST_NAMES,
        little_to_gain=words.little_to_gain,
        sources=_listed(region.intensity_sources for region in report.regions),
        meters=_listed(meter for region in report.regions for meter in region.meters),
        picture={
            "windows": pictures.windows(report) if report.regions else None,
            "saved": pictures.saved(report),
            "saved_by": pictures.saved_by(report),
            "energy_jobs": pictures.energy_of_jobs(report),
            "energy_regions": pictures.energy_of_regions(report),
        },
        # Costs that no group has need no column.
        priced=[name for name in ("energy_cost", "carbon_cost") if any(getattr(g.totals, name) for g in report.groups)],
        **_units(report),
    )


def policy() -> str:
    """The Content-Security-Policy of the page: its own style sheet and nothing else."""
    return (
        f"default-src 'none'; style-src {style_source(style('base.css', 'pictures.css', 'report.css'))}; img-src data:"
    )


def _units(report: Report) -> dict[str, Unit]:
    jobs, totals = report.jobs, report.totals
    grams = [value for job in jobs for value in (job.carbon_g, job.saved_g, job.promised_saved_g, job.ceiling_saved_g)]
    grams += [job.baseline.carbon_g for job in jobs if job.baseline is not None]
    return {
        "job_mass": mass_unit(grams),
        "job_energy": energy_unit(job.energy_kwh for job in jobs),
        "group_mass": mass_unit(group.totals.baseline_g for group in report.groups),
        "group_energy": energy_unit(group.totals.energy_kwh for group in report.groups),
        "embodied_mass": mass_unit([totals.embodied_g.high if totals.embodied_g else None]),
        "total_mass": _total_mass(totals),
        "saved_mass": mass_unit([totals.saved_g]),
        "total_energy": energy_unit([totals.energy_kwh]),
        "region_energy": energy_unit(region.it_energy_kwh for region in report.regions),
    }


def _total_mass(totals: Totals) -> Unit:
    """That of the saving, so that one sees what is subtracted from what; unless the rest has six digits in it."""
    saved, whole = mass_unit([totals.saved_g]), [totals.carbon_g, totals.baseline_g, totals.saved_g]
    return saved if max(map(abs, whole)) < _LONGEST * saved.size else mass_unit(whole)


def _shown(report: Report) -> list[JobLine]:
    """The jobs of the table, in their order: of very many those that emitted most, here or in the baseline."""
    if len(report.jobs) <= _MOST_JOBS:
        return list(report.jobs)
    size = {
        job.id: max(abs(job.carbon_g or 0.0), abs(job.baseline.carbon_g) if job.baseline else 0.0)
        for job in report.jobs
    }
    largest = set(sorted(size, key=lambda job_id: (-size[job_id], job_id))[:_MOST_JOBS])
    return [job for job in report.jobs if job.id in largest]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(set(names) - {"none"})) or UNKNOWN
