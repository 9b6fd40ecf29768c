"""RAPL against a tree of files like the kernel's."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kilowait_agents.agent import Agent, Stream
from kilowait_agents.cadence import Cadence
from kilowait_agents.errors import Permanent
from kilowait_agents.integrate import Integrator, Limits
from kilowait_agents.life import Life
from kilowait_agents.rapl import RaplMeter
from kilowait_agents.spool import Spool
from kilowait_agents.wire import Record

from .conftest import HandClock

RANGE_UJ = 262_143_328_850


class Powercap:
    """A /sys/class/powercap with two packages, their cores, and the platform's zone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.zone("intel-rapl:0", "package-0", 1_000_000)
        self.zone("intel-rapl:0:0", "core", 500_000)
        self.zone("intel-rapl:1", "package-1", RANGE_UJ - 2_000_000)
        self.zone("intel-rapl:2", "psys", 9_000_000)

    def zone(self, folder: str, name: str, uj: int) -> None:
        path = self.root / folder
        path.mkdir()
        (path / "name").write_text(f"{name}\n")
        (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
        (path / "energy_uj").write_text(f"{uj}\n")

    def hide(self, folder: str) -> None:
        (self.root / folder / "energy_uj").unlink()

    def set(self, folder: str, uj: int) -> None:
        (self.root / folder / "energy_uj").write_text(f"{uj}\n")


@pytest.fixture
def powercap(tmp_path: Path) -> Powercap:
    return Powercap(tmp_path)


def opened(powercap: Powercap, clock: HandClock) -> RaplMeter:
    return RaplMeter(node="n1", clock=clock, root=powercap.root)


def test_packages_are_counted_and_neither_their_parts_nor_the_platform(powercap: Powercap, clock: HandClock) -> None:
    meter = opened(powercap, clock)
    assert [device.uuid for device in meter.devices()] == ["CPU-n1-package-0", "CPU-n1-package-1"]
    powercap.set("intel-rapl:0", 4_500_000)
    first, second = meter.read()
    assert (first.counter_mj, first.scope, second.counter_mj) == (4500, "cpu", (RANGE_UJ - 2_000_000) // 1000)
    assert meter.source == "rapl"
    assert meter.processes() == {}, "whose energy it was is not known, and so not called idle"


def test_a_counter_that_wraps_goes_on(powercap: Powercap, clock: HandClock) -> None:
    meter = opened(powercap, clock)
    powercap.set("intel-rapl:1", 1_000_000)
    assert meter.read()[1].counter_mj == (RANGE_UJ + 1_000_000) // 1000
    powercap.set("intel-rapl:1", RANGE_UJ - 1)
    powercap.set("intel-rapl:1", 0)
    assert meter.read()[1].counter_mj == 2 * RANGE_UJ // 1000


def test_a_zone_that_cannot_be_read_is_silent_and_comes_back(
    powercap: Powercap, clock: HandClock, caplog: pytest.LogCaptureFixture
) -> None:
    meter = opened(powercap, clock)
    (powercap.root / "intel-rapl:0" / "energy_uj").unlink()
    assert [reading.silent for reading in (*meter.read(), *meter.read())] == [True, False, True, False]
    assert len(caplog.records) == 1
    powercap.set("intel-rapl:0", 3_000_000)
    assert meter.read()[0].counter_mj == 3000


class Lives:
    """Agents one after another on these packages, with one spool; `zone` counts 100 W while time passes."""

    def __init__(self, powercap: Powercap, clock: HandClock, folder: Path) -> None:
        self.powercap, self.clock, self.folder = powercap, clock, folder
        self.raw_uj = 0
        self.records: list[Record] = []

    def advance(self, seconds: float, *, watts: int = 100) -> None:
        self.clock.advance(seconds)
        self.raw_uj = (self.raw_uj + round(1e6 * watts * seconds)) % RANGE_UJ
        self.powercap.set("intel-rapl:0", self.raw_uj)

    def live(self, ticks: int, *, boot_id: str = "boot-1", late_s: float = 0, waits_s: float = 0) -> None:
        """As kill -9 ends it: what was not flushed is gone. The first reading comes `waits_s` after the start, the
        second `late_s` after that."""
        spool = Spool(self.folder, sync=lambda _: None)
        meter = opened(self.powercap, self.clock)
        agent = Agent(
            meter=meter,
            identify=lambda pid: None,
            alive=lambda pid: False,
            emit=spool.append,
            stream=Stream("agent-1", f"epoch-{len(self.records)}"),
            life=lambda: Life(boot_id),
            cadence=Cadence(),
            now_us=self.clock.now_us,
            resumes=meter.go_on(spool.resumes, boot_id=boot_id),
        )
        self.advance(waits_s)
        agent.tick()
        if late_s:
            self.advance(late_s)
            agent.tick()
        for _ in range(ticks):
            self.advance(1)
            agent.tick()
        agent.flush()
        while records := spool.head(500):
            spool.sending(records)
            spool.done(records)
            self.records += [one for one in records if one.device_uuid == "CPU-n1-package-0"]
        spool.close()


@pytest.fixture
def lives(powercap: Powercap, clock: HandClock, tmp_path_factory: pytest.TempPathFactory) -> Lives:
    made = Lives(powercap, clock, tmp_path_factory.mktemp("spool"))
    made.advance(0)
    return made


@given(away_s=st.lists(st.floats(0, 250), min_size=1, max_size=5), first_uj=st.integers(0, RANGE_UJ - 1))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_is_used_while_the_agent_is_away_is_recovered_across_any_wrap(
    tmp_path_factory: pytest.TempPathFactory, away_s: list[float], first_uj: int
) -> None:
    clock = HandClock()
    lives = Lives(Powercap(tmp_path_factory.mktemp("powercap")), clock, tmp_path_factory.mktemp("spool"))
    lives.raw_uj = first_uj
    lives.advance(0)
    lives.live(5)
    for seconds in away_s:
        lives.advance(seconds, watts=900)
        lives.live(5)
    whole_s = 5 * (1 + len(away_s))
    used_mj = 100_000 * whole_s + sum(round(1e6 * 900 * seconds) for seconds in away_s) / 1000
    assert abs(sum(one.energy_mj for one in lives.records) - used_mj) <= 1 + len(away_s)
    assert {one.quality for one in lives.records} <= {"measured", "recovered"}


@pytest.mark.parametrize("unread", ["stopped", "unreadable"])
def test_what_was_used_while_a_counter_may_have_wrapped_unseen_is_a_gap(
    powercap: Powercap, clock: HandClock, unread: str
) -> None:
    meter, integrator = opened(powercap, clock), Integrator(limits=Limits())
    found = []
    for second in range(900):
        powercap.set("intel-rapl:0", (1_000_000 + 900_000_000 * second) % RANGE_UJ)
        if 100 < second < 700:  # 540 kJ, twice around
            if unread == "unreadable":
                powercap.hide("intel-rapl:0")
                found.append(integrator.push(meter.read()[0]))
        else:
            found.append(integrator.push(meter.read()[0]))
        clock.advance(1)
    intervals = [one for one in found if one is not None]
    (gap,) = [one for one in intervals if one.quality == "gap"]
    assert gap.mono_dt_ns == 600 * 10**9
    assert sum(one.energy_mj for one in intervals) == 900_000 * 299
    assert sum(one.mono_dt_ns for one in intervals) == 899 * 10**9


@given(steps=st.lists(st.tuples(st.integers(1, 600), st.integers(0, 1000)), min_size=1, max_size=20))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_reading_that_comes_too_late_makes_a_gap_and_every_other_a_measurement(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    clock, powercap = HandClock(), Powercap(tmp_path_factory.mktemp("powercap"))
    meter, integrator = opened(powercap, clock), Integrator(limits=Limits().at_cadence(300))
    integrator.push(meter.read()[0])
    raw_uj = 1_000_000
    for seconds, watts in steps:
        clock.advance(seconds)
        raw_uj += 1_000_000 * watts * seconds
        powercap.set("intel-rapl:0", raw_uj % RANGE_UJ)
        interval = integrator.push(meter.read()[0])
        assert interval is not None
        if seconds * 1_000_000_000 > RANGE_UJ:
            assert (interval.quality, interval.energy_mj) == ("gap", 0)
        else:
            assert interval.quality == "measured"
            assert abs(interval.energy_mj - watts * seconds * 1000) <= 1


def test_a_counter_read_every_five_minutes_measures_nothing_and_says_so(powercap: Powercap, clock: HandClock) -> None:
    meter, integrator = opened(powercap, clock), Integrator(limits=Limits().at_cadence(300))
    integrator.push(meter.read()[0])
    found = []
    for _ in range(5):
        clock.advance(300)
        found.append(integrator.push(meter.read()[0]))
    assert [one.quality for one in found if one is not None] == ["gap"] * 5


def test_a_new_life_knows_where_the_counter_stood_after_it_had_not_been_read_for_long(lives: Lives) -> None:
    lives.advance(1000)  # to 100 kJ
    lives.live(10, late_s=400)
    lives.advance(120)
    lives.live(0)
    (gap,) = [one for one in lives.records if one.quality == "gap"]
    assert gap.t1_us - gap.t0_us == 400_000_000
    assert sum(one.energy_mj for one in lives.records) == 100_000 * (10 + 120)


def test_a_new_life_whose_first_reading_comes_late_takes_the_time_for_a_gap(lives: Lives) -> None:
    lives.live(10)
    lives.advance(1)
    lives.live(0, waits_s=400)
    (gap,) = [one for one in lives.records if one.quality == "gap"]
    assert gap.t1_us - gap.t0_us == 401_000_000
    assert sum(one.energy_mj for one in lives.records) == 100_000 * 10


@pytest.mark.parametrize(("away_s", "boot_id"), [(300, "boot-1"), (20, "boot-2")])
def test_after_longer_than_a_wrap_may_take_and_after_a_boot_the_time_away_is_a_gap(
    lives: Lives, away_s: float, boot_id: str
) -> None:
    lives.live(5)
    lives.advance(away_s)
    lives.live(5, boot_id=boot_id)
    (gap,) = [one for one in lives.records if one.quality == "gap"]
    assert gap.t1_us - gap.t0_us == away_s * 1_000_000
    assert sum(one.energy_mj for one in lives.records) == 1_000_000


@pytest.mark.parametrize(("missing", "says"), [("energy_uj", "root only"), ("max_energy_range_uj", "cannot be read")])
def test_without_counter_or_range_a_package_is_not_read(
    tmp_path: Path, clock: HandClock, missing: str, says: str
) -> None:
    powercap = Powercap(tmp_path)
    for zone in ("intel-rapl:0", "intel-rapl:1"):
        (tmp_path / zone / missing).unlink()
    with pytest.raises(Permanent, match=says):
        opened(powercap, clock)


def test_a_machine_without_rapl_says_so(tmp_path: Path, clock: HandClock) -> None:
    with pytest.raises(Permanent, match="no intel-rapl zones"):
        RaplMeter(node="n1", clock=clock, root=tmp_path)
