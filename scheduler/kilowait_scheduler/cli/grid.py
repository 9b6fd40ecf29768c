"""Commands about regions and forecasts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect, finite
from .evaluation import evaluate
from .output import Format, local, say, sparkline, table
from .places import find


class Signal(StrEnum):
    """Of all generation, or of the plants that answer one more kWh."""

    AVERAGE = "average"
    MARGINAL = "marginal"


class _ZoneOrCommand(TyperGroup):
    """`forecast evaluate ...` is a command; `forecast` followed by anything else shows forecasts."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[:1] in (["evaluate"], ["--help"])
        return super().parse_args(ctx, args if named else ["show", *args])


regions_app = typer.Typer(help="List regions, add one, or find the grid zone of a place.", invoke_without_command=True)
forecast_app = typer.Typer(help="Show forecasts, or evaluate our own model on recorded data.", cls=_ZoneOrCommand)


def register(app: typer.Typer) -> None:
    app.add_typer(regions_app, name="regions")
    app.add_typer(forecast_app, name="forecast")
    forecast_app.command("evaluate")(evaluate)
    regions_app.command("find")(find)


@regions_app.callback()
def list_regions(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """List regions with the intensity now and the health of their clusters."""
    if context.invoked_subcommand is not None:
        return
    with connect(server, token_file) as client:
        found = client.get("regions")
    columns = ("region", "zone", ">g/kWh now", ">GPUs", ">PUE", "cluster", "forecast from")
    none = "no regions yet; `kilowait regions add NAME --zone Z --address URL --gpus N`"
    output.listing(found, o, *columns, row=_region_row, none=none)


def _region_row(region: dict[str, Any]) -> tuple[str, ...]:
    now = "-" if region["now_g_per_kwh"] is None else f"{region['now_g_per_kwh']:.0f}"
    cluster = region["cluster"].get("problem") or region["cluster"]["status"]
    source = region["forecast"]["source"] or region["forecast"]["problem"] or "-"
    return region["name"], region["zone"], now, str(region["capacity_gpus"]), f"{region['pue']:.2f}", cluster, source


@regions_app.command("add")
def add_region(
    name: Annotated[str, typer.Argument(help="Name of the region.")],
    address: Annotated[str, typer.Option(help="URL of the Ray cluster's dashboard, e.g. http://head:8265.")],
    gpus: Annotated[int, typer.Option(help="GPUs that jobs may use.")],
    zone: Annotated[str | None, typer.Option(help="Grid zone, e.g. DE or US-CAL-CISO.")] = None,
    cloud: Annotated[
        str | None, typer.Option(help="Cloud region, e.g. aws:us-west-2, whose zone and PUE to take.")
    ] = None,
    pue: Annotated[
        float | None, typer.Option(help="Power usage effectiveness (that of --cloud, else 1.2).", callback=finite)
    ] = None,
    gpu_type: Annotated[str | None, typer.Option(help="Type of GPU.")] = None,
    token_env: Annotated[
        str | None, typer.Option(help="Variable of the server that holds the cluster's token.")
    ] = None,
    providers: Annotated[
        str | None, typer.Option(help="Whom to ask about its zone, in this order, e.g. entsoe,electricity-maps.")
    ] = None,
    price_per_kwh: Annotated[str | None, typer.Option(help="What a kWh costs at its meter.")] = None,
    currency: Annotated[str | None, typer.Option(help="In this currency, e.g. EUR.")] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Add a region, or replace the one of the same name."""
    if cloud is not None:
        zone, pue = _of_cloud(cloud, zone=zone, pue=pue)
    if zone is None:
        raise UsageError("regions add: say which grid it draws from: --zone DE, or --cloud aws:us-west-2")
    body: dict[str, Any] = {
        "name": name,
        "zone": zone,
        "address": address,
        "capacity_gpus": gpus,
        "pue": 1.2 if pue is None else pue,
        "gpu_type": gpu_type,
        "token_env": token_env,
    }
    if (price_per_kwh is None) != (currency is None):
        raise UsageError("--price-per-kwh and --currency go together, e.g. 0.12 and EUR")
    if providers is not None:
        body["providers"] = [one.strip() for one in providers.split(",") if one.strip()]
    if price_per_kwh is not None:
        body["tariff"] = {"per_kwh": price_per_kwh, "currency": currency}
    with connect(server, token_file) as client:
        client.post("regions", json=body)
    say(f"region {name} added; `kilowait regions` shows its health in a few seconds")


@regions_app.command("grants")
def list_grants(server: ServerOption = None, token_file: TokenOption = None, o: OutputOption = Format.TABLE) -> None:
    """Ask Electricity Maps and WattTime what your token and account include, for the zones in use."""
    with connect(server, token_file) as client:
        found = client.get("grants")
    none = "no provider that says what it grants is configured, or no region; see docs/providers.md"
    output.listing(found, o, "provider", "zone", "signal", "forecast", "past", row=_grant_row, none=none)
    for problem in dict.fromkeys(one["problem"] for one in found if one["problem"] and o is Format.TABLE):
        say(problem)


def _grant_row(one: dict[str, Any]) -> tuple[str, ...]:
    has = ["?" if one[key] is None else "yes" if one[key] else "no" for key in ("forecast", "history")]
    return one["provider"], one["zone"], one["signal"] or "-", *has


def _of_cloud(cloud: str, *, zone: str | None, pue: float | None) -> tuple[str, float]:
    """Zone and PUE of a cloud region where they are not given; says whose figure the PUE is."""
    from kilowait_forecasters.cloud import cloud_region
    from kilowait_forecasters.errors import Refused

    try:
        found = cloud_region(cloud)
    except Refused as error:
        raise UsageError(f"regions add: --cloud: {error}") from None
    if pue is None:
        say(f"{found.id} is in {found.place}: PUE {found.pue.value:g} ({found.pue.source})")
    return zone or found.zone.id, found.pue.value if pue is None else pue


@forecast_app.command("show", hidden=True)
def forecast(
    zone: Annotated[str | None, typer.Argument(help="Grid zone, e.g. DE.")] = None,
    signal: Annotated[
        Signal, typer.Option(help="marginal shows WattTime's forecast; nothing is planned on it.")
    ] = Signal.AVERAGE,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Show the current forecast of a zone with its band, source and age."""
    with connect(server, token_file) as client:
        found = client.get("forecasts", zone=zone, signal=signal.value)
    if o is not Format.TABLE:
        rows = [{"zone": one["zone"], **slot} for one in found for slot in one["slots"]]
        output.data(found[0] if zone else found, o, rows=rows)
        return
    for one in found:
        _draw(one)


def _draw(one: dict[str, Any]) -> None:
    if not one["slots"]:
        say(f"{one['zone']}: {one['problem']}")
        return
    values = [slot["g_per_kwh"] for slot in one["slots"]]
    age = one["age_s"] or 0
    notes = f" ({'; '.join(one['notes'])})" if one["notes"] else ""
    output.out.print(f"[bold]{one['zone']}[/]  {one['source']}{notes}, {age / 60:.0f} min old", highlight=False)
    output.out.print(f"{min(values):.0f} {sparkline(values[:96])} {max(values):.0f} g/kWh", highlight=False)
    if skill := one.get("skill"):
        output.out.print(
            f"error a day ahead, last 7 days: {skill['error_pct']:.1f} % (yesterday again: "
            f"{skill['persistence_pct']:.1f} %)",
            highlight=False,
        )
    shown = table("from", ">g/kWh", ">p10", ">p90", "source")
    for slot in one["slots"][:24]:
        band = ["-" if slot[key] is None else f"{slot[key]:.0f}" for key in ("p10_g_per_kwh", "p90_g_per_kwh")]
        shown.add_row(local(slot["start"]), f"{slot['g_per_kwh']:.0f}", *band, slot["source"])
    output.out.print(shown)
    for failed in one["failed"]:
        say(f"did not answer: {failed}")
