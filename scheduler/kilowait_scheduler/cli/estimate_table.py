"""An estimate, and the table of GPUs, on a terminal, from their JSON."""

from __future__ import annotations

import re
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kilowait_scheduler.reports.units import mass_unit

from . import output
from .output import local, table

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ENDS = ("low", "mid", "high")
_PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "fp8")
_MASS = (("g", 1e-6), ("kg", 1e-3), ("t", 1.0))


def show_estimate(answer: dict[str, Any]) -> None:
    """The estimate, the same by place and month, the best window, and all that it rests on."""
    ranges = answer["ranges"]
    shown = table("", ">low", ">mid", ">high", "", title=answer["gpu"])
    _row(shown, "work", ranges["flops"], "FLOP")
    _row(shown, "GPU-hours", ranges["gpu_hours"], "")
    _row(shown, "on one GPU", ranges["years_on_one_gpu"], "years")
    if ranges["wall_h"] is not None:
        _row(shown, f"on {answer['gpus']:,} GPUs", *_scaled(ranges["wall_h"], (("h", 1), ("days", 24))))
    _row(shown, "energy", *_scaled(ranges["energy_mwh"], (("Wh", 1e-6), ("kWh", 1e-3), ("MWh", 1))))
    _row(shown, f"carbon, {_where(answer)}", *_scaled(answer["carbon_t"], _MASS))
    _row(shown, "embodied, apart", *_scaled(answer["embodied_t"], _MASS))
    if answer["money"] is not None:
        _row(shown, "electricity", answer["money"], answer["money"]["currency"])
    if answer["carbon_money"] is not None:
        _row(shown, "price of its carbon", answer["carbon_money"], answer["carbon_money"]["currency"])
    output.out.print(shown)
    _show_places(answer["regions"])
    if answer["best_window"] is not None:
        _show_window(answer["best_window"])
    _show_assumptions(answer["assumptions"])


def _where(answer: dict[str, Any]) -> str:
    intensity = answer["ranges"]["intensity_g_per_kwh"]
    if intensity["low"] == intensity["high"]:
        return f"{intensity['mid']:g} g/kWh"
    return answer["region"] or answer["zone"] or "any place below"


def _scaled(value: dict[str, float], units: tuple[tuple[str, float], ...]) -> tuple[dict[str, float], str]:
    """The range in the largest unit in which its low end is at least 1, else in the smallest; and that unit."""
    unit, size = next(((unit, size) for unit, size in reversed(units) if value["low"] >= size), units[0])
    return {end: value[end] / size for end in _ENDS}, unit


def _row(shown: Table, name: str, value: dict[str, float], unit: str) -> None:
    cells = [number(value[end]) for end in _ENDS]
    if value["low"] == value["high"]:
        cells = ["", cells[1], ""]
    shown.add_row(name, *cells, unit)


def number(value: float) -> str:
    """About four digits, thousands apart, without an exponent where that can be read."""
    if value >= 1e9 or 0 < value < 1e-3:
        return re.sub(r"e\+?(-?)0*", r"e\1", f"{value:.4g}")
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def _show_places(places: list[dict[str, Any]]) -> None:
    """Carbon by month and place, one unit for all of them."""
    if not places:
        return
    unit = mass_unit(1e6 * part["carbon_t"]["mid"] for place in places for part in (place, *place["months"]))
    names = [place["region"] or place["zone"] for place in places]
    title = f"\nCarbon if all of it ran in that month, {unit.name}"
    shown = table("", *(f">{name}" for name in names), title=title)
    for index, month in enumerate(_MONTHS):
        shown.add_row(month, *(unit.number(1e6 * place["months"][index]["carbon_t"]["mid"]) for place in places))
    shown.add_row("year", *(unit.number(1e6 * place["carbon_t"]["mid"]) for place in places), style="bold")
    output.out.print(shown)


def _show_window(window: dict[str, Any]) -> None:
    best, now = 1e6 * window["carbon_t"], 1e6 * window["now_carbon_t"]
    unit = mass_unit((best, now))
    saved = "" if window["saved_pct"] is None else f" ({window['saved_pct']:.1f} % less)"
    output.out.print(
        f"\nBest window: {local(window['start'])} to {local(window['end'])}, {unit.text(best)} against "
        f"{unit.text(now)} if started now{saved}; {window['source']}",
        highlight=False,
    )


def _show_assumptions(assumptions: list[dict[str, Any]]) -> None:
    """All that was given on one line; of the others the figures, and below them their sources."""
    output.out.print("\nWhat this rests on", style="bold")
    given = [f"{one['name']} {number(one['mid'])} {one['unit']}".rstrip() for one in assumptions if one["given"]]
    if given:
        output.out.print(f"given: {', '.join(given)}", highlight=False, markup=False)
    for one in assumptions:
        if not one["given"]:
            ends = dict.fromkeys(number(one[end]) for end in _ENDS)
            output.out.print(f"{one['name']}: {' .. '.join(ends)} {one['unit']}", highlight=False, markup=False)
            output.out.print(Padding(Text(_sourced(one), style="dim"), (0, 0, 0, 4)))


def _sourced(one: dict[str, Any]) -> str:
    return f"{one['source']}. But: {one['doubt']}" if one["doubt"] else str(one["source"])


def show_gpus(found: list[dict[str, Any]]) -> None:
    """The table of GPUs, and under it where its figures come from."""
    shown = table("GPU", ">TDP, W", *(f">{name}" for name in _PRECISIONS), ">embodied, kg", title="Peaks: dense TFLOPS")
    for gpu in found:
        peaks, kg = gpu["tflops_dense"], gpu["embodied_kg"]
        cells = [f"{peaks[name]:g}" if name in peaks else "" for name in _PRECISIONS]
        shown.add_row(gpu["gpu"], f"{gpu['tdp_w']:g}", *cells, "-".join(f"{kg[end]:g}" for end in _ENDS))
    output.out.print(shown)
    for figure in ("tdp", "tflops", "embodied"):
        users: dict[str, list[str]] = {}
        for gpu in found:
            users.setdefault(_sourced(gpu[f"{figure}_source"]), []).append(gpu["gpu"])
        output.out.print(f"\nSources: {figure}", style="bold")
        for source, names in users.items():
            output.out.print(", ".join(names), highlight=False, markup=False)
            output.out.print(Padding(Text(source, style="dim"), (0, 0, 0, 4)))
