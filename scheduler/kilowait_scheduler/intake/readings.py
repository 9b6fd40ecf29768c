"""A batch from an agent as readings: microseconds become UTC times, runs become jobs, each record gets its digest."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from kilowait_agents.errors import Refused as WireRefused
from kilowait_agents.wire import Origin
from kilowait_agents.wire_rows import NAMES, Row, unpack_rows
from kilowait_scheduler.core.energy import Reading, RunShare
from kilowait_scheduler.core.errors import BadInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHARES = NAMES.index("shares")
_RUN_ID = re.compile(r"^kw-(?P<job>[0-9a-z]+)-\d+$")


def read_batch(body: bytes) -> list[Reading]:
    """The readings of a gzipped batch, in its order. Raises BadInput naming the field that is wrong."""
    try:
        origin, rows = unpack_rows(body)
    except WireRefused as error:
        raise BadInput(str(error)) from None
    return [_reading(origin, row) for row in rows]


def _reading(origin: Origin, row: Row) -> Reading:
    (
        agent_id, _, stream_epoch, seq, device_uuid, _, _, t0_us, t1_us, _, energy_mj, _, method, quality,
        uncertainty_pct, shares, idle_mj, unattributed_mj, _,
    ) = row  # fmt: skip
    return Reading(
        agent_id,
        stream_epoch,
        seq,
        origin.region or "unknown",
        origin.node,
        origin.source,
        device_uuid,
        _moment(t0_us),
        _moment(t1_us),
        energy_mj,
        idle_mj,
        unattributed_mj,
        quality,
        method,
        uncertainty_pct,
        _digest(row),
        tuple([RunShare(run_id, job_id or job_of(run_id), mj) for run_id, job_id, mj, _ in shares]),
    )


@lru_cache(maxsize=4096)
def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _digest(row: Row) -> str:
    """Tells whether a record that comes again is the same; over every field, in the order of the wire format."""
    content = repr((*row[:_SHARES], *row[_SHARES + 1 :], *row[_SHARES]))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=4096)
def job_of(run_id: str) -> str:
    """The job a run id belongs to; the id itself where it is not one of ours."""
    match = _RUN_ID.match(run_id)
    return match["job"] if match else run_id
