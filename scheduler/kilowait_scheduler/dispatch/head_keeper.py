"""The process that stands between us and a local Ray head: it starts the head, and nothing of the head outlives it.

A head is some thirty processes. Several leave their process group, their session and their parent, and some rewrite
their title and environment, so neither a group nor a mark finds them all. But a process can ask the kernel to become
the parent of every orphan below it (a "child subreaper"), and no descendant can get out of that. So the keeper's own
descendants are the head, whatever they call themselves.

The keeper ends the head when its standard input closes or its parent is gone, which the kernel sees to even when the
parent is killed, and when it gets SIGTERM. It keeps the record (`head.json`) from which `end_recorded` can finish the
work should the keeper itself be killed. Linux only. Standard library only, so that it starts quickly.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import secrets
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

RECORD: Final = "head.json"
LOG: Final = "ray.log"
MARK: Final = "KILOWAIT_LOCAL_HEAD"

_PR_SET_CHILD_SUBREAPER: Final = 36  # linux/prctl.h
_LOOK_S: Final = 0.5
_KILL_S: Final = 20.0


@dataclass(frozen=True)
class Process:
    """A live process. `started` is in clock ticks since boot: a pid with another one is another process.

    `title` is its short name, at most 15 characters.
    """

    pid: int
    started: int
    parent: int
    title: str


def start_keeper(
    command: Sequence[str], *, env: Mapping[str, str], temp_dir: Path, folder: Path, lock_fd: int
) -> subprocess.Popen[bytes]:
    """A keeper that runs `command`, which shall start a head and exit with 0; close its `stdin` to end it all.

    `temp_dir` is removed at the end; the record and the log are in `folder`; `lock_fd` stays open for as long as the
    head lives. The keeper exits with 0, or with what the command failed with.
    """
    mark = secrets.token_hex(8)
    orders = {
        "command": list(command),
        "env": {**env, MARK: mark},
        "temp_dir": str(temp_dir),
        "folder": str(folder),
        "mark": mark,
        "parent": {"pid": os.getpid(), "started": started(os.getpid())},
        "lock": lock_fd,
    }
    with (folder / LOG).open("ab") as log:
        keeper = subprocess.Popen(
            # -P: whatever lies in the current folder, it shadows no module of the keeper's.
            [sys.executable, "-P", "-m", __name__],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Ctrl-C goes to the whole group of the terminal, and the keeper must be left to do its work.
            start_new_session=True,
            pass_fds=(lock_fd,),
        )
    assert keeper.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it died at once; whoever waits for it will see that
        # By pipe, as the environment may hold a token, which is neither for a file nor for the list of processes.
        keeper.stdin.write(json.dumps(orders).encode() + b"\n")
        keeper.stdin.flush()
    return keeper


def processes() -> dict[int, Process]:
    """All live processes that can be seen, by pid. Zombies are dead."""
    seen = (_process(int(name)) for name in (path.name for path in Path("/proc").iterdir()) if name.isdigit())
    return {process.pid: process for process in seen if process is not None}


def descendants(of: Iterable[int], among: Mapping[int, Process]) -> list[Process]:
    """The processes below `of`, nearest first, without `of` themselves."""
    children: dict[int, list[Process]] = {}
    for process in among.values():
        children.setdefault(process.parent, []).append(process)
    found: list[Process] = []
    ring = list(of)
    while ring:
        below = [child for parent in ring for child in children.pop(parent, [])]
        found += below
        ring = [child.pid for child in below]
    return found


def kill(process: Process) -> None:
    """SIGKILL to exactly this process, never to another that has inherited its pid."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        now = _process(process.pid)
        if now is not None and now.started == process.started:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
    except ProcessLookupError:
        pass
    finally:
        os.close(handle)


def started(pid: int) -> int | None:
    """When the process started; None if there is none alive."""
    process = _process(pid)
    return None if process is None else process.started


def end_recorded(folder: Path) -> bool:
    """Finish what a dead keeper left undone, by its record in `folder`; whether there was anything to do.

    A keeper that is alive is told to end its head, and is waited for. Only processes of the record, below them, or
    with its mark are touched. RuntimeError if some of them cannot be ended.
    """
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return False
    until = time.monotonic() + _KILL_S
    keeper = int(record["keeper"]["pid"])
    if record["boot"] == _boot():
        if started(keeper) == int(record["keeper"]["started"]):
            os.kill(keeper, signal.SIGTERM)
            while started(keeper) == int(record["keeper"]["started"]) and time.monotonic() < until:
                time.sleep(0.05)
        while found := _recorded(record):
            for process in _in_order(found):
                kill(process)
            if time.monotonic() > until:
                raise RuntimeError(f"processes {[p.pid for p in found]} of the head in {folder} do not end")
            time.sleep(0.05)
    shutil.rmtree(record["temp_dir"], ignore_errors=True)
    path.unlink(missing_ok=True)
    return True


def _recorded(record: Mapping[str, Any]) -> list[Process]:
    live = processes()
    known = [live[p["pid"]] for p in record["processes"] if p["pid"] in live and live[p["pid"]].started == p["started"]]
    marked = [process for process in live.values() if _has_mark(process.pid, record["mark"])]
    roots = {process.pid: process for process in (*known, *marked)}
    roots |= {process.pid: process for process in descendants(roots, live)}
    roots.pop(os.getpid(), None)
    return list(roots.values())


def _in_order(found: Iterable[Process]) -> list[Process]:
    """The raylet first: it would start new workers for those that die."""
    return sorted(found, key=lambda process: process.title != "raylet")


def _process(pid: int) -> Process | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold spaces and parentheses; what follows the last one does not.
    name, rest = stat[stat.index("(") + 1 : stat.rindex(")")], stat[stat.rindex(")") + 2 :].split()
    if rest[0] in "ZX":
        return None
    return Process(pid=pid, started=int(rest[19]), parent=int(rest[1]), title=name)


def _has_mark(pid: int, mark: str) -> bool:
    try:
        return f"{MARK}={mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


class _Keeper:
    """One head, from `ray start` to its last process. `orders`: command, env, temp_dir, folder, mark, parent, lock."""

    def __init__(self, orders: Mapping[str, Any]) -> None:
        self._orders = orders
        self._folder = Path(orders["folder"])
        self._known: list[Process] = []
        self._state = "starting"
        self._told_to_end = False

    def run(self) -> int:
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "cannot become a child subreaper")
        # Its port says that this block of ports is taken, until the last process that uses them is gone.
        os.set_inheritable(int(self._orders["lock"]), False)
        self._write()
        try:
            code = self._keep(self._start())
        finally:
            self._end()
        return code

    def _start(self) -> int:
        command, env = self._orders["command"], self._orders["env"]
        os.chdir(self._orders["temp_dir"])
        log = str(self._folder / LOG)
        append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, log, append, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ]
        return os.posix_spawn(command[0], command, env, file_actions=actions, setsigdef=[signal.SIGHUP])

    def _keep(self, starter: int) -> int:
        """Watch until it is time to end: 0, or what `ray start` failed with."""
        parent = (int(self._orders["parent"]["pid"]), int(self._orders["parent"]["started"]))
        while not self._told_to_end:
            for pid, code in self._reap():
                if pid == starter and code != 0:
                    return code if code > 0 else 1
                if pid == starter:
                    self._state = "started"
                    self._write()
            self._look()
            readable, _, _ = select.select([0], [], [], _LOOK_S)
            if readable and not os.read(0, 4096):
                return 0
            # A fork of the parent may hold its end of the pipe open, so the pipe alone is not enough.
            if started(parent[0]) != parent[1]:
                return 0
        return 0

    def _look(self) -> None:
        now = sorted(descendants([os.getpid()], processes()), key=lambda process: process.pid)
        if now != self._known:
            self._known = now
            self._write()

    def _end(self) -> None:
        until = time.monotonic() + _KILL_S
        self._look()
        while found := descendants([os.getpid()], processes()):
            for process in _in_order(found):
                kill(process)
            self._reap()
            if time.monotonic() > until:
                raise RuntimeError(f"processes {[process.pid for process in found]} do not end")
            time.sleep(0.01)
        # The dead are adopted one generation after the other; left to others, they would stay about as zombies.
        with contextlib.suppress(ChildProcessError):
            while time.monotonic() < until:
                os.waitpid(-1, 0)
        shutil.rmtree(self._orders["temp_dir"], ignore_errors=True)
        (self._folder / RECORD).unlink(missing_ok=True)

    def _reap(self) -> list[tuple[int, int]]:
        """(pid, exit code) of all children, adopted ones too, that have ended; negative for a signal."""
        ended: list[tuple[int, int]] = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return ended
            if pid == 0:
                return ended
            ended.append((pid, os.waitstatus_to_exitcode(status)))

    def _write(self) -> None:
        record = {
            "state": self._state,
            "mark": self._orders["mark"],
            "boot": _boot(),
            "temp_dir": self._orders["temp_dir"],
            "keeper": {"pid": os.getpid(), "started": started(os.getpid())},
            "processes": [{"pid": p.pid, "started": p.started, "title": p.title} for p in self._known],
        }
        path = self._folder / RECORD
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps(record))
        fresh.replace(path)

    def _on_term(self, _signal: int, _frame: FrameType | None) -> None:
        self._told_to_end = True


def _orders() -> Mapping[str, Any]:
    """The first line of standard input, read without touching what follows it."""
    line = b""
    while not line.endswith(b"\n"):
        piece = os.read(0, 1)
        if not piece:
            raise SystemExit("head_keeper: the orders end before their first line does")
        line += piece
    orders: Mapping[str, Any] = json.loads(line)
    return orders


if __name__ == "__main__":
    sys.exit(_Keeper(_orders()).run())
