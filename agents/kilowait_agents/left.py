"""What waits in the spools of meters that are not in use: nobody sends it, so somebody has to be told."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from .errors import Refused
from .settings import MeterChoice
from .spool import Spool
from .wire import Source

_CHOICES: dict[Source, MeterChoice] = {
    "nvml": "nvml",
    "amdsmi": "amd",
    "rapl": "rapl",
    "model": "host",
    "simulated": "simulated",
}

_log = logging.getLogger(__name__)


def left_records(state_dir: Path, *, but: Path) -> int:
    """How many records wait in the spools under `state_dir`, apart from the spool `but` and those of running agents.

    Each spool that holds some is named in a warning, with how its records get to the server. A batch says which meter
    its records are of, so they cannot leave with those of `but`.
    """
    waiting = 0
    for folder in sorted(state_dir.glob("spool*")):
        if folder == but or not any(folder.glob("*.seg")) or _in_use(folder):
            continue
        try:
            spool = Spool(folder)
        except Refused as error:
            _log.warning("what waits in %s is not known: %s", folder, error)
            continue
        records = len(spool)
        spool.close()
        if records:
            _log.warning("%d records wait in %s and are not sent: %s", records, folder, _mend(folder))
        waiting += records
    return waiting


def _in_use(folder: Path) -> bool:
    try:
        lock = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _mend(folder: Path) -> str:
    source, _, day = folder.name.removeprefix("spool").removeprefix("-").partition("-")
    if day:
        return "they are of a demonstration that is over; remove the folder"
    for known, choice in _CHOICES.items():
        if source == known:
            return f"run the agent with --meter {choice} and this --state-dir once, or remove the folder"
    return "they were kept without saying which meter they are of; look at them, then move the folder away"
