"""The savings report on a terminal, from its JSON."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from . import output
from .output import grams, local, money, say, table


def show_report(report: dict[str, Any]) -> None:
    """Print jobs, totals, and what the figures rest on."""
    shown = table(
        "job", "state", "ran in", ">energy", ">carbon", ">baseline", ">saved", ">%", "deadline", title=report["title"]
    )
    for job in report["jobs"]:
        regions = " > ".join(dict.fromkeys(window["region"] for window in job["windows"])) or "-"
        base = grams(job["baseline"]["carbon_g"]) if job["baseline"] else "-"
        pct = "-" if job["saved_pct"] is None else f"{job['saved_pct']:+.0f}"
        met = {True: "met", False: "MISSED", None: "open"}[job["deadline_met"]]
        star = "*" if job["provisional"] else ""
        shown.add_row(
            job["name"],
            output.state(job["state"]),
            regions,
            kwh(job["energy_kwh"]),
            grams(job["carbon_g"]),
            base,
            grams(job["saved_g"]) + star,
            pct,
            met,
        )
    output.out.print(shown)
    if report["groups"]:
        output.out.print(_groups(report))
    totals = report["totals"]
    output.out.print(_sums(report), highlight=False)
    if totals["market_based"]:
        said = (
            f"market-based {grams(totals['market_based']['carbon_g'])}, beside {grams(totals['carbon_g'])} by location"
        )
        output.out.print(said, highlight=False)
    if totals["hourly_matched_pct"] is not None:
        output.out.print(f"clean supply matched {totals['hourly_matched_pct']:.1f} % hour by hour", highlight=False)
    for what in ("energy", "carbon"):
        costs = [money(cost) for cost in totals[f"{what}_cost"]]
        if costs:
            output.out.print(f"{'electricity' if what == 'energy' else 'carbon'} cost {' and '.join(costs)}")
    if totals["without_figures"]:
        say(f"{totals['without_figures']} job(s) without figures are not in the sums:")
        for job in report["jobs"]:
            if job["carbon_g"] is None:
                say(f"  {job['name']}: {job['note'] or job['why']}")
    if any(job["provisional"] and job["carbon_g"] is not None for job in report["jobs"]):
        say("* provisional: running, or resting on estimated values that are settled later")
    for note in report["notes"]:
        say(note)


def _sums(report: dict[str, Any]) -> str:
    """What all jobs together saved, and what made it; or that there is nothing yet to say so of."""
    totals, levers = report["totals"], report["totals"]["levers"]
    if not totals["jobs"]:
        return f"{report['title']}: no jobs were submitted from {local(report['start'])} to {local(report['end'])}"
    if totals["jobs"] == totals["without_figures"]:
        return "no figures yet"
    pct = "" if totals["saved_pct"] is None else f" ({totals['saved_pct']:+.1f} %)"
    made_by = {"time": "time_shift_g", "region": "region_shift_g", "resizing": "resizing_g", "overheads": "overheads_g"}
    return (
        f"saved {grams(totals['saved_g'])}{pct} +- {grams(totals['uncertainty_g'])} against {report['baseline_name']}: "
        + ", ".join(f"{word} {grams(levers[name])}" for word, name in made_by.items())
    )


def _groups(report: dict[str, Any]) -> Table:
    """Sums per team, project, region or month."""
    shown = table(report["by"], ">jobs", ">energy", ">carbon", ">baseline", ">saved", ">%", title=f"By {report['by']}")
    for group in report["groups"]:
        sums = group["totals"]
        pct = "-" if sums["saved_pct"] is None else f"{sums['saved_pct']:+.0f}"
        known = sums["jobs"] > sums["without_figures"]
        figures = [kwh(sums["energy_kwh"]), *(grams(sums[name]) for name in ("carbon_g", "baseline_g", "saved_g"))]
        shown.add_row(group["name"], str(sums["jobs"]), *(figures if known else ["-"] * 4), pct)
    return shown


def kwh(value: float | None) -> str:
    """Energy with a unit a person can read."""
    if value is None:
        return "-"
    return f"{value * 1000:.3g} Wh" if abs(value) < 1 else f"{value:.3g} kWh"


def show_reconciliation(found: dict[str, Any]) -> None:
    """Print a cloud's figures beside ours, and what the differences are made of."""
    shown = table("account", "region", "month", "method", ">theirs", ">ours", ">difference", ">%", "of which")
    for one in found["comparisons"]:
        parts = [f"{grams(part['g'])} {part['name']}{' (estimated)' * part['estimated']}" for part in one["parts"]]
        shown.add_row(
            one["account"],
            one["region"],
            one["month"],
            one["method"],
            grams(one["theirs_g"]),
            grams(one["ours_g"]),
            grams(one["difference_g"]),
            "-" if one["difference_pct"] is None else f"{one['difference_pct']:+.1f}",
            "\n".join(parts) or "the same",
        )
    output.out.print(shown)
    notes = [f"{one['account']}, {one['region']}: {note}" for one in found["comparisons"] for note in one["notes"]]
    for note in dict.fromkeys([*notes, *found["notes"]]):
        say(note)
    count, limit = len(found["comparisons"]), found["tolerance_pct"]
    say(
        f"{found['exceeding']} of {count} comparisons differ by more than {limit:g} %, in months of {found['timezone']}"
    )
