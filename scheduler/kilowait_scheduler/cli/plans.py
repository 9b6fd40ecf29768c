"""Plans before anything runs: of a job beside all others, asked of the server, and of a whole problem, solved here."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import output
from .connect import OutputOption, ServerOption, TokenOption, UsageError, connect, read_file
from .job_input import read_job
from .output import Format, grams, local, money, say, table

if TYPE_CHECKING:
    from kilowait_scheduler.planner.frontier import Point
    from kilowait_scheduler.service.shards import RayShards


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
    ray: Annotated[
        str | None, typer.Option(help="Ray cluster that prices the jobs of a large --problem; 'local' starts one.")
    ] = None,
    waiting: Annotated[
        bool, typer.Option("--frontier", help="Carbon against waiting of a --problem, for a row of prices on waiting.")
    ] = False,
) -> None:
    """Show when and where a job would run and what that saves, without submitting it."""
    if problem is not None:
        _solve(problem, o, seconds=seconds, seed=seed, ray=ray, waiting=waiting)
        return
    if waiting:
        raise UsageError("plan: --frontier goes with --problem FILE; a job's own curve is shown without it")
    if file is None:
        raise UsageError("plan: give a job file, or --problem FILE")
    with connect(server, token_file) as client:
        show_plan(client.plan(read_job(file)), o)


def _solve(path: Path, o: Format, *, seconds: float | None, seed: int, ray: str | None, waiting: bool) -> None:
    from kilowait_scheduler.core.errors import BadInput
    from kilowait_scheduler.planner.check import violations
    from kilowait_scheduler.planner.frontier import frontier, idle_gpu_h
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

    def enough() -> bool:
        return time.perf_counter() >= until

    if waiting:
        _show_frontier(frontier(question, seed=seed, enough=enough), o)
        return
    shards = _shards(ray) if ray is not None else None
    made = solve(question, seed=seed, enough=enough, rounds=shards)
    broken = violations(made, question)
    if broken:
        say(f"kilowait: the plan broke its own rules: {broken[0]}")
        raise typer.Exit(1)
    answer = write(made, seconds=time.perf_counter() - started)
    if o is not Format.TABLE:
        output.data(answer, o, rows=answer["jobs"])
        return
    shown = table("job", "region", ">carbon", ">restarts", "slots x GPUs")
    for job in answer["jobs"]:
        spans = ", ".join(f"{w['start_slot']}-{w['end_slot']} x {w['gpus']}" for w in job["windows"])
        shown.add_row(job["id"], job["region"], grams(job["carbon_g"]), str(job["restarts"]), spans)
    output.out.print(shown)
    for item in answer["unplaced"]:
        say(f"not placed: {item['id']}: {item['detail']}")
    gap = "unknown" if answer["gap_pct"] is None else f"at most {answer['gap_pct']:.2f} %"
    idle = idle_gpu_h(made, question)
    say(f"{grams(answer['carbon_g'])} in all; {gap} above the best possible; {idle:.0f} GPU-hours stay idle")


def _shards(address: str) -> RayShards:
    from kilowait_scheduler.core.errors import BadInput
    from kilowait_scheduler.service.shards import RayShards

    try:
        return RayShards(address)
    except BadInput as error:
        raise UsageError(str(error)) from None


def _show_frontier(points: list[Point], o: Format) -> None:
    rows = [asdict(point) for point in points]
    if o is not Format.TABLE:
        output.data({"frontier": rows}, o, rows=rows)
        return
    shown = table(">price of waiting per h", ">carbon", ">waiting", ">idle", ">placed")
    for point in points:
        price = f"{100 * point.share_per_h:g} % of the job"
        shown.add_row(
            price,
            grams(point.carbon_g),
            f"{point.wait_h:.0f} job-h",
            f"{point.idle_gpu_h:.0f} GPU-h",
            str(point.placed),
        )
    output.out.print(shown)


_COSTS = {"electricity": "energy_cost", "carbon": "carbon_cost", "carbon if run now": "run_now_carbon_cost"}


def show_plan(answer: dict[str, Any], o: Format) -> None:
    """Windows, what they save, where the numbers come from, and why it is so where the server said."""
    if o is not Format.TABLE:
        output.data(answer, o, rows=answer["windows"])
        return
    output.out.print(f"{answer['name']}: {answer['why']}", markup=False, highlight=False, style="bold")
    shown = table("region", "from", "to", ">GPUs")
    for window in answer["windows"]:
        shown.add_row(window["region"], local(window["start"]), local(window["end"]), str(window["gpus"]))
    output.out.print(shown)
    saved = "" if answer["saved_pct"] is None else f" ({answer['saved_pct']:.0f} %)"
    say(
        f"forecast {grams(answer['carbon_g'])}, run now at home {grams(answer['run_now_g'])}: "
        f"saves {grams(answer['saved_g'])}{saved}; deadline {local(answer['deadline'])}"
    )
    costs = [f"{what} {money(answer[name])}" for what, name in _COSTS.items() if answer[name] is not None]
    if costs:
        say(", ".join(costs))
    for source in answer["forecasts"]:
        notes = f" ({'; '.join(source['notes'])})" if source["notes"] else ""
        say(f"{source['zone']}: {source['source'] or source['problem']}{notes}")
    if answer.get("explanation") is not None:
        show_explanation(answer["explanation"])


def show_explanation(found: dict[str, Any]) -> None:
    """What binds the plan, how sure its start is, and what patience or another place would buy."""
    if found["start_p50"] is not None and found["start_p90"] is not None:
        say(f"expected start {local(found['start_p50'])}, in 9 of 10 cases by {local(found['start_p90'])}")
    if found["saved_p10_g"] is not None and found["saved_p10_g"] != found["saved_p90_g"]:
        low, high = grams(found["saved_p10_g"]), grams(found["saved_p90_g"])
        say(f"saves {low} to {high} in 8 of 10 cases, as sure as the forecast says it is")
    binding = found["relaxed"][0] if found["binding"] else None
    if binding is None:
        say("bound by nothing: no constraint of its own costs a hundredth of its carbon")
    else:
        say(f"bound by: {binding['constraint']}; {binding['how']} would save {grams(binding['saves_g'])}")
    shown = table("or", "starts", "ends", "regions", ">carbon")
    for name, option in (("next best", found["next_best"]), ("run now at home", found["run_now"])):
        if option is not None:
            shown.add_row(name, *_cells(option))
    for item in found["relaxed"]:
        shown.add_row(item["how"], *_cells(item))
    if shown.row_count:
        output.out.print(shown)
    shown = table("deadline", "starts", "ends", "regions", ">carbon")
    for point in found["curve"]:
        cells = _cells(point) if point["carbon_g"] is not None else ("-", "-", "-", "-")
        shown.add_row(local(point["deadline"]), *cells)
    output.out.print(shown)


def _cells(option: dict[str, Any]) -> tuple[str, str, str, str]:
    return local(option["start"]), local(option["end"]), ", ".join(option["regions"]), grams(option["carbon_g"])
