"""Records as JSON lines in a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from .errors import Refused
from .wire import Origin, Record


class JsonLines:
    """Appends records to `path`, one JSON object a line; each line also says node, region, source and clock speed, so
    that a line taken out of the file still tells a simulation from a measurement."""

    def __init__(self, *, path: Path, origin: Origin) -> None:
        self._origin = {
            "node": origin.node,
            "region": origin.region,
            "source": origin.source,
            "clock_speed": origin.clock_speed,
        }
        try:
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise Refused(
                f"cannot write records to {path}: {error.strerror}; give a file that can be written"
            ) from error

    def write(self, records: Sequence[Record]) -> None:
        """Write and flush; a reader sees whole lines."""
        lines = [json.dumps({**record.to_dict(), **self._origin}, allow_nan=False) + "\n" for record in records]
        self._file.write("".join(lines))
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
