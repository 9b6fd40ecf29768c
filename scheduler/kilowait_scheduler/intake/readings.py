"""A batch from an agent as readings: microseconds become UTC times, runs become jobs, each record gets its digest."""

from __future__ import annotations

import hashlib
import re
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter

from kilowait_agents.errors import Refused as WireRefused
from kilowait_agents.wire import Batch, Record, Share, unpack
from kilowait_scheduler.core.energy import Reading, RunShare
from kilowait_scheduler.core.errors import BadInput

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RUN_ID = re.compile(r"^kw-(?P<job>[0-9a-z]+)-\d+$")


def read_batch(body: bytes) -> list[Reading]:
    """The readings of a gzipped batch, in its order. Raises BadInput naming the field that is wrong."""
    try:
        batch = unpack(body)
    except WireRefused as error:
        raise BadInput(str(error)) from None
    return [_reading(batch, record) for record in batch.records]


def _reading(batch: Batch, record: Record) -> Reading:
    return Reading(
        agent_id=record.agent_id,
        stream_epoch=record.stream_epoch,
        seq=record.seq,
        region=batch.origin.region or "unknown",
        node=batch.origin.node,
        source=batch.origin.source,
        device_uuid=record.device_uuid,
        start=_moment(record.t0_us),
        end=_moment(record.t1_us),
        energy_mj=record.energy_mj,
        idle_mj=record.idle_mj,
        unattributed_mj=record.unattributed_mj,
        quality=record.quality,
        method=record.method,
        uncertainty_pct=record.uncertainty_pct,
        digest=_digest(record),
        shares=tuple(
            RunShare(share.run_id, share.job_id or job_of(share.run_id), share.energy_mj) for share in record.shares
        ),
    )


_CONTENT = attrgetter(*(field.name for field in fields(Record) if field.name != "shares"))
_SHARE = attrgetter(*(field.name for field in fields(Share)))


@lru_cache(maxsize=4096)
def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)


def _digest(record: Record) -> str:
    """Tells whether a record that comes again is the same; over every field, in the order of the wire format."""
    content = repr((*_CONTENT(record), *(_SHARE(share) for share in record.shares)))
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=4096)
def job_of(run_id: str) -> str:
    """The job a run id belongs to; the id itself where it is not one of ours."""
    match = _RUN_ID.match(run_id)
    return match["job"] if match else run_id
