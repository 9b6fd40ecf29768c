"""Works STEPS x 0.25 s, keeps its count, and notes in a log when it starts, ends, or meets itself.

usage: workload.py STEPS FOLDER [WHERE]   (in region, or on number of GPUs, WHERE it gets no further than half-way)
"""

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

steps, folder = int(sys.argv[1]), Path(sys.argv[2])
run = os.environ["KILOWAIT_RUN"]
folder.mkdir(parents=True, exist_ok=True)


def note(what: str) -> None:
    with (folder / "log").open("a") as log:
        log.write(f"{what} run={run} region={os.environ['KILOWAIT_REGION']} gpus={os.environ['KILOWAIT_GPUS']}\n")


def stop(signum: int, frame: object) -> None:
    global stopping
    stopping = True


stopping = False
signal.signal(signal.SIGTERM, stop)
lock = (folder / "lock").open("w")
try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    note("OVERLAP")
    sys.exit(1)
counter = folder / "step"
step = int(counter.read_text()) if counter.exists() else 0
note(f"start step={step}")
slow = len(sys.argv) > 3 and sys.argv[3] in (os.environ["KILOWAIT_REGION"], os.environ["KILOWAIT_GPUS"])
while step < steps and not stopping:
    time.sleep(0.25)
    if slow and step >= steps // 2:
        continue
    step += 1
    partial = folder / "step.part"
    partial.write_text(str(step))
    partial.replace(counter)
note(f"end step={step}")
