"""Submissions that race through the real API against a hard budget: never over, at no moment; cancelling gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kilowait_scheduler.api.app import create_app
from kilowait_scheduler.core.budget import Budget, BudgetScope
from kilowait_scheduler.core.ledger import to_ug
from kilowait_scheduler.core.state import Phase
from world import World, make_world

SUBMISSIONS, FIT = 500, 12
HOLD_G = 1 * 0.4 * 0.25 * 300.0  # one GPU at 400 W for a quarter of an hour at 300 g/kWh
ACCOUNT = "nlp-2026-11"


@pytest.fixture
def world(tmp_path: Path, migrated_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Room for everyone, and a budget for some. Plans are the first valid ones."""
    for seconds in ("_ASK_S", "_SEARCH_S"):
        monkeypatch.setattr(f"kilowait_scheduler.service.planning.{seconds}", 0.0)
    made = make_world(tmp_path, {"AA": [300.0] * 24}, gpus={"aa": 2 * SUBMISSIONS}, database=migrated_url)
    limit_g = (FIT + 0.5) * HOLD_G
    made.server.allowances.put(Budget(id="nlp", scope=BudgetScope.TEAM, name="nlp", limit_g=limit_g))
    made._settle_first()
    yield made
    made.close()


def job(number: int) -> dict[str, Any]:
    return {
        "name": f"j{number:03}",
        "entrypoint": "python train.py",
        "resources": {"gpus": 1},
        "duration": "15m",
        "earliest": "2026-11-24T00:00:00Z",
        "within": "40h",
        "team": "nlp",
    }


async def race(world: World) -> dict[str, str]:
    """All submit at once. Who is held gives up, and so does every third of the others; rounds go on meanwhile.

    What the rounds said of each job, by id.
    """
    token = world.server.token_file.read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    transport = httpx.ASGITransport(app=create_app(world.server))
    rounds = asyncio.Condition()
    async with httpx.AsyncClient(
        transport=transport, base_url="http://kilowait", headers=headers, timeout=None
    ) as door:

        async def client(number: int) -> tuple[str, str]:
            answer = await door.post("/api/v1/jobs", json=job(number))
            assert answer.status_code == 201, answer.text
            job_id, said = answer.json()["job"]["id"], "queued"
            while said == "queued":
                async with rounds:
                    await rounds.wait()
                said = (await door.get(f"/api/v1/jobs/{job_id}")).json()["state"]
            if said == "held" or number % 3 == 0:
                cancelled = await door.post(f"/api/v1/jobs/{job_id}/cancel")
                assert cancelled.status_code == 200, cancelled.text
            return job_id, said

        going = [asyncio.create_task(client(number)) for number in range(SUBMISSIONS)]
        while not all(task.done() for task in going):
            world.wall[0] += 1_000_000  # a second goes by
            await world._round()
            async with rounds:
                rounds.notify_all()
            await asyncio.sleep(0)
        return dict(task.result() for task in going)


def lowest_ug(world: World) -> int:
    """The least that was ever left in the budget, entry by entry."""
    account = f"budget:{ACCOUNT}"
    left = lowest = 0
    for entry in world.server.store.entries(account=account):
        left += entry.amount_ug if entry.credit == account else -entry.amount_ug
        lowest = min(lowest, left)
    return lowest


@pytest.mark.timeout(900)
def test_submissions_at_once_never_overdraw_a_hard_budget(world: World) -> None:
    said = asyncio.run(race(world))
    assert len(said) == SUBMISSIONS
    assert set(said.values()) == {"waiting", "held"}
    store = world.server.store
    assert lowest_ug(world) >= 0
    admitted = [job_id for job_id in said if world.job(job_id).state.phase is Phase.WAITING]
    assert 0 < len(admitted) <= FIT <= list(said.values()).count("waiting")
    world.server.jobs.cancel(admitted[0])
    world.run(world.server.planning.rules.slot)
    assert store.balance_ug(f"held:{ACCOUNT}") == (len(admitted) - 1) * to_ug(HOLD_G), "cancelling releases"
    assert store.balance_ug(f"budget:{ACCOUNT}") == to_ug((FIT + 0.5) * HOLD_G) - (len(admitted) - 1) * to_ug(HOLD_G)
    assert store.verify().sound
