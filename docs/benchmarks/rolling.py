"""What one decision takes with a rolling mean in pandas, per job, in milliseconds; run by `.venv-oracles`' Python.

stdin: {"grams": {region: [...]}, "jobs": [[first, deadline, work, [regions], {region: relocation_g per kW of it}]]}
stdout: {"pandas": version, "ms": [...], "home_ms": [...]}: over all regions a job may use, and over its home alone

No capacity, no restarts, one unbroken window: less than the planner decides.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import pandas as pd


def main() -> None:
    asked = json.load(sys.stdin)
    frame = pd.DataFrame(asked["grams"])
    answer: dict[str, object] = {"pandas": pd.__version__}
    for key, most in (("ms", None), ("home_ms", 1)):
        took = []
        for first, last, work, regions, move in asked["jobs"]:
            chosen = regions[:most]
            begin = time.perf_counter()
            means = frame[chosen].iloc[first:last].rolling(work).mean()
            totals = means.min() * work + np.array([move.get(region, 0.0) for region in chosen])
            region = totals.idxmin()
            means[region].idxmin()
            took.append((time.perf_counter() - begin) * 1000)
        answer[key] = took
    print(json.dumps(answer))


main()
