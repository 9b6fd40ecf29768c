"""Real Ray heads on this machine, each a region of its own: for the demo, for trying things out and for the tests.

A head gets private ports, a private home and temporary folder, and addresses on the loopback network only; `ray stop`,
which ends every Ray on the machine, is never used. It ends with `stop`, with the program that started it, whatever ends
that, or at the latest with `cleanup`.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import random
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from . import head_keeper
from .executor import Permanent, RunStatus, SubmitRequest, Transient, Unauthorized, WrongAddress
from .head_keeper import Process
from .local_ports import NoFreePorts, free_block
from .ray_answers import one_line
from .ray_jobs import RayJobsExecutor

# Which port of a block is whose. Workers get those from 20 to 119.
_PORTS: Final = {
    "--port": 0,
    "--dashboard-port": 1,
    "--dashboard-agent-listen-port": 2,
    "--dashboard-agent-grpc-port": 3,
    "--runtime-env-agent-port": 4,
    "--ray-client-server-port": 5,
    "--metrics-export-port": 6,
    "--node-manager-port": 7,
    "--object-manager-port": 8,
    "--min-worker-port": 20,
    "--max-worker-port": 119,
}
# Two heads would fight for these two, and the loser carries on silently without its autoscaler report.
_METRIC_PORTS: Final = {"AUTOSCALER_METRIC_PORT": 9, "DASHBOARD_METRIC_PORT": 10}
# Ray replaces 127.0.0.1 by the address of the machine's network card, and then depends on that network; this it keeps.
_NODE_ADDRESS: Final = "127.0.0.2"
# Ray's object store refuses less than 75 MB.
_OBJECT_STORE_BYTES: Final = 80_000_000
# A Unix socket's path holds 107 bytes, of which Ray takes some 65 below its temporary folder.
_TEMP_DIR_BYTES: Final = 40
_END_S: Final = 25.0
# The settings of another cluster, or of our own server, are not for the jobs of this one.
_PRIVATE: Final = ("RAY_", "KILOWAIT_")
_TRIES: Final = 2  # of a `ray start` that gives up


class HeadFailed(Permanent):
    """A local head did not come up; the message says why, and where its log is."""


class _StartFailed(HeadFailed):
    """`ray start` gave up: it gives the parts of a head 30 s, which a busy machine may need more than."""


def missing() -> str | None:
    """What this machine lacks for local heads, as a sentence; None if it lacks nothing. Imports nothing of Ray."""
    if not sys.platform.startswith("linux"):
        return "local Ray heads need Linux"
    if importlib.util.find_spec("ray") is None or importlib.util.find_spec("aiohttp_cors") is None:
        return 'ray[default] is not installed in this Python; install "kilowait[ray]"'
    return None


class LocalHead:
    """A running head. `address` is its dashboard's; `token` its RAY_AUTH_TOKEN, None if it is open to everyone here."""

    def __init__(
        self,
        *,
        region: str,
        address: str,
        token: str | None,
        run_dir: Path,
        temp_dir: Path,
        keeper: subprocess.Popen[bytes],
    ) -> None:
        self.region = region
        self.address = address
        self.token = token
        self.run_dir = run_dir
        self._temp_dir = temp_dir
        self._keeper = keeper

    @classmethod
    async def start(
        cls,
        *,
        region: str,
        run_dir: Path,
        token: str | None,
        rng: random.Random,
        gpus: int = 4,
        cpus: int = 4,
        env: Mapping[str, str] | None = None,
        timeout_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> Self:
        """A head that has run a job, with `gpus` GPUs by Ray's count whether the machine has them or not.

        `run_dir` is this head's own folder: `ray.log` and, while it runs, `head.json` are in it. `env` is added to the
        environment of all its jobs. HeadFailed or Unauthorized, and nothing left running, if it does not come up.
        """
        lacking = missing()
        if lacking is not None:
            raise HeadFailed(f"region {region}: {lacking}")
        until, tries = clock() + timeout_s, _TRIES
        while True:
            keeper, base, temp_dir = await asyncio.to_thread(
                _launch, region=region, run_dir=run_dir, token=token, rng=rng, gpus=gpus, cpus=cpus, env=env or {}
            )
            address = f"http://127.0.0.1:{base + _PORTS['--dashboard-port']}"
            head = cls(region=region, address=address, token=token, run_dir=run_dir, temp_dir=temp_dir, keeper=keeper)
            try:
                await head._ready(until=until, clock=clock, gpus=gpus)
            except BaseException as error:
                await head.stop()
                tries -= 1
                if not isinstance(error, _StartFailed) or not tries or clock() >= until:
                    raise
            else:
                return head

    def executor(self) -> RayJobsExecutor:
        """A new executor for this head."""
        return RayJobsExecutor(region=self.region, address=self.address, token=self.token)

    def processes(self) -> list[Process]:
        """All processes of the head as of now, those of its jobs too."""
        return head_keeper.descendants([self._keeper.pid], head_keeper.processes())

    async def stop(self) -> None:
        """End the head and everything it started, at once; its runs are lost. Repeating it does nothing."""
        assert self._keeper.stdin is not None
        with contextlib.suppress(OSError):
            self._keeper.stdin.close()
        await asyncio.to_thread(self._await_end)

    def _await_end(self) -> None:
        try:
            self._keeper.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._keeper.kill()
            self._keeper.wait()
        cleanup(self.run_dir)
        shutil.rmtree(self._temp_dir, ignore_errors=True)  # a keeper that failed at once left no record of it

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _ready(self, *, until: float, clock: Callable[[], float], gpus: int) -> None:
        problem = "`ray start` has not come to an end"
        async with httpx.AsyncClient(trust_env=False) as client:
            while clock() < until:
                if self._keeper.poll() is not None:
                    raise _StartFailed(self._why(f"`ray start` failed: {self._last_words()}"))
                if _state(self.run_dir) == "started":
                    # A new executor each time: one that was kept would leave the head alone for longer and longer.
                    executor = RayJobsExecutor(
                        region=self.region, address=self.address, token=self.token, client=client
                    )
                    try:
                        info = await executor.probe()
                        if info.nodes_alive and info.gpus_total == gpus:
                            return await self._first_job(executor, until=until, clock=clock)
                        problem = f"{info.nodes_alive} nodes with {info.gpus_total} GPUs are alive"
                    except Unauthorized:
                        raise
                    except WrongAddress as error:
                        raise HeadFailed(self._why(f'{error}; is it "ray" without [default]?')) from error
                    except Transient as error:
                        problem = str(error)
                await asyncio.sleep(0.2)
        raise HeadFailed(self._why(f"not ready in time: {problem}"))

    async def _first_job(self, executor: RayJobsExecutor, *, until: float, clock: Callable[[], float]) -> None:
        """Run a job that does nothing: the first one starts the head's job agent, which takes a second or two."""
        name = f"probe-{secrets.token_hex(4)}"
        request = SubmitRequest(submission_id=name, entrypoint="true", metadata={"probe": name})
        problem = "its first job has not ended"
        while clock() < until:
            try:
                run = await executor.get(name)
                if run is None:
                    problem = f"its first job is not taken: {await executor.submit(request)}"
                elif run.status is RunStatus.SUCCEEDED:
                    return await executor.delete(name)
                elif run.status.terminal:
                    raise HeadFailed(self._why(f"its first job has {run.status}: {run.message}"))
            except Transient as error:
                problem = str(error)
            await asyncio.sleep(0.1)
        raise HeadFailed(self._why(f"not ready in time: {problem}"))

    def _why(self, problem: str) -> str:
        log = self.run_dir / head_keeper.LOG
        return f"the local Ray head of region {self.region} did not come up: {problem} (log: {log})"

    def _last_words(self) -> str:
        lines = (self.run_dir / head_keeper.LOG).read_text(errors="replace").strip().splitlines()
        said = [line for line in lines[-20:] if line.strip() and not line[0].isspace()]  # of a traceback its end
        return one_line(said[-1]) if said else "it said nothing"


def cleanup(run_dir: Path) -> int:
    """End what is left of the heads recorded in `run_dir` and its subfolders, and say of how many there was something.

    For after a crash; heads that are alive and well are ended too.
    """
    folders = sorted(
        {path.parent for path in (*run_dir.glob(head_keeper.RECORD), *run_dir.glob(f"*/{head_keeper.RECORD}"))}
    )
    return sum(head_keeper.end_recorded(folder) for folder in folders)


def _launch(
    *, region: str, run_dir: Path, token: str | None, rng: random.Random, gpus: int, cpus: int, env: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int, Path]:
    """(the keeper of a head that is about to start, the first of its ports, its temporary folder)."""
    run_dir.mkdir(parents=True, exist_ok=True)
    cleanup(run_dir)
    (run_dir / head_keeper.LOG).write_bytes(b"")
    try:
        with free_block({*_PORTS.values(), *_METRIC_PORTS.values()}, rng=rng) as (base, lock):
            temp_dir = _temp_dir()
            command = _command(base=base, temp_dir=temp_dir, region=region, gpus=gpus, cpus=cpus)
            given = _environment(temp_dir=temp_dir, base=base, token=token, extra=env)
            keeper = head_keeper.start_keeper(
                command, env=given, temp_dir=temp_dir, folder=run_dir.resolve(), lock_fd=lock.fileno()
            )
            return keeper, base, temp_dir
    except NoFreePorts as error:
        raise HeadFailed(f"the local Ray head of region {region} did not come up: {error}") from error


def _command(*, base: int, temp_dir: Path, region: str, gpus: int, cpus: int) -> list[str]:
    return [
        sys.executable,
        *("-m", "ray.scripts.scripts", "start", "--head", "--disable-usage-stats"),
        *(f"--node-ip-address={_NODE_ADDRESS}", "--dashboard-host=127.0.0.1"),
        *(f"{option}={base + offset}" for option, offset in _PORTS.items()),
        *(f"--num-cpus={cpus}", f"--num-gpus={gpus}", f"--object-store-memory={_OBJECT_STORE_BYTES}"),
        *(f"--temp-dir={temp_dir}", f"--labels=ray.io/region={region}"),
    ]


def _environment(*, temp_dir: Path, base: int, token: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(_PRIVATE)}
    home = temp_dir / "home"
    home.mkdir()
    # Without the mode, Ray decides by whether some earlier Ray has left a token in the home folder.
    auth = {"RAY_AUTH_MODE": "disabled"} if token is None else {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token}
    return {
        **inherited,
        # Jobs say `python` and mean the one that has Ray.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}",
        "HOME": str(home),
        "RAY_USAGE_STATS_ENABLED": "0",
        **{name: str(base + offset) for name, offset in _METRIC_PORTS.items()},
        **auth,
        **extra,
    }


def _temp_dir() -> Path:
    """A new folder with a short path."""
    root = tempfile.gettempdir()
    if len(os.fsencode(root)) > _TEMP_DIR_BYTES - len("/kw-12345678"):
        root = "/tmp"  # noqa: S108  mkdtemp makes a private folder of a random name in it
    return Path(tempfile.mkdtemp(prefix="kw-", dir=root))


def _state(run_dir: Path) -> str:
    try:
        return str(json.loads((run_dir / head_keeper.RECORD).read_text())["state"])
    except (OSError, ValueError, KeyError):
        return ""
