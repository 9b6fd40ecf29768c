"""`kilowait agent`: settings in, the parts put together, exit codes out. The composition root of this package."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from .agent import Agent, Stream
from .anchors import Resume
from .cadence import Cadence, affordable
from .clock import Clock, CompressedClock, WallClock
from .compressed import CompressedMeter
from .errors import AgentError, Permanent, Refused, Transient
from .left import Left
from .life import boot_id, life_of
from .memory import give_back
from .meter import Meter
from .meters import open_meter
from .metrics import Counted, Sample
from .owners import Owners
from .rapl import RaplMeter
from .settings import Settings, parse_settings
from .sink import JsonLines
from .spool import Spool
from .stopping import Exits, Stop, on_signals
from .uplink import Uplink
from .wire import Origin, Record, Source, valid_id

if TYPE_CHECKING:
    from .transport import GridClock, HttpTransport

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_RESTART = 75  # EX_TEMPFAIL of sysexits.h: start me again, the driver under me was replaced

_JOIN_S = 10.0  # the last delivery and a request under way, within the 30 s that Kubernetes grants

_log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None, *, env: Mapping[str, str] | None = None) -> int:
    """Run `kilowait agent` with the arguments after that word; the exit code."""
    try:
        settings = parse_settings(sys.argv[1:] if argv is None else argv, os.environ if env is None else env)
    except Refused as error:
        return _ended(EXIT_USAGE, error)
    except SystemExit as done:  # --help
        return int(done.code or 0)
    stop = Stop()
    try:
        with _talk_on_stderr(), on_signals(stop.set):
            if settings.sink is not None:
                _to_sink(settings, path=settings.sink, stop=stop)
            else:
                _to_server(settings, stop=stop)
    except Refused as error:
        return _ended(EXIT_USAGE, error)
    except Permanent as error:
        return _ended(EXIT_RESTART, error)
    except (AgentError, OSError) as error:
        return _ended(EXIT_FAILED, error)
    return EXIT_OK


def _ended(code: int, error: Exception) -> int:
    sys.stderr.write(f"kilowait agent: {' '.join(str(error).split())}\n")
    return code


@contextmanager
def _talk_on_stderr() -> Iterator[None]:
    """What this package logs goes to stderr, one line each, while the block runs."""
    package = logging.getLogger(__package__)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("kilowait agent: %(message)s"))
    package.addHandler(handler)
    package.setLevel(logging.INFO)
    try:
        yield
    finally:
        package.removeHandler(handler)


def _to_sink(settings: Settings, *, path: Path, stop: Stop) -> None:
    owners = _owners(settings)
    clock = WallClock()
    meter = open_meter(settings, owners=owners, clock=clock)
    stream = _stream(settings)
    origin = Origin(agent_id=stream.agent_id, node=settings.node, region=settings.region, source=meter.source)
    try:
        with JsonLines(path=path, origin=origin) as sink:
            resumes = _resumes(sink.resumes, meter=meter, clock=clock)
            exits = Exits()
            agent = _agent(
                settings, meter=meter, clock=clock, owners=owners, stream=stream, emit=sink.write, exits=exits,
                resumes=resumes,
            )  # fmt: skip
            give_back()
            agent.run(lambda seconds: stop.wait(seconds, exits), for_s=settings.duration_s)
            exits.close()
    finally:
        meter.close()


def _to_server(settings: Settings, *, stop: Stop) -> None:
    def token() -> str:
        try:
            return settings.read_token()
        except Refused as error:
            raise Transient(str(error)) from error  # it was there at the start; a rotation may be under way

    assert settings.server is not None
    owners = _owners(settings)
    wall = WallClock()
    meter = open_meter(settings, owners=owners, clock=wall)
    try:
        from .transport import HttpTransport  # after the driver's binding, whose compilation is the peak of our memory

        transport = HttpTransport(server=settings.server, token=token)
        try:
            while _report(settings, meter=meter, wall=wall, owners=owners, transport=transport, stop=stop):
                _log.warning(
                    "the server's clock is not the one assumed; starting anew on it, the records so far are set aside"
                )
        finally:
            transport.close()
    finally:
        meter.close()


def _report(
    settings: Settings,
    *,
    meter: Meter,
    wall: WallClock,
    owners: Owners,
    transport: HttpTransport,
    stop: Stop,
) -> bool:
    """Measure and send until told to stop; True if the clock turned out to be another and all must start anew.

    A server that cannot be asked at the start is no reason to lose energy: real servers live on the wall clock, so we
    measure on that and ask again before anything is sent.
    """
    grid: GridClock | None = None
    settle: Callable[[], bool] | None = None
    try:
        grid = transport.grid_clock()
    except Transient as error:
        _log.warning("%s; measuring on the wall clock meanwhile", error)

        def settle() -> bool:
            return transport.grid_clock() is None

    clock: WallClock | CompressedClock = wall
    speed = 1.0
    if grid is not None:
        clock = CompressedClock(
            wall=wall, origin_wall_us=grid.origin_wall_us, origin_grid_us=grid.origin_grid_us, speed=grid.speed
        )
        meter, speed = CompressedMeter(meter=meter, clock=clock), float(grid.speed)
        _log.info("demonstration: the server's time runs %g times as fast, and so do times and energy here", speed)
    stream = _stream(settings)
    state_dir = settings.state_dir
    assert state_dir is not None
    # A batch says which meter its records are of, and records of a compressed day are of no use on any other clock: so
    # each has a spool of its own.
    day = "" if grid is None else f"-{grid.origin_grid_us}-{speed:g}"
    folder = state_dir / f"spool-{meter.source}{day}"
    spool = Spool(folder)

    def uplink_of(
        outbox: Spool, source: Source, way: HttpTransport, settle: Callable[[], bool] | None = None
    ) -> Uplink:
        return Uplink(
            outbox=outbox,
            transport=way,
            origin=Origin(
                agent_id=stream.agent_id,
                node=settings.node,
                region=settings.region,
                source=source,
                clock_speed=speed,
            ),
            clock=clock,
            rng=random.Random(),
            set_aside=_set_aside_in(state_dir / "dead"),
            settle=settle,
        )

    uplink = uplink_of(spool, meter.source, transport, settle)
    beside = transport.another()
    left = Left(
        state_dir,
        but=folder,
        uplink=None if grid is not None else lambda outbox, source: uplink_of(outbox, source, beside),
    )
    counted = Counted()

    def emit(records: Sequence[Record]) -> None:
        spool.append(records)
        counted.count(records)
        uplink.wake()

    def wait(seconds: float) -> bool:
        return stop.wait(seconds, exits) or uplink.mismatch.is_set()

    resumes = _resumes(spool.resumes, meter=meter, clock=wall) if grid is None else {}
    exits = Exits()
    agent = _agent(
        settings, meter=meter, clock=clock, owners=owners, stream=stream, emit=emit, exits=exits, resumes=resumes,
        speed=speed,
    )  # fmt: skip
    give_back()
    uplink.wake()  # for what an earlier life left
    sender = threading.Thread(target=uplink.run, name="kilowait-uplink", daemon=True)
    sender.start()
    other = threading.Thread(target=left.run, args=[lambda: uplink.delivering], name="kilowait-left", daemon=True)
    other.start()
    try:
        with _metrics(settings, lambda: [*counted.samples(), *_of_delivery(uplink, spool, left=left.waiting)]):
            agent.run(wait, for_s=settings.duration_s)
    finally:
        exits.close()
        uplink.stop()
        left.stop()
        sender.join(_JOIN_S)
        other.join(_JOIN_S)
        beside.close()
        waiting = len(spool)
        spool.close()
    if uplink.mismatch.is_set() and not stop.is_set():
        # Its records are on a clock that this server does not have; but they may be owed to another server.
        dead = state_dir / "dead"
        dead.mkdir(exist_ok=True)
        folder.rename(dead / f"spool-{stream.stream_epoch}")
        return True
    if waiting:
        _log.warning("%d records wait in %s for the next start", waiting, state_dir)
    return False


@contextmanager
def _metrics(settings: Settings, samples: Callable[[], Iterable[Sample]]) -> Iterator[None]:
    """The metrics' door, where one was asked for."""
    if settings.metrics is None:
        yield
        return
    from .exporter import serving

    try:
        with serving(settings.metrics, samples):
            yield
    except OSError as error:
        raise Refused(f"--metrics {settings.metrics[0]}:{settings.metrics[1]} cannot be had: {error}") from error


def _of_delivery(uplink: Uplink, spool: Spool, *, left: int) -> list[Sample]:
    known = [
        ("clock_skew_seconds", "How far the server's clock is ahead of this machine's.", uplink.skew_s),
        ("last_delivery_timestamp_seconds", "When the server last took records.", uplink.delivered_at_s),
        ("waiting_records", "Records that the server does not hold yet, those of meters not in use included.",
         float(len(spool) + left)),
        ("spool_bytes", "What they take on disk.", float(spool.bytes)),
        ("refused_records", "Records set aside since the start, because the server will not take them.",
         float(uplink.refused_records)),
    ]  # fmt: skip
    return [(name, "gauge", what, [({}, value)]) for name, what, value in known if value is not None]


def _resumes(found: Mapping[str, Resume], *, meter: Meter, clock: WallClock) -> Mapping[str, Resume]:
    """Where an earlier life stopped, for a meter whose counters outlived it; our time goes on from there as well."""
    if meter.source in ("simulated", "model"):  # they end with their process
        return {}
    clock.not_before(max((resume.anchor.t_us for resume in found.values()), default=0))
    return meter.go_on(found, boot_id=boot_id()) if isinstance(meter, RaplMeter) else found


def _agent(
    settings: Settings,
    *,
    meter: Meter,
    clock: Clock,
    owners: Owners,
    stream: Stream,
    exits: Exits,
    emit: Callable[[Sequence[Record]], None],
    resumes: Mapping[str, Resume],
    speed: float = 1.0,
) -> Agent:
    return Agent(
        meter=meter,
        identify=owners.identify,
        alive=owners.alive,
        # A simulated device draws for a run from the look that found it, and not before.
        started=owners.started_ns if meter.source != "simulated" else lambda pid: None,
        watch=exits.follow,
        emit=emit,
        stream=stream,
        life=life_of(meter.source),
        cadence=_cadence(settings, meter=meter, speed=speed),
        now_us=clock.now_us,
        resumes=resumes,
    )


def _cadence(settings: Settings, *, meter: Meter, speed: float) -> Cadence:
    """As asked, else as rarely as the driver's cost demands."""
    if settings.interval_s is not None:
        look_s = min(1.0, settings.interval_s)
        return Cadence(look_s=look_s, interval_s=settings.interval_s, flush_s=settings.flush_s, speed=speed)
    try:
        cadence = affordable(meter, flush_s=settings.flush_s, speed=speed)
    except Transient:
        return Cadence(flush_s=settings.flush_s, speed=speed)
    _log.info("counters are read every %g s, processes looked at every %g s", cadence.interval_s, cadence.look_s)
    return cadence


def _owners(settings: Settings) -> Owners:
    if settings.ray is None:
        return Owners(region=settings.region)
    from .ray_runs import RayRuns

    return Owners(region=settings.region, elsewhere=RayRuns(settings.ray, token=settings.ray_token).run_of)


def _stream(settings: Settings) -> Stream:
    """This life of this agent. The epoch is new each time, so sequence numbers may start at 1 again."""
    return Stream(
        agent_id=_agent_id(settings),
        stream_epoch=f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{os.urandom(4).hex()}",
    )


def _agent_id(settings: Settings) -> str:
    """The name that stays: from the state directory, where it is written once; without one, region and node."""
    plain = f"{settings.region}:{settings.node}" if settings.region else settings.node
    plain = plain[:110]
    if settings.state_dir is None:
        return plain
    path = settings.state_dir / "agent-id"
    try:
        settings.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with path.with_suffix(".lock").open("w") as lock:  # agents of other meters may start here at the same time
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.exists() or not path.stat().st_size:  # empty: a power cut came before it was on the disk
                draft = path.with_suffix(".tmp")
                with draft.open("w", encoding="ascii") as file:
                    file.write(f"{plain}-{os.urandom(4).hex()}\n")
                    file.flush()
                    os.fsync(file.fileno())
                draft.rename(path)
            agent_id = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeError) as error:
        raise Refused(f"--state-dir {settings.state_dir} cannot be used: {error}") from error
    if not valid_id(agent_id):
        raise Refused(f"{path} does not hold an agent's name but {agent_id[:40]!r}; remove the file to get a new one")
    return agent_id


def _set_aside_in(folder: Path) -> Callable[[Sequence[Record], str], None]:
    """Where records go that the server will never take: a file for a person to look at."""

    def keep(records: Sequence[Record], reason: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "refused.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"refused": reason, **record.to_dict()}) + "\n" for record in records)

    return keep
