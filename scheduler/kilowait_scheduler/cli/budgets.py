"""Carbon budgets on the command line: list, set, ask for more, decide, hand over, what if."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from kilowait_scheduler.client import segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect, finite
from .output import Format, grams, local, say

app = typer.Typer(help="List carbon budgets, set one, ask for more, and more.", invoke_without_command=True)

Kg = Annotated[float, typer.Option("--kg", help="Amount, kg CO2e.", callback=finite)]
BudgetId = Annotated[str, typer.Argument(help="Id of the budget.")]
Number = Annotated[int, typer.Argument(help="Number of the request.")]


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="budget")


@app.callback()
def budgets(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """List budgets: what is held, emitted and left in the period that runs, and when it will be used up."""
    if context.invoked_subcommand is not None:
        return
    with connect(server, token_file) as client:
        found = client.get("budgets")
    columns = ("budget", "for", "kind", "until", ">allowed", ">held", ">emitted", ">left", ">%", "used up")
    none = "no budgets yet; `kilowait budget set ID --team NAME --limit-kg 100`"
    output.listing(found, o, *columns, row=_row, none=none)


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    budget = one["budget"]
    return (
        budget["id"],
        f"{budget['scope']} {budget['name']}",
        f"{budget['enforcement']} {budget['period']}",
        _until(one),
        grams(one["allowed_g"]),
        grams(one["held_g"]),
        grams(one["emitted_g"]),
        grams(one["left_g"]),
        f"{one['committed_pct']:.0f}",
        _used_up(one),
    )


def _until(one: dict[str, Any]) -> str:
    """The end of its period, and whether that is over or has not begun."""
    now, start, end = (datetime.fromisoformat(one[name]) for name in ("as_of", "start", "end"))
    if end <= now:
        return f"over since {local(one['end'])}"
    return local(one["end"]) if start <= now else f"{local(one['end'])}, from {local(one['start'])}"


def _used_up(one: dict[str, Any]) -> str:
    """When, as far as the pace tells; within the period or not."""
    pace = one["exhaustion"]
    if pace is None:
        return "-"
    if pace["at"] is None or pace["at"] > one["end"]:
        return "not in this period"
    return f"{local(pace['at'])} ({local(pace['earliest'])} to {local(pace['latest'])})"


@app.command("set")
def set_budget(
    budget: BudgetId,
    limit_kg: Annotated[float, typer.Option(help="Limit per period, kg CO2e.", callback=finite)],
    team: Annotated[str | None, typer.Option(help="The team it is for, or the project or user is in.")] = None,
    project: Annotated[str | None, typer.Option(help="The project it is for, or the user works in.")] = None,
    user: Annotated[str | None, typer.Option(help="The user it is for: the name of their token.")] = None,
    period: Annotated[str, typer.Option(help="month, quarter, rolling or once.")] = "month",
    days: Annotated[int | None, typer.Option(help="Length of a rolling period.")] = None,
    start: Annotated[str | None, typer.Option(help="Start of a period that is given once.")] = None,
    end: Annotated[str | None, typer.Option(help="And its end.")] = None,
    timezone: Annotated[str, typer.Option(help="At whose midnight periods begin, e.g. Europe/Berlin.")] = "UTC",
    soft: Annotated[bool, typer.Option("--soft", help="Warn only; a hard budget holds jobs.")] = False,
    suspend: Annotated[bool, typer.Option("--suspend", help="When used up, suspend running jobs too.")] = False,
    carry_over: Annotated[str, typer.Option(help="none, unused, overdrawn or both.")] = "none",
    carry_cap_pct: Annotated[float, typer.Option(help="Most to be carried, % of the limit.", callback=finite)] = 100.0,
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Set a budget for a user, a project, a team, or (with none of them) the organisation."""
    levels = {"user": user, "project": project, "team": team}
    scope, name = next(((level, name) for level, name in levels.items() if name), ("organisation", "all"))
    within = {level: name for level, name in levels.items() if name and level != scope}
    body = {
        "id": budget,
        "scope": scope,
        "name": name,
        **within,
        "limit_g": limit_kg * 1000,
        "enforcement": "soft" if soft else "hard",
        "on_exhausted": "suspend" if suspend else "hold",
        "period": period,
        "days": days,
        "start": start,
        "end": end,
        "timezone": timezone,
        "carry_over": carry_over,
        "carry_cap_pct": carry_cap_pct,
    }
    with connect(server, token_file) as client:
        made = client.post("budgets", json=body)
    say(f"budget {budget}: {limit_kg:g} kg CO2e for {scope} {name}, {period}, until {local(made['end'])}")


@app.command("request")
def request(
    budget: BudgetId,
    kg: Kg,
    why: Annotated[str, typer.Option(help="What it is needed for.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Ask for more in the period that runs; an admin decides."""
    with connect(server, token_file) as client:
        made = client.post(f"budgets/{segment(budget)}/requests", json={"amount_g": kg * 1000, "why": why})
    say(f"request {made['id']}: {kg:g} kg CO2e more for budget {budget}")


@app.command("requests")
def requests(
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """List requests for more."""
    with connect(server, token_file) as client:
        found = client.get("budgets/requests")
    columns = (">no", "budget", ">asked", "why", "by", "at", "state", ">granted", "decided by")
    output.listing(found, o, *columns, row=_request_row)


def _request_row(one: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(one["id"]),
        one["budget_id"],
        grams(one["amount_g"]),
        one["why"],
        one["asked_by"],
        local(one["asked_at"]),
        one["state"],
        grams(one["granted_g"]),
        one["decided_by"] or "-",
    )


@app.command("approve")
def approve(
    number: Number,
    kg: Annotated[float | None, typer.Option("--kg", help="Another amount, kg CO2e.", callback=finite)] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Grant a request, to the period that runs."""
    with connect(server, token_file) as client:
        done = client.post(f"budgets/requests/{number}/approve", json={"amount_g": None if kg is None else kg * 1000})
    say(f"request {number}: {grams(done['granted_g'])} CO2e more for budget {done['budget_id']}")


@app.command("refuse")
def refuse(number: Number, server: ServerOption = None, token_file: TokenOption = None) -> None:
    """Refuse a request."""
    with connect(server, token_file) as client:
        client.post(f"budgets/requests/{number}/refuse")
    say(f"request {number}: refused")


@app.command("transfer")
def transfer(
    giver: Annotated[str, typer.Argument(help="Budget that gives.")],
    taker: Annotated[str, typer.Argument(help="Budget that gets it.")],
    kg: Kg,
    memo: Annotated[str, typer.Option(help="Why.")] = "",
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Hand a part of what one budget has left over to another."""
    body = {"to": taker, "amount_g": kg * 1000, "memo": memo}
    with connect(server, token_file) as client:
        after = client.post(f"budgets/{segment(giver)}/transfers", json=body)
    for one in after:
        say(f"budget {one['budget']['id']}: {grams(one['left_g'])} CO2e left of {grams(one['allowed_g'])}")


@app.command("what-if")
def what_if(
    budget: BudgetId,
    limit_pct: Annotated[float, typer.Option(help="Of its limit, %; 80: a fifth less.", callback=finite)] = 80.0,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """What another limit would do: when it is used up, which waiting jobs it holds. Changes nothing."""
    if limit_pct <= 0:
        raise UsageError(f"--limit-pct {limit_pct:g}: give more than 0, e.g. 80 for a fifth less")
    with connect(server, token_file) as client:
        found = client.get(f"budgets/{segment(budget)}/what-if", limit_pct=limit_pct)
    if o is not Format.TABLE:
        output.data(found, o)
        return
    pace = found["exhaustion"]
    say(f"budget {budget} with {grams(found['limit_g'])} CO2e: {grams(found['left_g'])} left")
    if pace is not None:
        when = local(pace["at"]) if pace["at"] else "not within ten years"
        say(f"at the pace of the last {pace['days']} days ({grams(pace['pace_g_per_day'])} a day) used up {when}")
    say(f"waiting jobs are planned with {grams(found['planned_g'])}, today with {grams(found['planned_now_g'])}")
    say(f"it would hold {', '.join(found['held'])}" if found["held"] else "it would hold none of the waiting jobs")
