"""Compiled kernels: kept where that can be written, done without elsewhere, and not needed to plan."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from kilowait_scheduler.planner.jit import writable

_SOLVE = """
import json, sys
if sys.argv[1] == "plain":
    sys.modules["numba"] = None
from kilowait_scheduler.planner import jit
from kilowait_scheduler.planner.joint import plan
from kilowait_scheduler.planner.problem_json import read, write
assert jit.COMPILED is (sys.argv[1] != "plain")
answer = write(plan(read(json.load(sys.stdin))), seconds=0.0)
json.dump(answer, sys.stdout)
"""


def test_the_first_folder_that_takes_it_is_taken(tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    taken = writable([blocked / "below", tmp_path / "cache"])
    assert taken is not None and taken.parent == tmp_path / "cache" and taken.is_dir()
    assert list(taken.iterdir()) == []


def test_an_installation_where_nothing_can_be_written_compiles_in_memory(tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("")
    assert writable([blocked / "below"]) is None
    assert writable([]) is None


def test_without_numba_the_plan_is_the_same() -> None:
    region = {"name": "r", "capacity_gpus": 2, "intensity_g_per_kwh": [90, 10, 70, 20, 80, 30]}
    jobs = [
        {"id": f"j{n}", "gpus": 1 + n % 2, "slots": 1 + n % 2, "deadline_slot": 6, "kw_per_gpu": 1, "suspendable": True}
        for n in range(4)
    ]
    problem = json.dumps({"slot_minutes": 60, "slots": 6, "regions": [region], "jobs": jobs})

    def solve(how: str) -> dict[str, Any]:
        done = subprocess.run(
            [sys.executable, "-c", _SOLVE, how],
            input=problem,
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    assert solve("plain") == solve("compiled")
