"""Fixtures of the forecasters' tests: a fixed time, a client, the fake services, recordings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from hypothesis import settings

from forecasters.fake_grid import FakeGrid, truth
from kilowait_forecasters.providers.http import Patience

# A loaded machine is no failure of ours.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

NOW = datetime(2026, 9, 14, 9, 14, 25, tzinfo=UTC)


@pytest.fixture
def now() -> datetime:
    return NOW


@pytest.fixture
def patience() -> Patience:
    """Three attempts at once, and short of time only where a test holds an answer back."""
    return Patience(connect_s=3, read_s=3, total_s=5, attempts=3, first_wait_s=0)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    # Loopback speaks plain HTTP; reading the certificate store for each test would take most of the lane's time.
    async with httpx.AsyncClient(trust_env=False, verify=False) as opened:
        yield opened


@pytest.fixture
def grid(now: datetime) -> Iterator[FakeGrid]:
    with FakeGrid(now) as started:
        yield started


@pytest.fixture
def record(tmp_path: Path) -> Callable[..., Path]:
    """Writes a recording of `hours` hours of the truth from `start` on, without the rows in `without`."""

    def write(
        name: str,
        *,
        start: datetime,
        hours: int,
        without: frozenset[datetime] = frozenset(),
        column: str = "carbon_intensity_lifecycle",
    ) -> Path:
        rows = [start + timedelta(hours=n) for n in range(hours)]
        lines = [f"{row:%Y-%m-%dT%H:%M:%SZ},{truth(row)}" for row in rows if row not in without]
        path = tmp_path / name
        path.write_text("\n".join([f"datetime,{column}", *lines]) + "\n")
        return path

    return write
