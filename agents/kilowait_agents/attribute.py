"""Who pays for a device's energy: the split of an interval among the runs that held it. Pure, exact to the mJ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .energy import split_mj
from .wire import Basis, Share


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """A run of a job; `job_id` is None where the process names only its run."""

    run_id: str
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """One party on a device: a run, or (`run` None) all its processes that no run is known for.

    `weight` is the party's work on the device in any one unit, None if the meter cannot tell.
    """

    run: RunIdentity | None
    weight: int | None = None


@dataclass(frozen=True, slots=True)
class Attribution:
    """The parts of an interval's energy; `sum(shares) + idle_mj + unattributed_mj` is the whole, exactly."""

    shares: tuple[Share, ...]
    idle_mj: int
    unattributed_mj: int


def holders_of(processes: Iterable[tuple[RunIdentity | None, int | None]]) -> tuple[Holder, ...]:
    """One holder per run (and one for all processes without one) from (run, weight) per process, in a fixed order.

    The ranks of a run weigh together, so a run with many processes on a device is still one party. One process of
    unknown weight makes its party's weight unknown. A run is known by its `run_id`; should its processes name several
    jobs, the first by name stands for them.
    """
    weights: dict[str | None, int | None] = {}
    jobs: dict[str, set[str]] = {}
    for run, weight in processes:
        run_id = None if run is None else run.run_id
        known = weights.get(run_id, 0)
        weights[run_id] = None if known is None or weight is None else known + weight
        if run is not None:
            jobs.setdefault(run.run_id, set()).update([run.job_id] if run.job_id else [])
    holders = [
        Holder(run=RunIdentity(run_id, min(jobs[run_id], default=None)), weight=weights[run_id])
        for run_id in sorted(jobs)
    ]
    return (*holders, Holder(run=None, weight=weights[None])) if None in weights else tuple(holders)


def attribute(energy_mj: int, holders: Sequence[Holder] | None) -> Attribution:
    """`energy_mj` of one device over an interval in which `holders` held it throughout.

    No holders: idle. A single run: all of it, its idle draw included, because holding a device is using it. Several:
    by weight where every party's is known, else in equal parts. The part of processes without a run is unattributed,
    and so is everything where the holders are not known (None).
    """
    if holders is None:
        return Attribution(shares=(), idle_mj=0, unattributed_mj=energy_mj)
    if not holders:
        return Attribution(shares=(), idle_mj=energy_mj, unattributed_mj=0)
    known = [holder.weight for holder in holders if holder.weight is not None]
    weighed = len(known) == len(holders) and any(known)
    basis: Basis = "exclusive" if len(holders) == 1 else "weight" if weighed else "equal"
    parts = split_mj(energy_mj, known if weighed else [1] * len(holders))
    shares = tuple(
        Share(run_id=holder.run.run_id, job_id=holder.run.job_id, energy_mj=part, basis=basis)
        for holder, part in zip(holders, parts, strict=True)
        if holder.run is not None
    )
    return Attribution(shares=shares, idle_mj=0, unattributed_mj=energy_mj - sum(share.energy_mj for share in shares))
