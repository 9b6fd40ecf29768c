"""Clean supply in a server's reports: both methods side by side, matched by the hour, recomputed from the evidence."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kilowait_scheduler.core.carbon import MJ_PER_KWH, EnergyInterval
from kilowait_scheduler.core.clean import CleanSupply, ResidualMix
from kilowait_scheduler.core.course import Course
from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.reports.render import to_csv, to_html, to_json
from kilowait_scheduler.service.contracted import contracted
from kilowait_scheduler.service.reporting import Asked
from world import HOUR, START, World, make_world

from .test_evidence import CHECKPOINT, HERE, THERE, recompute, written

__all__ = ["recompute"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two jobs at once in aa, then one that moves between aa and bb."""
    world = make_world(tmp_path_factory.mktemp("world"), {"AA": HERE, "BB": THERE}, gpus={"aa": 8, "bb": 8})
    here = {"home": "aa", "any_of": ["aa"]}
    jobs = [
        world.submit(name="large", duration="2h", within="2h40m", resources={"gpus": 4}, regions=here),
        world.submit(name="small", duration="2h", within="2h40m", resources={"gpus": 1}, regions=here, team="vision"),
        world.submit(
            name="moves",
            duration="6h",
            within="14h",
            resources={"gpus": 2},
            regions={"home": "aa", "any_of": ["aa", "bb"]},
            checkpoint=CHECKPOINT,
        ),
    ]
    world.finish(*(job.id for job in jobs))
    world.run(6 * HOUR)
    yield world
    world.close()


@pytest.fixture
def world(trained: World) -> Iterator[World]:
    """What was trained, without contracts at first."""
    yield trained
    store = trained.server.store
    for supply in store.clean_supplies():
        store.remove_clean_supply(supply.id)
    for mix in store.residual_mixes():
        store.remove_residual_mix(mix.region, start=mix.start)


def report(world: World, **options: Any) -> Report:
    return asyncio.run(world.server.reporting.savings(Asked(**options)))


def supply(region: str, wh: list[int], *, name: str = "ppa", hours: int | None = None) -> CleanSupply:
    return CleanSupply(id=name, region=region, start=START, end=START + HOUR * (hours or len(wh)), wh=tuple(wh))


def test_without_contracts_there_is_no_market_based_figure_and_no_zero_in_its_place(world: World) -> None:
    found = report(world)
    assert found.scope2 == () and found.totals.market_based is None
    assert all(line.market_based is None and line.hourly_matched_pct is None for line in found.jobs)
    assert "market-based@1" not in found.method
    row = next(csv.DictReader(io.StringIO(to_csv(found))))
    assert (row["market_based_g"], row["hourly_matched_kwh"]) == ("", "")


def test_contracts_change_no_location_based_figure(world: World) -> None:
    before = report(world)
    world.server.store.put_clean_supply(supply("aa", [500] * 48))
    world.server.store.put_clean_supply(supply("aa", [10**9], hours=8760, name="offsets"))
    world.server.store.put_residual_mix(
        ResidualMix(region="bb", start=START, end=START + 24 * HOUR, g_per_kwh=700, source="AIB")
    )
    after = report(world)
    for old, new in zip(before.jobs, after.jobs, strict=True):
        assert (old.carbon_g, old.saved_g, old.baseline) == (new.carbon_g, new.saved_g, new.baseline)
    assert before.totals.carbon_g == after.totals.carbon_g
    assert "market-based@1" in after.method


def test_jobs_share_an_hours_supply_by_their_load_whoever_is_asked_about(world: World) -> None:
    world.server.store.put_clean_supply(supply("aa", [1000] * 48))
    found = {line.name: line for line in report(world).jobs}
    large, small = found["large"], found["small"]
    assert large.hourly_matched_kwh is not None and small.hourly_matched_kwh is not None
    assert large.hourly_matched_kwh == pytest.approx(4 * small.hourly_matched_kwh, rel=1e-3)
    assert large.hourly_matched_pct is not None and 10 < large.hourly_matched_pct < 90
    (alone,) = report(world, team="vision").jobs
    assert alone.hourly_matched_kwh == small.hourly_matched_kwh, "others draw on it all the same"
    drawn = [line.hourly_matched_kwh for line in found.values() if line.hourly_matched_kwh is not None]
    assert sum(drawn) <= 48
    moved = found["moves"]
    if len({window.region for window in moved.windows}) > 1:
        assert moved.hourly_matched_kwh is None, "nobody said what was supplied in bb"


def test_a_volume_for_all_of_the_load_leaves_nothing_in_the_market_and_matches_no_hour(world: World) -> None:
    world.server.store.put_clean_supply(supply("aa", [10**9], hours=8760, name="certificates"))
    found = report(world)
    large = next(line for line in found.jobs if line.name == "large")
    assert large.market_based is not None and large.market_based.carbon_g == pytest.approx(0.0, abs=1e-9)
    assert large.hourly_matched_kwh is None and large.carbon_g is not None and large.carbon_g > 0
    assert any("certificates: a volume whose span is not over" in note for note in found.notes)
    assert any("aa: no residual mix" in note for note in found.notes)


def test_scope_2_by_region_and_month_stands_in_every_form(world: World) -> None:
    for region in ("aa", "bb"):
        world.server.store.put_clean_supply(supply(region, [700] * 48, name=f"ppa-{region}"))
    world.server.store.put_residual_mix(
        ResidualMix(region="aa", start=START, end=START + 48 * HOUR, g_per_kwh=650, source="AIB")
    )
    found = report(world)
    assert found.totals.market_based is not None and found.totals.hourly_matched_kwh is not None
    assert sum(line.market_based.carbon_g for line in found.scope2 if line.market_based) == pytest.approx(
        found.totals.market_based.carbon_g
    )
    read = json.loads(to_json(found))
    assert read["totals"]["market_based"] == {"carbon_g": found.totals.market_based.carbon_g}
    assert [line["month"] for line in read["scope2"]] == ["2026-11"] * len(found.scope2)
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert sum(float(row["market_based_g"]) for row in rows) == pytest.approx(found.totals.market_based.carbon_g)
    page = to_html(found)
    assert "Scope 2 by region and month" in page and "matched by clean supply, hour by hour" in page


def test_market_based_figures_are_recomputed_from_the_evidence(world: World, tmp_path: Path, recompute: Any) -> None:
    for region in ("aa", "bb"):
        world.server.store.put_clean_supply(supply(region, [700, 0, 300, 90] * 12, name=f"ppa-{region}"))
    world.server.store.put_clean_supply(supply("aa", [2000], hours=8760, name="certificates"))
    world.server.store.put_residual_mix(
        ResidualMix(region="aa", start=START, end=START + 3 * HOUR, g_per_kwh=650, source="AIB")
    )
    folder = written(world, tmp_path / "all")
    assert recompute(folder) == (16 * 3 + 15 + 6 + 2, [])
    team = written(world, tmp_path / "team", team="vision")
    assert recompute(team) == (16 + 15 + 6 + 2, [])
    told = json.loads((folder / "report.json").read_text())
    told["jobs"][0]["market_based"]["carbon_g"] *= 1.01
    (folder / "report.json").write_text(json.dumps(told))
    assert any("market_based_g is" in line for line in recompute(folder)[1])


def test_a_contract_removed_is_in_no_report_any_more(world: World) -> None:
    world.server.store.put_clean_supply(supply("aa", [1000] * 48))
    assert report(world).scope2 != ()
    world.server.store.remove_clean_supply("ppa")
    assert report(world).scope2 == ()


def test_volumes_that_overlap_cover_the_same_of_an_hour_in_every_report() -> None:
    """Two volumes of 10 and 5 kWh share January: no more is covered than was supplied, whichever month is asked for."""
    november, january, march = (datetime(*month, 10, tzinfo=UTC) for month in ((2025, 11), (2026, 1), (2026, 3)))
    loads = [EnergyInterval(at, at + HOUR, 10 * MJ_PER_KWH, "aa") for at in (november, january, march)]
    volumes = [
        CleanSupply(id=name, region="aa", start=datetime(*a, 1, tzinfo=UTC), end=datetime(*b, 1, tzinfo=UTC), wh=(wh,))
        for name, a, b, wh in (("winter", (2025, 11), (2026, 2), 10_000), ("year", (2026, 1), (2027, 1), 5_000))
    ]
    store: Any = SimpleNamespace(
        clean_supplies=lambda: volumes,
        residual_mixes=list,
        region_load=lambda _, *, start, end: Course.of(one for one in loads if one.start < end and one.end > start),
    )
    region: Any = SimpleNamespace(name="aa", pue=1.0)
    uncovered = {
        at: contracted(store, [region], start=at, end=at + HOUR, now=datetime(2026, 6, 1, tzinfo=UTC))
        .clean["aa"]
        .uncovered[at]
        for at in (november, january, march)
    }
    assert sum(10 * (1 - share) for share in uncovered.values()) == pytest.approx(15)
