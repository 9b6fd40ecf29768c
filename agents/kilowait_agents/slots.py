"""A small state that survives power cuts, torn writes and full disks: two slots of one file, written in turn."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import Refused

_HEAD = struct.Struct("<QII")  # version of the state, length, CRC-32 of the rest
_SLOT = 256 * 1024


class Slots:
    """A JSON state in `path`. A write goes to the older slot and is synchronised before it counts.

    The file is allocated in full when it is made, so that a state can also be kept on a disk that is full. What cannot
    be read (torn, or never written) does not count; of two good slots the newer does.
    """

    def __init__(self, path: Path, *, sync: Callable[[int], None] = os.fdatasync) -> None:
        self._sync = sync
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        if os.fstat(self._file).st_size < 2 * _SLOT:
            os.pwrite(self._file, bytes(2 * _SLOT), 0)
            os.fsync(self._file)
        good = [one for slot in (0, 1) if (one := self._read(slot)) is not None]
        newest: tuple[int, Any] = max(good, default=(0, None), key=lambda one: one[0])
        self._version, self.state = newest
        self._written: bytes | None = None

    def write(self, state: Any) -> None:
        """Keep `state`; the same as before is kept already. Raises OSError; the state before is then still there."""
        body = zlib.compress(json.dumps(state, separators=(",", ":")).encode(), 1)
        if body == self._written:
            return
        if len(body) > _SLOT - _HEAD.size:
            raise Refused(f"the agent's state takes {len(body)} bytes, more than the {_SLOT} of its slot")
        version = self._version + 1
        head = _HEAD.pack(version, len(body), zlib.crc32(struct.pack("<Q", version) + body))
        os.pwrite(self._file, head + body, (version % 2) * _SLOT)
        self._sync(self._file)
        self._version, self.state, self._written = version, state, body

    def close(self) -> None:
        os.close(self._file)

    def _read(self, slot: int) -> tuple[int, Any] | None:
        data = os.pread(self._file, _SLOT, slot * _SLOT)
        if len(data) < _HEAD.size:
            return None
        version, length, crc = _HEAD.unpack_from(data)
        body = data[_HEAD.size : _HEAD.size + length]
        if not version or len(body) < length or zlib.crc32(struct.pack("<Q", version) + body) != crc:
            return None
        try:
            return version, json.loads(zlib.decompress(body))
        except (ValueError, zlib.error):
            return None
