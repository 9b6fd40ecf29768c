"""The command `estimate`: what a training job would need and emit, before there is a server or a job."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from kilowait_scheduler.client import Client

from . import output
from .connect import OutputOption, TokenOption, UsageError, connect
from .estimate_table import show_estimate, show_gpus
from .output import Format, say

# Options that are not spelled like the field they fill.
_OPTIONS = {"intensity_g_per_kwh": "--intensity"}


def register(app: typer.Typer) -> None:
    app.command()(estimate)


def _number(help_: str) -> Any:
    # Text here, a number in the core: its message names the option, which typer's own does not.
    return typer.Option(help=help_, metavar="NUMBER")


def estimate(
    params: Annotated[str | None, _number("Parameters of the model, e.g. 175e9; with --tokens.")] = None,
    tokens: Annotated[str | None, _number("Tokens it is trained on, e.g. 300e9.")] = None,
    flops: Annotated[str | None, _number("Or: FLOP of the whole training, e.g. 3.14e23.")] = None,
    gpu_hours: Annotated[str | None, _number("Or: GPU-hours.")] = None,
    gpu: Annotated[str | None, typer.Option(help="Type of GPU, e.g. A100 or 'RTX 8000'.")] = None,
    gpus: Annotated[str | None, _number("How many work at once; gives the time it takes.")] = None,
    precision: Annotated[str, typer.Option(help="Whose peak rate counts: fp32, tf32, bf16, fp16 or fp8.")] = "fp16",
    mfu: Annotated[str | None, _number("Share of the peak rate achieved, 0 to 1.")] = None,
    tflops: Annotated[str | None, _number("Or: TFLOPS that one GPU achieves.")] = None,
    power_w: Annotated[str | None, _number("Power of one GPU with its share of the host, W.")] = None,
    node_factor: Annotated[str | None, _number("Power of a node over that of its GPUs.")] = None,
    embodied_kg: Annotated[str | None, _number("CO2e of making one GPU, kg.")] = None,
    pue: Annotated[str | None, _number("Power usage effectiveness of the data centre.")] = None,
    zone: Annotated[str | None, typer.Option(help="Grid zone with a bundled typical day, e.g. DE.")] = None,
    intensity: Annotated[str | None, _number("Or: intensity of the electricity, gCO2e/kWh.")] = None,
    within: Annotated[str, typer.Option(help="Time in which to look for the best window.")] = "7d",
    price_per_kwh: Annotated[str | None, _number("Price of a kWh, e.g. 0.12; with --currency.")] = None,
    currency: Annotated[str | None, typer.Option(help="Currency of that price, e.g. EUR.")] = None,
    # Not the variable KILOWAIT_SERVER: without the option the estimate is made here, whatever server there is.
    server: Annotated[str | None, typer.Option(help="Ask this server: by its history, prices and regions.")] = None,
    token_file: TokenOption = None,
    region: Annotated[str | None, typer.Option(help="Region of the server, e.g. us-west; with --server.")] = None,
    like: Annotated[str | None, typer.Option(help="Power of past jobs of that name; with --server.")] = None,
    project: Annotated[str | None, typer.Option(help="Project whose carbon price counts; with --server.")] = None,
    list_gpus: Annotated[bool, typer.Option("--list-gpus", help="Show the GPUs that are known, with sources.")] = False,
    o: OutputOption = Format.TABLE,
) -> None:
    """Estimate time, energy, carbon and cost of a training job, with ranges and sources.

    Needs no server; with --server it goes by that one's regions, forecasts, prices and what past jobs drew.
    """
    options = {
        "gpu": gpu,
        "params": params,
        "tokens": tokens,
        "flops": flops,
        "gpu_hours": gpu_hours,
        "gpus": gpus,
        "precision": precision.lower(),
        "mfu": mfu,
        "tflops": tflops,
        "power_w": power_w,
        "node_factor": node_factor,
        "embodied_kg": embodied_kg,
        "pue": pue,
        "zone": zone,
        "intensity_g_per_kwh": intensity,
        "within": within,
        "price_per_kwh": price_per_kwh,
        "currency": currency,
        "region": region,
        "like": like,
        "project": project,
    }
    try:
        if list_gpus:
            _list_gpus(o)
        else:
            given = {name: value for name, value in options.items() if value is not None}
            client = connect(server, token_file) if server is not None else None
            _estimate(given, o, client=client)
    except ModuleNotFoundError as error:
        raise UsageError(f"estimate: {error.name} is not installed; pip install 'kilowait[scheduler]'") from None


def _estimate(options: dict[str, Any], o: Format, *, client: Client | None) -> None:
    from kilowait_scheduler.core.errors import BadInput
    from kilowait_scheduler.core.estimate_json import rows
    from kilowait_scheduler.core.estimate_request import read
    from kilowait_scheduler.service.estimating import answer

    if "gpu" not in options:
        raise UsageError("estimate: give --gpu; `kilowait estimate --list-gpus` shows those that are known")
    for name in ("region", "like", "project"):
        if name in options and client is None:
            raise UsageError(f"estimate: --{name} is known to a server only; give --server")
    try:
        request = read(options)
        if client is None:
            found = asyncio.run(answer(request, now=datetime.now(UTC)))
        else:
            with client:
                found = client.post("estimates", json=options)
    except BadInput as error:
        raise UsageError(f"estimate: {_as_options(str(error))}") from None
    if o is Format.TABLE:
        show_estimate(found)
    else:
        output.data(found, o, rows=rows(found))
    for note in found["notes"]:
        say(_as_options(note))


def _as_options(message: str) -> str:
    """The core's names of fields as the options that fill them."""

    def option(found: re.Match[str]) -> str:
        return _OPTIONS.get(found[1]) or "--" + found[1].replace("_", "-")

    return re.sub(r"`([a-z_]+)`", option, message)


def _list_gpus(o: Format) -> None:
    from kilowait_scheduler.core.estimate_json import write_gpu
    from kilowait_scheduler.core.gpu_table import GPUS

    found = [write_gpu(gpu) for gpu in GPUS]
    if o is Format.TABLE:
        show_gpus(found)
    else:
        output.data(found, o)
