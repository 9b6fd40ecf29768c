"""The play: choose, set up, submit, watch, account, clear away."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kilowait_forecasters.errors import ForecastersError
from kilowait_scheduler.cli import output
from kilowait_scheduler.cli.output import Format, say
from kilowait_scheduler.client import ServerError, ServerUnreachable
from kilowait_scheduler.core.duration import parse_duration
from kilowait_scheduler.core.errors import KilowaitError
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.dispatch.local_heads import missing
from kilowait_scheduler.dispatch.ray_packages import pack
from kilowait_scheduler.planner.joint import warm_up
from kilowait_scheduler.planner.knowledge import Rules
from kilowait_scheduler.service.sources import Sources
from kilowait_scheduler.settings import Settings

from .scenario import HOUR, REGION_NAMES, START_S, Part, Scenario, choose
from .stage import Head, Stage, heads, server
from .view import Play, View, closing
from .weather import NOTE, invent

_FINAL = ("succeeded", "failed", "cancelled")
_STEP_S = 0.5
# Real time after which a play that has not ended is given up; its jobs end well before.
_PATIENCE_S = 300.0


_TOTALS = ("energy_kwh", "carbon_g", "baseline_g", "saved_g", "saved_pct")


def run(*, speed: float, intensity: Path | None, run_dir: Path | None, output: Format) -> int:
    """Play the demonstration; 0 only if every job succeeded by its deadline and nothing is left running."""
    lacking = missing()
    if lacking is not None:
        say(f"kilowait: demo: {lacking}")
        return 2
    folder = run_dir or Path(tempfile.mkdtemp(prefix="kilowait-demo-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        given = intensity.resolve() if intensity is not None else None
        return asyncio.run(_guarded(speed=speed, intensity=given, folder=folder.resolve(), fmt=output))
    except KeyboardInterrupt:
        say(f"kilowait: demo: interrupted; everything it started has ended (logs in {folder})")
        return 130
    except (KilowaitError, ForecastersError, ServerError, ServerUnreachable, RuntimeError, OSError) as error:
        say(f"kilowait: demo: {error} (logs in {folder})")
        return 1


async def _guarded(**arguments: Any) -> int:
    """SIGTERM ends the play as Ctrl-C does: by clearing away."""
    task = asyncio.ensure_future(_play(**arguments))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _play(*, speed: float, intensity: Path | None, folder: Path, fmt: Format) -> int:
    began = time.monotonic()
    if intensity is None:
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        recorded = await asyncio.to_thread(invent, folder / "intensity", around=midnight)
    else:
        recorded = intensity
    say("starting two Ray heads, and choosing a day on which there is something to show ...")
    choosing = asyncio.create_task(asyncio.to_thread(_scenario, recorded, speed=speed))
    async with heads(REGION_NAMES, folder) as running:
        scenario = _at(await choosing, running)
        settings = {"KILOWAIT_INTENSITY": str(recorded), **{head.token_env: head.token for head in running}}
        places = ", ".join(f"{region.name} = {region.zone}" for region in scenario.regions)
        say(f"grid time starts at {scenario.start:%a %d %b %Y %H:%M} UTC, {speed:g} times as fast; {places}")
        async with server(scenario, folder, speed=speed, settings=settings) as stage:
            say(f"running after {time.monotonic() - began:.0f} s; page {stage.server}, token in {stage.token_file}")
            ids = await asyncio.to_thread(_submit, stage, scenario, folder, speed=speed)
            await _watch(stage, ids, speed=speed)
            result = await _account(stage, ids, scenario, folder, speed=speed)
    if intensity is None:
        result["notes"].append(NOTE)
    if fmt is Format.TABLE:
        closing(result)
    else:
        output.data({key: value for key, value in result.items() if key != "notes"}, fmt, rows=result["jobs"])
    kept = all(job["state"] == "succeeded" and job["deadline_met"] for job in result["jobs"])
    counted = all(job["saved_g"] is not None for job in result["jobs"])
    if not counted:
        say(f"kilowait: demo: some jobs have no measured energy; see the agents' logs in {folder}")
    return 0 if kept and counted else 1


def _at(scenario: Scenario, running: Sequence[Head]) -> Scenario:
    """The scenario with its regions on the heads."""
    places = {head.region: {"address": head.address, "token_env": head.token_env} for head in running}
    first, second = (region.model_copy(update=places[region.name]) for region in scenario.regions)
    return replace(scenario, regions=(first, second))


def _scenario(intensity: Path, *, speed: float) -> Scenario:
    warm_up()  # or the server would compile its planner while grid time flies
    settings = Settings(intensity=intensity, neso="off", energy_charts="off", electricity_maps_token=None)
    rules = Rules(slot=settings.slot, margin=settings.margin, wait_share_per_h=settings.wait_share_per_h)
    zones, starts = _recorded(intensity, settings)
    places = [Region(name=f"r{i}", zone=z, address="http://127.0.0.1:1", capacity_gpus=1) for i, z in enumerate(zones)]
    return asyncio.run(choose(Sources(settings).cascade(places), zones=zones, starts=starts, speed=speed, using=rules))


def _recorded(intensity: Path, settings: Settings) -> tuple[list[str], Sequence[datetime]]:
    """Zones of the largest set of recordings with a common span, and the starts in it."""
    from kilowait_forecasters.providers.replay import Replay
    from kilowait_forecasters.zone import Zone

    replay = Replay(intensity, column=settings.intensity_column)
    spans = {zone: replay.span(Zone(zone)) for zone in sorted(replay.zones() or ())}
    need = 44 * HOUR
    groups: dict[tuple[datetime, datetime], list[str]] = {}
    for begin, end in spans.values():
        inside = [zone for zone, (b, e) in spans.items() if b <= begin and e >= end]
        groups[begin, end] = inside
    (begin, end), zones = max(groups.items(), key=lambda item: (len(item[1]), item[0][1] - item[0][0], item[0][1]))
    step = 3 * HOUR if end - begin > timedelta(days=14) else HOUR
    count = int((end - begin - need) / step) + 1
    if count < 1:
        raise ForecastersError(f"{intensity}: the demonstration needs at least 44 hours of intensity in one piece")
    return zones, [begin + step * index for index in range(count)]


def _submit(stage: Stage, scenario: Scenario, folder: Path, *, speed: float) -> dict[str, Part]:
    """Submit every job with its program; their parts by job id, in order."""
    archive = folder / "workload.zip"
    pack(Path(__file__).parent / "workload", archive)
    package = archive.read_bytes()
    ids: dict[str, Part] = {}
    for part in scenario.parts:
        job = json.loads(json.dumps(part.job))
        work = parse_duration(job["duration"]).total_seconds() / speed - START_S
        steps = max(1, round(work / _STEP_S))
        job["entrypoint"] = f"exec python train.py {steps} {_STEP_S}"
        if "checkpoint" in job:
            job["checkpoint"]["path"] = str(folder / "checkpoints" / job["name"])
        answer = stage.client.submit(job, package=package, idempotency_key=f"demo-{job['name']}")
        ids[answer["job"]["id"]] = part
    return ids


async def _watch(stage: Stage, ids: dict[str, Part], *, speed: float) -> None:
    """Draw until every job has ended; suspend and resume by hand what the grid gave no reason for."""
    until = time.monotonic() + _PATIENCE_S
    by_hand = {job_id for job_id, part in ids.items() if part.by_hand}
    resume_at: dict[str, float] = {}
    with View() as view:
        while time.monotonic() < until:
            play = await asyncio.to_thread(_look, stage, list(ids))
            now, jobs = play.now, play.jobs
            view.show(play)
            for job in jobs:
                half_done = job["runs"] and _running_s(job, now) > 0.4 * job["work_s"]
                if job["id"] in by_hand and job["state"] == "running" and half_done:
                    by_hand.discard(job["id"])
                    await asyncio.to_thread(stage.client.tell, job["id"], "suspend")
                    resume_at[job["id"]] = time.monotonic() + 2 * HOUR.total_seconds() / speed
                if job["id"] in resume_at and time.monotonic() > resume_at[job["id"]] and job["state"] == "suspended":
                    del resume_at[job["id"]]
                    await asyncio.to_thread(stage.client.tell, job["id"], "resume")
            if all(job["state"] in _FINAL for job in jobs):
                return
            await asyncio.sleep(0.5)
    raise RuntimeError(f"the jobs did not end within {_PATIENCE_S:.0f} s")


def _running_s(job: dict[str, Any], now: str) -> float:
    started = job["runs"][-1]["started_at"]
    return (datetime.fromisoformat(now) - datetime.fromisoformat(started)).total_seconds() if started else 0.0


def _look(stage: Stage, ids: list[str]) -> Play:
    client = stage.client
    jobs = [client.job(id_) for id_ in ids]
    return Play(client.get("clock")["now"], client.get("forecasts"), client.get("regions"), jobs)


async def _account(
    stage: Stage, ids: dict[str, Part], scenario: Scenario, folder: Path, *, speed: float
) -> dict[str, Any]:
    """Wait for the last readings and the end of the last grid hour, then report."""
    await asyncio.sleep(max(3.0, (HOUR + timedelta(minutes=10)).total_seconds() / speed))
    report = await asyncio.to_thread(stage.client.get, "reports/savings")
    page = await asyncio.to_thread(stage.client.call, "GET", "reports/savings", params={"format": "html"})
    path = folder / "report.html"
    path.write_text(page.text)
    versions = {
        r["name"]: r["cluster"].get("ray_version") for r in await asyncio.to_thread(stage.client.get, "regions")
    }
    meters = sorted({meter for region in report["regions"] for meter in region["meters"]})
    return {
        "regions": [{"name": r.name, "zone": r.zone, "ray_version": versions.get(r.name)} for r in scenario.regions],
        "energy_source": "+".join(meters) or "none",
        "speed": speed,
        "jobs": [{**_line(job), "shows": ids[job["id"]].shows} for job in report["jobs"] if job["id"] in ids],
        "totals": {
            key: report["totals"][key] for key in ("energy_kwh", "carbon_g", "baseline_g", "saved_g", "saved_pct")
        },
        "report": str(path),
        "notes": report["notes"],
    }


def _line(job: dict[str, Any]) -> dict[str, Any]:
    keys = ("id", "name", "state", "home", "deadline", "finished_at", "deadline_met", "runs", "windows")
    figures = ("energy_kwh", "carbon_g", "baseline", "saved_g", "saved_pct", "why")
    return {key: job[key] for key in (*keys, *figures)}
