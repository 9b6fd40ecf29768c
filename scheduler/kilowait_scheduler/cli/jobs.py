"""Commands about jobs: submit, jobs, show, explain, logs, suspend, resume, cancel."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn

from kilowait_scheduler.client import Client, segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, connect
from .job_input import CommandAfterDashes, command_after_dashes, job_of_command, job_of_file, packed
from .output import Format, grams, local, say, table
from .plans import plan, show_explanation, show_plan

_FINAL = ("succeeded", "failed", "cancelled")


def register(app: typer.Typer) -> None:
    app.command(cls=CommandAfterDashes)(submit)
    app.command()(plan)
    app.command("jobs")(list_jobs)
    app.command()(show)
    app.command()(explain)
    app.command()(logs)
    app.command()(suspend)
    app.command()(resume)
    app.command()(cancel)


def submit(
    context: typer.Context,
    what: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE | -- COMMAND...", help="A job file (.yaml, .yml, .json), or a command after --."),
    ] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
    name: Annotated[str | None, typer.Option(help="Name of the job.")] = None,
    gpus: Annotated[int | None, typer.Option(help="Number of GPUs.")] = None,
    gpu_type: Annotated[str | None, typer.Option(help="Type of GPU.")] = None,
    duration: Annotated[str | None, typer.Option(help="How long the work takes, e.g. 6h.")] = None,
    deadline: Annotated[str | None, typer.Option(help="When it must be done, e.g. 2026-11-24T08:00:00Z.")] = None,
    within: Annotated[str | None, typer.Option(help="Or: how long from now it may take, e.g. 24h.")] = None,
    home: Annotated[str | None, typer.Option(help="Home region.")] = None,
    any_of: Annotated[str | None, typer.Option(help="Allowed regions, comma-separated.")] = None,
    checkpoint: Annotated[str | None, typer.Option(help="Checkpoint path: the job may be suspended and moved.")] = None,
    team: Annotated[str | None, typer.Option(help="Team whose budget pays.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and change nothing.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the job has ended.")] = False,
) -> None:
    """Submit a training job: `kilowait submit FILE`, or `kilowait submit --gpus 8 --within 24h -- python train.py`."""
    given: dict[str, Any] = {
        "name": name,
        "resources": {"gpus": gpus, "gpu_type": gpu_type},
        "duration": duration,
        "deadline": deadline,
        "within": within,
        "regions": {"home": home, "any_of": None if any_of is None else any_of.split(",")},
        "checkpoint": {"path": checkpoint},
        "team": team,
    }
    command = command_after_dashes(context)
    job, where = job_of_file(what or [], given) if command is None else job_of_command(what or [], command, given)
    with connect(server, token_file) as client:
        job, package = packed(job, where=where)
        if dry_run:
            show_plan(client.plan(job), o)
            return
        answer = client.submit(job, package=package, idempotency_key=uuid.uuid4().hex)
        record = answer["job"]
        if o is Format.TABLE:
            show_plan(answer["plan"], o)
            say(f"\nsubmitted {record['name']} as {record['id']}. Next:")
            say(f"  kilowait show {record['id']}      where it is")
            say(f"  kilowait explain {record['id']}   why")
            say(f"  kilowait logs {record['id']}      what it prints")
        if wait:
            record = _wait(client, record["id"])
        if o is not Format.TABLE:
            output.data(record if wait else answer, o, rows=[_flat(record)])
    if wait and record["state"] != "succeeded":
        say(f"kilowait: job {record['name']} ended: {record['state']}: {record['why']}")
        raise typer.Exit(1)


def _wait(client: Client, job_id: str) -> dict[str, Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[why]}"))
    with Progress(*columns, console=output.err, transient=True) as progress:
        bar = progress.add_task("submitted", total=1.0, why="")
        while True:
            record = client.job(job_id)
            done = min(1.0, record["done_s"] / record["work_s"])
            progress.update(bar, description=record["state"], completed=done, why=record["why"])
            if record["state"] in _FINAL:
                return record
            time.sleep(1.0)


def list_jobs(
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
    state: Annotated[list[str] | None, typer.Option(help="Only jobs in this state; may be repeated.")] = None,
) -> None:
    """List jobs."""
    with connect(server, token_file) as client:
        found = list(client.jobs(state=state))
    if o is not Format.TABLE:
        output.data(found, o, rows=[_flat(job) for job in found])
        return
    shown = table("id", "name", "state", "next window", "deadline", "why")
    for job in found:
        following = next((w for w in job["windows"] if job["state"] not in _FINAL), None)
        where = f"{local(following['start'])} {following['region']}" if following else "-"
        shown.add_row(job["id"], job["name"], output.state(job["state"]), where, local(job["deadline"]), job["why"])
    output.out.print(shown)
    if not found:
        say("no jobs yet; try `kilowait submit --help`")


def _flat(job: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in job.items() if key not in ("spec", "runs", "windows")}


def show(
    job: Annotated[str, typer.Argument(help="Id, or a name only one job has.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Show one job: state, plan and runs."""
    with connect(server, token_file) as client:
        found = client.job(job)
    if o is not Format.TABLE:
        output.data(found, o, rows=[_flat(found)])
        return
    output.out.print(f"[bold]{found['name']}[/]  {found['id']}  ", output.state(found["state"]), sep="")
    output.out.print(found["why"], markup=False, highlight=False)
    done = 100 * found["done_s"] / found["work_s"]
    output.out.print(
        f"{found['gpus']} GPUs, home {found['home']}, deadline {local(found['deadline'])}, {done:.0f} % done",
        highlight=False,
    )
    if found["windows"] and found["state"] not in _FINAL:
        planned = table("region", "from", "to", title="planned")
        for window in found["windows"]:
            planned.add_row(window["region"], local(window["start"]), local(window["end"]))
        output.out.print(planned)
    if found["runs"]:
        ran = table(">run", "region", "state", "started", "ended", "note", title="runs")
        for run in found["runs"]:
            ran.add_row(
                str(run["n"]),
                run["region"],
                run["state"],
                local(run["started_at"]),
                local(run["ended_at"]),
                run["detail"],
            )
        output.out.print(ran)


def explain(
    job: Annotated[str, typer.Argument(help="Id, or a name only one job has.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
) -> None:
    """Say why a job is where it is."""
    with connect(server, token_file) as client:
        found = client.get(f"jobs/{segment(job)}/explain")
    if o is not Format.TABLE:
        output.data(found, o, rows=found["regions"])
        return
    output.out.print(f"[bold]{found['name']}[/]  ", output.state(found["state"]), sep="")
    output.out.print(found["why"], markup=False, highlight=False)
    if found["forecast_g"] is not None:
        output.out.print(
            f"plan {grams(found['forecast_g'])}, run now at home {grams(found['run_now_g'])} (forecast)",
            highlight=False,
        )
    shown = table("region", "zone", ">now g/kWh", ">in its windows g/kWh", "cluster", "source")
    for region in found["regions"]:
        there = ", ".join("-" if g is None else f"{g:.0f}" for g in region["in_windows_g_per_kwh"]) or "-"
        now = "-" if region["now_g_per_kwh"] is None else f"{region['now_g_per_kwh']:.0f}"
        name = (
            region["region"] + (" (home)" if region["home"] else "") + ("" if region["allowed"] else " (not allowed)")
        )
        shown.add_row(name, region["zone"], now, there, region["cluster"]["status"], region["source"] or "-")
    output.out.print(shown)
    if found["explanation"] is not None:
        show_explanation(found["explanation"])


def logs(
    job: Annotated[str, typer.Argument(help="Id, or a name only one job has.")],
    server: ServerOption = None,
    token_file: TokenOption = None,
    run: Annotated[int | None, typer.Option(help="Which run; default: the last.")] = None,
) -> None:
    """Print what a job's program has printed."""
    with connect(server, token_file) as client:
        found = client.get(f"jobs/{segment(job)}/logs", run=run)
    say(f"run {found['run']} in {found['region']}:")
    typer.echo(found["logs"], nl=False)


def _tell(job: str, command: str, server: str | None, token_file: Path | None, o: Format) -> None:
    with connect(server, token_file) as client:
        found = client.tell(job, command)
    if o is not Format.TABLE:
        output.data(found, o, rows=[_flat(found)])
        return
    say(f"{found['name']}: {found['state']}: {found['why']}")


_Job = Annotated[str, typer.Argument(help="Id, or a name only one job has.")]


def suspend(
    job: _Job, server: ServerOption = None, token_file: TokenOption = None, o: OutputOption = Format.TABLE
) -> None:
    """Stop a job at a checkpoint until it is resumed."""
    _tell(job, "suspend", server, token_file, o)


def resume(
    job: _Job, server: ServerOption = None, token_file: TokenOption = None, o: OutputOption = Format.TABLE
) -> None:
    """Let a suspended job go on in its next clean window."""
    _tell(job, "resume", server, token_file, o)


def cancel(
    job: _Job, server: ServerOption = None, token_file: TokenOption = None, o: OutputOption = Format.TABLE
) -> None:
    """Stop a job for good."""
    _tell(job, "cancel", server, token_file, o)
