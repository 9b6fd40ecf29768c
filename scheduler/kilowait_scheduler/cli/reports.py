"""The savings report: printed, written in the forms that other systems read, and compared with a cloud's own."""

from __future__ import annotations

import json
import secrets
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from kilowait_scheduler.client import Client, ServerError, ServerUnreachable

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect
from .output import Format, say


class ReportFormat(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"
    HTML = "html"
    PARQUET = "parquet"
    CODECARBON = "codecarbon"
    AWS = "aws"
    GOOGLE = "google"
    GOOGLE_CSV = "google-csv"
    FOCUS = "focus"
    IMPACT_FRAMEWORK = "impact-framework"


report_app = typer.Typer(help="Report energy, carbon and savings, job by job.", invoke_without_command=True)


def register(app: typer.Typer) -> None:
    app.add_typer(report_app, name="report")


@report_app.callback()
def report(
    context: typer.Context,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: Annotated[
        ReportFormat, typer.Option("-o", "--output", "--format", help=f"{', '.join(ReportFormat)}.")
    ] = ReportFormat.TABLE,
    start: Annotated[str | None, typer.Option(help="Jobs submitted from this time on.")] = None,
    end: Annotated[str | None, typer.Option(help="Jobs submitted before this time.")] = None,
    month: Annotated[str | None, typer.Option(help="One month, e.g. 2026-11.")] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Whose months, e.g. Europe/Berlin; by default the server's for reports.")
    ] = None,
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
    if context.invoked_subcommand is not None:
        return
    if o is ReportFormat.PARQUET and sys.stdout.isatty():
        raise UsageError("--format parquet is not text; write it to a file: kilowait report --format parquet > FILE")
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        raise UsageError(f"--html {html}: cannot be written there; name a file in a folder that exists")
    if evidence is not None and evidence.exists() and not evidence.is_dir():
        raise UsageError(f"--evidence {evidence}: a file; name a folder")
    watch = secrets.token_urlsafe(12)
    span: dict[str, Any] = {"start": start, "end": end, "month": month, "timezone": timezone}
    span |= {"team": team, "by": by, "baseline": baseline, "watch": watch}
    form = "json" if o in (ReportFormat.TABLE, ReportFormat.YAML) else o.value
    forms = [form, *(["html"] if html else []), *(["evidence"] if evidence else [])]
    with connect(server, token_file) as client, output.busy("making the report", lambda: _share(client, watch)):
        made = _made(client, span, forms)
    if html is not None:
        try:
            html.write_bytes(made["html"])
        except OSError as error:
            raise UsageError(f"--html {html}: {error.strerror}") from None
    if evidence is not None:
        _unpack(made["evidence"], evidence)
    if form == o.value:
        typer.echo(made[form], nl=False)
    elif o is ReportFormat.TABLE:
        from .report_table import show_report

        show_report(json.loads(made[form]))
    else:
        output.data(json.loads(made[form]), Format(o.value))
    if html is not None:
        say(f"HTML report: {html}")
    if evidence is not None:
        say(f"evidence: {evidence}; recompute it with docs/recompute.py {evidence}")


@report_app.command()
def reconcile(
    file: Annotated[Path, typer.Argument(help="AWS: CSV or Parquet. Google: JSON lines or CSV. Gzipped or not.")],
    shape: Annotated[str | None, typer.Option(help="aws or google; default: what the columns say.")] = None,
    month: Annotated[str | None, typer.Option(help="One month, e.g. 2026-11; default: all that the file has.")] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="THEIRS=OURS: which project an account is. May be repeated.")
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="THEIRS=OURS: which region of ours a region of theirs is.")
    ] = None,
    timezone: Annotated[
        str | None, typer.Option(help="Whose months the file has; default UTC, as clouds have it.")
    ] = None,
    tolerance_pct: Annotated[float, typer.Option(min=0, max=100, help="Exit code 1 where two differ by more.")] = 5.0,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Compare a cloud's own carbon export with our books; exit code 1 where they differ by more than the tolerance."""
    try:
        content = file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    asked = {"shape": shape, "month": month, "account": account, "region": region, "tolerance_pct": tolerance_pct}
    asked["timezone"] = timezone
    with connect(server, token_file) as client, output.busy("comparing"):
        try:
            found = client.post("reports/reconciliation", content=content, params=asked)
        except ServerError as error:
            raise UsageError(f"{file}: {error}") if error.status == 400 else error from None
    if o is Format.TABLE:
        from .report_table import show_reconciliation

        show_reconciliation(found)
    else:
        output.data(found, o, rows=found["comparisons"])
    if found["exceeding"]:
        raise typer.Exit(1)


def _share(client: Client, watch: str) -> tuple[str, int, int] | None:
    """What the server does for a report, and for how many of how many jobs it is done; None where it does not say."""
    try:
        told = client.get(f"reports/progress/{watch}")
    except (ServerError, ServerUnreachable):
        return None
    return told["what"], told["done"], told["jobs"]


def _made(client: Client, span: dict[str, Any], forms: list[str]) -> dict[str, bytes]:
    """One report in all these forms."""
    import io
    import zipfile

    wanted = list(dict.fromkeys(forms))
    content = client.call("GET", "reports/savings", params={**span, "format": wanted}).content
    if len(wanted) == 1:
        return {wanted[0]: content}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in wanted}


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
