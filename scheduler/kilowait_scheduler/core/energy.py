"""Energy as the server keeps it: one interval record of one device, and what each run had of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


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


@dataclass(frozen=True)
class RegionEnergy:
    """Where a region's energy went, in integer millijoules: runs, idle devices, and what no run owns up to."""

    region: str
    energy_mj: int
    idle_mj: int
    unattributed_mj: int
