"""The processes of the demonstration: two Ray heads, a server, an agent per region. Whatever starts here ends here."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import yaml

from kilowait_scheduler.cli.demo.scenario import GPUS_PER_REGION, POWER_W, Scenario
from kilowait_scheduler.client import Client
from kilowait_scheduler.dispatch.local_heads import LocalHead

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_READY_S = 90.0


@dataclass(frozen=True)
class Stage:
    """What runs: the server's URL, its admin token's file, and a client."""

    server: str
    token_file: Path
    client: Client


@dataclass(frozen=True)
class Head:
    """A running Ray head; the server finds its token in the variable `token_env`."""

    region: str
    address: str
    token: str

    @property
    def token_env(self) -> str:
        return f"RAY_TOKEN_OF_{self.region.upper()}"


@contextlib.asynccontextmanager
async def heads(names: Sequence[str], run_dir: Path) -> AsyncIterator[list[Head]]:
    """A real Ray head per region, as long as the context lasts; each wants a token of its own."""
    async with contextlib.AsyncExitStack() as stack:
        started = await asyncio.gather(
            *(
                LocalHead.start(
                    region=name,
                    run_dir=run_dir / f"ray-{name}",
                    token=secrets.token_hex(16),
                    rng=random.Random(),
                    gpus=GPUS_PER_REGION,
                )
                for name in names
            ),
            return_exceptions=True,
        )
        for head in started:
            if isinstance(head, LocalHead):
                await stack.enter_async_context(head)
        for head in started:
            if isinstance(head, BaseException):
                raise head
        yield [Head(h.region, h.address, h.token or "") for h in started if isinstance(h, LocalHead)]


@contextlib.asynccontextmanager
async def server(
    scenario: Scenario, run_dir: Path, *, speed: float, settings: Mapping[str, str]
) -> AsyncIterator[Stage]:
    """A server with a compressed grid clock and an agent per region, as long as the context lasts."""
    regions = run_dir / "regions.yaml"
    regions.write_text(yaml.safe_dump({"regions": [r.model_dump(exclude_none=True) for r in scenario.regions]}))
    state = run_dir / "state"
    environment = {
        "KILOWAIT_HOST": "127.0.0.1",
        "KILOWAIT_PORT": "0",
        "KILOWAIT_STATE_DIR": str(state),
        "KILOWAIT_REGIONS": str(regions),
        "KILOWAIT_CLOCK_SPEED": str(speed),
        "KILOWAIT_CLOCK_START": scenario.start.isoformat(),
        "KILOWAIT_TICK": "1s",
        "KILOWAIT_POWER_PER_GPU_W": str(POWER_W),
        "KILOWAIT_NESO": "off",
        **settings,
    }
    async with contextlib.AsyncExitStack() as stack:
        log = run_dir / "server.log"
        process = stack.enter_context(_process(["serve"], environment, log))
        url = await _served_at(process, log)
        token_file = state / "admin.token"
        client = stack.enter_context(Client(url, token=token_file.read_text().strip()))
        await _ready(url, process, log)
        agent_token = run_dir / "agent.token"
        agent_token.touch(mode=0o600)
        made = client.call("POST", "tokens", json={"name": "agents of the demonstration", "role": "agent"}).json()
        agent_token.write_text(made["secret"])
        for region in scenario.regions:
            words = ["agent", "--server", url, "--token-file", str(agent_token), "--region", region.name]
            words += ["--node", region.name, "--sim-gpus", str(GPUS_PER_REGION), "--sim-busy-w", str(POWER_W)]
            words += ["--interval", "500ms", "--flush", "1s", "--state-dir", str(run_dir / f"agent-{region.name}")]
            stack.enter_context(_process(words, {}, run_dir / f"agent-{region.name}.log"))
        yield Stage(url, token_file, client)


@contextlib.contextmanager
def _process(words: list[str], environment: Mapping[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`kilowait WORDS` in a process group of its own; told to stop at the end, killed if it does not, or if we die."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("KILOWAIT_", "RAY_"))}
    libc = ctypes.CDLL(None, use_errno=True)

    def follow_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "kilowait", *words],
            env={**inherited, **environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            preexec_fn=follow_parent,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def _served_at(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + _READY_S
    while time.monotonic() < until:
        if found := re.search(r"serving on (http://\S+)", _said(log)):
            return found[1]
        _require_alive(process, log)
        await asyncio.sleep(0.1)
    raise RuntimeError(f"the server did not come up within {_READY_S:.0f} s; see {log}")


async def _ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _READY_S
    async with httpx.AsyncClient(trust_env=False) as client:
        while time.monotonic() < until:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get(f"{url}/readyz")).status_code == 200:
                    return
            _require_alive(process, log)
            await asyncio.sleep(0.2)
    raise RuntimeError(f"the server was not ready within {_READY_S:.0f} s; see {log}")


def _said(log: Path) -> str:
    return log.read_text(errors="replace")


def _require_alive(process: subprocess.Popen[bytes], log: Path) -> None:
    if process.poll() is not None:
        last = _said(log).strip().splitlines()[-1:] or ["it said nothing"]
        raise RuntimeError(f"the server ended with {process.returncode}: {last[0]}")
