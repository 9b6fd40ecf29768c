"""What only real Ray can show: silence after a submission, tokens, long logs, and heads that leave nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from kilowait_scheduler.dispatch import head_keeper
from kilowait_scheduler.dispatch.executor import (
    Accepted,
    AlreadyThere,
    Ambiguous,
    NotSent,
    RunStatus,
    SubmitRequest,
    Unauthorized,
)
from kilowait_scheduler.dispatch.local_heads import LocalHead
from kilowait_scheduler.dispatch.ray_jobs import RayJobsExecutor

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]


def request_of(entrypoint: str, **changes: object) -> SubmitRequest:
    name = f"kw-{uuid4().hex[:12]}"
    return SubmitRequest(submission_id=name, entrypoint=entrypoint, metadata={"run": name}, **changes)  # type: ignore[arg-type]


async def ended(executor: RayJobsExecutor, submission_id: str) -> RunStatus:
    for _ in range(300):
        run = await executor.get(submission_id)
        if run is not None and run.status.terminal:
            return run.status
        await asyncio.sleep(0.1)
    raise AssertionError(f"{submission_id} does not end")


Make = Callable[..., RayJobsExecutor]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    """Makes executors, for a head or for any address, and closes them at the end."""
    made: list[RayJobsExecutor] = []

    def one(head: LocalHead | None = None, **options: Any) -> RayJobsExecutor:
        given = {} if head is None else {"region": head.region, "address": head.address, "token": head.token}
        made.append(RayJobsExecutor(**{**given, **options}))
        return made[-1]

    yield one
    for executor in made:
        await executor.close()


@contextlib.contextmanager
def paused_agent(head: LocalHead) -> Iterator[None]:
    """The head's job agent, stopped in its tracks: it takes nothing, and forgets nothing that waits at its door."""
    agents = [process for process in head.processes() if process.title.startswith("ray::DashboardA")]
    assert len(agents) == 1
    os.kill(agents[0].pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(agents[0].pid, signal.SIGCONT)


async def test_a_submission_without_an_answer_is_ambiguous_and_may_start_later(
    ray_regions: dict[str, LocalHead], make: Make
) -> None:
    head = ray_regions["B"]
    executor = make(head, submit_wait_s=2.0)
    request, settled = request_of("exec sleep 1"), request_of("exec sleep 1")
    with paused_agent(head):
        outcome = await executor.submit(request)
        assert isinstance(outcome, Ambiguous)
        assert await executor.get(request.submission_id) is None
        assert isinstance(await executor.submit(settled), Ambiguous)
    # The first starts though its client has long gone, and sending it again finds it, and starts no second one.
    assert await ended(executor, request.submission_id) is RunStatus.SUCCEEDED
    again = await executor.submit(request)
    assert isinstance(again, AlreadyThere) and again.mine
    # The other is settled at once: whoever came first has the id.
    assert await executor.tombstone(settled.submission_id) == "original_won"
    assert await ended(executor, settled.submission_id) is RunStatus.SUCCEEDED


async def test_a_head_with_a_token_takes_no_other(ray_regions: dict[str, LocalHead], make: Make) -> None:
    for token, hint in ((None, "wants a token"), ("another", "does not accept")):
        executor = make(ray_regions["A"], token=token)
        for call in (executor.probe(), executor.observe(), executor.submit(request_of("true"))):
            with pytest.raises(Unauthorized, match=hint):
                await call


async def test_only_the_end_of_a_long_log_is_read_and_gpus_in_use_are_seen(
    ray_regions: dict[str, LocalHead], make: Make
) -> None:
    executor = make(ray_regions["B"])
    request = request_of("seq 1 20000; exec sleep 600", entrypoint_gpus=3, grace_s=1)
    await executor.submit(request)
    used: int | None = None
    lines: list[str] = []
    for _ in range(300):  # Ray counts its GPUs every five seconds or so
        used = (await executor.probe()).gpus_used
        lines = (await executor.logs(request.submission_id)).splitlines()
        if used == 3 and "20000" in lines:
            break
        await asyncio.sleep(0.2)
    assert used == 3
    assert len(lines) == 10_000 and "10500" in lines
    assert "20000" in lines[-2:], "Ray's own first line may be written after the program's"
    await executor.stop(request.submission_id)
    assert await ended(executor, request.submission_id) is RunStatus.STOPPED


OWNER = """
    import asyncio, pathlib, random, sys
    from kilowait_scheduler.dispatch.executor import SubmitRequest
    from kilowait_scheduler.dispatch.local_heads import LocalHead

    async def own():
        head = await LocalHead.start(region="C", run_dir=pathlib.Path(sys.argv[1]), token="t", rng=random.Random())
        request = SubmitRequest(submission_id="kw-c", entrypoint="exec sleep 1000", metadata={"a": "b"})
        print(await head.executor().submit(request))
        while not any(process.title == "sleep" for process in head.processes()):
            await asyncio.sleep(0.1)
        print(head.address, flush=True)
        await asyncio.sleep(600)

    asyncio.run(own())
"""


async def test_a_head_ends_with_a_killed_owner_and_leaves_no_process_port_or_file(
    ray_regions: dict[str, LocalHead], make: Make, tmp_path: Path
) -> None:
    """Its neighbours do not notice."""
    owner = await asyncio.create_subprocess_exec(
        sys.executable, "-c", textwrap.dedent(OWNER), str(tmp_path), stdout=subprocess.PIPE
    )
    try:
        assert owner.stdout is not None
        assert (await owner.stdout.readline()).startswith(b"Accepted")
        address = (await owner.stdout.readline()).decode().strip()
        record = json.loads((tmp_path / head_keeper.RECORD).read_text())
        whole = head_keeper.descendants([record["keeper"]["pid"]], head_keeper.processes())
    finally:
        owner.kill()
        await owner.wait()
    assert len(whole) > 15 and {"raylet", "gcs_server", "sleep"} <= {process.title for process in whole}
    port = int(address.rsplit(":")[-1])

    for _ in range(400):
        left = [process for process in whole if head_keeper.started(process.pid) == process.started]
        if not left and not (tmp_path / head_keeper.RECORD).exists():
            break
        await asyncio.sleep(0.05)
    assert left == []
    assert not Path(record["temp_dir"]).exists()
    assert [path.name for path in tmp_path.iterdir()] == [head_keeper.LOG]
    for near in range(port - 1, port + 10):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections that are over do not count
            probe.bind(("127.0.0.1", near))
    executor = make(region="C", address=address, token="t")
    assert isinstance(await executor.submit(request_of("true")), NotSent)

    for head in ray_regions.values():
        neighbour = make(head)
        request = request_of("true")
        assert isinstance(await neighbour.submit(request), Accepted)
        assert await ended(neighbour, request.submission_id) is RunStatus.SUCCEEDED
