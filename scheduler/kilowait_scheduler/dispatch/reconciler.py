"""Looks at what the clusters say and turns it into events; the clusters' word is the truth, ours the intent.

One list call per region and round. A region that does not answer delays no other and changes nothing but the reason
its jobs show: unreachable is not stopped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Run

from .executor import ClusterInfo, DispatchError, Executor, ObservedRun

# Ray's word for "the program itself failed", as opposed to its set-up, its node or the cluster.
_USER_ERROR = "JOB_ENTRYPOINT_COMMAND_ERROR"


@dataclass(frozen=True)
class RegionHealth:
    """What the last round saw of a region; `problem` is empty where it answered.

    `orphans` are live runs with our prefix that we know nothing of; `ended`, oldest first, those it lists as over.
    """

    region: str
    at: datetime
    info: ClusterInfo | None = None
    problem: str = ""
    orphans: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()


@dataclass
class Round:
    """What one look at all the regions brought: events per job, in the order of the jobs, and each region's health."""

    events: list[tuple[str, ev.Event]] = field(default_factory=list)
    health: dict[str, RegionHealth] = field(default_factory=dict)


async def look(
    records: Sequence[JobRecord],
    *,
    executors: Mapping[str, Executor],
    now: Callable[[], datetime],
    patience_s: float = 20.0,
) -> Round:
    """Ask every region once, all at the same time, none longer than `patience_s` (real seconds)."""
    result = Round()
    live = [(record, run) for record in records if (run := record.state.live_run) is not None]
    known = {run.submission_id for record in records for run in record.state.runs}

    async def ask(region: str, executor: Executor) -> None:
        mine = [(record, run) for record, run in live if run.region == region]
        try:
            async with asyncio.timeout(patience_s):
                info = await executor.probe()
                seen = await executor.observe()
        except (DispatchError, TimeoutError) as error:
            problem = str(error) or f"{region}: no answer within {patience_s:.0f} s"
            result.health[region] = RegionHealth(region, now(), problem=problem)
            for record, run in mine:
                result.events.append((record.id, ev.Unreachable(at=now(), run=run.n, detail=problem)))
            return
        for record, run in mine:
            event = _compare(run, seen.get(run.submission_id), info=info, at=now())
            if event is not None:
                result.events.append((record.id, event))
        strangers = tuple(s for s, run in seen.items() if s not in known and not run.status.terminal)
        ended = tuple(sorted(submission for submission, run in seen.items() if run.status.terminal))
        result.health[region] = RegionHealth(region, now(), info=info, orphans=strangers, ended=ended)

    await asyncio.gather(*(ask(region, executor) for region, executor in executors.items()))
    return result


def _compare(run: Run, seen: ObservedRun | None, *, info: ClusterInfo, at: datetime) -> ev.Event | None:
    if seen is None:
        if not run.clear_submit:
            return None
        restarted = bool(run.session_name) and run.session_name != info.session_name
        return ev.Missing(at=at, run=run.n, new_session=restarted)
    status = ev.Status(seen.status.value)
    detail = seen.message if status is ev.Status.FAILED else ""
    user_error = seen.error_type == _USER_ERROR
    return ev.Observed(at=at, run=run.n, status=status, began=seen.began, user_error=user_error, detail=detail)
