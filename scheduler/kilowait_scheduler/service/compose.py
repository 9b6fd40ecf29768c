"""The composition root: settings in, a server's parts out, wired together. Nothing else builds them."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import yaml
from pydantic import ValidationError

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.errors import BadInput, Conflict
from kilowait_scheduler.core.job import first_problem
from kilowait_scheduler.core.lifecycle import Policy
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.dispatch.executor import Executor
from kilowait_scheduler.dispatch.ray_jobs import RayJobsExecutor
from kilowait_scheduler.planner.knowledge import Rules
from kilowait_scheduler.settings import Settings
from kilowait_scheduler.store.engine import migrate, open_engine
from kilowait_scheduler.store.leadership import Leadership
from kilowait_scheduler.store.repository import Store

from .accounting import Accounting
from .admission import Admission
from .advising import Advising
from .allowances import Allowances
from .book import Book
from .budgets import Budgets
from .control import Control
from .counting import count_saved
from .courses import keep_courses
from .entitlement import Probe
from .grid import Grid
from .jobs import Jobs
from .monthly import Monthly
from .planning import Planning
from .reporting import Reporting
from .sources import Sources
from .ticker import Ticker
from .tokens import Tokens

log = logging.getLogger("kilowait")


@dataclass
class Server:
    """A server's parts, for the doors to call into."""

    settings: Settings
    clock: GridClock
    store: Store
    sources: Sources
    grid: Grid
    allowances: Allowances
    planning: Planning
    jobs: Jobs
    reporting: Reporting
    advising: Advising
    tokens: Tokens
    control: Control
    ticker: Ticker
    clusters: Clusters
    leadership: Leadership

    def add_region(self, region: Region) -> None:
        """Add or replace a region; the next round asks for its grid and its cluster, and plans with it."""
        require_same_cluster(self.store, region)
        before = {known.name: known for known in self.store.regions()}
        if region.name in before and _about_grid(before[region.name]) == _about_grid(region):
            self.store.put_region(region)
        else:
            cascade = self.sources.cascade([*(before | {region.name: region}).values()], after=self.grid.cascade)
            self.store.put_region(region)
            self.grid.use(cascade)
        self.control.want_plan()
        self.ticker.wake()

    def close(self) -> None:
        """Give the database back. The ticker must have stopped."""
        self.leadership.release()
        self.store.engine.dispose()

    @property
    def probes(self) -> Sequence[Probe]:
        return self.sources.probes

    @property
    def packages(self) -> Path:
        return self.settings.state_dir / "packages"

    @property
    def token_file(self) -> Path:
        return self.settings.state_dir / "admin.token"


class Clusters:
    """One executor per region, made anew when the region changes."""

    def __init__(self, store: Store, make: Callable[[Region], Executor]) -> None:
        self._store, self._make = store, make
        self._made: dict[str, tuple[Region, Executor]] = {}

    def __call__(self) -> Mapping[str, Executor]:
        for region in self._store.regions():
            known = self._made.get(region.name)
            if known is None or known[0] != region:
                self._made[region.name] = (region, self._make(region))
        return {name: executor for name, (_, executor) in self._made.items()}

    async def close(self) -> None:
        """Close the connections to all clusters; nothing that runs there is touched."""
        for _, executor in self._made.values():
            await executor.close()


def compose(
    settings: Settings,
    *,
    make_executor: Callable[[Region], Executor] | None = None,
    clock: GridClock | None = None,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Server:
    """Build a server: opens and migrates the database, adds the configured regions, makes the admin token.

    Executors, clock and `on_step` are for tests and demonstrations; left out, they are Ray, the wall and nothing.
    """
    settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # job files may hold secrets
    (settings.state_dir / "packages").mkdir(exist_ok=True)
    engine = open_engine(settings.database_url)
    migrate(engine)
    store = Store(engine)
    clock = clock or clock_of(settings)
    tokens = Tokens(store)
    if settings.regions is not None:
        for region in read_regions(settings.regions):
            require_same_cluster(store, region)
            store.put_region(region)
    if tokens.ensure_admin(settings.state_dir / "admin.token", at=clock.now()):
        log.info("admin token written to %s", settings.state_dir / "admin.token")
    rules = Rules(slot=settings.slot, margin=settings.margin, wait_share_per_h=settings.wait_share_per_h)
    policy = Policy(
        fence=clock.grid(settings.fence),
        stop_again=clock.grid(Policy.stop_again),
        retry_after=clock.grid(Policy.retry_after),
    )
    book = Book(store, policy=policy)
    budgets = Budgets(store)
    sources = Sources(settings)
    grid = Grid(sources.cascade(store.regions()), store, every=settings.forecast_every, marginal=sources.marginal)
    accounting = Accounting(store=store, grid=grid, budgets=budgets, to_grid=clock.grid)
    leadership = Leadership(engine)
    clusters = Clusters(store, make_executor or ray_executor)
    planning = Planning(store=store, grid=grid, budgets=budgets, clock=clock, rules=rules)
    control = Control(
        store=store,
        book=book,
        grid=grid,
        budgets=budgets,
        accounting=accounting,
        clock=clock,
        planning=planning,
        executors=clusters,
        package_path=lambda name: settings.state_dir / "packages" / name,
        may_act=leadership.held,
        on_step=on_step,
    )
    reporting = Reporting(store=store, grid=grid, clock=clock)
    monthly = monthly_of(settings, reporting=reporting, clock=clock, may_act=leadership.held)

    async def count() -> None:
        if await asyncio.to_thread(leadership.held):
            await count_saved(store, reporting, now=clock.now())

    async def keep() -> None:
        if await asyncio.to_thread(leadership.held):
            await keep_courses(store, now=clock.now())

    async def write_months() -> None:
        if monthly is not None:
            await monthly.write_due()

    async def at_end() -> None:
        await clusters.close()
        await grid.judged()
        await sources.close()

    ticker = Ticker(control, every=settings.tick, hourly=(keep, count, write_months), at_end=at_end)

    def wake() -> None:
        control.want_plan()
        ticker.wake()

    jobs = Jobs(
        store=store,
        book=book,
        clock=clock,
        planning=planning,
        admission=Admission(store=store, planning=planning),
        require_ready=control.require_ready,
        default_power_w=settings.power_per_gpu_w,
        wake=wake,
    )
    allowances = Allowances(store=store, planning=planning, clock=clock, wake=wake)
    return Server(
        settings,
        clock,
        store,
        sources,
        grid,
        allowances,
        planning,
        jobs,
        reporting,
        Advising(store=store, grid=grid, clock=clock),
        tokens,
        control,
        ticker,
        clusters,
        leadership,
    )


def monthly_of(
    settings: Settings, *, reporting: Reporting, clock: GridClock, may_act: Callable[[], bool]
) -> Monthly | None:
    """The writer of monthly reports; None where no folder is set for them."""
    if settings.reports_dir is None:
        return None
    return Monthly(
        reporting=reporting, clock=clock, folder=settings.reports_dir, zone=settings.reports_timezone, may_act=may_act
    )


def _about_grid(region: Region) -> object:
    """What of a region decides whom to ask about its grid."""
    return region.zone, region.providers, region.intensity_g_per_kwh


def require_same_cluster(store: Store, region: Region) -> None:
    """Raise Conflict where a region is to move to another address while runs of ours are alive at the old one.

    The new cluster would not know them, they would be taken for dead, and their jobs would run twice.
    """
    known = next((known for known in store.regions() if known.name == region.name), None)
    if known is None or known.address == region.address:
        return
    live = [record.state.live_run for record in store.active_jobs()]
    alive = [run for run in live if run is not None and run.region == region.name]
    if alive:
        raise Conflict(
            f"region {region.name}: {len(alive)} run(s) are alive at {known.address}; suspend or cancel them first, or "
            "add the new cluster under another name"
        )


def clock_of(settings: Settings) -> GridClock:
    """The wall clock; a compressed one only where a demonstration asked for it."""
    if settings.clock_speed == 1.0 and settings.clock_start is None:
        return GridClock()
    start: datetime = settings.clock_start or GridClock().now()
    return GridClock.starting(start, speed=settings.clock_speed)


def ray_executor(region: Region) -> Executor:
    """The executor of a region's Ray cluster; its token is read from the environment variable the region names."""
    token = None
    if region.token_env is not None:
        token = os.environ.get(region.token_env)
        if not token:
            log.error("region %s: environment variable %s (its token) is not set", region.name, region.token_env)
    return RayJobsExecutor(region=region.name, address=region.address, token=token)


def read_regions(path: Path) -> list[Region]:
    """Regions from a YAML file: `regions: [{name, zone, address, capacity_gpus, pue, ...}]`. Raises BadInput."""
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise BadInput(f"regions file {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"regions file {path}: not YAML: {str(error).splitlines()[0]}") from None
    rows = data.get("regions") if isinstance(data, dict) else data
    if not isinstance(rows, list):
        raise BadInput(f"regions file {path}: expected a list under 'regions'")
    found = []
    for index, row in enumerate(rows):
        try:
            found.append(Region.model_validate(row))
        except ValidationError as error:
            raise BadInput(f"regions file {path}: region {index + 1}: {first_problem(error, model=Region)}") from None
    return found
