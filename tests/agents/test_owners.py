from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kilowait_agents.attribute import RunIdentity
from kilowait_agents.owners import Owners, parse_stat

RUN = {"KILOWAIT_RUN_ID": "run-7", "KILOWAIT_JOB_ID": "job-3", "KILOWAIT_REGION": "eu-north", "KILOWAIT_GPUS": "4"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("KILOWAIT_")}
SLEEP = "import sys, time; print('up', flush=True); time.sleep(60)"
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a Python program with an environment, and wait until it says something; ended after the test."""
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *, env: dict[str, str] | None = None, argv0: str | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [argv0 or sys.executable, "-S", "-c", code],
            executable=sys.executable,
            env={**CLEAN, **(env or {})},
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def gone(owners: Owners, pid: int) -> bool:
    """Wait for the kernel to finish with a process that was killed."""
    until = time.monotonic() + 5
    while time.monotonic() < until:
        if not owners.alive(pid):
            return True
        time.sleep(0.005)
    return False


def test_a_process_that_carries_a_run_is_identified_and_found(start: Start) -> None:
    process = start(SLEEP, env=RUN)
    line(process)
    owners = Owners()
    assert owners.identify(process.pid) == RunIdentity("run-7", "job-3")
    (found,) = [one for one in owners.scan() if one.pid == process.pid]
    assert (found.run, found.gpus, found.idle) == (RunIdentity("run-7", "job-3"), 4, False)


def test_a_child_with_a_clean_environment_belongs_to_its_ancestors_run(start: Start) -> None:
    parent = start(
        "import subprocess, sys\n"
        f"child = subprocess.Popen([sys.executable, '-S', '-c', {SLEEP!r}], env={{}}, start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()",
        env=RUN,
    )
    child_pid = int(line(parent))
    try:
        assert Owners().identify(child_pid) == RunIdentity("run-7", "job-3")
        assert child_pid not in [one.pid for one in Owners().scan()]
    finally:
        os.kill(child_pid, signal.SIGKILL)


def test_an_orphan_belongs_to_the_run_of_its_group_leader_and_stays_known_once_seen(start: Start) -> None:
    leader = start(
        # The one in the middle ends at once, so the grandchild loses its parent but not its group.
        "import os, subprocess, sys, time\n"
        "middle = os.fork()\n"
        "if middle == 0:\n"
        f"    child = subprocess.Popen([sys.executable, '-S', '-c', {SLEEP!r}], env={{}}, stdout=subprocess.DEVNULL)\n"
        "    print(child.pid, flush=True)\n"
        "    os._exit(0)\n"
        "os.waitpid(middle, 0)\n"
        "print('orphaned', flush=True)\n"
        "time.sleep(60)",
        env=RUN,
    )
    orphan = int(line(leader))
    assert line(leader) == "orphaned"
    owners = Owners()
    assert owners.identify(orphan) == RunIdentity("run-7", "job-3")
    os.kill(leader.pid, signal.SIGKILL)
    leader.wait()
    assert owners.identify(orphan) == RunIdentity("run-7", "job-3")
    assert Owners().identify(orphan) is None


def test_a_process_that_was_killed_is_gone_also_while_it_is_a_zombie(start: Start) -> None:
    process = start(SLEEP, env=RUN)
    line(process)
    owners = Owners()
    assert owners.identify(process.pid) is not None
    os.kill(process.pid, signal.SIGKILL)
    assert gone(owners, process.pid)
    assert Path(f"/proc/{process.pid}").exists(), "not reaped yet, so it is a zombie here"
    assert owners.identify(process.pid) is None
    assert process.pid not in [one.pid for one in owners.scan()]
    process.wait()
    assert owners.identify(process.pid) is None


def test_a_process_without_any_run_is_unknown(start: Start) -> None:
    process = start(SLEEP)
    line(process)
    assert Owners().identify(process.pid) is None
    assert Owners().alive(process.pid)


def test_an_exec_that_brings_a_run_is_noticed_although_pid_and_start_time_stay(start: Start) -> None:
    process = start(
        "import os, signal, sys\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})\n"
        "print('before', flush=True)\n"
        "signal.sigwait({signal.SIGUSR1})\n"
        f"os.execve(sys.executable, [sys.executable, '-S', '-c', {SLEEP!r}], {{'KILOWAIT_RUN_ID': 'run-8'}})",
    )
    line(process)
    owners = Owners()
    assert process.pid not in [one.pid for one in owners.scan()]
    os.kill(process.pid, signal.SIGUSR1)
    assert line(process) == "up"
    assert [one.run for one in owners.scan() if one.pid == process.pid] == [RunIdentity("run-8", None)]


def test_an_agent_of_a_region_sees_only_runs_of_that_region(start: Start) -> None:
    process = start(SLEEP, env=RUN)
    line(process)
    for region, sees in (("eu-north", True), ("us-west", False), (None, True)):
        owners = Owners(region=region)
        assert (owners.identify(process.pid) is not None) is sees
        assert (process.pid in [one.pid for one in owners.scan()]) is sees


def test_a_ray_worker_that_is_kept_idle_is_marked(start: Start) -> None:
    process = start(SLEEP, env=RUN, argv0="ray::IDLE")
    line(process)
    (found,) = [one for one in Owners().scan() if one.pid == process.pid]
    assert found.idle


@pytest.mark.parametrize(
    ("changes", "run", "gpus"),
    [
        ({"KILOWAIT_RUN_ID": "has blank"}, None, None),
        ({"KILOWAIT_RUN_ID": ""}, None, None),
        ({"KILOWAIT_JOB_ID": "x" * 200}, None, None),
        ({"KILOWAIT_JOB_ID": ""}, RunIdentity("run-7", None), 4),
        ({"KILOWAIT_GPUS": "many"}, RunIdentity("run-7", "job-3"), None),
        ({"KILOWAIT_GPUS": "-1"}, RunIdentity("run-7", "job-3"), None),
    ],
)
def test_names_that_could_not_travel_are_no_names_and_a_missing_number_is_not_zero(
    tmp_path: Path, changes: dict[str, str], run: RunIdentity | None, gpus: int | None
) -> None:
    procfs(tmp_path, 50, env={**RUN, **changes})
    found = Owners(proc=tmp_path).scan()
    assert [(one.run, one.gpus) for one in found] == ([] if run is None else [(run, gpus)])


def procfs(
    root: Path, pid: int, *, env: dict[str, str] | None = None, ppid: int = 1, pgid: int = 0, start: int = 100,
    comm: str = "python", state: str = "S", stack: int = 7,
) -> None:  # fmt: skip
    """An entry as proc(5) describes it, for cases that the kernel does not let us make on purpose."""
    here = root / str(pid)
    here.mkdir(exist_ok=True)
    tail = ["0"] * 50
    tail[0], tail[1], tail[2], tail[19], tail[25] = state, str(ppid), str(pgid or pid), str(start), str(stack)
    (here / "stat").write_text(f"{pid} ({comm}) {' '.join(tail)}\n")
    (here / "environ").write_bytes(b"".join(f"{name}={value}\0".encode() for name, value in (env or {}).items()))
    (here / "cmdline").write_bytes(comm.encode())


def test_a_command_with_blanks_and_brackets_in_its_name_is_parsed(tmp_path: Path) -> None:
    procfs(tmp_path, 50, env=RUN, comm="a) Z 1 (b) c", ppid=9, pgid=40, start=123)
    stat = parse_stat((tmp_path / "50" / "stat").read_bytes())
    assert (stat.pid, stat.state, stat.ppid, stat.pgid, stat.start_ticks) == (50, "S", 9, 40, 123)


def test_a_reused_pid_is_another_process(tmp_path: Path) -> None:
    procfs(tmp_path, 50, env=RUN, start=100)
    owners = Owners(proc=tmp_path)
    assert owners.identify(50) == RunIdentity("run-7", "job-3")
    procfs(tmp_path, 50, env={}, start=900, stack=8)
    assert owners.identify(50) is None
    assert owners.scan() == []


def test_a_pid_that_started_after_its_supposed_child_is_not_its_parent(tmp_path: Path) -> None:
    procfs(tmp_path, 40, env=RUN, start=500)
    procfs(tmp_path, 50, ppid=40, pgid=40, start=100)
    assert Owners(proc=tmp_path).identify(50) is None


def test_a_process_of_another_region_is_not_taken_for_its_ancestors_run(tmp_path: Path) -> None:
    procfs(tmp_path, 40, env=RUN, start=10)
    procfs(tmp_path, 50, env={**RUN, "KILOWAIT_REGION": "us-west", "KILOWAIT_RUN_ID": "run-9"}, ppid=40)
    assert Owners(region="eu-north", proc=tmp_path).identify(50) is None
    assert Owners(proc=tmp_path).identify(50) == RunIdentity("run-9", "job-3")


def test_an_environment_that_cannot_be_read_is_unknown_not_wrong(tmp_path: Path) -> None:
    procfs(tmp_path, 50, env=RUN)
    (tmp_path / "50" / "environ").unlink()
    assert Owners(proc=tmp_path).identify(50) is None


def test_an_environment_is_read_once_per_process(tmp_path: Path) -> None:
    procfs(tmp_path, 50, env=RUN)
    owners = Owners(proc=tmp_path)
    first = owners.scan()
    (tmp_path / "50" / "environ").unlink()
    assert owners.scan() == first
    assert owners.scan() != []
