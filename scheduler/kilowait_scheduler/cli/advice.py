"""The command `advise`: what would have made a job cleaner, and what a lever that was used really saved."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.text import Text

from kilowait_scheduler.client import segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, connect
from .output import Format, grams, say, table


def register(app: typer.Typer) -> None:
    app.command()(advise)


def advise(
    job: Annotated[str, typer.Argument(help="Id, or a name only one job has.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
    compare: Annotated[str | None, typer.Option(help="A later job of its name: what did that save?")] = None,
    applied: Annotated[
        list[str] | None, typer.Option(help="Lever it used, e.g. power-cap; may be repeated. Else those that show.")
    ] = None,
    work: Annotated[float, typer.Option(help="How much work it did, in units of JOB's.")] = 1.0,
) -> None:
    """Say what would have made a job cleaner, by its own record, ranked by how much."""
    with connect(server, token_file) as client:
        found = client.get(f"jobs/{segment(job)}/advice", compare=compare, applied=applied, work=work)
    if o is not Format.TABLE:
        output.data(found, o, rows=[_flat(found, lever) for lever in found["levers"]])
        return
    _show_job(found)
    _show_levers(found["levers"])
    if found["outcome"] is not None:
        _show_outcome(found["outcome"])
    if found["silent"]:
        output.out.print("\nNothing to say of", style="bold")
    for one in found["silent"]:
        output.out.print(f"{one['kind']}: {one['why']}", markup=False, highlight=False)
    for note in found["notes"]:
        say(note)


def _flat(found: dict[str, Any], lever: dict[str, Any]) -> dict[str, Any]:
    named = {"job": found["job_id"], **{key: lever[key] for key in ("kind", "what", "confidence")}}
    ends = {
        f"{figure}_{end}": (lever[figure] or {}).get(end)
        for figure in ("energy_kwh", "carbon_g")
        for end in ("low", "mid", "high")
    }
    return {**named, **ends, "because": lever["because"], "evidence": lever["evidence"], "how": lever["how"]}


def _show_job(found: dict[str, Any]) -> None:
    output.out.print(f"[bold]{found['name']}[/]  {found['job_id']}  ", output.state(found["state"]), sep="")
    power = "" if found["power_w"] is None else f", {found['power_w']:.0f} W per GPU"
    energy = "no energy measured" if found["energy_kwh"] is None else f"{found['energy_kwh']:.4g} kWh at its GPUs"
    gpu = "" if found["gpu"] is None else f" of {found['gpu']}"
    output.out.print(
        f"{energy}, {grams(found['carbon_g'])}; {found['gpu_hours']:.4g} GPU-hours{gpu}{power}; runs {found['runs']}",
        markup=False,
        highlight=False,
    )


def _show_levers(levers: list[dict[str, Any]]) -> None:
    if not levers:
        say("nothing that was recorded speaks for a lever")
        return
    title = "\nWhat each would have saved: low · mid · high. They overlap and have no sum."
    shown = table("lever", ">kWh", ">carbon", "confidence", title=title)
    for lever in levers:
        shown.add_row(lever["kind"], _kwh(lever["energy_kwh"]), _carbon(lever["carbon_g"]), lever["confidence"])
    output.out.print(shown)
    for lever in levers:
        output.out.print(f"\n{lever['kind']}: {lever['what']}", style="bold", markup=False, highlight=False)
        for part in (lever["evidence"], f"Do: {lever['how']}", f"Confidence {lever['confidence']}: {lever['because']}"):
            output.out.print(Padding(Text(part), (0, 0, 0, 4)))


def _show_outcome(outcome: dict[str, Any]) -> None:
    title = f"\nBeside {outcome['other_id']}: {outcome['shown_by']}"
    shown = table("lever", ">predicted", ">measured", title=title)
    for one in outcome["applied"]:
        predicted, measured = _carbon(one["carbon_g"]), _difference(one["measured_g"])
        if one["energy_kwh"] is not None and one["energy_kwh"]["high"]:
            predicted = f"{_kwh(one['energy_kwh'])} kWh, {predicted}"
        if one["measured_kwh"]:
            measured = f"{one['measured_kwh']:.3g} ± {outcome['uncertainty_kwh']:.2g} kWh, {measured}"
        shown.add_row(one["kind"], predicted, measured)
    output.out.print(shown)
    parts = f"{_difference(outcome['by_energy_g'])} by energy, {_difference(outcome['by_grid_g'])} by the grid"
    output.out.print(
        f"for the same work {outcome['saved_kwh']:.3g} kWh less ({outcome['saved_pct']:.1f} %); "
        f"{_difference(outcome['saved_g'])} less: {parts}",
        markup=False,
        highlight=False,
    )


def _difference(value: float | None) -> str:
    """Grams to the microgram: what is left of equal numbers by their rounding is nothing, not a figure."""
    return grams(None if value is None else round(value, 6) + 0.0)


def _kwh(value: dict[str, float]) -> str:
    return " · ".join(f"{value[end]:.3g}" for end in ("low", "mid", "high")) if value["high"] else "-"


def _carbon(value: dict[str, float] | None) -> str:
    return "-" if value is None else " · ".join(grams(value[end]) for end in ("low", "mid", "high"))
