"""What CodeCarbon or Zeus says of one stretch of a node in virtual time; run with .venv-peers' Python by test_peers.py.

usage: peer_window.py codecarbon|zeus STATE_FILE T1
"""

from __future__ import annotations

import struct
import sys
import time
from pathlib import Path

tool, state, until_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])


def turn_to(seconds: float) -> None:
    """The time of the node; other processes share it."""
    with state.open("r+b") as file:
        file.write(struct.pack("d", seconds))


if tool == "codecarbon":
    from codecarbon import EmissionsTracker

    tracker = EmissionsTracker(
        measure_power_secs=3600, save_to_file=False, allow_multiple_runs=True, log_level="critical"
    )
    tracker.start()
    turn_to(until_s)
    time.sleep(0.1)  # below a twentieth of a real second it does not look once more
    tracker.stop()
    joules = tracker.final_emissions_data.gpu_energy * 3.6e6
else:
    from zeus.monitor import ZeusMonitor

    monitor = ZeusMonitor()
    monitor.begin_window("w", sync_execution=False)
    turn_to(until_s)
    joules = sum(monitor.end_window("w", sync_execution=False).gpu_energy.values())

sys.stdout.write(f"joules {joules}\n")
