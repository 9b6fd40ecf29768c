"""One file of the spool: checksummed frames, each with the records of one flush, after the anchors it starts from."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .anchors import Anchors, from_plain, plain
from .errors import Refused
from .wire import Record

_HEAD = struct.Struct("<III")  # length and CRC-32 of the payload, number of records (0: the anchors)

Sync = Callable[[int], None]


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A record's place in the spool; ordered."""

    segment: int
    offset: int
    """Of its frame in the file."""
    index: int = 0
    """Of the record in its frame."""


class Segment:
    """The file `NUMBER-LEVEL.seg`; `level` says how often it was coarsened, `end` where its whole frames end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        number, _, level = path.stem.partition("-")
        self.number, self.level = int(number), int(level)
        self.records = 0
        self.end = 0
        self.damaged = False

    def check(self) -> None:
        """Look at every frame; what follows the last whole one is damage, and `end` is before it."""
        with self.path.open("rb") as file:
            while head := file.read(_HEAD.size):
                payload = b""
                if len(head) == _HEAD.size:
                    length, crc, count = _HEAD.unpack(head)
                    payload = file.read(length) if length <= os.fstat(file.fileno()).st_size else b""
                if len(head) < _HEAD.size or len(payload) < length or zlib.crc32(payload, count) != crc:
                    self.damaged = True
                    return
                self.end += _HEAD.size + length
                self.records += count

    def frames(self, offset: int = 0) -> Iterator[tuple[int, int, Any]]:
        """(offset, records, content) of each whole frame from `offset` on; content is the anchors or the records."""
        with self.path.open("rb") as file:
            file.seek(offset)
            while offset < self.end:
                length, _, count = _HEAD.unpack(file.read(_HEAD.size))
                content = json.loads(zlib.decompress(file.read(length)))
                yield offset, count, [Record.from_dict(one) for one in content] if count else from_plain(content)
                offset += _HEAD.size + length

    def append(self, file: int, records: Sequence[Record], *, sync: Sync) -> None:
        """Add a frame and wait until it is on the disk. Raises OSError, and then nothing was added."""
        self._add(file, [record.to_dict() for record in records], count=len(records), sync=sync)
        self.records += len(records)

    def begin(self, file: int, anchors: Anchors, *, sync: Sync) -> None:
        """The first frame: where the account of each device stood before this segment."""
        self._add(file, plain(anchors), count=0, sync=sync)

    def _add(self, file: int, content: object, *, count: int, sync: Sync) -> None:
        # A window of 4 KiB squeezes records no worse than the usual one, which takes 256 KiB to be touched.
        squeeze = zlib.compressobj(level=1, wbits=12, memLevel=5)
        payload = squeeze.compress(json.dumps(content, separators=(",", ":")).encode()) + squeeze.flush()
        frame = _HEAD.pack(len(payload), zlib.crc32(payload, count), count) + payload
        try:
            if os.pwrite(file, frame, self.end) < len(frame):
                raise OSError("the frame was written in part; is the disk full?")
            sync(file)
        except OSError:
            os.ftruncate(file, self.end)
            raise
        self.end += len(frame)


def open_segments(folder: Path) -> tuple[list[Segment], list[Path]]:
    """The good segments in `folder`, in order, and the files that came after damage and cannot be trusted.

    A torn tail of the last segment is cut off. Damage in an earlier one ends the account there: the counters tell the
    sum of everything after it. Leftovers of an interrupted coarsening are removed.
    """
    found: dict[int, Segment] = {}
    for path in sorted(folder.glob("*.seg")):
        try:
            segment = Segment(path)
        except ValueError as error:
            raise Refused(f"{path} is not a segment of a spool; move it away") from error
        other = found.get(segment.number)
        if other is not None:
            min(segment, other, key=lambda one: one.level).path.unlink()
            segment = max(segment, other, key=lambda one: one.level)
        found[segment.number] = segment
    for path in folder.glob("*.tmp"):
        path.unlink()
    ordered = [found[number] for number in sorted(found)]
    for index, segment in enumerate(ordered):
        segment.check()
        if segment.damaged:
            with segment.path.open("r+b") as file:
                file.truncate(segment.end)
            return ordered[: index + 1], [later.path for later in ordered[index + 1 :]]
    return ordered, []


def replace_segment(segment: Segment, records: Sequence[Record], anchors: Anchors, *, sync: Sync) -> Segment:
    """`segment` rewritten with `records` at the next level, at no moment absent from the disk. Raises OSError."""
    path = segment.path.with_name(f"{segment.number:010d}-{segment.level + 1}.seg")
    fresh = Segment(path)
    draft = path.with_suffix(".tmp")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        fresh.begin(file, anchors, sync=lambda _: None)
        for start in range(0, len(records), 64):
            fresh.append(file, records[start : start + 64], sync=lambda _: None)
        sync(file)
    except OSError:
        draft.unlink()
        raise
    finally:
        os.close(file)
    draft.rename(path)
    sync_folder(path.parent)
    segment.path.unlink()
    return fresh


def sync_folder(folder: Path) -> None:
    """Names in `folder` are on the disk."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
