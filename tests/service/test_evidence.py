"""A report's evidence: a script that knows nothing of ours makes every figure anew, and finds what was changed."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.service.reporting import Asked
from world import HOUR, World, make_world

SCRIPT = Path(__file__).parents[2] / "docs" / "recompute.py"
CHECKPOINT = {"path": "/ckpt", "restart": "10m", "period": "10m"}
HERE = [100.0] * 3 + [500.0] * 3 + [350.0, 80.0, 90.0] + [500.0] * 15
ELASTIC = {"gpus": {"min": 1, "max": 2}, "throughput": {1: 1.0, 2: 1.4}}
THERE = [500.0] * 3 + [120.0] * 2 + [500.0] * 19


@pytest.fixture
def recompute() -> Any:
    spec = importlib.util.spec_from_file_location("recompute", SCRIPT)
    assert spec is not None and spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.recompute


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Two regions in which one job moved and paused, one waited, one ran at once, and one grew."""
    world = make_world(tmp_path, {"AA": HERE, "BB": THERE})
    where = {"home": "aa", "any_of": ["aa", "bb"]}
    common = {"resources": {"gpus": 4}, "regions": where}
    jobs = [
        world.submit(name="moves", duration="6h", within="11h", checkpoint=CHECKPOINT, **common),
        world.submit(name="waits", duration="2h", within="12h", team="vision", resources={"gpus": 2}),
        world.submit(name="runs", duration="1h", within="2h", **common),
        world.submit(name="grows", duration="8h", within="9h", checkpoint=CHECKPOINT, resources=ELASTIC),
    ]
    world.finish(*(job.id for job in jobs))
    world.run(6 * HOUR)
    yield world
    world.close()


def written(world: World, folder: Path, **options: Any) -> Path:
    found = asyncio.run(world.server.reporting.evidence(Asked(**options)))
    assert all(line.carbon_g is not None for line in found.report.jobs)
    folder.mkdir()
    for name, text in found.files().items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_every_figure_is_recomputed_from_the_evidence(world: World, tmp_path: Path, recompute: Any) -> None:
    for number, baseline in enumerate(Baseline):
        folder = written(world, tmp_path / str(number), baseline=baseline)
        assert recompute(folder) == (11 * 4 + 10 + 3, [])
    team = written(world, tmp_path / "team", team="vision")
    assert recompute(team) == (11 * 1 + 10 + 3, [])
    told = subprocess.run([sys.executable, "-I", str(SCRIPT), str(team)], capture_output=True, text=True, check=True)
    assert told.stdout == "24 figures recomputed, 0 differences\n"


def test_an_elastic_job_says_how_many_gpus_it_held(world: World) -> None:
    report = asyncio.run(world.server.reporting.savings())
    grows = next(line for line in report.jobs if line.name == "grows")
    held = [run.gpus for run in world.job(grows.id).state.runs]
    assert grows.gpus == max(held, key=lambda gpus: gpus or 0) == 2


def test_what_was_changed_in_evidence_or_report_is_found(world: World, tmp_path: Path, recompute: Any) -> None:
    folder = written(world, tmp_path / "e")
    report = folder / "report.json"
    before = report.read_text()
    changed = json.loads(before)
    changed["jobs"][0]["saved_g"] += 0.01
    report.write_text(json.dumps(changed))
    _, wrong = recompute(folder)
    assert any("saved_g" in line for line in wrong)
    assert any("report.json: not the file" in line for line in wrong)
    report.write_text(before)
    intervals = folder / "intervals.csv"
    lines = intervals.read_text().splitlines(keepends=True)
    intervals.write_text("".join(lines[:-1]))
    assert recompute(folder)[1]


def test_the_same_evidence_is_packed_into_the_same_bytes(world: World) -> None:
    first, second = (asyncio.run(world.server.reporting.evidence()).packed() for _ in range(2))
    assert first == second
