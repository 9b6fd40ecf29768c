"""A server with something to show, and a browser to look at it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from playwright.sync_api import Browser, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from kilowait_scheduler.api.app import create_app
from kilowait_scheduler.core.budget import Budget, BudgetScope, Enforcement
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.service.tokens import Role
from world import World, make_world

HOSTILE = '<script>alert("x")</script>&\'"'
CHECKPOINT = {"path": "/c", "restart": "10m", "period": "10m"}


@dataclass
class Site:
    """A world some hours into its day, the server that shows it on a real port, and a token of each role."""

    world: World
    address: str
    secrets: dict[Role, str]
    done: JobRecord
    running: JobRecord
    waiting: JobRecord
    held: JobRecord
    hostile: JobRecord
    clients: list[httpx.Client] = field(default_factory=list)

    def visitor(self, *, secret: str | None = None, https: bool = False) -> httpx.Client:
        """Somebody with a cookie jar of their own; with `https`, through a proxy that speaks it."""
        headers = {"X-Forwarded-Proto": "https"} if https else {}
        client = httpx.Client(base_url=self.address, headers=headers, trust_env=False, timeout=30)
        if secret is not None:
            client.cookies.set("kilowait_token", secret)
        self.clients.append(client)
        return client

    def signed_in(self, role: Role = Role.USER) -> httpx.Client:
        """A visitor whose cookie holds a token of that role."""
        return self.visitor(secret=self.secrets[role])


def _world(folder: Path) -> World:
    dirty_day = [400.0] * 6 + [150.0] * 4 + [500.0] * 14
    world = make_world(folder, {"DE": dirty_day, "SE": [30.0] * 24}, gpus={"de": 16, "se": 8})
    us = Region(name="us-east", zone="US-MIDA-PJM", address="http://127.0.0.1:1", capacity_gpus=8, pue=1.2)
    world.server.store.put_region(us)
    world.server.grid.use(world.server.sources.cascade(world.server.store.regions()))
    soft = Budget(id="all", scope=BudgetScope.ORGANISATION, name="all", limit_g=60_000, enforcement=Enforcement.SOFT)
    world.server.store.put_budget(soft)
    world.server.store.put_budget(Budget(id="bio", scope=BudgetScope.TEAM, name="bio", limit_g=10))
    return world


@dataclass(frozen=True)
class _Jobs:
    done: JobRecord
    hostile: JobRecord
    running: JobRecord
    held: JobRecord
    waiting: JobRecord


def _live(world: World) -> _Jobs:
    """Three hours of the world's life."""
    every = timedelta(minutes=15)
    here = {"regions": {"home": "de", "any_of": ["de"]}}
    done = world.submit(name="urgent-eval", resources={"gpus": 4}, duration="1h", within="80m", **here)
    hostile = world.submit(
        name=HOSTILE, resources={"gpus": 1}, duration="2h", within="30h", project=HOSTILE, team=HOSTILE, **here
    )
    world.run(timedelta(hours=2), every=every)
    anywhere = {"home": "de", "any_of": ["de", "se"]}
    running = world.submit(
        name="mover", resources={"gpus": 8}, duration="6h", within="40h", regions=anywhere, checkpoint=CHECKPOINT
    )
    held = world.submit(name="fold", resources={"gpus": 4}, duration="3h", within="30h", team="bio", **here)
    waiting = world.submit(name="nightly", resources={"gpus": 4}, duration="3h", within="30h", **here)
    world.run(timedelta(hours=1), every=every)
    return _Jobs(done, hostile, running, held, waiting)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests of the pages: they only look."""
    world = _world(tmp_path_factory.mktemp("site"))
    with ThreadPoolExecutor(1) as thread:  # a browser that is open already has a loop on this one
        jobs = thread.submit(_live, world).result()
    tokens = world.server.tokens
    secrets = {role: tokens.make(name=role, role=role, at=world.now)[1] for role in Role}
    with _served(create_app(world.server)) as address:
        site = Site(world, address, secrets, jobs.done, jobs.running, jobs.waiting, jobs.held, jobs.hostile)
        yield site
        for client in site.clients:
            client.close()
    world.close()


@contextmanager
def _served(app: FastAPI) -> Iterator[str]:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=5))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started, "the server did not come up"
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(timeout=30)
    listener.close()


@pytest.fixture(scope="module")
def browser(lane_missing: Callable[[str], NoReturn]) -> Iterator[Browser]:
    """Chromium: KILOWAIT_CHROMIUM, or what is on the PATH. While it is open, no other loop can run on this thread."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    path = os.environ.get("KILOWAIT_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if path is None or not Path(path).exists():
        lane_missing(f"no Chromium: set KILOWAIT_CHROMIUM or put one of {', '.join(names)} on the PATH")
    quiet = "no-sandbox disable-gpu disable-quic no-first-run disable-sync disable-component-update"
    quiet += " disable-background-networking"
    with sync_playwright() as playwright:
        try:
            opened = playwright.chromium.launch(executable_path=path, args=[f"--{flag}" for flag in quiet.split()])
        except PlaywrightError as error:
            lane_missing(f"{path} does not start: {error.message.splitlines()[0]}")
        yield opened
        opened.close()
