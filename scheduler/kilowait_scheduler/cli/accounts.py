"""Commands about the books and who may see them: ledger, token."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kilowait_scheduler.client import segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, connect
from .output import Format, grams, local, say

ledger_app = typer.Typer(help="List ledger entries, or verify that they are as written.", invoke_without_command=True)
token_app = typer.Typer(help="List, make and revoke tokens.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    app.add_typer(ledger_app, name="ledger")
    app.add_typer(token_app, name="token")


@ledger_app.callback()
def ledger(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
    account: Annotated[str | None, typer.Option(help="Only entries of this account, e.g. held:nlp-2026-11.")] = None,
    job: Annotated[str | None, typer.Option(help="Only entries of this job.")] = None,
) -> None:
    """List ledger entries."""
    if context.invoked_subcommand is not None:
        return
    with connect(server, token_file) as client:
        found = list(client.pages("ledger", "entries", account=account, job=job, limit=1000))
    output.listing(found, o, ">no", "at", "kind", "from", "to", ">amount", "job", "memo", row=_entry_row)


def _entry_row(entry: dict[str, Any]) -> tuple[str, ...]:
    return (
        str(entry["seq"]),
        local(entry["at"]),
        entry["kind"],
        entry["debit"],
        entry["credit"],
        grams(entry["amount_ug"] / 1e6),
        entry["job_id"] or "-",
        entry["memo"],
    )


@ledger_app.command("verify")
def verify(
    noted: Annotated[str | None, typer.Option(help="A hash you noted earlier: is it still there?")] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Recompute every hash of the ledger; exit code 1 where an entry is not as it was written."""
    with connect(server, token_file) as client:
        found = client.get("ledger/verification", noted=noted)
    if o is not Format.TABLE:
        output.data(found, o)
    else:
        for fault in found["faults"]:
            say(f"entry {fault['seq']}: {fault['problem']}")
        if noted and found["noted_at"] is None:
            say(f"the noted hash {noted} is not in the ledger any more: it was cut or written anew")
        elif noted:
            say(f"the noted hash stands at entry {found['noted_at']}: nothing up to there has been changed")
        if found["sound"]:
            say(f"{found['entries']} entries, each as it was written; note the head, elsewhere, for the next time:")
            typer.echo(found["head"])
    if not found["sound"]:
        raise typer.Exit(1)


@token_app.callback()
def tokens(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """List tokens."""
    if context.invoked_subcommand is not None:
        return
    with connect(server, token_file) as client:
        found = client.get("tokens")
    output.listing(
        found,
        o,
        *("id", "name", "role", "node", "made"),
        row=lambda one: (one["id"], one["name"], one["role"], one["node"] or "", local(one["created_at"])),
    )


@token_app.command("create")
def create_token(
    name: Annotated[str, typer.Argument(help="Whose token it is.")],
    role: Annotated[str, typer.Option(help="user, agent or admin.")] = "user",
    node: Annotated[str | None, typer.Option(help="For an agent: the one node whose readings it may send.")] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Make a token; its secret is printed once, to stdout."""
    with connect(server, token_file) as client:
        made = client.post("tokens", json={"name": name, "role": role, "node": node})
    if o is not Format.TABLE:
        output.data(made, o)
        return
    typer.echo(made["secret"])
    say(f"{role} token {made['id']} for {name}; keep it, it is not shown again")


@token_app.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="Id of the token.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
) -> None:
    """Revoke a token at once."""
    with connect(server, token_file) as client:
        client.call("DELETE", f"tokens/{segment(token)}")
    say(f"token {token} revoked")
