"""Which run a process belongs to, from /proc.

The scheduler puts KILOWAIT_RUN_ID, KILOWAIT_JOB_ID, KILOWAIT_REGION and KILOWAIT_GPUS into the environment of a run;
Ray hands them to its driver and its workers, and children inherit them. User code may start processes with a clean
environment, so ancestors and the process group's leader are asked as well, and at last, where there is one, somebody
who knows more than the node (Ray). A pid alone names nobody: together with the
start time it does.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .attribute import RunIdentity
from .wire import valid_id

_PREFIX = b"KILOWAIT_"
_IDLE_WORKER = b"ray::IDLE"  # the title of a Ray worker that is kept for its environment and does nothing
_DEEPEST = 64  # ancestors asked at most; real trees are a dozen deep
_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class ProcessStat:
    """What /proc/PID/stat says: parent, group, start time (clock ticks since boot) and where its stack starts.

    The start time tells a reused pid. The stack start tells an exec, which replaces the environment but keeps pid and
    start time; it reads 0 for processes we may not look into.
    """

    pid: int
    state: str
    ppid: int
    pgid: int
    start_ticks: int
    stack_start: int

    @property
    def started_ns(self) -> int:
        """The start in ns since boot, to a hundredth of a second."""
        return self.start_ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")

    @property
    def alive(self) -> bool:
        """It still runs: neither a zombie nor dead."""
        return self.state not in ("Z", "X", "x")


@dataclass(frozen=True, slots=True)
class RunProcess:
    """A live process that carries a run's identity; `gpus` is what the run holds, None if it does not say.

    `idle` marks a Ray worker that waits for work in the run's environment: it lives, but it does not work.
    """

    pid: int
    start_ticks: int
    run: RunIdentity
    gpus: int | None
    idle: bool


@dataclass(frozen=True, slots=True)
class _Tag:
    run: RunIdentity
    region: str | None
    gpus: int | None


class Owners:
    """The processes of this machine and the runs they belong to.

    With `region`, only runs of that region exist; everything else is as if it carried no run. Cheap to ask every
    second: an environment is read once per process and exec.
    """

    def __init__(
        self,
        *,
        region: str | None = None,
        proc: Path = Path("/proc"),
        elsewhere: Callable[[int, int], RunIdentity | None] = lambda pid, started_ns: None,
    ) -> None:
        self._region = region
        self._elsewhere = elsewhere
        self._proc = str(proc)
        self._tags: dict[int, tuple[tuple[int, int], _Tag | None]] = {}
        self._found: dict[int, tuple[int, RunIdentity]] = {}

    def alive(self, pid: int) -> bool:
        """Whether a process with this pid runs now; zombies do not."""
        stat = self._stat(pid)
        return stat is not None and stat.alive

    def started_ns(self, pid: int) -> int | None:
        """When the process was started, in ns since boot (to a hundredth of a second); None if it is gone."""
        stat = self._stat(pid)
        return None if stat is None else stat.started_ns

    def identify(self, pid: int) -> RunIdentity | None:
        """The run that `pid` works for: its own, else its nearest ancestor's, else its group leader's, else what
        `elsewhere` knows of any of these.

        None where no run is named, where we may not look, and for processes that are dead. Once found, the answer
        holds for the life of the process, also when the parent that knew it has gone.
        """
        stat = self._stat(pid)
        if stat is None or not stat.alive:
            return None
        known = self._found.get(pid)
        if known is not None and known[0] == stat.start_ticks:
            return known[1]
        relatives = list(self._relatives(stat))
        for relative in relatives:
            tag = self._tag(relative)
            if tag is not None:
                if not self._ours(tag):
                    return None
                self._remember(stat, tag.run)
                return tag.run
        for relative in relatives:
            run = self._elsewhere(relative.pid, relative.started_ns)
            if run is not None and self._within_one_container(stat.pid, relative.pid):
                self._remember(stat, run)
                return run
        return None

    def scan(self) -> list[RunProcess]:
        """All live processes whose own environment names a run, by start time and pid."""
        found: list[RunProcess] = []
        seen: set[int] = set()
        with os.scandir(self._proc) as entries:
            pids = [int(entry.name) for entry in entries if entry.name.isdecimal()]
        for pid in pids:
            stat = self._stat(pid)
            if stat is None or not stat.alive:
                continue
            seen.add(stat.pid)
            tag = self._tag(stat)
            if tag is not None and self._ours(tag):
                found.append(
                    RunProcess(
                        pid=stat.pid,
                        start_ticks=stat.start_ticks,
                        run=tag.run,
                        gpus=tag.gpus,
                        idle=self._read(stat.pid, "cmdline").startswith(_IDLE_WORKER),
                    )
                )
        for pid in self._tags.keys() - seen:
            del self._tags[pid]
        return sorted(found, key=lambda process: (process.start_ticks, process.pid))

    def _relatives(self, stat: ProcessStat) -> Iterator[ProcessStat]:
        """The process, its ancestors, then its group leader; none that started after its supposed child."""
        yield stat
        child = stat
        for _ in range(_DEEPEST):
            parent = self._stat(child.ppid) if child.ppid > 1 else None
            if parent is None or parent.start_ticks > child.start_ticks:
                break
            yield parent
            child = parent
        leader = self._stat(stat.pgid) if stat.pgid not in (0, stat.pid) else None
        if leader is not None and leader.start_ticks <= stat.start_ticks:
            yield leader

    def _within_one_container(self, pid: int, relative: int) -> bool:
        """Whether both have as many numbers: what started a container is none of those whom its processes work for."""
        return pid == relative or self._numbers(pid) == self._numbers(relative)

    def _numbers(self, pid: int) -> int:
        """In how many nested pid namespaces the process has a number; 0 if nobody says."""
        lines = self._read(pid, "status").splitlines()
        return next((len(line.split()) - 1 for line in lines if line.startswith(b"NSpid:")), 0)

    def _ours(self, tag: _Tag) -> bool:
        return self._region is None or tag.region == self._region

    def _tag(self, stat: ProcessStat) -> _Tag | None:
        key = (stat.start_ticks, stat.stack_start)
        cached = self._tags.get(stat.pid)
        if cached is not None and cached[0] == key:
            return cached[1]
        environment = self._read(stat.pid, "environ")
        tag = _tag_of(environment)
        after = self._stat(stat.pid)
        # Read across an exec or an exit, the environment is that of neither; ask again next time. A stack start of 0
        # says that there is nothing to read, now or later: a kernel thread, or a process we may not look into.
        if (
            (environment or not stat.stack_start)
            and after is not None
            and (after.start_ticks, after.stack_start) == key
        ):
            if len(self._tags) >= _REMEMBERED * 4:
                self._tags.clear()
            self._tags[stat.pid] = (key, tag)
        return tag

    def _remember(self, stat: ProcessStat, run: RunIdentity) -> None:
        if len(self._found) >= _REMEMBERED:
            self._found = {pid: known for pid, known in self._found.items() if self.alive(pid)}
        self._found[stat.pid] = (stat.start_ticks, run)

    def _stat(self, pid: int) -> ProcessStat | None:
        text = self._read(pid, "stat")
        return parse_stat(text) if text else None

    def _read(self, pid: int, name: str) -> bytes:
        """The content of /proc/PID/`name`; empty if the process is gone or not ours to look into."""
        # Plain system calls: a scan does this for every process of the node each second, and pathlib takes five times
        # as long.
        try:
            file = os.open(f"{self._proc}/{pid}/{name}", os.O_RDONLY)
        except OSError:
            return b""
        try:
            parts = []
            while part := os.read(file, 65536):
                parts.append(part)
            return b"".join(parts)
        except OSError:
            return b""
        finally:
            os.close(file)


def parse_stat(text: bytes) -> ProcessStat:
    """/proc/PID/stat as proc(5) describes it; the command's name may hold blanks and brackets, so it is skipped."""
    head, _, tail = text.rpartition(b")")
    rest = tail.split()  # rest[0] is field 3, the state
    return ProcessStat(
        pid=int(head.split(b" ", 1)[0]),
        state=rest[0].decode(),
        ppid=int(rest[1]),
        pgid=int(rest[2]),
        start_ticks=int(rest[19]),
        stack_start=int(rest[25]),
    )


def _tag_of(environment: bytes) -> _Tag | None:
    """The run named in an environment block, or None. Names that could not travel are no names: users can set them."""
    values: dict[str, str] = {}
    for item in environment.split(b"\0"):
        if item.startswith(_PREFIX):
            name, _, value = item.decode(errors="replace").partition("=")
            values.setdefault(name, value)
    run_id, job_id = values.get("KILOWAIT_RUN_ID", ""), values.get("KILOWAIT_JOB_ID", "")
    if not valid_id(run_id) or (job_id and not valid_id(job_id)):
        return None
    gpus = values.get("KILOWAIT_GPUS", "")
    return _Tag(
        run=RunIdentity(run_id=run_id, job_id=job_id or None),
        region=values.get("KILOWAIT_REGION"),
        gpus=int(gpus) if gpus.isascii() and gpus.isdecimal() and len(gpus) < 6 else None,
    )
