"""Internal prices on carbon, on the command line."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kilowait_scheduler.client import segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, connect
from .output import Format, local, say

app = typer.Typer(help="List, set and remove internal prices on carbon.", invoke_without_command=True)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="price")


@app.callback()
def prices(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """List prices."""
    if context.invoked_subcommand is not None:
        return
    with connect(server, token_file) as client:
        found = client.get("carbon-prices")
    none = "no prices yet; `kilowait price set ID --per-t 80 --currency EUR`"
    output.listing(found, o, "price", "project", ">per t CO2e", "from", "until", row=_row, none=none)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    amount = f"{one['amount_per_t']} {one['currency']}"
    return one["id"], one["project"] or "all", amount, local(one["start"]), local(one["end"])


@app.command("set")
def set_price(
    price: Annotated[str, typer.Argument(help="Id of the price.")],
    per_t: Annotated[str, typer.Option(help="Amount per tonne CO2e.")],
    currency: Annotated[str, typer.Option(help="Its currency, e.g. EUR.")],
    project: Annotated[str | None, typer.Option(help="Only this project's jobs.")] = None,
    start: Annotated[str | None, typer.Option(help="For jobs submitted from this time on.")] = None,
    end: Annotated[str | None, typer.Option(help="For jobs submitted before this time.")] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Set a price for a project, or all; the higher it is, the more electricity may cost to emit less."""
    body = {"id": price, "amount_per_t": per_t, "currency": currency, "project": project, "start": start, "end": end}
    with connect(server, token_file) as client:
        client.post("carbon-prices", json=body)
    say(f"price {price}: {per_t} {currency} per tonne CO2e for {f'project {project}' if project else 'all'}")


@app.command("remove")
def remove(
    price: Annotated[str, typer.Argument(help="Id of the price.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Remove a price."""
    with connect(server, token_file) as client:
        client.call("DELETE", f"carbon-prices/{segment(price)}")
    say(f"price {price} removed")
