"""The spool: records on disk until the server holds them; what a power cut, a full disk or a lost file leaves exact.

Records are numbered and synchronised before `append` returns, so whatever was sent was kept first. Beside them, in a
file of its own, stands how far the server has confirmed and how far records were sent at all: with that and the
driver's counters even a lost spool costs detail, and no energy.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from typing import Any

from .anchors import Anchors, Resume, advance, from_plain, plain, resume_from
from .coarsen import STEPS_US, coarsen
from .errors import Refused
from .segment import Place, Segment, Sync, open_segments, replace_segment, sync_folder
from .slots import Slots
from .wire import Record

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SpoolLimits:
    """Bytes. Above `whole`, or with less than `free_share` of the disk free, the oldest records are coarsened."""

    whole: int = 256 * 1024 * 1024
    segment: int = 256 * 1024
    free_share: float = 0.05


class Spool:
    """Records in `folder`, in the order in which they were made. Safe between threads; one process at a time.

    `resumes` says where the account of each device stood when the folder was opened. Raises Refused if the folder
    cannot be used.
    """

    def __init__(self, folder: Path, *, limits: SpoolLimits | None = None, sync: Sync = os.fdatasync) -> None:
        self._folder = folder
        self._limits = limits or SpoolLimits()
        self._sync = sync
        self._lock = threading.RLock()
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._owner = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._owner)
            self._slots = Slots(folder / "anchors", sync=sync)
            self._segments, lost = open_segments(folder)
        except BlockingIOError as error:
            raise Refused(f"{folder} is used by another agent; give each its own --state-dir") from error
        except OSError as error:
            raise Refused(f"the spool {folder} cannot be used: {error}") from error
        self._set_aside(lost)
        state = self._slots.state or {"cursor": [0, 0, 0], "posted": [0, 0, 0], "acked": {}, "sent": {}}
        self._cursor, self._posted = Place(*state["cursor"]), Place(*state["posted"])
        self._acked, self._sent = from_plain(state["acked"]), from_plain(state["sent"])
        self._delivered = self._records_before(self._cursor)
        self._drop_delivered()
        self._tail = self._tail_of([one for one in self._segments if one.end][-1:])
        self.resumes: dict[str, Resume] = resume_from(kept=self._tail, acked=self._acked, sent=self._sent)
        self._tail = {uuid: resume.anchor for uuid, resume in self.resumes.items()}
        self._read_from = self._cursor
        self._window: deque[tuple[Place, Record]] = deque()
        last = self._segments[-1].number if self._segments else 0
        self._number = max(last, self._cursor.segment, self._posted.segment)
        self._file: int | None = None
        self._pressed = False

    def append(self, records: Sequence[Record]) -> None:
        """Keep `records`, durably. Raises OSError if the disk does not take them; then none of them was kept."""
        if not records:
            return
        with self._lock:
            if self._file is None or self._segments[-1].end > self._limits.segment:
                self._begin_segment()
            assert self._file is not None
            self._segments[-1].append(self._file, records, sync=self._sync)
            advance(self._tail, records)
            self._relieve()

    def head(self, limit: int) -> list[Record]:
        """The oldest records, at most `limit`; they stay."""
        with self._lock:
            self._fill(limit)
            return [record for _, record in list(self._window)[:limit]]

    def sending(self, records: Collection[Record]) -> None:
        """Note, before they leave, that the server may hold these records of the head from now on. Raises OSError."""
        with self._lock:
            fresh = [(place, one) for place, one in list(self._window)[: len(records)] if not place < self._posted]
            if not fresh:
                return
            advance(self._sent, [record for _, record in fresh])
            last = fresh[-1][0]
            self._posted = replace(last, index=last.index + 1)
            self._write_state()

    def done(self, records: Collection[Record]) -> None:
        """Let go of these records of the head; the server holds them, or never will."""
        keys = {(record.stream_epoch, record.seq) for record in records}
        with self._lock:
            gone = [(place, one) for place, one in self._window if (one.stream_epoch, one.seq) in keys]
            self._window = deque(one for one in self._window if (one[1].stream_epoch, one[1].seq) not in keys)
            advance(self._acked, [record for _, record in gone])
            self._delivered += len(gone)
            self._cursor = self._window[0][0] if self._window else self._read_from
            try:
                self._write_state()
            except OSError as error:  # they will be sent again, which does no harm
                _log.warning("the spool cannot note what was delivered: %s", error)
                return
            self._drop_delivered()

    def __len__(self) -> int:
        with self._lock:
            return sum(segment.records for segment in self._segments) - self._delivered

    @property
    def bytes(self) -> int:
        """Size of the records on disk."""
        with self._lock:
            return sum(segment.end for segment in self._segments)

    def close(self) -> None:
        """Let go of the folder."""
        with self._lock:
            for file in (self._file, self._owner):
                if file is not None:
                    os.close(file)
            self._file = None
            self._slots.close()

    def _begin_segment(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        number = self._number + 1
        path = self._folder / f"{number:010d}-0.seg"
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        segment = Segment(path)
        try:
            segment.begin(file, self._tail, sync=self._sync)
            sync_folder(self._folder)
        except OSError:
            os.close(file)
            path.unlink()
            raise
        self._file, self._number = file, number
        self._segments.append(segment)

    def _fill(self, limit: int) -> None:
        """Read on until the window holds `limit` records or all there are."""
        for segment in self._segments:
            if segment.number < self._read_from.segment:
                continue
            start = self._read_from if segment.number == self._read_from.segment else Place(segment.number, 0)
            if len(self._window) >= limit:
                return
            for offset, count, content in segment.frames(start.offset):
                skip = start.index if offset == start.offset else 0
                self._window.extend((Place(segment.number, offset, i), content[i]) for i in range(skip, count))
                self._read_from = Place(segment.number, offset, count)
                if len(self._window) >= limit:
                    return

    def _drop_delivered(self) -> None:
        """Remove the files whose every record is delivered; the one that is being written stays."""
        while len(self._segments) > 1 and self._segments[0].number < self._cursor.segment:
            segment = self._segments.pop(0)
            segment.path.unlink(missing_ok=True)
            self._delivered -= segment.records

    def _relieve(self) -> None:
        """Coarsen the oldest records that nobody was sent, one segment at a time, while there is too little room."""
        while self._is_pressed():
            touched = max(self._posted.segment, self._read_from.segment)
            waiting = [one for one in self._segments[:-1] if one.number > touched and one.records]
            coarsest = min((one.level for one in waiting), default=len(STEPS_US))
            if coarsest >= len(STEPS_US):
                return
            segment = next(one for one in waiting if one.level == coarsest)
            try:
                self._segments[self._segments.index(segment)] = self._coarsened(segment)
            except OSError as error:
                _log.warning("the spool cannot be coarsened: %s", error)
                return
            if not self._pressed:
                self._pressed = True
                _log.warning("the spool is full (%d records wait); old ones are joined, sums stay exact", len(self))

    def _is_pressed(self) -> bool:
        disk = os.statvfs(self._folder)
        return self.bytes > self._limits.whole or disk.f_bavail < self._limits.free_share * disk.f_blocks

    def _coarsened(self, segment: Segment) -> Segment:
        frames = [content for _, _, content in segment.frames()]
        records = [record for frame in frames[1:] for record in frame]
        joined = coarsen(records, longest_us=STEPS_US[segment.level])
        # Under numbers of their own, in an epoch of their own: the old ones never left, so nobody misses them.
        epoch = f"{records[0].stream_epoch.partition('.')[0]}.{segment.number}"
        renamed = [replace(one, stream_epoch=epoch, seq=index + 1) for index, one in enumerate(joined)]
        return replace_segment(segment, renamed, frames[0], sync=self._sync)

    def _write_state(self) -> None:
        state: dict[str, Any] = {
            "cursor": astuple(self._cursor),
            "posted": astuple(self._posted),
            "acked": plain(self._acked),
            "sent": plain(self._sent),
        }
        self._slots.write(state)

    def _tail_of(self, segments: Sequence[Segment]) -> Anchors:
        tail: Anchors = {}
        for segment in segments:
            for _, count, content in segment.frames():
                if count:
                    advance(tail, content)
                else:
                    tail.update(content)
        return tail

    def _records_before(self, cursor: Place) -> int:
        before = 0
        for segment in self._segments:
            if segment.number < cursor.segment:
                before += segment.records
            elif segment.number == cursor.segment:
                for offset, count, _ in segment.frames():
                    if offset <= cursor.offset:
                        before += count if offset < cursor.offset else min(count, cursor.index)
        return before

    def _set_aside(self, lost: Sequence[Path]) -> None:
        """Files after damage: out of the way, for a person to look at; the counters make up for their energy."""
        for path in lost:
            dead = self._folder / "dead"
            dead.mkdir(exist_ok=True)
            path.rename(dead / path.name)
            _log.error("%s cannot be trusted after damage before it; moved to %s", path, dead)


def _lock(file: int) -> None:
    """Raises BlockingIOError if another holds the folder for longer than it takes to look what waits in it."""
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(0.1)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
