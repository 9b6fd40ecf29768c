"""A batch from an agent as readings: runs become jobs, each record gets its digest."""

from __future__ import annotations

import re
from functools import lru_cache

from kilowait_agents.errors import OtherVersion
from kilowait_agents.errors import Refused as WireRefused
from kilowait_agents.wire_columns import unpack_columns
from kilowait_scheduler.core.energy import Reading, Readings
from kilowait_scheduler.core.errors import BadInput, OtherRelease

from .digests import digests

_RUN_ID = re.compile(r"^kw-(?P<job>[0-9a-z]+)-\d+$")


def read_batch(body: bytes) -> Readings:
    """The readings of a gzipped batch, in its order.

    Raises BadInput naming the field that is wrong, and OtherRelease for the batch of an agent that is not of ours.
    """
    try:
        origin, records, shares = unpack_columns(body)
    except OtherVersion as error:
        raise OtherRelease(str(error)) from None
    except WireRefused as error:
        raise BadInput(str(error)) from None
    count = len(records["seq"])
    jobs = [job_id or job_of(run_id) for job_id, run_id in zip(shares["job_id"], shares["run_id"], strict=True)]
    kept = {name: column for name, column in records.items() if name in Reading._fields}
    return Readings(
        origin.agent_id,
        kept
        | {
            "start": records["t0_us"],
            "end": records["t1_us"],
            "region": [origin.region or "unknown"] * count,
            "node": [origin.node] * count,
            "source": [origin.source] * count,
            "digest": digests(origin.agent_id, records, shares),
        },
        {name: shares[name] for name in ("record", "run_id", "energy_mj")} | {"job_id": jobs},
    )


@lru_cache(maxsize=4096)
def job_of(run_id: str) -> str:
    """The job a run id belongs to; the id itself where it is not one of ours."""
    match = _RUN_ID.match(run_id)
    return match["job"] if match else run_id
