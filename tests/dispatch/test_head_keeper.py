"""Nothing of a head outlives the program that started it, however that program ends.

The head here is a stand-in that does what makes Ray's processes hard to find: they leave their parent, their group and
their session, drop their environment, ignore SIGTERM, or are stopped. `test_real_heads` does the same with Ray.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kilowait_scheduler.dispatch import head_keeper, local_heads

HEAD = """
    import os, signal, subprocess, sys, time
    note = open(sys.argv[1], "a")

    def daemon(work):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                print(os.getpid(), file=note, flush=True)
                work()
            os._exit(0)

    def deaf():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(600)

    def breeding():
        while True:
            subprocess.run(["sleep", "0.05"])

    daemon(lambda: time.sleep(600))
    daemon(deaf)
    daemon(breeding)
    daemon(lambda: os.kill(os.getpid(), signal.SIGSTOP))
    daemon(lambda: os.execve("/usr/bin/env", ["env", "-i", "sleep", "600"], {}))
    time.sleep(0.1)
    sys.exit(int(sys.argv[2]))
"""

OWNER = """
    import os, pathlib, signal, socket, sys, time
    from kilowait_scheduler.dispatch.head_keeper import start_keeper
    folder = pathlib.Path(sys.argv[1])
    lock = socket.socket()
    keeper = start_keeper(
        [sys.executable, str(folder / "head.py"), str(folder / "pids"), sys.argv[2]],
        env={"PATH": os.environ["PATH"]}, temp_dir=folder / "temp", folder=folder, lock_fd=lock.fileno(),
    )
    if sys.argv[3] == "forks":
        fork = os.fork()
        if fork == 0:           # holds the pipe open after its parent has gone
            time.sleep(60)
            os._exit(0)
        (folder / "fork").write_text(str(fork))
    (folder / "keeper").write_text(str(keeper.pid))
    keeper.wait()
    sys.exit(keeper.returncode)
"""


class Scene:
    """An owner, its keeper and the stand-in for a head."""

    def __init__(self, folder: Path, *, fails_with: int = 0, manner: str = "plain") -> None:
        self.folder = folder
        (folder / "temp").mkdir()
        (folder / "head.py").write_text(textwrap.dedent(HEAD))
        (folder / "pids").touch()
        owner = [sys.executable, "-c", textwrap.dedent(OWNER), str(folder), str(fails_with), manner]
        self.owner = subprocess.Popen(owner, start_new_session=True)
        self.seen: dict[int, int] = {}

    @property
    def keeper(self) -> int:
        return int((self.folder / "keeper").read_text())

    def wait_for_head(self) -> None:
        eventually(lambda: len((self.folder / "pids").read_text().split()) == 5)
        eventually(lambda: self.record().get("state") == "started")
        for pid in map(int, (self.folder / "pids").read_text().split()):
            since = head_keeper.started(pid)
            assert since is not None
            self.seen[pid] = since

    def wait_for_record(self) -> None:
        """Until the keeper has looked once more, so that a later clean-up knows all the processes."""
        eventually(lambda: set(self.seen) <= {p["pid"] for p in self.record().get("processes", [])})  # type: ignore[attr-defined]

    def record(self) -> dict[str, object]:
        with contextlib.suppress(OSError, ValueError):
            return dict(json.loads((self.folder / head_keeper.RECORD).read_text()))
        return {}

    def alive(self) -> list[int]:
        return [pid for pid, since in self.seen.items() if head_keeper.started(pid) == since]

    def assert_gone(self) -> None:
        eventually(lambda: not (self.folder / head_keeper.RECORD).exists())
        assert self.alive() == []
        assert not (self.folder / "temp").exists()
        eventually(lambda: head_keeper.started(self.keeper) is None)


def eventually(condition: Callable[[], bool], *, within_s: float = 15.0) -> None:
    until = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < until, "it does not come true"
        time.sleep(0.02)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    scenes: list[Scene] = []

    def make(**how: object) -> Scene:
        scenes.append(Scene(tmp_path, **how))  # type: ignore[arg-type]
        return scenes[-1]

    yield make
    for made in scenes:
        made.owner.kill()
        made.owner.wait()
        local_heads.cleanup(tmp_path)


def test_a_head_ends_when_its_owner_is_killed(scene: Callable[..., Scene]) -> None:
    there = scene()
    there.wait_for_head()
    there.owner.kill()
    there.owner.wait()
    there.assert_gone()


def test_a_head_ends_when_its_owner_is_interrupted_at_the_terminal(scene: Callable[..., Scene]) -> None:
    there = scene()
    there.wait_for_head()
    os.killpg(there.owner.pid, signal.SIGINT)
    there.owner.wait()
    there.assert_gone()


def test_a_head_ends_though_a_fork_of_its_owner_lives_on(scene: Callable[..., Scene]) -> None:
    there = scene(manner="forks")
    there.wait_for_head()
    there.owner.kill()
    there.owner.wait()
    there.assert_gone()
    os.kill(int((there.folder / "fork").read_text()), signal.SIGKILL)  # it was there all along


def test_a_head_ends_when_its_keeper_is_told_to(scene: Callable[..., Scene]) -> None:
    there = scene()
    there.wait_for_head()
    os.kill(there.keeper, signal.SIGTERM)
    assert there.owner.wait(timeout=15) == 0
    there.assert_gone()


def test_what_a_killed_keeper_leaves_is_cleaned_up_later(scene: Callable[..., Scene]) -> None:
    there = scene()
    there.wait_for_head()
    there.wait_for_record()
    os.kill(there.keeper, signal.SIGKILL)
    there.owner.wait()
    assert len(there.alive()) == 5
    assert local_heads.cleanup(there.folder) == 1
    there.assert_gone()
    assert local_heads.cleanup(there.folder) == 0


def test_a_clean_up_touches_no_process_that_has_inherited_a_pid(scene: Callable[..., Scene]) -> None:
    there = scene()
    there.wait_for_head()
    there.wait_for_record()
    with subprocess.Popen(["sleep", "600"]) as bystander:
        record = there.record()
        since = head_keeper.started(bystander.pid)
        assert since is not None and isinstance(record["processes"], list)
        os.kill(there.keeper, signal.SIGKILL)
        there.owner.wait()
        record["processes"].append({"pid": bystander.pid, "started": since - 1, "title": "raylet"})
        (there.folder / head_keeper.RECORD).write_text(json.dumps(record))
        local_heads.cleanup(there.folder)
        assert bystander.poll() is None
        bystander.kill()
    there.assert_gone()


def test_a_record_from_before_a_reboot_only_costs_its_folder(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    me = {"pid": os.getpid(), "started": head_keeper.started(os.getpid())}
    record = {
        "mark": "m",
        "boot": "another",
        "temp_dir": str(left),
        "keeper": me,
        "processes": [me],
        "state": "started",
    }
    (tmp_path / head_keeper.RECORD).write_text(json.dumps(record))
    assert local_heads.cleanup(tmp_path) == 1
    assert not left.exists() and list(tmp_path.iterdir()) == []


def test_a_head_that_fails_to_start_leaves_nothing_and_says_so(scene: Callable[..., Scene]) -> None:
    there = scene(fails_with=7)
    assert there.owner.wait(timeout=15) == 7
    there.assert_gone()
    pids = (there.folder / "pids").read_text().split()
    assert pids and all(head_keeper.started(int(pid)) is None for pid in pids)


def test_the_dead_that_nobody_has_buried_are_dead() -> None:
    with subprocess.Popen(["true"]) as child:
        eventually(lambda: head_keeper.started(child.pid) is None)
        assert Path(f"/proc/{child.pid}").exists()
        assert child.pid not in head_keeper.processes()
