"""What the agent is told: arguments first, then the environment, then defaults; wrong input is one line and exit 2."""

from __future__ import annotations

import argparse
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, get_args

from .duration import parse_duration
from .errors import Refused
from .rapl import POWERCAP
from .wire import valid_id

MeterChoice = Literal["auto", "nvml", "amd", "rapl", "host", "simulated"]

_SHORTEST_INTERVAL_S = 0.05  # half a tick of a board's counter; faster reading tells nothing more


@dataclass(frozen=True, slots=True)
class Settings:
    """One agent's settings; exactly one of `server` and `sink` is set. The token is in one of its two places.

    With a server there is always a state directory: records are kept there until they are delivered.
    """

    server: str | None
    token: str | None
    token_file: Path | None
    sink: Path | None
    duration_s: float | None
    state_dir: Path | None
    meter: MeterChoice
    region: str | None
    node: str
    sim_gpus: int
    sim_busy_w: float
    sim_idle_w: float
    powercap: Path
    host_idle_w: float | None
    host_busy_w: float | None
    ray: str | None
    ray_token: str | None
    interval_s: float | None
    flush_s: float
    metrics: tuple[str, int] | None

    def read_token(self) -> str:
        """The bearer token as it stands now; a file is read anew each time. Raises Refused if there is none to read."""
        if self.token is not None:
            return self.token
        assert self.token_file is not None
        try:
            token = self.token_file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeError) as error:
            raise Refused(f"the token file {self.token_file} cannot be read: {error}") from error
        if not token:
            raise Refused(f"the token file {self.token_file} is empty; write the token into it")
        return token


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message}; see {self.prog} --help")


def parse_settings(argv: Sequence[str], env: Mapping[str, str]) -> Settings:
    """Settings from arguments and environment. Raises Refused for anything that cannot be meant."""
    given = _parser().parse_args(argv)
    server = None if given.sink else given.server or env.get("KILOWAIT_SERVER") or None
    if given.sink and given.server:
        raise Refused("--server and --sink exclude each other; send the records or write them")
    if not given.sink and not server:
        raise Refused("nowhere to put the records; give --server URL with --token-file FILE, or --sink FILE.jsonl")
    token, token_file = None, given.token_file
    if server and token_file is None:
        token = env.get("KILOWAIT_TOKEN", "").strip() or None
        if token is None and env.get("KILOWAIT_TOKEN_FILE"):
            token_file = Path(env["KILOWAIT_TOKEN_FILE"])
        if token is None and token_file is None:
            raise Refused("no token; give --token-file FILE, or set KILOWAIT_TOKEN or KILOWAIT_TOKEN_FILE")
    settings = Settings(
        server=server,
        token=token,
        token_file=token_file,
        sink=given.sink,
        duration_s=given.duration,
        state_dir=given.state_dir or (_state_dir(env) if server else None),
        meter=given.meter,
        region=_named("--region", given.region or env.get("KILOWAIT_REGION") or None),
        node=_named("--node", given.node or env.get("KILOWAIT_NODE")) or host(),
        sim_gpus=given.sim_gpus,
        sim_busy_w=given.sim_busy_w,
        sim_idle_w=given.sim_idle_w,
        powercap=given.powercap,
        host_idle_w=given.host_idle_w,
        host_busy_w=given.host_busy_w,
        ray=given.ray or env.get("KILOWAIT_RAY") or None,
        ray_token=env.get("RAY_AUTH_TOKEN") or None,
        interval_s=given.interval,
        flush_s=given.flush,
        metrics=given.metrics,
    )
    if settings.interval_s is not None and settings.interval_s < _SHORTEST_INTERVAL_S:
        raise Refused(f"--interval {settings.interval_s:g}s is too short; take {_SHORTEST_INTERVAL_S:g}s or more")
    if settings.server:
        settings.read_token()
    return settings


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="kilowait agent",
        description="Measure the energy of this node's GPUs, find out which runs used it, and report both.",
        epilog="Environment: KILOWAIT_SERVER, KILOWAIT_TOKEN or KILOWAIT_TOKEN_FILE, KILOWAIT_AGENT_STATE_DIR, "
        "KILOWAIT_REGION, KILOWAIT_NODE, KILOWAIT_RAY, RAY_AUTH_TOKEN.",
        allow_abbrev=False,
    )
    where = parser.add_argument_group("where the records go (one of --server and --sink)")
    where.add_argument("--server", metavar="URL", help="send them to this Kilowait server")
    where.add_argument(
        "--token-file", metavar="FILE", type=Path, help="file with the bearer token; read at every request"
    )
    where.add_argument(
        "--sink", metavar="FILE.jsonl", type=Path, help="append them to this file, one JSON record a line"
    )
    where.add_argument("--duration", metavar="60s", type=_duration, help="stop after this time (default: when told to)")
    where.add_argument(
        "--state-dir", metavar="DIR", type=Path,
        help="the agent's identity, and records until they are delivered (default with --server: "
        "/var/lib/kilowait-agent for root, else ~/.local/state/kilowait-agent)",
    )  # fmt: skip
    where.add_argument(
        "--metrics", metavar="HOST:PORT", type=_address,
        help="answer Prometheus at http://HOST:PORT/metrics (default: nobody)",
    )  # fmt: skip
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--meter", choices=get_args(MeterChoice), default="auto",
        help="auto: NVML or AMD where it finds a GPU, else simulated; rapl: the CPU packages; host: a model of the "
        "machine without its GPUs; it says which and why (default: %(default)s)",
    )  # fmt: skip
    what.add_argument(
        "--powercap", metavar="DIR", type=Path, default=POWERCAP,
        help="where --meter rapl looks; for a container that has the host's elsewhere (default: %(default)s)",
    )  # fmt: skip
    what.add_argument("--region", metavar="NAME", help="region of this node; only runs of this region count as runs")
    what.add_argument("--node", metavar="NAME", help="name of this node (default: its host name)")
    what.add_argument(
        "--interval", metavar="1s", type=_duration,
        help="time between readings (default: 1s, or up to 30s where reading the driver costs more CPU)",
    )  # fmt: skip
    what.add_argument(
        "--flush", metavar="5s", type=_duration, default=5.0, help="longest time a record covers (default: 5s)"
    )
    what.add_argument(
        "--ray", metavar="URL",
        help="the dashboard of this node's Ray cluster, e.g. http://head:8265; asked whose a process is where nothing "
        "on the node tells (default: nobody is asked)",
    )  # fmt: skip
    host = parser.add_argument_group("the model of the machine (--meter host)")
    host.add_argument(
        "--host-idle-w", metavar="W", type=_watts, help="watts without work (default: from CPUs and memory)"
    )
    host.add_argument(
        "--host-busy-w", metavar="W", type=_watts, help="watts with all CPUs at work (default: from CPUs and memory)"
    )
    simulated = parser.add_argument_group("the simulated meter")
    simulated.add_argument("--sim-gpus", metavar="N", type=int, default=8, help="GPUs (default: %(default)s)")
    simulated.add_argument(
        "--sim-busy-w", metavar="W", type=float, default=400.0, help="watts of a GPU that a run holds (default: 400)"
    )
    simulated.add_argument(
        "--sim-idle-w", metavar="W", type=float, default=60.0, help="watts of a GPU that none holds (default: 60)"
    )
    return parser


def _duration(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except Refused as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if seconds <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no time at all; give more than zero")
    return seconds


def _watts(text: str) -> float:
    try:
        watts = float(text)
    except ValueError:
        watts = -1.0
    if not 0 <= watts < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no power; write watts, like 350")
    return watts


def _address(text: str) -> tuple[str, int]:
    name, colon, port = text.rpartition(":")
    if not (name and colon and port.isascii() and port.isdecimal() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is no address; write it like 127.0.0.1:9101")
    return name.strip("[]"), int(port)


def _named(option: str, name: str | None) -> str | None:
    if name is not None and not valid_id(name):
        raise Refused(
            f"{option} {name!r} is no name; use letters, digits and ._:- (at most 128, not starting with one)"
        )
    return name


def _state_dir(env: Mapping[str, str]) -> Path:
    """The state directory where none is given: as the environment or systemd says, else where such things are kept."""
    named = env.get("KILOWAIT_AGENT_STATE_DIR") or env.get("STATE_DIRECTORY")
    if named:
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/kilowait-agent")
    return Path(env.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "kilowait-agent"


def host() -> str:
    """The host's name, made fit to be a name here."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())[:128].lstrip("._-")
    return name or "node"
