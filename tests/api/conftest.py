"""A composed server in virtual time behind its REST door."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from kilowait_scheduler.api.app import create_app
from kilowait_scheduler.service.compose import Server
from world import World, make_world

with warnings.catch_warnings():
    # Starlette's client would rather have another HTTP library than the one we use ourselves; it works with both.
    warnings.simplefilter("ignore")
    from starlette.testclient import TestClient

DIRTY_THEN_CLEAN = [400.0] * 8 + [100.0] * 4 + [400.0] * 12
GIVEN: dict[str, Any] = {
    "name": "train",
    "entrypoint": "python train.py",
    "resources": {"gpus": 4},
    "duration": "2h",
    "within": "24h",
}


def job(**changes: Any) -> dict[str, Any]:
    """A job file as JSON."""
    return {**GIVEN, **changes}


def client_of(server: Server) -> TestClient:
    """A client of the server's app; as a context manager it runs the control loop too."""
    return TestClient(create_app(server), raise_server_exceptions=False)


@dataclass
class Door:
    """The API as its users see it; each call says as whom."""

    world: World
    client: TestClient
    admin: str

    def token(self, role: str) -> str:
        made = self.call("POST", "/tokens", json={"name": role, "role": role})
        assert made.status_code == 201
        return str(made.json()["secret"])

    def call(self, method: str, path: str, *, token: str | None = None, **more: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token or self.admin}", **more.pop("headers", {})}
        answer: httpx.Response = self.client.request(method, f"/api/v1{path}", headers=headers, **more)
        return answer

    def get(self, path: str, **more: Any) -> Any:
        answer = self.call("GET", path, **more)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def submit(self, **changes: Any) -> Any:
        answer = self.call("POST", "/jobs", json=job(**changes))
        assert answer.status_code == 201, answer.text
        return answer.json()["job"]


@pytest.fixture
def open_door(tmp_path: Path) -> Iterator[Callable[..., Door]]:
    """Makes a door to a world of one region, "aa"; its first round is over, further ones run when the test says so."""
    worlds: list[World] = []

    def build(**options: Any) -> Door:
        zones = options.pop("zones", {"AA": DIRTY_THEN_CLEAN})
        world = make_world(tmp_path, zones, **options)
        worlds.append(world)
        world._settle_first()
        return Door(world, client_of(world.server), world.server.token_file.read_text().strip())

    yield build
    for world in worlds:
        world.close()


@pytest.fixture
def door(open_door: Callable[..., Door]) -> Door:
    return open_door()
