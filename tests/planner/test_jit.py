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


_WARM = """
import sys
sys.path.insert(0, sys.argv[1])
from kilowait_scheduler.planner import conflicts, kernels, onepool, sweeps
from kilowait_scheduler.planner.joint import plan, warm_up
from planning import market

def compiled():
    rooms = (conflicts, kernels, onepool, sweeps)
    found = {name: kernel for room in rooms for name, kernel in vars(room).items() if hasattr(kernel, "signatures")}
    return {name: len(kernel.signatures) for name, kernel in found.items()}

warm_up()
before = compiled()
for seed, jobs in ((1, 20), (2, 70), (3, 120)):
    plan(market(seed, jobs=jobs, regions=2, slots=24, load=0.9, suspendable=0.5, restart_kwh=0.2, movable=seed == 2))
after = compiled()
print({name: after[name] for name in after if after[name] != before[name]})
"""


def test_nothing_is_left_to_compile_once_all_is_warmed_up() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WARM, str(Path(__file__).parent.parent)],
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{}"
