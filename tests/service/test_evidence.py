"""A report's evidence: a script that knows nothing of ours makes every figure anew, and finds what was changed."""

from __future__ import annotations

import asyncio
import csv
import hashlib
import importlib.util
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone
from kilowait_scheduler.core.baseline import Baseline
from kilowait_scheduler.reports.contracted import Contracted
from kilowait_scheduler.reports.evidence import Evidence
from kilowait_scheduler.reports.model import By
from kilowait_scheduler.service.reporting import Asked
from reports import sample
from world import HOUR, START, World, make_world

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


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two regions in which one job moved and paused, one waited, one ran at once, and one grew. Tests only read it."""
    world = make_world(tmp_path_factory.mktemp("world"), {"AA": HERE, "BB": THERE})
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
        assert recompute(folder) == (14 * 4 + 13 + 6 + 2, [])
    team = written(world, tmp_path / "team", team="vision")
    assert recompute(team) == (14 * 1 + 13 + 6 + 2, [])
    told = subprocess.run([sys.executable, "-I", str(SCRIPT), str(team)], capture_output=True, text=True, check=True)
    not_made, summary = told.stdout.splitlines()
    assert not_made.startswith("not recomputed: measured_pct, gpu_h, ")
    assert summary == "35 figures recomputed, 0 differences"
    by_region = written(world, tmp_path / "region", by=By.REGION)
    assert recompute(by_region)[1] == []
    there = written(world, tmp_path / "there", by=By.MONTH, timezone="Pacific/Kiritimati")
    assert recompute(there)[1] == []


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


def invent(report: dict[str, Any], *path: str | int, value: object) -> None:
    for step in path[:-1]:
        report = report[step]  # type: ignore[index]
    report[path[-1]] = value  # type: ignore[index]


INVENTED: list[tuple[tuple[str | int, ...], object]] = [
    (("totals", "saved_pct"), 99.0),
    (("totals", "jobs"), 99),
    (("totals", "foresight", "promised_saved_g"), 1e6),
    (("totals", "foresight", "ceiling_pct"), 1.0),
    (("totals", "foresight", "jobs"), 9),
    (("jobs", 0, "saved_pct"), 99.0),
    (("jobs", 0, "ceiling_pct"), 1.0),
    (("jobs", 0, "estimated_pct"), 7.0),
    (("jobs", 0, "promised_saved_g"), 5.0),
    (("regions", 0, "pue"), 9.9),
    (("groups", 0, "name"), "invented"),
    (("groups", 0, "totals", "foresight"), None),
]


def signed(folder: Path, report: dict[str, Any]) -> None:
    """Writes the report, and a manifest that vouches for all files."""
    (folder / "report.json").write_text(json.dumps(report))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["sha256"] = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_no_figure_can_be_invented_under_a_manifest_of_ones_own(world: World, tmp_path: Path, recompute: Any) -> None:
    folder = written(world, tmp_path / "e", by=By.TEAM)
    before = (folder / "report.json").read_text()
    for path, value in INVENTED:
        changed = json.loads(before)
        invent(changed, *path, value=value)
        signed(folder, changed)
        assert recompute(folder)[1], path
    signed(folder, json.loads(before))
    assert recompute(folder)[1] == []
    nothing = json.loads(before)
    nothing["groups"], nothing["by"] = [], None
    for line in nothing["jobs"]:
        line["carbon_g"] = None
    for name in ("baselines.csv", "intervals.csv"):
        (folder / name).write_text((folder / name).read_text().splitlines(keepends=True)[0])
    signed(folder, nothing)
    assert any(line.startswith("totals: saved_g") for line in recompute(folder)[1]), "the evidence holds nothing"


def test_evidence_that_is_none_is_refused(world: World, tmp_path: Path, recompute: Any) -> None:
    folder = written(world, tmp_path / "e")
    report = json.loads((folder / "report.json").read_text())
    signed(folder, {**report, "method": ["slotwise@9"]})
    with pytest.raises(ValueError, match="slotwise@9"):
        recompute(folder)
    signed(folder, report)
    intensity = (folder / "intensity.csv").read_text()
    (folder / "intensity.csv").write_text(intensity + intensity.splitlines()[1] + "\n")
    with pytest.raises(ValueError, match="overlaps"):
        recompute(folder)
    (folder / "intensity.csv").write_text(intensity)
    (folder / "note.txt").write_text("more")
    assert recompute(folder)[1] == ["note.txt: not in the manifest"]
    header, first, *rest = (folder / "intervals.csv").read_text().splitlines()
    cells = first.split(",")
    cells[3] = cells[2]
    (folder / "intervals.csv").write_text("\n".join([header, ",".join(cells), *rest]) + "\n")
    with pytest.raises(ValueError, match="has no length"):
        recompute(folder)


def test_negative_intensity_stays_a_number_in_the_evidence() -> None:
    slot = Slot(START, START + HOUR, -40.0)
    series = IntensitySeries(zone=Zone("AA"), signal=AVERAGE_LIFECYCLE, source="test", slots=[slot])
    found = Evidence(sample.sample(), (), {}, {}, (), {"aa": series}, Contracted((), (), {})).files()
    (row,) = csv.DictReader(io.StringIO(found["intensity.csv"]))
    assert float(row["g_per_kwh"]) == -40.0


def test_the_same_evidence_is_packed_into_the_same_bytes(world: World) -> None:
    first, second = (asyncio.run(world.server.reporting.evidence()).packed() for _ in range(2))
    assert first == second
