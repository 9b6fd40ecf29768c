"""Jobs: submit, list, look, explain, command. Plans: the same question without effect."""

from __future__ import annotations

import asyncio
import hashlib
import re
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import JSONResponse

from kilowait_scheduler.core.errors import BadInput, NotFound
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.core.window import Window
from kilowait_scheduler.service.tokens import Caller

from .access import CanChange, CanLook, ServerDep
from .shapes import ExplanationShape, JobShape, PlanShape, region_view

router = APIRouter(tags=["jobs"])

_PACKAGE = re.compile(r"[0-9a-f]{32}\.zip")
_LARGEST_PACKAGE = 100 * 1024 * 1024  # Ray keeps packages in the memory of its head; its own limit is 100 MiB


@router.post("/jobs", status_code=201)
def submit(
    body: dict[str, Any],
    server: ServerDep,
    caller: Annotated[Caller, CanChange],
    package: Annotated[str | None, Query(description="Name that POST packages answered.")] = None,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> dict[str, Any]:
    """Admit a job (the schema of a job file). A repeated Idempotency-Key answers the first job again."""
    # Its form first: a name with a path in it would reach any file of the server.
    if package is not None and not (_PACKAGE.fullmatch(package) and (server.packages / package).is_file()):
        raise BadInput(f"package {package!r} is not here; upload it first")
    proposal = server.jobs.submit(parse_job(body), package=package, idempotency_key=idempotency_key, user=caller.name)
    return {"job": JobShape.of(proposal.record), "plan": PlanShape.of(proposal, server)}


@router.post("/plans")
def plan(body: dict[str, Any], server: ServerDep, caller: Annotated[Caller, CanLook]) -> PlanShape:
    """What would be done with a job, beside all the others, without storing anything."""
    proposal = server.jobs.propose(parse_job(body), user=caller.name)
    return PlanShape.of(proposal, server, explanation=server.jobs.explain(proposal))


@router.post("/packages", status_code=201, dependencies=[CanChange])
async def upload(request: Request, server: ServerDep) -> dict[str, str]:
    """Keep a zipped working directory; the answer's name goes into `POST jobs?package=`."""
    content = b""
    async for chunk in request.stream():
        content += chunk
        if len(content) > _LARGEST_PACKAGE:
            raise BadInput("package: larger than 100 MiB; keep data out of the working directory")
    if not content.startswith(b"PK"):
        raise BadInput("package: this is not a zip file")
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.zip"
    path = server.packages / name
    if not path.exists():
        partial = path.with_suffix(".part")
        await asyncio.to_thread(partial.write_bytes, content)
        await asyncio.to_thread(partial.rename, path)
    return {"package": name}


@router.get("/jobs", dependencies=[CanLook])
def jobs(
    server: ServerDep,
    state: Annotated[list[Phase] | None, Query()] = None,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Jobs in order of submission, a page at a time: pass `next` as `cursor` for the following one."""
    found = server.store.jobs(phases=state, after=cursor, limit=limit + 1)
    page = found[:limit]
    return {"jobs": [JobShape.of(r) for r in page], "next": page[-1].id if len(found) > limit else None}


@router.get("/jobs/{job_id}", dependencies=[CanLook])
def job(job_id: str, server: ServerDep) -> JobShape:
    """One job by id, or by a name that only it has."""
    return JobShape.of(server.store.job(job_id))


@router.post("/jobs/{job_id}/{command}", dependencies=[CanChange])
def tell(job_id: str, command: str, server: ServerDep) -> JobShape:
    """`cancel`, `suspend` or `resume` a job."""
    commands = {"cancel": server.jobs.cancel, "suspend": server.jobs.suspend, "resume": server.jobs.resume}
    if command not in commands:
        raise NotFound(f"no command {command!r}; there are cancel, suspend and resume")
    return JobShape.of(commands[command](job_id))


@router.get("/jobs/{job_id}/explain", dependencies=[CanLook])
def explain(job_id: str, server: ServerDep) -> dict[str, Any]:
    """Why the job is where it is: the reason, the plan, what it saves on the forecast, where the numbers come from."""
    record = server.store.job(job_id)
    shape = JobShape.of(record)
    keys = ("id", "name", "state", "reason", "why", "deadline", "windows", "forecast_g", "run_now_g")
    explanation = server.jobs.explain_job(record)
    return {
        "explanation": ExplanationShape.of(explanation) if explanation is not None else None,
        **{key: getattr(shape, key) for key in keys},
        "regions": [region_view(region, record, server) for region in server.store.regions()],
    }


@router.get("/jobs/{job_id}/events", dependencies=[CanLook])
def events(job_id: str, server: ServerDep) -> list[dict[str, Any]]:
    """The job's journal: all that happened to it, in order."""
    return [event.model_dump(mode="json") for event in server.store.events(server.store.job(job_id).id)]


@router.get("/jobs/{job_id}/windows", dependencies=[CanLook])
def windows(job_id: str, server: ServerDep) -> list[Window]:
    """The planned windows."""
    return list(server.store.job(job_id).state.windows)


@router.get("/jobs/{job_id}/energy", dependencies=[CanLook])
def energy(job_id: str, server: ServerDep) -> dict[str, Any]:
    """Measured IT energy of the job, per interval and in all; null where nothing has been measured."""
    intervals = server.store.job_energy(server.store.job(job_id).id)
    return {
        "energy_mj": sum(i.energy_mj for i in intervals) if intervals else None,
        "intervals": [
            {
                "start": i.start.isoformat(),
                "end": i.end.isoformat(),
                "region": i.region,
                "energy_mj": i.energy_mj,
                "estimated": i.estimated,
            }
            for i in intervals
        ],
    }


@router.get("/jobs/{job_id}/logs", dependencies=[CanLook])
async def logs(job_id: str, server: ServerDep, run: int | None = None) -> JSONResponse:
    """The program's output in a run, the last one by default."""
    record = await asyncio.to_thread(server.store.job, job_id)
    runs = record.state.runs
    if not runs:
        raise NotFound(f"job {record.spec.name} has not run yet, so it has no logs")
    if run is not None and not 1 <= run <= len(runs):
        raise NotFound(f"job {record.spec.name} has runs 1 to {len(runs)}")
    chosen = record.state.run(run or len(runs))
    executor = server.clusters().get(chosen.region)
    if executor is None:
        raise NotFound(f"region {chosen.region} is not configured any more")
    text = await asyncio.wrap_future(server.ticker.submit(executor.logs(chosen.submission_id)))
    return JSONResponse({"run": chosen.n, "region": chosen.region, "logs": text})
