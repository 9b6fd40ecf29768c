"""Jobs told by what each of their GPUs drew, minute by minute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.advisor.facts import Facts
from kilowait_scheduler.core.carbon import EnergyInterval
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.core.gpu_table import GPUS
from kilowait_scheduler.core.gpus import find
from kilowait_scheduler.core.held import Held
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState, Phase, Run, RunPhase
from moment import T0
from one_job import measured_of

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
REGIONS = [
    Region(name=name, zone=name.upper(), address="http://127.0.0.1:1", capacity_gpus=8, pue=1.0)
    for name in ("aa", "bb", "cc")
]
H100 = find("H100", among=GPUS)
FLAT = {"aa": [300.0]}


def intensity(zones: Mapping[str, Sequence[float]], *, hours: int = 200) -> dict[str, IntensitySeries]:
    """By the hour from a day before T0, each zone's values over and over."""
    first = T0 - 24 * HOUR
    return {
        name: IntensitySeries(
            zone=Zone(name.upper()),
            signal=AVERAGE_LIFECYCLE,
            source="test",
            slots=[Slot(first + i * HOUR, first + (i + 1) * HOUR, values[i % len(values)]) for i in range(hours)],
        )
        for name, values in zones.items()
    }


def facts(
    gpus: Mapping[str, Sequence[float]],
    *,
    grid: Mapping[str, Sequence[float]] = FLAT,
    idle_w: float | None = None,
    alone: bool = True,
    gpu: bool = True,
    now_h: float = 150,
    runs: Sequence[Run] | None = None,
    state: Mapping[str, Any] | None = None,
    regions: tuple[str, ...] = ("aa",),
    job_id: str = "a",
    **spec: Any,
) -> Facts:
    """A job begun at T0 at home; `gpus` gives the watts of each of its GPUs, a minute each."""
    minutes = max((len(watts) for watts in gpus.values()), default=0)
    end = T0 + minutes * MINUTE
    made = parse_job(
        {
            "name": "train",
            "entrypoint": "python t.py",
            "resources": {"gpus": max(1, len(gpus))},
            "duration": "1h",
            "deadline": (T0 + 24 * HOUR).isoformat(),
            **spec,
        }
    )
    whole = Run(
        n=1,
        region="aa",
        submission_id=f"kw-{job_id}-1",
        phase=RunPhase.SUCCEEDED,
        created_at=T0,
        started_at=T0,
        ended_at=end,
        gpus=max(1, len(gpus)),
    )
    record = JobRecord(
        id=job_id,
        spec=made,
        submitted_at=T0,
        home="aa",
        regions=regions,
        power_per_gpu_w=500,
        state=JobState(
            **{
                "job_id": job_id,
                "phase": Phase.SUCCEEDED,
                "work_s": 3600,
                "suspendable": made.suspendable,
                "runs": tuple(runs) if runs is not None else (whole,),
                "speeds": made.resources.speeds,
                "finished_at": end,
                **(state or {}),
            }
        ),
    )
    rows = [
        (device, EnergyInterval(T0 + i * MINUTE, T0 + (i + 1) * MINUTE, round(w * 60_000), "aa"))
        for device, watts in enumerate(gpus.values())
        for i, w in enumerate(watts)
        if w > 0
    ]
    course = Course.of(row for _, row in rows)
    held = Held(
        course,
        np.array([device for device, _ in rows], dtype=np.int64),
        np.zeros(len(rows), dtype=np.int64),
        np.full(len(rows), alone),
        tuple(gpus),
        (f"kw-{job_id}-1",) if rows else (),
    )
    return Facts(
        job=measured_of(record, course),
        held=held,
        gpu=H100 if gpu else None,
        idle_w=idle_w,
        regions=REGIONS,
        intensity=intensity(grid),
        now=T0 + now_h * HOUR,
    )
