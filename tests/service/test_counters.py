"""What Prometheus sees of the accounts: by whose and where, never falling, and adding up to the report."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.carbon import MJ_PER_KWH
from kilowait_scheduler.core.tally import JobValues, Quantity
from kilowait_scheduler.metrics import exposition
from kilowait_scheduler.service.counting import count_saved
from kilowait_scheduler.store import tallies
from kilowait_scheduler.store.engine import migrate, open_engine
from kilowait_scheduler.store.repository import Store
from store.sample import record
from world import HOUR, World, make_world

Samples = dict[str, float]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    engine = open_engine(f"sqlite:///{tmp_path / 'k.db'}")
    migrate(engine)
    yield Store(engine)
    engine.dispose()


def counters(store: Store) -> Samples:
    """Every counter of the accounts, by its name and labels."""
    lines = re.findall(r"^(kilowait_account_\w+_total\{.*\}) (\S+)$", exposition(store), re.MULTILINE)
    return {name: float(value) for name, value in lines}


def net(found: Samples, name: str) -> float:
    up, down = (
        sum(value for key, value in found.items() if key.startswith(f"kilowait_account_{name}{suffix}_total{{"))
        for suffix in ("", "_lowered")
    )
    return up - down


def test_counters_add_up_to_the_report(tmp_path: Path) -> None:
    world: World = make_world(tmp_path, {"AA": [400.0] * 4 + [100.0] * 20, "BB": [90.0] * 24})
    both = {"home": "aa", "any_of": ["aa", "bb"]}
    try:
        jobs = [
            world.submit(name=f"j{n}", team=team, duration="2h", within="20h", resources={"gpus": 2}, regions=both)
            for n, team in enumerate(("nlp", "vision"))
        ]
        world.finish(*(job.id for job in jobs))
        world.run(12 * HOUR, every=HOUR)
        asyncio.run(count_saved(world.server.store, world.server.reporting, now=world.now))
        report = asyncio.run(world.server.reporting.savings())
        found = counters(world.server.store)
        assert net(found, "carbon_grams") == pytest.approx(report.totals.carbon_g)
        assert net(found, "energy_joules") == pytest.approx(report.totals.energy_kwh * MJ_PER_KWH / 1000)
        assert net(found, "saved_grams") == pytest.approx(report.totals.saved_g)
        assert {label for name in found for label in re.findall(r'team="(\w+)"', name)} == {"nlp", "vision"}
    finally:
        world.close()


revision = st.tuples(st.integers(0, 2), st.sampled_from(["aa", "bb"]), st.integers(-(10**9), 10**9))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(revision, max_size=12))
def test_no_counter_falls_whatever_is_revised(store: Store, steps: list[tuple[int, str, int]]) -> None:
    """One store for all examples: each goes on from where the one before left the counters."""
    ids = [store.add_job(record(f"j{n}"), idempotency_key=f"j{n}").id for n in range(3)]
    before = counters(store)
    for number, region, saved in steps:
        values = {(region, Quantity.SAVED_UG): saved, (region, Quantity.CARBON_UG): abs(saved)}
        store.tally([JobValues(ids[number], "nlp", "chat", values)])
        after = counters(store)
        assert before.keys() <= after.keys()
        assert all(after[name] >= value for name, value in before.items())
        before = after


def test_more_teams_than_a_monitor_can_bear_are_counted_together_for_good(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tallies, "MOST_PAIRS", 2)
    for n in range(4):
        job = store.add_job(record(f"j{n}"))
        store.tally([JobValues(job.id, f"team{n}", "p", {("aa", Quantity.CARBON_UG): 10 + n})])
    store.tally([JobValues("j0", "team0", "p", {("aa", Quantity.CARBON_UG): 7})])
    found = {line.team: (line.tally.up, line.tally.down) for line in store.tallies()}
    assert found == {"team0": (10, 3), "team1": (11, 0), "(other)": (12 + 13, 0)}


def test_counters_do_not_claim_to_have_been_made_at_the_scrape(store: Store) -> None:
    store.tally([JobValues(store.add_job(record("j0")).id, "nlp", "chat", {("aa", Quantity.ENERGY_MJ): 5000})])
    said = exposition(store)
    assert 'kilowait_account_energy_joules_total{project="chat",region="aa",team="nlp"} 5.0' in said
    assert "_created" not in said


def test_the_same_figures_again_write_nothing(store: Store) -> None:
    job = store.add_job(record("j0"))
    known = [JobValues(job.id, "nlp", "chat", {("aa", Quantity.CARBON_UG): 5})]
    store.tally(known)
    store.tally(known)
    (line,) = store.tallies()
    assert (line.tally.up, line.tally.down) == (5, 0)
