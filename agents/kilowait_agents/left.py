"""What waits in the spools of meters that are not in use: delivered beside our own, as what it is.

A batch says which meter its records are of, so those of another meter never leave with ours. They are sent from their
own spool, under their own epochs and numbers, while the server takes ours: then it is there, and its clock the wall's.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from .errors import Refused
from .spool import Spool
from .uplink import Uplink
from .wire import Source

_LOOK_S = 0.5  # between two looks whether the server is there
_AGAIN_S = 60.0  # after it turned out not to be

_log = logging.getLogger(__name__)


class Left:
    """The spools under `state_dir` apart from `but` and those of running agents; each with records is named once.

    `uplink` makes the way to the server for a spool and its meter; None where records of the wall clock cannot be sent
    at all (a demonstration's server).
    """

    def __init__(self, state_dir: Path, *, but: Path, uplink: Callable[[Spool, Source], Uplink] | None) -> None:
        self._uplink = uplink
        self._stopped = threading.Event()
        self._waiting: dict[Path, int] = {}
        self._sent: dict[Path, Source] = {}
        for folder in sorted(state_dir.glob("spool*")):
            if folder == but or not any(folder.glob("*.seg")) or _in_use(folder):
                continue
            try:
                spool = Spool(folder)
            except Refused as error:
                _log.warning("what waits in %s is not known: %s", folder, error)
                continue
            if records := len(spool):
                self._waiting[folder] = records
                self._name(folder, records=records)
            spool.close()

    @property
    def waiting(self) -> int:
        """How many records are still there."""
        return sum(self._waiting.values())

    def run(self, there: Callable[[], bool]) -> None:
        """Send them whenever the server is `there`, until all are or `stop`; for a thread of its own."""
        pause_s = _LOOK_S
        while self._sent and not self._stopped.wait(pause_s):
            pause_s = _LOOK_S
            if there():
                for folder in list(self._sent):
                    if not self._deliver(folder):
                        pause_s = _AGAIN_S

    def stop(self) -> None:
        """Let `run` return after the batch that is under way."""
        self._stopped.set()

    def _deliver(self, folder: Path) -> bool:
        """Send what is in the folder; False if the server did not take all of it.

        The spool is ours no longer than the server answers: an agent of that meter may start at any time.
        """
        assert self._uplink is not None
        try:
            spool = Spool(folder)
        except Refused:  # an agent of that meter has started; they are its own to send
            del self._sent[folder], self._waiting[folder]
            return True
        try:
            uplink = self._uplink(spool, self._sent[folder])
            while (pause_s := uplink.attempt()) == 0 and not self._stopped.is_set():
                self._waiting[folder] = len(spool)
            self._waiting[folder] = len(spool)
        finally:
            spool.close()
        if self._waiting[folder]:
            return pause_s == 0  # stopped in between
        _log.info("what waited in %s is delivered", folder)
        del self._sent[folder], self._waiting[folder]
        return True

    def _name(self, folder: Path, *, records: int) -> None:
        source, _, day = folder.name.removeprefix("spool").removeprefix("-").partition("-")
        known: Source | None = next((one for one in get_args(Source) if one == source), None)
        if day:
            why = "they are of a demonstration that is over; remove the folder"
        elif known is None:
            why = "they were kept without saying which meter they are of; look at them, then move the folder away"
        elif self._uplink is None:
            why = "this server's time is a demonstration's; start the agent with the server that they are for"
        else:
            self._sent[folder] = known
            _log.info("%d records of another meter wait in %s; they are sent as well", records, folder)
            return
        _log.warning("%d records wait in %s and are not sent: %s", records, folder, why)


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
