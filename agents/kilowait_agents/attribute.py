"""Who pays for a device's energy: the split of an interval among the runs that held it. Pure, exact to the mJ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .energy import split_mj
from .meter import Process
from .wire import Basis, Share


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """A run of a job; `job_id` is None where the process names only its run."""

    run_id: str
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """One party on a device: a run, or (`run` None) all its processes that no run is known for.

    `weight` is the party's work on the device in any one unit, None if the meter cannot tell; `slices` are what it
    holds of a partitioned device, 0 where the device is whole.
    """

    run: RunIdentity | None
    weight: int | None = None
    slices: int = 0


@dataclass(frozen=True, slots=True)
class Attribution:
    """The parts of an interval's energy; `sum(shares) + idle_mj + unattributed_mj` is the whole, exactly."""

    shares: tuple[Share, ...]
    idle_mj: int
    unattributed_mj: int


def holders_of(processes: Iterable[tuple[RunIdentity | None, Process]]) -> tuple[Holder, ...]:
    """One holder per run (and one for all processes without one) from the processes of a device, in a fixed order.

    The ranks of a run weigh together, so a run with many processes on a device is still one party; the slices it holds
    count once each. One process of unknown weight makes its party's weight unknown. A run is known by its `run_id`;
    should its processes name several jobs, the first by name stands for them.
    """
    weights: dict[str | None, int | None] = {}
    slices: dict[str | None, dict[tuple[int, int], int]] = {}
    jobs: dict[str, set[str]] = {}
    for run, process in processes:
        run_id = None if run is None else run.run_id
        known = weights.get(run_id, 0)
        weights[run_id] = None if known is None or process.weight is None else known + process.weight
        if process.part is not None:
            slices.setdefault(run_id, {})[process.part.instance] = process.part.slices
        if run is not None:
            jobs.setdefault(run.run_id, set()).update([run.job_id] if run.job_id else [])
    return tuple(
        Holder(
            run=None if run_id is None else RunIdentity(run_id, min(jobs[run_id], default=None)),
            weight=weights[run_id],
            slices=sum(slices.get(run_id, {}).values()),
        )
        for run_id in sorted(weights, key=lambda run_id: (run_id is None, run_id or ""))
    )


def parties(holders: Sequence[Holder] | None) -> tuple[object, ...] | None:
    """What makes holders other holders: the runs and their slices; how much each works does not."""
    return None if holders is None else tuple((holder.run, holder.slices) for holder in holders)


def same_parties(a: Sequence[Holder] | None, b: Sequence[Holder] | None) -> bool:
    """The same parties hold the device, however much each works."""
    return a == b or parties(a) == parties(b)


def attribute(
    energy_mj: int, holders: Sequence[Holder] | None, *, idle_mj: int | None = None, slices: int = 0
) -> Attribution:
    """`energy_mj` of one device over an interval in which `holders` held it throughout.

    No holders: idle. A single run on a whole device: all of it, its idle draw included, because holding a device is
    using it; the share of a run that did nothing all the while says so (`held_idle`). Several: what the device draws
    doing nothing (`idle_mj`; None: not known) in equal parts and the rest by weight; all of it in equal parts where a
    weight is not known. On a device cut in `slices`, both go by slices; the idle draw of slices that nobody holds is
    idle. The part of processes without a run is unattributed, and so is everything where the holders are not known
    (None).
    """
    if holders is None:
        return Attribution(shares=(), idle_mj=0, unattributed_mj=energy_mj)
    if not holders:
        return Attribution(shares=(), idle_mj=energy_mj, unattributed_mj=0)
    parts, bases, free_mj = _parts(energy_mj, holders, idle_mj=idle_mj, slices=slices)
    shares = tuple(
        Share(run_id=holder.run.run_id, job_id=holder.run.job_id, energy_mj=part, basis=basis)
        for holder, part, basis in zip(holders, parts, bases, strict=True)
        if holder.run is not None
    )
    given_mj = sum(share.energy_mj for share in shares)
    return Attribution(shares=shares, idle_mj=free_mj, unattributed_mj=energy_mj - free_mj - given_mj)


def _parts(
    energy_mj: int, holders: Sequence[Holder], *, idle_mj: int | None, slices: int
) -> tuple[list[int], list[Basis], int]:
    """Each holder's part and why it is that, and what is left for slices that nobody holds."""
    still_mj = min(energy_mj, idle_mj or 0)
    held = [holder.slices for holder in holders]
    if slices and all(held):
        *standing, free_mj = split_mj(still_mj, [*held, max(0, slices - sum(held))])
        working = split_mj(energy_mj - still_mj, held)
        return [a + b for a, b in zip(standing, working, strict=True)], ["slice"] * len(holders), free_mj
    known = [holder.weight for holder in holders if holder.weight is not None]
    if len(known) == len(holders) and not any(known):
        return split_mj(energy_mj, [1] * len(holders)), ["held_idle"] * len(holders), 0
    if len(holders) == 1:
        return [energy_mj], ["exclusive"], 0
    if len(known) < len(holders):
        return split_mj(energy_mj, [1] * len(holders)), ["equal"] * len(holders), 0
    standing = split_mj(still_mj, [1] * len(holders))
    working = split_mj(energy_mj - still_mj, known)
    parts = [a + b for a, b in zip(standing, working, strict=True)]
    return parts, ["weight" if weight else "held_idle" for weight in known], 0
