"""Another tool measures this node for a while; run with .venv-peers' Python by agent_bench.py.

usage: agent_peers.py codecarbon|zeus SECONDS

Writes one JSON line: the moments of its first and last reading, joules, CPU and memory.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

tool, seconds = sys.argv[1], float(sys.argv[2])
_before = time.process_time()
import pynvml  # noqa: E402

reads: list[float] = []
_real = pynvml.nvmlDeviceGetTotalEnergyConsumption


def _noted(handle: Any) -> int:
    reads.append(time.time())
    return int(_real(handle))


pynvml.nvmlDeviceGetTotalEnergyConsumption = _noted

if tool == "codecarbon":
    from codecarbon import EmissionsTracker

    tracker = EmissionsTracker(measure_power_secs=1, save_to_file=False, allow_multiple_runs=True, log_level="critical")
    imported = time.process_time() - _before
    tracker.start()
    # What it read while it looked around is not of its window; that begins with the last look at each board here.
    del reads[: -pynvml.nvmlDeviceGetCount()]
    began = time.process_time()
    time.sleep(seconds)
    busy = time.process_time() - began
    tracker.stop()
    joules = tracker.final_emissions_data.gpu_energy * 3.6e6
else:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor()
    imported = time.process_time() - _before
    reads.clear()
    monitor.begin_window("w", sync_execution=False)
    began = time.process_time()
    time.sleep(seconds)
    busy = time.process_time() - began
    joules = sum(monitor.end_window("w", sync_execution=False).gpu_energy.values())

print(
    json.dumps(
        {
            "t0": reads[0],
            "t1": reads[-1],
            "joules": joules,
            "cpu_s_per_h": 3600 * busy / seconds,
            "import_cpu_s": imported,
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "pid": os.getpid(),
        }
    )
)
