"""Commands about jobs: submit, plan, jobs, show, explain, logs, suspend, resume, cancel."""

from __future__ import annotations

import json
import math
import time
import uuid
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn

from kilowait_scheduler.client import Client, segment

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect, read_file
from .job_input import CommandAfterDashes, command_after_dashes, job_of_command, job_of_file, packed, read_job
from .output import Format, grams, local, say, table

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
            _show_plan(client.plan(job), o)
            return
        answer = client.submit(job, package=package, idempotency_key=uuid.uuid4().hex)
        record = answer["job"]
        if o is Format.TABLE:
            _show_plan(answer["plan"], o)
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


def plan(
    file: Annotated[Path | None, typer.Argument(help="A job file.")] = None,
    server: ServerOption = None,
    token_file: TokenOption = None,
    o: OutputOption = Format.TABLE,
    problem: Annotated[
        Path | None, typer.Option(help="A planning problem in JSON, solved here without a server.")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(help="Improve a --problem no longer than this (default: until done).", min=0),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed for --problem.")] = 1,
) -> None:
    """Show when and where a job would run and what that saves, without submitting it."""
    if problem is not None:
        _solve(problem, o, seconds=seconds, seed=seed)
        return
    if file is None:
        raise UsageError("plan: give a job file, or --problem FILE")
    with connect(server, token_file) as client:
        _show_plan(client.plan(read_job(file)), o)


def _solve(path: Path, o: Format, *, seconds: float | None, seed: int) -> None:
    from kilowait_scheduler.core.errors import BadInput
    from kilowait_scheduler.planner.check import violations
    from kilowait_scheduler.planner.joint import plan as solve
    from kilowait_scheduler.planner.problem_json import read, write

    try:
        raw = json.loads(read_file(path, what="problem"))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"problem {path}: not JSON: {error}") from None
    try:
        question = read(raw)
    except BadInput as error:
        raise UsageError(str(error)) from None
    started = time.perf_counter()
    until = math.inf if seconds is None else started + seconds
    made = solve(question, seed=seed, enough=lambda: time.perf_counter() >= until)
    broken = violations(made, question)
    if broken:
        say(f"kilowait: the plan broke its own rules: {broken[0]}")
        raise typer.Exit(1)
    answer = write(made, seconds=time.perf_counter() - started)
    if o is not Format.TABLE:
        output.data(answer, o, rows=answer["jobs"])
        return
    shown = table("job", "region", ">carbon", ">restarts", "slots")
    for job in answer["jobs"]:
        spans = ", ".join(f"{w['start_slot']}-{w['end_slot']}" for w in job["windows"])
        shown.add_row(job["id"], job["region"], grams(job["carbon_g"]), str(job["restarts"]), spans)
    output.out.print(shown)
    for item in answer["unplaced"]:
        say(f"not placed: {item['id']}: {item['detail']}")
    gap = "unknown" if answer["gap_pct"] is None else f"at most {answer['gap_pct']:.2f} %"
    say(f"{grams(answer['carbon_g'])} in all; {gap} above the best possible")


def _show_plan(answer: dict[str, Any], o: Format) -> None:
    if o is not Format.TABLE:
        output.data(answer, o, rows=answer["windows"])
        return
    shown = table("region", "from", "to", ">GPUs", title=f"{answer['name']}: {answer['why']}")
    for window in answer["windows"]:
        shown.add_row(window["region"], local(window["start"]), local(window["end"]), str(window["gpus"]))
    output.out.print(shown)
    saved = "" if answer["saved_pct"] is None else f" ({answer['saved_pct']:.0f} %)"
    say(
        f"forecast {grams(answer['carbon_g'])}, run now at home {grams(answer['run_now_g'])}: "
        f"saves {grams(answer['saved_g'])}{saved}; deadline {local(answer['deadline'])}"
    )
    for source in answer["forecasts"]:
        notes = f" ({'; '.join(source['notes'])})" if source["notes"] else ""
        say(f"{source['zone']}: {source['source'] or source['problem']}{notes}")


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
