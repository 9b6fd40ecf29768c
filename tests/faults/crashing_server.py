"""A real server that dies by SIGKILL the first time it reaches a given step, and never again.

usage: crashing_server.py PORT STEP MARKER   (settings come from the environment)
"""

import logging
import os
import signal
import sys
from pathlib import Path

from kilowait_scheduler.serve import listen, run
from kilowait_scheduler.service.compose import compose
from kilowait_scheduler.settings import Settings

port, fatal, marker = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])


def on_step(step: str) -> None:
    if step == fatal and not marker.exists():
        marker.write_text(step)
        os.kill(os.getpid(), signal.SIGKILL)


logging.basicConfig(level=logging.INFO, stream=sys.stderr)
settings = Settings(port=port)
run(compose(settings, on_step=on_step), listen("127.0.0.1", port))
