"""Planning shards on a real Ray: the same plan as in one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(240)]


def problem() -> dict[str, Any]:
    """120 jobs that contend for three small regions over two days: enough to be cut into several shards."""
    rng = np.random.default_rng(5)
    regions = [
        {
            "name": f"r{n}",
            "capacity_gpus": 12,
            "intensity_g_per_kwh": [round(float(v), 3) for v in rng.uniform(50, 600, 48)],
        }
        for n in range(3)
    ]
    jobs = []
    for n in range(120):
        slots, first = int(rng.integers(1, 8)), int(rng.integers(0, 24))
        jobs.append(
            {
                "id": f"j{n}",
                "gpus": int(rng.integers(1, 5)),
                "slots": slots,
                "earliest_slot": first,
                "deadline_slot": min(48, first + 2 * slots + 12),
                "suspendable": bool(rng.random() < 0.7),
                "restart_kwh": 0.05,
                "kw_per_gpu": 0.4,
            }
        )
    return {"slot_minutes": 60, "slots": 48, "regions": regions, "jobs": jobs}


def test_a_plan_priced_on_ray_is_the_plan_priced_here(tmp_path: Path) -> None:
    path = tmp_path / "problem.json"
    path.write_text(json.dumps(problem()))
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "KILOWAIT_"))}
    environment = {**clean, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}

    def solve(*more: str) -> dict[str, Any]:
        command = [str(Path(sys.executable).with_name("kilowait")), "plan", "--problem", str(path), "-o", "json", *more]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        answer.pop("seconds")
        return answer

    here = solve()
    assert here["gap_pct"] > 0, "nobody contends, so nothing was priced"
    assert solve("--ray", "local") == here
