"""Waiting: what ends the loop's sleep early: a signal to stop, or the end of a process that holds a device."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

_LONGEST_S = 1_000_000.0  # poll takes no more than 2^31 ms; eleven days are as good as for ever


class Stop:
    """Raised once, stays raised.

    Built on an eventfd, because a signal handler may write to one at any moment: an Event set in a handler can wait
    forever for the lock that the interrupted main thread holds.
    """

    def __init__(self) -> None:
        self._raised = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)

    def __del__(self) -> None:
        os.close(self._raised)

    def set(self) -> None:
        os.eventfd_write(self._raised, 1)

    def is_set(self) -> bool:
        return self.wait(0)

    def wait(self, seconds: float, exits: Exits | None = None) -> bool:
        """Whether to stop, known within `seconds`, or sooner if one of the `exits` happens."""
        poll = select.poll()
        poll.register(self._raised, select.POLLIN)
        for file in exits.files if exits is not None else ():
            poll.register(file, select.POLLIN)
        ready = {file for file, _ in poll.poll(min(max(0.0, seconds), _LONGEST_S) * 1000)}
        if exits is not None:
            exits.happened(ready)
        return self._raised in ready


class Exits:
    """The ends of processes, told by the kernel when they happen (pidfd); so a run's end need not wait for a look."""

    def __init__(self) -> None:
        self._open: dict[int, int] = {}
        self._gone: set[int] = set()

    @property
    def files(self) -> Collection[int]:
        """What becomes readable when a process ends."""
        return self._open.values()

    def follow(self, pids: set[int]) -> None:
        """From now on these and no others; those of other PID namespaces, and those that ended, cannot be followed."""
        self._gone &= pids
        for pid in self._open.keys() - pids:
            os.close(self._open.pop(pid))
        for pid in pids - self._open.keys() - self._gone:
            with suppress(OSError):
                self._open[pid] = os.pidfd_open(pid)

    def happened(self, ready: Collection[int]) -> None:
        """These were readable: each end is told once, though the driver may list the process for a while."""
        for pid in [pid for pid, file in self._open.items() if file in ready]:
            os.close(self._open.pop(pid))
            self._gone.add(pid)

    def close(self) -> None:
        """Follow nobody."""
        self.follow(set())


@contextmanager
def on_signals(then: Callable[[], None]) -> Iterator[None]:
    """Calls `then` at SIGTERM and SIGINT while the block runs; outside the main thread it leaves signals alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: then()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
