"""Records as JSON lines in a file."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Self

from .anchors import Anchors, Resume, advance
from .errors import Refused
from .wire import Origin, Record

_OF_A_RECORD = frozenset(field.name for field in fields(Record))


class JsonLines:
    """Appends records to `path`, one JSON object a line; each line also says node, region, source and clock speed, so
    that a line taken out of the file still tells a simulation from a measurement.

    What an earlier life of the same agent wrote there says where this one goes on (`resumes`); a last line that was
    cut short is removed.
    """

    def __init__(self, *, path: Path, origin: Origin) -> None:
        self._origin = {
            "node": origin.node,
            "region": origin.region,
            "source": origin.source,
            "clock_speed": origin.clock_speed,
        }
        try:
            self._file = path.open("a+b")
            whole, anchors = self._read(origin.agent_id)
            if whole < self._file.seek(0, 2):
                self._file.truncate(whole)
        except OSError as error:
            raise Refused(
                f"cannot write records to {path}: {error.strerror}; give a file that can be written"
            ) from error
        self.resumes = {uuid: Resume(anchor) for uuid, anchor in anchors.items()}

    def write(self, records: Sequence[Record]) -> None:
        """Write and flush; a reader sees whole lines."""
        lines = [json.dumps({**record.to_dict(), **self._origin}, allow_nan=False) + "\n" for record in records]
        whole, text = os.fstat(self._file.fileno()).st_size, "".join(lines).encode()
        try:
            if os.write(self._file.fileno(), text) < len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:  # they are offered again, so none of them may stay
            os.ftruncate(self._file.fileno(), whole)
            raise

    def _read(self, agent_id: str) -> tuple[int, Anchors]:
        """(where the last whole line ends, the anchors after this agent's records) of what is there already."""
        anchors: Anchors = {}
        whole = 0
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                break
            whole += len(line)
            try:
                plain = json.loads(line)
                record = Record.from_dict({name: plain[name] for name in plain.keys() & _OF_A_RECORD})
            except (ValueError, AttributeError, Refused):
                continue  # somebody else's line, or an older release's
            if record.agent_id == agent_id and plain.get("source") == self._origin["source"]:
                advance(anchors, [record])
        return whole, anchors

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
