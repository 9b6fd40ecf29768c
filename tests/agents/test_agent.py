from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_agents.agent import Agent, Stream
from kilowait_agents.attribute import RunIdentity
from kilowait_agents.cadence import Cadence
from kilowait_agents.clock import Clock, CompressedClock
from kilowait_agents.compressed import CompressedMeter
from kilowait_agents.errors import Permanent, Transient
from kilowait_agents.life import Life
from kilowait_agents.meter import Device, Meter, Process
from kilowait_agents.reading import Reading
from kilowait_agents.wire import Record, Source

from .conftest import START_US, HandClock

A, B = RunIdentity("run-a", "job-a"), RunIdentity("run-b", "job-b")


class Board:
    """A meter of counters and process lists that the test sets; 400 W each on its clock."""

    def __init__(self, clock: HandClock, *, gpus: int = 1) -> None:
        self.clock = clock
        self.uuids = [f"GPU-{index}" for index in range(gpus)]
        self.listed: dict[str, list[Process]] = {uuid: [] for uuid in self.uuids}
        self.fails: Exception | None = None
        self.reads: list[tuple[bool, set[str]]] = []
        self.closed = False

    @property
    def source(self) -> Source:
        return "simulated"

    def devices(self) -> Sequence[Device]:
        return [Device(uuid=uuid, index=index, name="board") for index, uuid in enumerate(self.uuids)]

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        if self.fails is not None:
            raise self.fails
        self.reads.append((exact, set(self.uuids if only is None else only)))
        return [
            Reading(
                device_uuid=uuid,
                name="board",
                scope="gpu",
                counter_mj=400 * self.clock.mono_ns() // 1_000_000,
                power_mw=400_000,
                t_us=self.clock.now_us(),
                mono_ns=self.clock.mono_ns(),
            )
            for uuid in self.uuids
            if only is None or uuid in only
        ]

    def processes(self) -> Mapping[str, Sequence[Process]]:
        return self.listed

    def close(self) -> None:
        self.closed = True


class Bench:
    """An agent on such a board, with the runs of pids by hand; `records` is what it handed on."""

    def __init__(
        self,
        clock: HandClock,
        *,
        meter: Meter | None = None,
        grid: Clock | None = None,
        gpus: int = 1,
        speed: float = 1.0,
    ) -> None:
        self.clock = clock
        self.board = Board(clock, gpus=gpus)
        self.runs: dict[int, RunIdentity] = {1: A, 2: B}
        self.dead: set[int] = set()
        self.starts: dict[int, int] = {}
        self.records: list[Record] = []
        self.agent = Agent(
            meter=meter or self.board,
            identify=lambda pid: None if pid in self.dead else self.runs.get(pid),
            alive=lambda pid: pid not in self.dead,
            emit=self.records.extend,
            stream=Stream(agent_id="agent-1", stream_epoch="epoch-1"),
            life=lambda: Life("b00t"),
            cadence=Cadence(speed=speed),
            now_us=(grid or clock).now_us,
            started=self.starts.get,
        )

    def hold(self, *pids: int, gpu: int = 0) -> None:
        self.board.listed[f"GPU-{gpu}"] = [Process(pid) for pid in pids]

    def tick(self, seconds: float = 1.0, *, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(seconds)
            self.agent.tick()

    def parts(self) -> list[tuple[dict[str, int], int, int]]:
        return [
            ({share.run_id: share.energy_mj for share in one.shares}, one.idle_mj, one.unattributed_mj)
            for one in self.records
        ]

    def totals(self) -> dict[str, int]:
        found = {"idle": sum(one.idle_mj for one in self.records)}
        for one in self.records:
            for share in one.shares:
                found[share.run_id] = found.get(share.run_id, 0) + share.energy_mj
        return found


def test_a_run_that_starts_and_ends_gets_the_energy_between_and_idle_the_rest(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.agent.tick()
    bench.tick(times=2)
    bench.hold(1)
    bench.tick(times=3)
    bench.hold()
    bench.tick(times=2)
    bench.agent.close()
    assert bench.parts() == [({}, 1_200_000, 0), ({"run-a": 1_200_000}, 0, 0), ({}, 400_000, 0)]
    assert [one.seq for one in bench.records] == [1, 2, 3]


def test_a_start_or_an_end_is_handed_on_at_once(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.agent.tick()
    bench.tick()
    assert bench.records == []
    bench.hold(1)
    bench.tick()
    assert len(bench.records) == 1


def test_a_look_reads_only_where_the_parties_changed_and_there_exactly(clock: HandClock) -> None:
    bench = Bench(clock, gpus=3)
    bench.agent.tick()
    bench.board.reads.clear()
    clock.advance(1)
    bench.agent.look()
    assert bench.board.reads == []
    bench.hold(1, gpu=1)
    clock.advance(1)
    bench.agent.look()
    assert bench.board.reads == [(True, {"GPU-1"})]
    bench.agent.look()
    assert len(bench.board.reads) == 1


def test_a_run_pays_from_the_start_of_its_process_if_that_was_since_the_last_look(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.agent.tick()
    bench.tick(10)
    bench.starts[1] = clock.mono_ns() + 4_000_000_000
    bench.hold(1)
    bench.tick(10)
    bench.agent.close()
    assert bench.totals() == {"idle": 14 * 400_000, "run-a": 6 * 400_000}


def test_of_a_process_that_is_older_than_the_last_look_half_the_time_since_is_assumed(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.agent.tick()
    bench.starts[1] = clock.mono_ns()
    bench.tick(10)
    bench.hold(1)
    bench.tick(10)
    bench.agent.close()
    assert bench.totals() == {"idle": 15 * 400_000, "run-a": 5 * 400_000}


def test_the_server_process_of_mps_is_none_of_the_parties(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.board.listed["GPU-0"] = [Process(99), Process(1, client=True, weight=30), Process(2, client=True, weight=10)]
    bench.agent.tick()
    bench.tick()
    bench.agent.close()
    assert bench.parts() == [({"run-a": 300_000, "run-b": 100_000}, 0, 0)]


def test_records_the_disk_does_not_take_are_offered_again_and_joined_when_they_are_many(clock: HandClock) -> None:
    bench = Bench(clock)
    full = True
    kept: list[Record] = []

    def emit(records: Sequence[Record]) -> None:
        if full:
            raise OSError("no space left")
        kept.extend(records)

    bench.agent._emit = emit
    bench.agent.tick()
    for _ in range(5000):
        bench.tick()
        bench.agent.flush()
    full = False
    bench.tick()
    bench.agent.close()
    assert sum(one.energy_mj for one in kept) == 5001 * 400_000
    assert len(kept) < 4500
    assert [one.seq for one in kept] == list(range(1, len(kept) + 1))
    assert all(a.t1_us == b.t0_us for a, b in itertools.pairwise(kept))


def test_flushing_hands_on_one_record_per_device(clock: HandClock) -> None:
    bench = Bench(clock, gpus=8)
    bench.agent.tick()
    bench.tick(times=4)
    bench.agent.flush()
    assert len(bench.records) == 8
    assert {one.energy_mj for one in bench.records} == {1_600_000}
    assert {one.quality for one in bench.records} == {"measured"}


def test_a_process_that_just_ended_keeps_its_run_until_the_driver_lets_go_of_it(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.hold(1)
    bench.agent.tick()
    bench.tick()
    bench.dead.add(1)
    bench.tick(times=2)
    bench.hold()
    bench.tick()
    bench.tick()
    bench.agent.close()
    assert bench.parts() == [({"run-a": 1_600_000}, 0, 0), ({}, 400_000, 0)]


def test_processes_that_cannot_be_seen_at_all_leave_energy_unattributed_not_idle(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.dead.add(99)
    bench.hold(99)
    bench.agent.tick()
    bench.tick()
    bench.agent.close()
    assert bench.parts() == [({}, 0, 400_000)]


def test_a_device_whose_processes_are_not_known_is_unattributed(clock: HandClock) -> None:
    bench = Bench(clock)
    bench.board.listed = {}
    bench.agent.tick()
    bench.tick()
    bench.agent.close()
    assert bench.parts() == [({}, 0, 400_000)]


def test_a_meter_that_fails_for_a_while_loses_nothing(clock: HandClock, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(clock)
    bench.agent.tick()
    bench.board.fails = Transient("the driver is away")
    bench.tick(times=30)
    bench.board.fails = None
    bench.tick()
    bench.agent.close()
    assert [(one.energy_mj, one.quality) for one in bench.records] == [(31 * 400_000, "recovered")]
    assert len(caplog.records) == 1


def test_a_meter_that_fails_for_good_ends_the_run_after_what_it_knew(clock: HandClock) -> None:
    bench = Bench(clock)

    def wait(seconds: float) -> bool:
        clock.advance(seconds)
        if clock.mono_ns() > 8_000_000_000:
            bench.board.fails = Permanent("the driver was replaced; restart the agent")
        return False

    with pytest.raises(Permanent, match="replaced"):
        bench.agent.run(wait, now=clock.mono_ns)
    assert bench.records[-1].energy_mj > 0


def test_a_stop_settles_the_last_partial_interval(clock: HandClock) -> None:
    bench = Bench(clock)
    waits = itertools.count()

    def wait(seconds: float) -> bool:
        clock.advance(0.25)
        return next(waits) == 2

    bench.agent.run(wait)
    assert sum(one.energy_mj for one in bench.records) == 300_000
    assert bench.records[-1].t1_us == clock.now_us()


def test_on_a_compressed_clock_power_stays_and_energy_and_time_are_multiplied(clock: HandClock) -> None:
    grid = CompressedClock(wall=clock, origin_wall_us=START_US, origin_grid_us=0, speed=3600)
    bench = Bench(clock, meter=CompressedMeter(meter=Board(clock), clock=grid), grid=grid, speed=3600)
    bench.agent.tick()
    bench.tick(times=3)
    bench.agent.close()
    assert [(one.t0_us, one.t1_us) for one in bench.records] == [
        (hour * 3_600_000_000, (hour + 1) * 3_600_000_000) for hour in range(3)
    ], "one record per reading: five real seconds would blur five hours of the grid"
    assert {one.energy_mj for one in bench.records} == {400 * 1000 * 3600}
    assert {one.quality for one in bench.records} == {"measured"}


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=0.01, max_value=20),
            st.sampled_from([(), (1,), (2,), (1, 2), (3,), (1, 3), (1, 1, 2)]),
            st.sampled_from(["tick", "tick", "flush", "fail"]),
        ),
        max_size=40,
    )
)
def test_whatever_happens_records_adjoin_count_up_and_add_up_to_the_counter(
    course: list[tuple[float, tuple[int, ...], str]],
) -> None:
    clock = HandClock()
    bench = Bench(clock, gpus=2)
    bench.agent.tick()
    for seconds, pids, event in course:
        bench.hold(*pids, gpu=len(pids) % 2)
        bench.board.fails = Transient("away") if event == "fail" else None
        bench.tick(seconds)
        if event == "flush":
            bench.agent.flush()
    bench.board.fails = None
    bench.tick()
    bench.agent.close()
    counted = 400 * clock.mono_ns() // 1_000_000 - 400 * HandClock().mono_ns() // 1_000_000
    assert [one.seq for one in bench.records] == list(range(1, len(bench.records) + 1))
    for uuid in bench.board.uuids:
        mine = [one for one in bench.records if one.device_uuid == uuid]
        assert (mine[0].t0_us, mine[-1].t1_us) == (START_US, clock.now_us())
        assert all(a.t1_us == b.t0_us for a, b in itertools.pairwise(mine))
        assert sum(one.energy_mj for one in mine) == counted


def test_importing_the_agent_brings_no_http_no_driver_and_no_numpy() -> None:
    code = (
        "import sys; import kilowait_agents.agent, kilowait_agents.cli; "
        "print([name for name in ('httpx', 'pynvml', 'numpy') if name in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
