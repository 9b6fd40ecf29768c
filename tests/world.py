"""A whole server in virtual time: real rules, planner, store and control loop; clusters in memory; a clock we turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.core.job import parse_job
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.dispatch.executor import SubmitRequest
from kilowait_scheduler.dispatch.fake import Ended, FakeExecutor, Program
from kilowait_scheduler.service.compose import Server, compose
from kilowait_scheduler.settings import Settings

START = datetime(2026, 11, 23, 0, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def write_intensity(folder: Path, zones: Mapping[str, Sequence[float]], *, start: datetime = START) -> None:
    """Hourly recordings: each zone's values, repeated over ten days from a day before `start`."""
    folder.mkdir(parents=True, exist_ok=True)
    for zone, values in zones.items():
        first = start - 24 * HOUR
        rows = [f"{(first + HOUR * i).isoformat()},{values[i % len(values)]}" for i in range(24 * 11)]
        (folder / f"{zone}.csv").write_text("datetime,carbon_intensity_lifecycle\n" + "\n".join(rows) + "\n")


@dataclass
class World:
    """`server` with one fake cluster per region, whose programs keep their progress where their job says.

    With `report` off, energy is reported by the test and not at a run's end.
    """

    server: Server
    clusters: dict[str, FakeExecutor]
    wall: list[int]
    real_work_s: dict[str, float] = field(default_factory=dict)
    saved_s: dict[str, float] = field(default_factory=dict)
    spans: list[tuple[str, str, datetime, datetime]] = field(default_factory=list)
    report: bool = True
    _seq: int = 0

    @property
    def now(self) -> datetime:
        return self.server.clock.now()

    def close(self) -> None:
        self.server.close()

    def submit(self, **job: object) -> JobRecord:
        """Submit a job; its program needs `duration`, unless `real_work_s` says otherwise by name."""
        self._settle_first()
        return self.server.jobs.submit(parse_job({"entrypoint": "python train.py", **job})).record

    def _settle_first(self) -> None:
        if self.server.control.ticked_at is None:
            self.run(timedelta(0))

    def job(self, job_id: str) -> JobRecord:
        return self.server.store.job(job_id)

    def run(self, span: timedelta, *, every: timedelta = timedelta(minutes=3)) -> None:
        """Let `span` of time pass, one control round per `every`, and report the energy that was used."""
        asyncio.run(self._run(self.now + span, every))

    async def _run(self, until: datetime, every: timedelta) -> None:
        await self._round()
        while self.now < until:
            self.wall[0] += int(min(every, until - self.now) / timedelta(microseconds=1))
            for cluster in self.clusters.values():
                cluster.catch_up()
            await self._round()

    async def _round(self) -> None:
        """A control round, and the accounting that it started: virtual time stands still until both are done."""
        await self.server.control.tick()
        await self.server.grid.judged()
        await self.server.control.settled()

    def finish(self, *job_ids: str, within: timedelta = timedelta(days=4)) -> None:
        """Let time pass until the jobs have ended. Fails if they do not."""
        until = self.now + within
        while self.now < until:
            if all(self.job(job_id).state.phase.final for job_id in job_ids):
                self.run(timedelta(minutes=5))
                return
            self.run(timedelta(minutes=30))
        raise AssertionError([self.job(j).state for j in job_ids])

    def program(self, region: str) -> Callable[[SubmitRequest], Program]:
        def start(request: SubmitRequest) -> Program:
            job_id = request.metadata["kilowait_job"]
            record = self.server.store.job(job_id)
            total = self.real_work_s.get(record.spec.name, record.state.work_s)
            saved = self.saved_s.get(job_id, 0.0)
            restart = record.state.restart_s if saved else 0.0
            speed = record.state.speeds[request.gpus]

            def ended(end: Ended) -> None:
                if record.spec.suspendable and end.saved:
                    self.saved_s[job_id] = saved + max(0.0, end.ran_s - restart) * speed
                begin = end.at - timedelta(seconds=end.ran_s)
                self.spans.append((job_id, region, begin, end.at))
                if self.report:
                    self._report(record, request.submission_id, request.gpus, region, begin, end.at)

            return Program(duration_s=(total - saved) / speed + restart, on_end=ended, stop_s=1.0, output="working\n")

        return start

    def _report(self, record: JobRecord, run_id: str, gpus: int, region: str, start: datetime, end: datetime) -> None:
        if end <= start:
            return
        energy_mj = round(record.power_kw(gpus) * 1e6 * (end - start).total_seconds())
        self._seq += 1
        reading = Reading(
            agent_id=f"agent-{region}",
            stream_epoch="e1",
            seq=self._seq,
            region=region,
            node="node",
            source="simulated",
            device_uuid="SIM-0",
            start=start,
            end=end,
            energy_mj=energy_mj,
            idle_mj=0,
            unattributed_mj=0,
            quality="measured",
            method="counter",
            uncertainty_pct=5.0,
            digest=str(self._seq),
            shares=(RunShare(run_id, record.id, energy_mj),),
        )
        self.server.store.add_readings(Readings.of([reading]), at=self.now)


def make_world(
    folder: Path,
    zones: Mapping[str, Sequence[float]],
    *,
    gpus: Mapping[str, int] | None = None,
    start: datetime = START,
    **settings: object,
) -> World:
    """A world with one region per zone, named after it in lower case, and recorded intensity to plan on."""
    write_intensity(folder / "intensity", zones, start=start)
    wall = [0]
    clock = GridClock(1.0, 0, int(start.timestamp() * 1_000_000), wall_us=lambda: wall[0])
    clusters: dict[str, FakeExecutor] = {}
    holder: list[World] = []

    def make(region: Region) -> FakeExecutor:
        cluster = FakeExecutor(
            region=region.name,
            now=clock.now,
            gpus=region.capacity_gpus,
            programs=lambda request: holder[0].program(region.name)(request),
        )
        clusters[region.name] = cluster
        return cluster

    options = {"state_dir": folder / "state", "intensity": folder / "intensity", **settings}
    server = compose(Settings(**options), make_executor=make, clock=clock)  # type: ignore[arg-type]
    for zone in zones:
        name = zone.lower()
        capacity = (gpus or {}).get(name, 8)
        server.store.put_region(
            Region(name=name, zone=zone, address="http://127.0.0.1:1", capacity_gpus=capacity, pue=1.0)
        )
    server.grid.use(server.sources.cascade(server.store.regions()))
    server.clusters()
    world = World(server, clusters, wall)
    holder.append(world)
    return world
