"""A stand-in for a training script: counts steps, saves after each, saves and leaves when told to stop.

usage: train.py STEPS SECONDS_PER_STEP
"""

import ctypes
import json
import os
import signal
import sys
import time
from pathlib import Path

steps, pause = int(sys.argv[1]), float(sys.argv[2])
run, region = os.environ["KILOWAIT_RUN"], os.environ["KILOWAIT_REGION"]
folder = os.environ.get("KILOWAIT_CHECKPOINT_PATH")
checkpoint = Path(folder, "checkpoint.json") if folder else None


def hold_gpu() -> object | None:
    """Open a CUDA context, so that the driver sees this run on the GPU; None where there is no driver."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    context = ctypes.c_void_p()
    if cuda.cuInit(0) or cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0):
        return None
    return context


def save(step: int) -> None:
    if checkpoint is not None:
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        partial = checkpoint.with_suffix(".part")
        partial.write_text(json.dumps({"step": step, "run": run, "region": region}))
        partial.replace(checkpoint)


def stop(signum: int, frame: object) -> None:
    global stopping
    stopping = True


gpu = hold_gpu()
stopping = False
signal.signal(signal.SIGTERM, stop)
step = json.loads(checkpoint.read_text())["step"] if checkpoint is not None and checkpoint.exists() else 0
while step < steps and not stopping:
    time.sleep(pause)
    step += 1
    save(step)
