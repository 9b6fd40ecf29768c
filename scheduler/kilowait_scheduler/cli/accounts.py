"""Commands about carbon: budget, ledger, report, token."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kilowait_scheduler.client import segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect
from .output import Format, grams, local, say, table


class ReportFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    HTML = "html"


ledger_app = typer.Typer(help="List ledger entries, or verify that they are as written.", invoke_without_command=True)
token_app = typer.Typer(help="List, make and revoke tokens.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    app.add_typer(ledger_app, name="ledger")
    app.add_typer(token_app, name="token")
    app.command()(report)


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
    if o is not Format.TABLE:
        output.data(found, o)
        return
    shown = table(">no", "at", "kind", "from", "to", ">amount", "job", "memo")
    for entry in found:
        shown.add_row(
            str(entry["seq"]),
            local(entry["at"]),
            entry["kind"],
            entry["debit"],
            entry["credit"],
            grams(entry["amount_ug"] / 1e6),
            entry["job_id"] or "-",
            entry["memo"],
        )
    output.out.print(shown)


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


def report(
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: Annotated[
        ReportFormat, typer.Option("-o", "--output", "--format", help="table, json, yaml, csv or html.")
    ] = ReportFormat.TABLE,
    start: Annotated[str | None, typer.Option(help="Jobs submitted from this time on.")] = None,
    end: Annotated[str | None, typer.Option(help="Jobs submitted before this time.")] = None,
    month: Annotated[str | None, typer.Option(help="One month, e.g. 2026-11.")] = None,
    team: Annotated[str | None, typer.Option(help="Only this team's jobs.")] = None,
    by: Annotated[str | None, typer.Option(help="Sums by team, project, region or month.")] = None,
    baseline: Annotated[
        str,
        typer.Option(
            help="Compared with run-now@1, mean-start@1, static-clean@1, policy:threshold@1, policy:lowest-window@1 or "
            "policy:wait-awhile@1."
        ),
    ] = "run-now@1",
    evidence: Annotated[
        Path | None, typer.Option(help="Also write all that the report rests on into this folder (docs/recompute.py).")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="Also write one self-contained HTML page here.")] = None,
) -> None:
    """Report energy, carbon and savings, job by job."""
    if month is not None:
        start, end = _month(month)
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UsageError(f"--html {html}: cannot be written there; name a file in a folder that exists")
    span: dict[str, Any] = {"start": start, "end": end, "team": team, "by": by, "baseline": baseline}
    with connect(server, token_file) as client, output.err.status("integrating energy and intensity"):
        if html is not None:
            page = client.call("GET", "reports/savings", params={**span, "format": "html"}).text
            try:
                html.write_text(page, encoding="utf-8")
            except OSError as error:
                raise UsageError(f"--html {html}: {error.strerror}") from None
        if evidence is not None:
            packed = client.call("GET", "reports/savings", params={**span, "format": "evidence"}).content
            _unpack(packed, evidence)
        document = o in (ReportFormat.CSV, ReportFormat.HTML)
        answer = client.call("GET", "reports/savings", params={**span, "format": o.value if document else "json"})
    if document:
        typer.echo(answer.text, nl=False)
    elif o is ReportFormat.TABLE:
        from .report_table import show_report

        show_report(answer.json())
    else:
        output.data(answer.json(), Format(o.value))
    if html is not None:
        say(f"HTML report: {html}")
    if evidence is not None:
        say(f"evidence: {evidence}; recompute it with docs/recompute.py {evidence}")


def _unpack(packed: bytes, folder: Path) -> None:
    """Plain files of a zip into a folder, which is made."""
    import io
    import zipfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            for name in archive.namelist():
                (folder / Path(name).name).write_bytes(archive.read(name))
    except OSError as error:
        raise UsageError(f"--evidence {folder}: {error.strerror}") from None


def _month(text: str) -> tuple[str, str]:
    from datetime import UTC, datetime

    try:
        start = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError:
        raise UsageError(f"--month {text!r}: write e.g. 2026-11") from None
    following = start.replace(year=start.year + start.month // 12, month=start.month % 12 + 1)
    return start.isoformat(), following.isoformat()


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
    if o is not Format.TABLE:
        output.data(found, o)
        return
    shown = table("id", "name", "role", "node", "made")
    for one in found:
        shown.add_row(one["id"], one["name"], one["role"], one["node"] or "", local(one["created_at"]))
    output.out.print(shown)


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
