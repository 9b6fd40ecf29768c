"""Our exports in the hands of the programs they are for: the Impact Framework, FOCUS's validator, CodeCarbon's reader.

Each is looked for on PATH, or in an environment of its own, and never fetched: npm has `@grnsft/if`, PyPI has
`focus-validator` (2.2, whose rules of FOCUS 1.2 come with it) and CodeCarbon (`make prepare-peers`).
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml

from kilowait_scheduler.core.money import Money
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.reports.formats import FORMS
from kilowait_scheduler.reports.model import Report, Use
from reports import sample


def _program(name: str, *, of: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not on PATH ({of})")
    return found


def _report() -> Report:
    """The sample with tariffs, a job in two regions and two months, one held without readings, and names of digits."""
    report = sample.by_team()
    jobs = [
        replace(job, uses=tuple(replace(use, energy_cost=Money(Decimal("0.000001"), "EUR")) for use in job.uses))
        for job in report.jobs
    ]
    made = Range(1.0, 500.0, 900.0)
    first = jobs[0].uses[0]
    moved = (first, replace(first, region="eu-north", month="2026-12"), Use("de-central", "2026-12", None, None, made))
    jobs[0] = replace(jobs[0], id="00000000000000368", name="1e3", team="1e3", project="0o17", uses=moved)
    return replace(report, jobs=tuple(jobs))


@pytest.mark.parametrize("report", [_report(), sample.empty(), sample.nothing_measured()], ids=["a", "b", "c"])
def test_the_impact_framework_computes_what_our_manifest_says(report: Report, tmp_path: Path) -> None:
    if_run = _program("if-run", of="npm: @grnsft/if")
    ours, theirs = tmp_path / "ours.yaml", tmp_path / "theirs.yaml"
    ours.write_text(str(FORMS["impact-framework"].write(report)))
    # Their output is checked, not their exit code: it is 0 even where they stop.
    subprocess.run([if_run, "-m", ours, "-o", theirs], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    written, computed = yaml.safe_load(ours.read_text()), yaml.safe_load(theirs.read_text())
    assert computed["execution"]["status"] == "success"
    assert written["tree"]["children"] == computed["tree"]["children"], "to the last bit, defaults and all"


def test_focus_finds_no_fault_that_is_ours(tmp_path: Path) -> None:
    validator = Path(_program("focus-validator", of="PyPI: focus-validator 2.2, which needs Python 3.12"))
    exported = tmp_path / "focus.csv"
    exported.write_text(str(FORMS["focus"].write(_report())))
    # It looks for its currencies from the folder that its package is in.
    (packages,) = validator.resolve().parent.parent.glob("lib/python*/site-packages")
    said = subprocess.run(
        [
            *(validator, "--data-file", exported, "--validate-version", "1.2", "--block-download"),
            *("--column-namespace", "x_", "--applicability-criteria", ",".join(SUPPORTED)),
        ],
        cwd=packages,
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    ).stdout
    passed = set(re.findall(r"^✅ (\S+):", said, re.M))
    failed = set(re.findall(r"^❌ (\S+): FAIL\b(?!.*failed child)", said, re.M))
    assert len(passed) > 150, said
    assert failed == THEIRS, said


SUPPORTED = (
    "ACCOUNT_NAMING_SUPPORTED",
    "REGION_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
)
# What docs/exports.md says of these: a rule that asks for a column we must not have, and two that exclude each other.
THEIRS = {"ConsumedQuantity-C-004-C", "ConsumedQuantity-C-006-C", "InvoiceId-C-005-C"}


# As CodeCarbon's viewer reads a file, after its own writer has added a row to it.
READER = """
import dataclasses, json, sys
import pandas as pd
from codecarbon.output_methods.emissions_data import EmissionsData
from codecarbon.output_methods.file import FileOutput
values = {field.name: 0.0 for field in dataclasses.fields(EmissionsData)}
theirs = EmissionsData(**{**values, "project_name": "theirs", "on_cloud": "N", "emissions": 1.5})
FileOutput(sys.argv[2], sys.argv[1]).out(theirs, theirs)
table = pd.read_csv(f"{sys.argv[1]}/{sys.argv[2]}")
needed = ["project_name", "timestamp", "duration", "emissions", "energy_consumed", "region", "on_cloud"]
sums = table.groupby("project_name")[["duration", "emissions", "energy_consumed"]].sum()
print(json.dumps({"missing": int(table[needed].isna().sum().sum()), "sums": sums.T.to_dict()}))
"""


@pytest.mark.peers
def test_codecarbon_reads_our_rows_and_adds_its_own(lane_missing: Callable[[str], None], tmp_path: Path) -> None:
    python = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
    if not python.exists():
        lane_missing("CodeCarbon lives in .venv-peers (make prepare-peers)")
    report = sample.sample()
    (tmp_path / "emissions.csv").write_text(str(FORMS["codecarbon"].write(report)))
    command = [python, "-c", READER, tmp_path, "emissions.csv"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path, timeout=100).stdout
    found = json.loads(said.splitlines()[-1])
    assert [file.name for file in tmp_path.glob("emissions*")] == ["emissions.csv"], "ours is not set aside as foreign"
    assert found["missing"] == 0, "one empty cell makes its sums unknown"
    assert found["sums"].pop("theirs")["emissions"] == 1.5
    kg = {name: one["emissions"] for name, one in found["sums"].items()}
    known = [job for job in report.jobs if job.carbon_g is not None]
    assert set(kg) == {job.project for job in known}
    assert sum(kg.values()) * 1e3 == pytest.approx(report.totals.carbon_g)
    drawn = sum(one["energy_consumed"] for one in found["sums"].values())
    assert drawn == pytest.approx(report.totals.energy_kwh)
