"""Energy as the server keeps it: one interval record of one device, and what each run had of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class RunShare(NamedTuple):
    """Integer millijoules of a record that one run used."""

    run_id: str
    job_id: str
    energy_mj: int


class Reading(NamedTuple):
    """Energy of one device on [start, end), once under (agent_id, stream_epoch, seq); `digest` tells other content.

    shares + idle + unattributed = energy, exactly. In a gap (`quality`) the energy is unknown and stands as 0.
    """

    agent_id: str
    stream_epoch: str
    seq: int
    region: str
    node: str
    source: str
    device_uuid: str
    start: datetime
    end: datetime
    energy_mj: int
    idle_mj: int
    unattributed_mj: int
    quality: str
    method: str
    uncertainty_pct: float
    digest: str
    shares: tuple[RunShare, ...]


@dataclass(frozen=True, slots=True)
class Readings:
    """Readings of one agent by column: thousands a second come in, and none of them is made an object of its own.

    `columns` has a list for each field of `Reading` but `agent_id` and `shares`, with times in microseconds since 1970;
    `shares` one for each of `RunShare`, and `record`: the place of the reading that it is a share of.
    """

    agent_id: str
    columns: Mapping[str, Sequence[Any]]
    shares: Mapping[str, Sequence[Any]]

    @classmethod
    def of(cls, rows: Sequence[Reading]) -> Readings:
        """Of one agent's readings, one or more, that are at hand as rows."""
        (agent_id,) = {row.agent_id for row in rows}
        columns = {name: [getattr(row, name) for row in rows] for name in Reading._fields[1:-1]}
        for name in ("start", "end"):
            columns[name] = [(moment - _EPOCH) // _MICROSECOND for moment in columns[name]]
        shares = [(place, *share) for place, row in enumerate(rows) for share in row.shares]
        names = ("record", *RunShare._fields)
        return cls(agent_id, columns, {name: [share[at] for share in shares] for at, name in enumerate(names)})

    def __len__(self) -> int:
        return len(self.columns["seq"])

    def by_epoch(self) -> Iterator[tuple[str, Readings]]:
        """Each stream epoch, in order, with its readings."""
        column = self.columns["stream_epoch"]
        epochs = sorted(set(column))
        for epoch in epochs:
            whole = len(epochs) == 1
            yield epoch, self if whole else self.only([at for at, other in enumerate(column) if other == epoch])

    def only(self, places: Sequence[int]) -> Readings:
        """Those that stand at `places`, with their shares."""
        place = {old: new for new, old in enumerate(places)}
        shares = [at for at, record in enumerate(self.shares["record"]) if record in place]
        return Readings(
            self.agent_id,
            {name: [column[at] for at in places] for name, column in self.columns.items()},
            {name: [column[at] for at in shares] for name, column in self.shares.items()}
            | {"record": [place[self.shares["record"][at]] for at in shares]},
        )


@dataclass(frozen=True)
class RegionEnergy:
    """Where a region's energy went, in integer millijoules: runs, idle devices, and what no run owns up to."""

    region: str
    energy_mj: int
    idle_mj: int
    unattributed_mj: int
