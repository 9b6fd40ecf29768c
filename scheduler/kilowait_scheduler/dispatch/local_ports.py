"""Blocks of free ports on this machine, one for each local Ray head."""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Collection, Iterator
from typing import Final

BLOCK: Final = 128
# Held while the block is in use, and never listened on.
_LOCK: Final = BLOCK - 1
_BASES: Final = range(20_000, 31_000, BLOCK)  # below the ports that Linux hands out by itself (32768 and up)


class NoFreePorts(Exception):
    """Every block is in use."""


@contextlib.contextmanager
def free_block(offsets: Collection[int], *, rng: random.Random) -> Iterator[tuple[int, socket.socket]]:
    """(first port, held last port) of a block in which the ports at `offsets` are free.

    Holding the last port is what keeps two programs from taking the same block between looking and using: whoever
    starts the users of the block passes the socket on to a process that lives as long as they do.
    """
    for base in rng.sample(_BASES, len(_BASES)):
        lock = _bound(base + _LOCK)
        if lock is None:
            continue
        with lock:
            if all(_is_free(base + offset) for offset in offsets):
                yield base, lock
                return
    raise NoFreePorts(f"no block of {BLOCK} free ports from {_BASES.start} to {_BASES.stop}")


def _bound(port: int) -> socket.socket | None:
    tried = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        tried.bind(("0.0.0.0", port))  # noqa: S104  it never listens
    except OSError:
        tried.close()
        return None
    return tried


def _is_free(port: int) -> bool:
    tried = _bound(port)
    if tried is None:
        return False
    tried.close()
    return True
