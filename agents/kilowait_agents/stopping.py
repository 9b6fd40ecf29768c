"""Stop: one flag that signal handlers and threads may raise and the loop waits on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue


class Stop:
    """Raised once, stays raised.

    Built on SimpleQueue because its `put` is reentrant: an Event set in a signal handler can wait forever for the lock
    that the interrupted main thread holds.
    """

    def __init__(self) -> None:
        self._raised: SimpleQueue[None] = SimpleQueue()

    def set(self) -> None:
        self._raised.put(None)

    def is_set(self) -> bool:
        return not self._raised.empty()

    def wait(self, seconds: float) -> bool:
        """Whether to stop, known within `seconds`."""
        try:
            self._raised.get(timeout=max(0.0, seconds))
        except Empty:
            return False
        self._raised.put(None)
        return True


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
