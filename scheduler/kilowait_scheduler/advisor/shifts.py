"""Levers of time and place: what other terms would have allowed, by the planner's exact schedule of the job alone.

Each compares the best schedule under other terms with the best under the terms that the job had, both on the intensity
that came: what planning made of them is not in it. Capacity, budgets and moving the data are ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from kilowait_scheduler.core.duration import format_duration
from kilowait_scheduler.core.job import Checkpoint
from kilowait_scheduler.core.ranges import Range
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.reports.ceiling import ceilings
from kilowait_scheduler.reports.measured import Measured, measured

from .facts import Facts
from .lever import Confidence, Kind, Lever, capped

LATER = (timedelta(hours=6), timedelta(hours=24), timedelta(hours=72))
_FORESEEN = Range(0.5, 0.8, 1.0)
_BECAUSE = (
    "exact on the intensity that came, which no forecast knows: half and four fifths of it are our assumption; "
    "capacity and budgets are ignored"
)
_CHECKPOINT = Checkpoint(path="?")
_NOTHING = 1e-9


def later_deadline(facts: Facts) -> Lever | str:
    """The same with more time."""
    due = facts.job.record.spec.due

    def by(more: timedelta) -> JobRecord:
        record = facts.job.record
        return record.model_copy(update={"spec": record.spec.model_copy(update={"deadline": due + more})})

    return _best(
        facts,
        Kind.LATER_DEADLINE,
        {f"{format_duration(more)} later": by(more) for more in LATER},
        lambda name: f"give it until {name}",
        "a later `deadline`, or a longer `within`",
    )


def more_regions(facts: Facts) -> Lever | str:
    """The same with one region more."""
    record = facts.job.record
    home = facts.intensity.get(record.home)
    if home is None:
        return "the intensity of its home is not known"
    others = [
        name
        for name, series in facts.intensity.items()
        if name not in record.regions and name in facts.pue and series.signal == home.signal
    ]
    if not others:
        return "there is no other region whose intensity is known"
    return _best(
        facts,
        Kind.MORE_REGIONS,
        {name: record.model_copy(update={"regions": (*record.regions, name)}) for name in others},
        lambda name: f"let it run in {name} too",
        "`regions.any_of`, if its data may lie there and the region has GPUs of its type; what moving the data takes "
        "comes off",
    )


def suspendable(facts: Facts) -> Lever | str:
    """The same with pauses."""
    record = facts.job.record
    if record.spec.suspendable:
        return "it can be suspended already"
    state = record.state.model_copy(update={"restart_s": _CHECKPOINT.restart.total_seconds()})
    spec = record.spec.model_copy(update={"checkpoint": _CHECKPOINT})
    return _best(
        facts,
        Kind.SUSPENDABLE,
        {"with checkpoints": record.model_copy(update={"spec": spec, "state": state})},
        lambda _: "let it be suspended",
        f"`checkpoint.path`; reckoned with {format_duration(_CHECKPOINT.restart)} at full power for each restart",
    )


def _best(
    facts: Facts, kind: Kind, terms: Mapping[str, JobRecord], what: Callable[[str], str], how: str
) -> Lever | str:
    """The best of several terms, the others beside it."""
    if facts.carbon_g is None:
        return "the intensity of its time is not known"
    present, why_not = _ceiling_g(facts, facts.job)
    if present is None:
        return why_not
    found: dict[str, float] = {}
    for name, record in terms.items():
        grams, why_not = _ceiling_g(facts, measured([(record, facts.job.course)])[0])
        if grams is not None:
            found[name] = max(0.0, present - grams)
    if not found:
        return why_not
    # Of terms that save as much as the best within a hundredth, the first: nobody should wait three days for a gram.
    best = next(name for name, saved in found.items() if saved >= 0.99 * max(found.values()))
    if found[best] <= _NOTHING:
        return f"would have saved nothing: {', '.join(found)}"
    told = ", ".join(f"{name} {saved:.4g} g" for name, saved in sorted(found.items(), key=lambda one: -one[1])[:4])
    return Lever(
        kind,
        what(best),
        Range.exactly(0.0),
        capped(_FORESEEN * found[best], facts.carbon_g),
        Confidence.MEDIUM,
        _BECAUSE,
        f"best schedule with the terms it had {present:.4g} g; less than that: {told}",
        how,
    )


def _ceiling_g(facts: Facts, job: Measured) -> tuple[float | None, str]:
    """Grams of the best schedule, or None and why there is none."""
    if not job.record.state.phase.final:
        return None, "it has not ended"
    ceiling = ceilings([job], regions=facts.regions, intensity=facts.intensity, now=facts.now).get(job.record.id)
    if ceiling is None:
        return None, "nothing was measured"
    if ceiling.why_not:
        return None, ceiling.why_not
    return ceiling.carbon_g, ""
