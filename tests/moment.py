"""Jobs, regions and forecasts at one moment, for tests of planning."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState
from kilowait_scheduler.planner.knowledge import Knowledge, Rules

T0 = datetime(2026, 11, 23, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
RULES = Rules(slot=timedelta(minutes=30))
ZERO = timedelta(0)


def forecast(zone: str, values: Sequence[float | None], *, start: datetime = T0) -> Forecast:
    slots = [
        Slot(start + HOUR * index, start + HOUR * (index + 1), value)
        for index, value in enumerate(values)
        if value is not None
    ]
    series = IntensitySeries(zone=Zone(zone), signal=AVERAGE_LIFECYCLE, source="test", slots=slots)
    parts = (Part(series.start, "test"),)
    return Forecast(Zone(zone), AVERAGE_LIFECYCLE, start, start, series, parts)


def region(name: str, *, gpus: int = 8) -> Region:
    return Region(name=name, zone=name.upper(), address="http://127.0.0.1:1", capacity_gpus=gpus, pue=1.2)


def knowledge(
    *,
    now: datetime = T0,
    gpus: int = 8,
    aa: Sequence[float | None] | None = None,
    bb: Sequence[float | None] | None = None,
) -> Knowledge:
    """Regions aa and bb; intensity by the hour from T0 where it is known."""
    known = {"AA": aa, "BB": bb}
    forecasts = {zone: forecast(zone, hours) for zone, hours in known.items() if hours is not None}
    return Knowledge(now=now, regions=(region("aa", gpus=gpus), region("bb", gpus=gpus)), forecasts=forecasts)


def record(
    name: str = "a",
    *,
    now: datetime = T0,
    work: timedelta = 2 * HOUR,
    within: timedelta = 24 * HOUR,
    gpus: int | dict[str, int] = 4,
    throughput: dict[int, float] | None = None,
    restart: timedelta | None = None,
    regions: tuple[str, ...] = ("aa",),
    **more: Any,
) -> JobRecord:
    """A job; with `restart` it may be suspended. `work` is its time on the fewest GPUs."""
    checkpoint = {"path": "/c", "restart": restart} if restart is not None else None
    spec = parse_job(
        {
            "name": name,
            "entrypoint": "x",
            "resources": {"gpus": gpus, "throughput": throughput},
            "deadline": (now + within).isoformat(),
            "regions": {"home": regions[0], "any_of": list(regions)},
            "checkpoint": checkpoint,
            **more,
        }
    )
    state = JobState(
        job_id=name,
        work_s=work.total_seconds(),
        speeds=spec.resources.speeds,
        suspendable=restart is not None,
        restart_s=restart.total_seconds() if restart is not None else 0.0,
    )
    return JobRecord(
        id=name, spec=spec, submitted_at=now, home=regions[0], regions=regions, power_per_gpu_w=400.0, state=state
    )
