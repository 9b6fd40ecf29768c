"""Our plan of a small crowded problem against what CP-SAT finds in ten seconds; the benchmark times both."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.joint import plan
from kilowait_scheduler.planner.problem import Problem
from planning import as_json, market

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-oracles" / "bin" / "python"
SECONDS = 10.0

pytestmark = pytest.mark.cpsat


@pytest.fixture(scope="module")
def cpsat(lane_missing: Callable[[str], NoReturn]) -> Callable[[Problem], dict[str, Any]]:
    """What CP-SAT finds in `SECONDS` on two workers."""
    if not PYTHON.exists():
        lane_missing("CP-SAT is not installed in .venv-oracles (make prepare-oracles)")

    def ask(problem: Problem) -> dict[str, Any]:
        command = [PYTHON, Path(__file__).with_name("cpsat_solver.py"), str(SECONDS)]
        done = subprocess.run(command, input=json.dumps(as_json(problem)), capture_output=True, text=True, timeout=90)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    return ask


def crowded(seed: int, jobs: int, load: float) -> Problem:
    return market(
        seed, jobs=jobs, regions=3, slots=48, load=load, restart_kwh=0.3, suspendable=0.7, largest=6, longest=8
    )


@pytest.mark.parametrize(("seed", "jobs", "load"), [(62, 12, 0.4), (63, 16, 0.5), (64, 20, 0.6), (65, 24, 0.5)])
def test_a_plan_is_within_a_hundredth_of_what_cp_sat_finds(
    cpsat: Callable[[Problem], dict[str, Any]], seed: int, jobs: int, load: float
) -> None:
    problem = crowded(seed, jobs, load)
    made = plan(problem)
    theirs = cpsat(problem)
    assert violations(made, problem) == []
    assert len(made.placements) == jobs >= theirs["placed"]
    if theirs["placed"] < jobs:
        return  # what is cheaper because it does less is no measure
    assert made.objective_g <= 1.01 * theirs["objective_g"]
    assert made.lower_bound_g <= theirs["objective_g"] * (1 + 1e-6)
    assert theirs["bound_g"] <= made.objective_g * (1 + 1e-6)
