"""What the agent says of itself, in Prometheus's text format."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence

from .wire import Record

Sample = tuple[str, str, str, Iterable[tuple[dict[str, str], float]]]
"""Name without prefix, type, help, and (labels, value) of each series."""


class Counted:
    """Totals of the records handed on, since the start of the process. Safe between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mj: dict[tuple[str, str], int] = {}
        self._records = 0

    def count(self, records: Sequence[Record]) -> None:
        """Take these in."""
        with self._lock:
            self._records += len(records)
            for record in records:
                key = (record.device_uuid, record.quality)
                self._mj[key] = self._mj.get(key, 0) + record.energy_mj

    def samples(self) -> list[Sample]:
        """As of now."""
        with self._lock:
            energies = [({"device": uuid, "quality": quality}, mj / 1000) for (uuid, quality), mj in self._mj.items()]
            return [
                ("energy_joules_total", "counter", "Energy handed on, by device and quality.", energies),
                ("records_total", "counter", "Records handed on.", [({}, float(self._records))]),
            ]


def render(samples: Iterable[Sample]) -> str:
    """Samples as text, version 0.0.4."""
    lines: list[str] = []
    for name, kind, what, series in samples:
        lines += [f"# HELP kilowait_agent_{name} {what}", f"# TYPE kilowait_agent_{name} {kind}"]
        for labels, value in series:
            inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            lines.append(
                f"kilowait_agent_{name}{{{inside}}} {value!r}" if inside else f"kilowait_agent_{name} {value!r}"
            )
    return "\n".join([*lines, ""])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
