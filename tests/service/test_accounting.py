"""Charges follow what was measured, through outages, revisions, late readings and slow providers; holds come back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kilowait_forecasters.cascade import Cascade
from kilowait_forecasters.errors import ForecastersError, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.providers.static import Static
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.budget import Budget, BudgetScope
from kilowait_scheduler.core.energy import Reading, Readings, RunShare
from kilowait_scheduler.core.ledger import hold, release
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Phase
from kilowait_scheduler.service import control
from kilowait_scheduler.service.accounting import Accounting
from kilowait_scheduler.service.budgets import Budgets
from world import HOUR, START, World, make_world

MINUTE = timedelta(minutes=1)
ROUND = timedelta(seconds=15)
JOB_G = 960.0  # 2 h x 4 GPUs x 0.4 kW x 300 g/kWh


class Source:
    """A provider of hourly values that can be slow, be down, be unsure, change its mind, and counts its questions."""

    name = "source"
    signal = AVERAGE_LIFECYCLE

    def __init__(self, value: float = 300.0) -> None:
        self.value = value
        self.down = False
        self.provisional = False
        self.asked: list[tuple[datetime, datetime]] = []
        self.wait: Callable[[], Awaitable[object]] | None = None

    def zones(self) -> None:
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        if self.down:
            raise Transient("source is down")
        series = self._series(zone, start=now, end=until)
        return Forecast(
            zone=zone,
            signal=self.signal,
            issued_at=now,
            available_at=now,
            series=series,
            parts=(Part(series.start, self.name),),
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        self.asked.append((start, end))
        if self.wait is not None:
            await self.wait()
        last = min(end, now.replace(minute=0, second=0, microsecond=0))
        if self.down or last <= start:
            raise Transient("source is down")
        return self._series(zone, start=start, end=last)

    def _series(self, zone: Zone, *, start: datetime, end: datetime) -> IntensitySeries:
        slots = []
        cursor = start.replace(minute=0, second=0, microsecond=0)
        while cursor < end:
            slots.append(Slot(cursor, cursor + HOUR, self.value, self.provisional))
            cursor += HOUR
        return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def world(tmp_path: Path, source: Source) -> Iterator[World]:
    """One region, AA, on `source`, with a generous budget for all."""
    world = make_world(tmp_path, {"AA": [300.0] * 24}, gpus={"aa": 16})
    world.server.grid.use(Cascade({"AA": [source]}))
    world.server.store.put_budget(Budget(id="all", scope=BudgetScope.ORGANISATION, name="all", limit_g=1e6))
    yield world
    world.close()


def submit(world: World, name: str = "train", *, within: str = "3h", **more: object) -> JobRecord:
    return world.submit(**{"name": name, "resources": {"gpus": 4}, "duration": "2h", "within": within, **more})


def emitted_g(world: World, job_id: str) -> float:
    return world.server.store.balance_ug("emitted:all-2026-11", job_id=job_id) / 1e6


def held_g(world: World, job_id: str) -> float:
    return world.server.store.balance_ug("held:all-2026-11", job_id=job_id) / 1e6


def realised(world: World, start: datetime, end: datetime) -> IntensitySeries:
    return asyncio.run(world.server.grid.realised("AA", start=start, end=end, now=world.now))


def settle_anew(world: World) -> None:
    """As a server that has just started does: nothing remembered but what is stored."""
    server = world.server
    budgets = Budgets(server.store)
    accounting = Accounting(store=server.store, grid=server.grid, budgets=budgets, to_grid=server.clock.grid)
    asyncio.run(accounting.settle(now=world.now))


def test_an_outage_changes_no_measured_value_and_no_settled_charge(world: World, source: Source) -> None:
    job = submit(world)
    world.finish(job.id)
    world.run(2 * HOUR)
    assert emitted_g(world, job.id) == pytest.approx(JOB_G)
    measured_until = world.now.replace(minute=0)
    source.down = True
    world.run(3 * HOUR)
    world.server.grid.use(Cascade({"AA": [source]}, last_resorts=[Static({"AA": 999.0})]))
    settle_anew(world)
    series = realised(world, START, world.now)
    assert series.mean(START, START + 2 * HOUR) == 300.0
    assert series.estimated_share(START, START + 2 * HOUR) == 0
    assert series.at(world.now - MINUTE) == 999.0
    assert series.slot_at(measured_until + HOUR).estimated
    assert emitted_g(world, job.id) == pytest.approx(JOB_G)


def test_where_nothing_is_known_the_error_names_the_gap_and_the_grams_stay_held(world: World, source: Source) -> None:
    first = submit(world, "first")
    world.finish(first.id)
    world.run(HOUR)
    known_until = world.now.replace(minute=0)
    second = submit(world, "second")
    source.down = True
    world.server.grid.use(Cascade({"AA": [source]}))
    world.finish(second.id)
    world.run(HOUR)
    with pytest.raises(ForecastersError) as caught:
        realised(world, START, world.now)
    assert known_until.isoformat() in str(caught.value)
    assert START.isoformat() not in str(caught.value)
    assert emitted_g(world, first.id) == pytest.approx(JOB_G)
    assert emitted_g(world, second.id) == 0
    assert held_g(world, second.id) >= JOB_G
    source.down = False
    world.run(HOUR)
    assert emitted_g(world, second.id) == pytest.approx(JOB_G)
    assert held_g(world, second.id) == 0


def test_a_round_does_not_wait_for_a_slow_provider_and_never_accounts_twice_at_once(
    world: World, source: Source
) -> None:
    job = submit(world)
    world.finish(job.id)
    source.provisional = True
    world.run(2 * HOUR)
    world.wall[0] += 20_000_000
    server = world.server

    async def rounds() -> None:
        asked, answer = asyncio.Event(), asyncio.Event()

        async def slowly() -> None:
            asked.set()
            await answer.wait()

        source.wait = slowly
        source.asked.clear()
        await server.control.tick()
        await asyncio.wait_for(asked.wait(), timeout=20)
        late = submit(world, "late")
        for _ in range(3):
            world.wall[0] += 20_000_000
            await asyncio.wait_for(server.control.tick(), timeout=20)
        assert world.job(late.id).state.live_run is not None
        assert len(source.asked) == 1
        answer.set()
        await server.control.settled()
        assert emitted_g(world, job.id) == pytest.approx(JOB_G + 300.0)

    server.store.add_readings(Readings.of([reading(job, world.now - HOUR, world.now - MINUTE, seq=1)]), at=world.now)
    asyncio.run(rounds())


def test_a_stop_does_not_wait_for_ever_for_accounting(
    world: World, source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submit(world)
    world.finish(job.id)
    source.provisional = True
    world.run(2 * HOUR)
    monkeypatch.setattr(control, "_SHUTDOWN_S", 0.01)
    world.server.store.add_readings(
        Readings.of([reading(job, world.now - HOUR, world.now - MINUTE, seq=1)]), at=world.now
    )
    world.wall[0] += 16_000_000

    async def round_and_stop() -> None:
        asked = asyncio.Event()

        async def never() -> None:
            asked.set()
            await asyncio.Event().wait()

        source.wait = never
        await world.server.control.tick()
        await asyncio.wait_for(asked.wait(), timeout=20)
        await asyncio.wait_for(world.server.control.close(), timeout=20)

    asyncio.run(round_and_stop())


def test_a_zone_is_asked_once_in_15_minutes_however_many_jobs_and_reports(world: World, source: Source) -> None:
    source.provisional = True
    jobs = [submit(world, f"j{number}", within="10h") for number in range(4)]
    world.finish(*(job.id for job in jobs))
    source.asked.clear()
    world.run(HOUR, every=MINUTE)
    assert 3 <= len(source.asked) <= 5
    asyncio.run(world.server.reporting.savings())
    asked = len(source.asked)
    for _ in range(5):
        asyncio.run(world.server.reporting.savings())
    assert len(source.asked) == asked


def test_a_running_job_does_not_ask_anew_in_every_round(world: World, source: Source) -> None:
    job = submit(world, within="4h")
    source.asked.clear()
    for minute in range(50):
        start = world.now
        world.run(MINUTE)
        part = reading(job, start, world.now, seq=minute + 1)
        world.server.store.add_readings(Readings.of([part]), at=world.now)
    assert emitted_g(world, job.id) > 0
    assert len(source.asked) <= 5


def test_a_provider_that_fails_is_left_alone_for_15_minutes(world: World, source: Source) -> None:
    job = submit(world)
    source.down = True
    world.server.grid.use(Cascade({"AA": [source]}))
    world.finish(job.id)
    source.asked.clear()
    world.run(HOUR, every=MINUTE)
    assert 3 <= len(source.asked) <= 10  # the zone's span and the job's own


def test_jobs_that_ended_more_than_a_week_ago_are_not_looked_at(world: World) -> None:
    old, waiting = submit(world, "old"), submit(world, "waiting", within="200h", earliest="2026-12-01T00:00:00Z")
    world.finish(old.id)
    ended = world.job(old.id).state.finished_at
    assert ended is not None
    store = world.server.store
    assert {r.id for r in store.jobs_to_settle(finished_since=ended)} == {old.id, waiting.id}
    assert [r.id for r in store.jobs_to_settle(finished_since=ended + ROUND)] == [waiting.id]
    # Until nothing is held for it: a server that was away must not leave a hold behind for ever.
    with store.booking() as books:
        books.post([hold("nlp-2026-11", job_id=old.id, amount_ug=5, at=ended)])
    assert {r.id for r in store.jobs_to_settle(finished_since=ended + ROUND)} == {old.id, waiting.id}
    with store.booking() as books:
        books.post([release("nlp-2026-11", job_id=old.id, amount_ug=5, at=ended)])
    assert [r.id for r in store.jobs_to_settle(finished_since=ended + ROUND)] == [waiting.id]


def test_a_reading_ahead_of_our_clock_is_charged_once_its_time_has_come(world: World) -> None:
    job = submit(world)
    world.finish(job.id)
    world.run(HOUR)
    ahead = reading(job, world.now - 2 * HOUR, world.now + 3 * ROUND, seq=1)
    world.server.store.add_readings(Readings.of([ahead]), at=world.now)
    world.run(ROUND, every=ROUND)
    assert emitted_g(world, job.id) == pytest.approx(JOB_G)
    world.run(2 * HOUR)
    assert emitted_g(world, job.id) == pytest.approx(JOB_G + 300.0)


def test_a_held_job_is_looked_at_as_soon_as_another_ones_hold_is_released(world: World) -> None:
    world.server.store.put_budget(Budget(id="tight", scope=BudgetScope.TEAM, name="nlp", limit_g=1300.0))
    world.real_work_s["short"] = 600.0  # done long before its time: most of its hold is never used
    short = submit(world, "short", team="nlp")
    world.run(6 * MINUTE)
    held = submit(world, "held", team="nlp", within="12h")
    world.run(3 * MINUTE)
    assert world.job(held.id).state.phase is Phase.HELD
    while not world.job(short.id).state.phase.final:
        world.run(MINUTE, every=ROUND)
    world.run(2 * MINUTE, every=ROUND)
    assert world.job(held.id).state.phase is not Phase.HELD


def test_a_revision_by_the_provider_arrives_as_a_correction_and_wakes_planning(world: World, source: Source) -> None:
    job = submit(world)
    world.finish(job.id)
    world.run(2 * HOUR)
    source.value = 200.0
    world.run(12 * HOUR, every=HOUR / 2)
    assert emitted_g(world, job.id) == pytest.approx(JOB_G)
    source.asked.clear()
    world.run(15 * HOUR, every=HOUR / 2)
    assert emitted_g(world, job.id) == pytest.approx(JOB_G * 2 / 3)
    kinds = [entry.kind.value for entry in world.server.store.entries(job_id=job.id)]
    assert kinds[-1] == "correction"
    judged = [span for span in source.asked if span[1] - span[0] > timedelta(days=7)]
    assert len(judged) == 1, "the week that forecasts are held against, once a day"
    assert len(source.asked) - len(judged) == 1
    woken: list[bool] = []
    source.value = 100.0
    world.wall[0] += 25 * 3_600_000_000
    accounting = world.server.control._accounting
    asyncio.run(accounting.settle(now=world.now, on_released=lambda: woken.append(True)))
    assert woken


def test_a_stand_in_revises_nothing(world: World, source: Source) -> None:
    job = submit(world)
    world.finish(job.id)
    world.run(2 * HOUR)
    source.down = True
    world.server.grid.use(Cascade({"AA": [source, Source(700.0)]}))
    world.run(30 * HOUR, every=HOUR)
    assert emitted_g(world, job.id) == pytest.approx(JOB_G)


def test_a_revision_in_slots_of_another_length_replaces_what_it_overlaps(world: World) -> None:
    store = world.server.store

    def keep(minutes: int, value: float) -> None:
        step = timedelta(minutes=minutes)
        slots = [Slot(START + step * i, START + step * (i + 1), value) for i in range(120 // minutes)]
        zone = Zone("AA")
        store.add_realised(
            IntensitySeries(zone=zone, signal=AVERAGE_LIFECYCLE, source="source", slots=slots), at=world.now
        )

    for minutes, value in ((60, 1.0), (30, 2.0), (60, 3.0)):
        keep(minutes, value)
        kept = store.realised("AA", signal=AVERAGE_LIFECYCLE, start=START, end=START + 2 * HOUR)
        assert kept is not None
        assert [slot.g_per_kwh for slot in kept.slots] == [value] * (120 // minutes)


def reading(job: JobRecord, start: datetime, end: datetime, *, seq: int) -> Reading:
    """A kilowatt-hour that the job used on [start, end)."""
    energy_mj = 3_600_000_000
    return Reading(
        agent_id="other",
        stream_epoch="e1",
        seq=seq,
        region="aa",
        node="node",
        source="simulated",
        device_uuid="SIM-1",
        start=start,
        end=end,
        energy_mj=energy_mj,
        idle_mj=0,
        unattributed_mj=0,
        quality="measured",
        method="counter",
        uncertainty_pct=5.0,
        digest=str(seq),
        shares=(RunShare(f"kw-{job.id}-1", job.id, energy_mj),),
    )
