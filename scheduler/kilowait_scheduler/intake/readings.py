"""A batch from an agent as readings: microseconds become UTC times, runs become jobs, each record gets its digest."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import repeat

from kilowait_agents.errors import OtherVersion
from kilowait_agents.errors import Refused as WireRefused
from kilowait_agents.wire import Columns
from kilowait_agents.wire_columns import unpack_columns
from kilowait_scheduler.core.energy import Reading, RunShare
from kilowait_scheduler.core.errors import BadInput, OtherRelease

from .digests import digests

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RUN_ID = re.compile(r"^kw-(?P<job>[0-9a-z]+)-\d+$")


def read_batch(body: bytes) -> list[Reading]:
    """The readings of a gzipped batch, in its order.

    Raises BadInput naming the field that is wrong, and OtherRelease for the batch of an agent that is not of ours.
    """
    try:
        origin, records, shares = unpack_columns(body)
    except OtherVersion as error:
        raise OtherRelease(str(error)) from None
    except WireRefused as error:
        raise BadInput(str(error)) from None
    columns = (
        repeat(origin.agent_id),
        records["stream_epoch"],
        records["seq"],
        repeat(origin.region or "unknown"),
        repeat(origin.node),
        repeat(origin.source),
        records["device_uuid"],
        _moments(records["t0_us"]),
        _moments(records["t1_us"]),
        records["energy_mj"],
        records["idle_mj"],
        records["unattributed_mj"],
        records["quality"],
        records["method"],
        records["uncertainty_pct"],
        digests(origin.agent_id, records, shares),
        _shares(shares, records=len(records["seq"])),
    )
    return list(map(Reading._make, zip(*columns, strict=False)))


def _moments(column: Sequence[int]) -> list[datetime]:
    """Many are the same, so each is made once."""
    known = {us: _EPOCH + timedelta(microseconds=us) for us in set(column)}
    return [known[us] for us in column]


def _shares(columns: Columns, *, records: int) -> list[tuple[RunShare, ...]]:
    """The shares of each record."""
    jobs = [job_id or job_of(run_id) for job_id, run_id in zip(columns["job_id"], columns["run_id"], strict=True)]
    found: list[list[RunShare]] = [[] for _ in range(records)]
    rows = zip(columns["run_id"], jobs, columns["energy_mj"], strict=True)
    for place, share in zip(columns["record"], map(RunShare._make, rows), strict=True):
        found[place].append(share)
    return list(map(tuple, found))


@lru_cache(maxsize=4096)
def job_of(run_id: str) -> str:
    """The job a run id belongs to; the id itself where it is not one of ours."""
    match = _RUN_ID.match(run_id)
    return match["job"] if match else run_id
