"""All levers of one job, ranked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .facts import Facts
from .lever import Advice, Kind, Lever, Silence
from .power import even_load, larger_batch, less_idle, power_cap
from .shifts import later_deadline, more_regions, suspendable
from .work import another_size, cheaper_restart, shorter_period

_LEVERS: Mapping[Kind, Callable[[Facts], Lever | str]] = {
    Kind.POWER_CAP: power_cap,
    Kind.LESS_IDLE: less_idle,
    Kind.EVEN_LOAD: even_load,
    Kind.LARGER_BATCH: larger_batch,
    Kind.ANOTHER_SIZE: another_size,
    Kind.CHEAPER_RESTART: cheaper_restart,
    Kind.SHORTER_PERIOD: shorter_period,
    Kind.SUSPENDABLE: suspendable,
    Kind.LATER_DEADLINE: later_deadline,
    Kind.MORE_REGIONS: more_regions,
}


def advise(facts: Facts, *, notes: tuple[str, ...] = ()) -> Advice:
    """What a job's record speaks for, the largest mid saving first: of carbon, or of energy where that is not known.

    Of a lever that its record says nothing of there is the reason, and no figure.
    """
    record, measured = facts.job.record, len(facts.job.course) > 0
    found = dict.fromkeys(_LEVERS, "nothing was measured of it") if not measured else _asked(facts)
    levers = [one for one in found.values() if isinstance(one, Lever)]
    return Advice(
        job_id=record.id,
        name=record.spec.name,
        state=record.state.phase.value,
        energy_kwh=facts.energy_kwh if measured else None,
        carbon_g=facts.carbon_g if measured else None,
        gpu_hours=facts.job.useful_gpu_h if measured else 0.0,
        power_w=facts.alone.mean_w if len(facts.alone) else None,
        gpu=facts.gpu.name if facts.gpu is not None else None,
        runs=sum(run.started_at is not None for run in record.state.runs),
        levers=tuple(sorted(levers, key=_rank, reverse=True)),
        silent=tuple(Silence(kind, why) for kind, why in found.items() if isinstance(why, str)),
        notes=notes,
    )


def _asked(facts: Facts) -> Mapping[Kind, Lever | str]:
    return {kind: ask(facts) for kind, ask in _LEVERS.items()}


def _rank(lever: Lever) -> tuple[float, float]:
    return (lever.carbon_g.mid if lever.carbon_g is not None else 0.0), lever.energy_kwh.mid
