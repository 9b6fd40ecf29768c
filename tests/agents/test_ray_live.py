"""Whose a process is by the word of a real Ray head, where nothing in its environment or its ancestors' tells."""

from __future__ import annotations

import asyncio
import os
import sys
import textwrap
from pathlib import Path
from uuid import uuid4

import pytest

from kilowait_agents.attribute import RunIdentity
from kilowait_agents.owners import Owners
from kilowait_agents.ray_runs import RayRuns
from kilowait_scheduler.dispatch.executor import Accepted, SubmitRequest
from kilowait_scheduler.dispatch.local_heads import LocalHead

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

# An actor, its child and a task whose environments name no run. Ray starts its workers itself, so their ancestors name
# none either.
PROGRAM = """
    import json, os, pathlib, subprocess, sys, time
    import ray

    ray.init()
    folder = pathlib.Path(sys.argv[1])
    bare = {"env_vars": {"KILOWAIT_RUN_ID": "", "KILOWAIT_JOB_ID": ""}}

    def say(name, pid):
        (folder / "draft").write_text(str(pid))
        (folder / "draft").rename(folder / name)

    @ray.remote(num_cpus=0, runtime_env=bare)
    class Actor:
        def begin(self):
            self.child = subprocess.Popen(["sleep", "600"], env={}, start_new_session=True)
            say("actor", os.getpid())
            say("child", self.child.pid)

    @ray.remote(num_cpus=0, runtime_env=bare)
    def task():
        say("task", os.getpid())
        time.sleep(600)

    actor = Actor.remote()
    ray.get(actor.begin.remote())
    ray.get(task.remote())
"""


async def test_workers_and_their_children_without_a_word_of_a_run_are_the_submissions(
    ray_regions: dict[str, LocalHead], tmp_path: Path
) -> None:
    head = ray_regions["A"]
    executor = head.executor()
    run_id = f"kw-{uuid4().hex[:12]}"
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(PROGRAM))
    request = SubmitRequest(
        submission_id=run_id,
        entrypoint=f"exec {sys.executable} {program} {tmp_path}",
        metadata={"run": run_id},
        env={"KILOWAIT_RUN_ID": run_id, "KILOWAIT_JOB_ID": "job-1"},
        grace_s=1,
    )
    names = ("actor", "child", "task")
    try:
        assert isinstance(await executor.submit(request), Accepted)
        for _ in range(1000):
            if all((tmp_path / name).exists() for name in names):
                break
            await asyncio.sleep(0.2)
        pids = {name: int((tmp_path / name).read_text()) for name in names}
        alone = Owners()
        assert [alone.identify(pid) for pid in pids.values()] == [None, None, None]
        found: dict[str, RunIdentity | None] = {}
        for _ in range(50):  # Ray tells its head of a task a second or two after it began
            owners = Owners(elsewhere=RayRuns(head.address, token=head.token).run_of)
            found = {name: owners.identify(pid) for name, pid in pids.items()}
            if None not in found.values():
                break
            await asyncio.sleep(0.5)
        assert found == dict.fromkeys(names, RunIdentity(run_id))
        assert owners.identify(os.getpid()) is None, "we are none of Ray's"
    finally:
        await executor.stop(run_id)
        await executor.close()
