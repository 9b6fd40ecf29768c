"""Anchors: where the account of each device stands, so that another life of the agent can go on from there. Pure.

The driver's counter outlives this process. Whoever knows the counter at which the last record ended owes exactly what
the counter has gained since, whether the agent was killed, updated or switched off meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from .life import Life
from .wire import Record, Scope

Anchors = dict[str, "Anchor"]
"""By device UUID."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of a device's last record.

    `counter_mj` is the counter up to which everything is accounted for (None: there is none to go on from), `credit_mj`
    what was accounted for by power since that counter last moved. `runs` held the device: pairs of run and job, nobody
    (empty), or not known (None).
    """

    device_uuid: str
    device_name: str
    scope: Scope
    boot_id: str
    t_us: int
    counter_mj: int | None
    credit_mj: int
    runs: tuple[tuple[str, str | None], ...] | None

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Anchor:
        """What `asdict` made, as JSON gives it back."""
        runs = plain["runs"]
        return cls(**{**plain, "runs": None if runs is None else tuple((run, job) for run, job in runs)})


def advance(anchors: Anchors, records: Iterable[Record]) -> None:
    """Move the anchors to the ends of `records`, which are in the order in which they were made."""
    for record in records:
        anchors[record.device_uuid] = _after(anchors.get(record.device_uuid), record)


def _after(before: Anchor | None, record: Record) -> Anchor:
    counter_mj, credit_mj = record.counter_end_mj, 0
    known = before if before is not None and _same_counter(before.boot_id, record.boot_id) else None
    if known is not None and known.counter_mj is not None:
        if counter_mj is None and record.method == "counter":  # a piece of an interval: its end lies between two reads
            counter_mj, credit_mj = known.counter_mj + record.energy_mj, known.credit_mj
        elif counter_mj is None or (
            counter_mj == known.counter_mj and (record.method != "counter" or not record.energy_mj)
        ):
            # By power, or unknown, while the counter was away or stood still; should it have gone on, this is in it
            # already.
            counter_mj, credit_mj = known.counter_mj, known.credit_mj + record.energy_mj
    runs = tuple((share.run_id, share.job_id) for share in record.shares)
    return Anchor(
        device_uuid=record.device_uuid,
        device_name=record.device_name,
        scope=record.scope,
        boot_id=record.boot_id,
        t_us=record.t1_us,
        counter_mj=counter_mj,
        credit_mj=credit_mj,
        runs=None if record.unattributed_mj else runs,
    )


def _same_counter(before: str, after: str) -> bool:
    """Two `boot_id` may be of one life of the counter; where only one tells the load of the driver, it is that one."""
    if before == after:  # nearly always
        return True
    life = Life.of(after)
    return life.boot == Life.of(before).boot and not life.reloaded_since(Life.of(before))


@dataclass(frozen=True, slots=True)
class Resume:
    """Where a new life of the agent goes on: `anchor`, and from when on records may have been lost (None: none were).

    From `doubt_from_us` to the anchor records had been sent and were lost here before the server confirmed them. To
    count them again could count them twice, so that time becomes a gap.
    """

    anchor: Anchor
    doubt_from_us: int | None = None


def resume_from(*, kept: Anchors, acked: Anchors, sent: Anchors) -> dict[str, Resume]:
    """Per device: after what is `kept` here and will be sent, or else after what the server has confirmed (`acked`);
    never before what was `sent` and may have arrived."""
    resumes: dict[str, Resume] = {}
    for uuid in kept.keys() | acked.keys() | sent.keys():
        known = [anchors[uuid] for anchors in (acked, kept) if uuid in anchors]
        sure = max(known, key=lambda anchor: anchor.t_us, default=None)
        posted = sent.get(uuid)
        if posted is not None and (sure is None or posted.t_us > sure.t_us):
            resumes[uuid] = Resume(posted, doubt_from_us=None if sure is None else sure.t_us)
        elif sure is not None:
            resumes[uuid] = Resume(sure)
    return resumes


def plain(anchors: Anchors) -> dict[str, Any]:
    """As JSON values."""
    return {uuid: asdict(anchor) for uuid, anchor in anchors.items()}


def from_plain(values: Mapping[str, Any]) -> Anchors:
    """The reverse of `plain`."""
    return {uuid: Anchor.from_dict(value) for uuid, value in values.items()}


def on_boot(anchor: Anchor, boot_id: str) -> Anchor:
    """The same place in time, with the counter of another boot, which began at zero."""
    return replace(anchor, boot_id=boot_id, counter_mj=0, credit_mj=0)
