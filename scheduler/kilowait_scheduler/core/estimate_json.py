"""An estimate as JSON: field names carry units; figures without low and high are mids, whose ends are in `ranges`."""

from __future__ import annotations

from typing import Any

from .best_window import BestWindow
from .estimate import Estimate, Footprint, Money, PlaceEstimate
from .estimate_inputs import GIVEN, Assumption
from .gpus import Gpu, Source
from .places import MONTHS
from .ranges import Range


def write(made: Estimate, *, window: BestWindow | None, window_source: str) -> dict[str, Any]:
    """All of an estimate; `window_source` says what the best window rests on, or why there is none."""
    inputs, here = made.inputs, made.here
    return {
        "gpu": inputs.gpu.name,
        "gpus": made.request.gpus,
        "zone": made.place.zone if made.place is not None else None,
        "region": made.place.region if made.place is not None else None,
        "flops": inputs.flops.mid,
        "gpu_hours": inputs.gpu_hours.mid,
        "years_on_one_gpu": made.years_on_one_gpu.mid,
        "wall_h": made.wall_h.mid if made.wall_h is not None else None,
        "energy_mwh": here.energy_mwh.mid,
        "carbon_t": _range(here.carbon_t),
        "embodied_t": _range(made.embodied_t),
        "money": _money(here.money),
        "carbon_money": _money(here.carbon_money),
        "ranges": {
            "flops": _range(inputs.flops),
            "gpu_hours": _range(inputs.gpu_hours),
            "years_on_one_gpu": _range(made.years_on_one_gpu),
            "wall_h": _range(made.wall_h) if made.wall_h is not None else None,
            "energy_mwh": _range(here.energy_mwh),
            "intensity_g_per_kwh": _range(here.intensity_g_per_kwh),
        },
        "regions": [_place(one) for one in made.elsewhere],
        "best_window": _window(made, window, window_source) if window is not None else None,
        "assumptions": [_assumption(one) for one in made.assumptions],
        "notes": [*inputs.notes, *([] if window is not None else [f"best window: {window_source}"])],
    }


def rows(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """A written estimate as flat rows: the estimate itself, then every place over its year and in each month."""
    shared = {key: answer[key] for key in ("gpu", "flops", "gpu_hours", "years_on_one_gpu", "wall_h")}
    here = {**answer, **answer["ranges"], "energy_mwh": answer["energy_mwh"]}
    found = []
    for place in (here, *answer["regions"]):
        for part in (place, *place.get("months", ())):
            named = {"region": place["region"], "zone": place["zone"], "month": part.get("month"), **shared}
            found.append({**named, "energy_mwh": part["energy_mwh"], **_columns(part)})
    return found


def _columns(part: dict[str, Any]) -> dict[str, Any]:
    ends = ("low", "mid", "high")
    ranged = {f"{key}_{end}": part[key][end] for key in ("intensity_g_per_kwh", "carbon_t") for end in ends}
    money, carbon = part["money"] or {}, part["carbon_money"] or {}
    costs = {f"cost_{end}": money.get(end) for end in ends}
    priced = {f"carbon_cost_{end}": carbon.get(end) for end in ends}
    return {
        **ranged,
        **costs,
        "currency": money.get("currency"),
        **priced,
        "carbon_currency": carbon.get("currency"),
    }


def write_gpu(gpu: Gpu) -> dict[str, Any]:
    """A row of the table of GPUs."""
    return {
        "gpu": gpu.name,
        "tdp_w": gpu.tdp_w,
        "tdp_source": _source(gpu.tdp_source),
        "tflops_dense": {precision.value: rate for precision, rate in gpu.tflops.items()},
        "tflops_source": _source(gpu.tflops_source),
        "embodied_kg": _range(gpu.embodied_kg),
        "embodied_source": _source(gpu.embodied_source),
    }


def _range(value: Range) -> dict[str, float]:
    return {"low": value.low, "mid": value.mid, "high": value.high}


def _money(money: Money | None) -> dict[str, Any] | None:
    if money is None:
        return None
    return {
        "currency": money.currency,
        "low": float(money.low),
        "mid": float(money.mid),
        "high": float(money.high),
    }


def _footprint(part: Footprint) -> dict[str, Any]:
    return {
        "intensity_g_per_kwh": _range(part.intensity_g_per_kwh),
        "energy_mwh": part.energy_mwh.mid,
        "carbon_t": _range(part.carbon_t),
        "money": _money(part.money),
        "carbon_money": _money(part.carbon_money),
    }


def _place(one: PlaceEstimate) -> dict[str, Any]:
    months = [{"month": month, **_footprint(part)} for month, part in zip(MONTHS, one.months, strict=True)]
    named = {"region": one.region, "zone": one.zone, "source": one.source, "pue": _range(one.pue)}
    return {**named, **_footprint(one.year), "months": months}


def _window(made: Estimate, window: BestWindow, source: str) -> dict[str, Any]:
    def carbon_t(g_per_kwh: float) -> float:
        return made.here.energy_mwh.mid * g_per_kwh / 1000

    return {
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "intensity_g_per_kwh": window.g_per_kwh,
        "carbon_t": carbon_t(window.g_per_kwh),
        "now_intensity_g_per_kwh": window.now_g_per_kwh,
        "now_carbon_t": carbon_t(window.now_g_per_kwh),
        "saved_pct": window.saved_pct,
        "source": source,
    }


def _assumption(one: Assumption) -> dict[str, Any]:
    return {
        "name": one.name,
        **_range(one.value),
        "unit": one.unit,
        "given": one.source is GIVEN,
        **_source(one.source),
    }


def _source(source: Source) -> dict[str, Any]:
    return {"source": source.text, "doubt": source.doubt or None}
