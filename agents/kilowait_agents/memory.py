"""Giving memory back: what a start has used and does not need any more."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress


def give_back() -> None:
    """Call once after the start: what is alive now stays, what was freed goes back to the system.

    Compiling NVIDIA's binding takes 11 MB that glibc would keep for ever; and a collector that goes through every
    module again and again costs a process that lives for months more than its work.
    """
    gc.collect()
    gc.freeze()
    with suppress(OSError, AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)
