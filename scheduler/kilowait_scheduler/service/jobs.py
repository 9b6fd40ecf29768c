"""What people do with jobs: ask what a plan would be, submit, suspend, resume, cancel, ask why."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core import events as ev
from kilowait_scheduler.core.duration import format_duration
from kilowait_scheduler.core.errors import BadInput, Conflict, Refused
from kilowait_scheduler.core.job import JobSpec, RegionChoice
from kilowait_scheduler.core.overhead import work_s
from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.core.record import JobRecord, new_job_id
from kilowait_scheduler.core.region import Region
from kilowait_scheduler.core.state import JobState, Want
from kilowait_scheduler.planner.explain import Explanation
from kilowait_scheduler.planner.knowledge import Decision
from kilowait_scheduler.store.repository import Store

from .admission import Admission, Proposal
from .book import Book
from .planning import Planning


class Jobs:
    """Admission and commands. Raises BadInput, Refused (with the binding constraint), NotFound, Conflict."""

    def __init__(
        self,
        *,
        store: Store,
        book: Book,
        clock: GridClock,
        planning: Planning,
        admission: Admission,
        require_ready: Callable[[], None],
        default_power_w: float,
        wake: Callable[[], None],
    ) -> None:
        self._store, self._book, self._clock = store, book, clock
        self._planning, self._admission = planning, admission
        self._require_ready, self._default_power_w, self._wake = require_ready, default_power_w, wake

    def propose(self, spec: JobSpec, *, package: str | None = None, user: str = "") -> Proposal:
        """Check a job against the world and plan it beside the others, without storing anything."""
        return self._admission.propose(self._checked(spec, package=package, user=user))

    def _checked(self, spec: JobSpec, *, package: str | None, user: str) -> JobRecord:
        """The job as it would be stored, if it can be done at all."""
        now = self._clock.now()
        regions = self._store.regions()
        spec = self._placed(spec.resolved(now), regions)
        self._require_ready()
        record = self._record(spec, now=now, package=package, user=user)
        _require_possible(record, regions, now=now)
        return record

    def explain(self, proposal: Proposal) -> Explanation:
        """Why it would be done so, and what giving way would buy."""
        return self._planning.explain(proposal.record, proposal.others)

    def explain_job(self, record: JobRecord) -> Explanation | None:
        """The same for a job that waits; None for one that runs, has ended, or while nothing is known yet."""
        if record.state.live_run is not None or record.state.phase.final or record.state.want is not Want.RUN:
            return None
        return self._planning.explain(record)

    def submit(
        self, spec: JobSpec, *, package: str | None = None, idempotency_key: str | None = None, user: str = ""
    ) -> Proposal:
        """Admit a job; with a repeated key, the job of its first use. It is planned in the next round, at once."""

        def known() -> Proposal | None:
            first = self._store.job_of_key(idempotency_key) if idempotency_key is not None else None
            return _repeated(first, spec) if first is not None else None

        if (repeated := known()) is not None:
            return repeated

        def keep(proposal: Proposal) -> Proposal:
            stored = self._store.add_job(proposal.record, idempotency_key=idempotency_key)
            return Proposal(stored, proposal.decision if stored is proposal.record else _promised(stored))

        admitted = self._admission.admit(self._checked(spec, package=package, user=user), keep, known=known)
        self._wake()
        return admitted

    def suspend(self, job_id: str) -> JobRecord:
        """Stop a job at a checkpoint and keep it stopped until `resume`."""
        record = self._living(job_id)
        if record.state.want is Want.CANCEL:
            raise Conflict(f"job {record.spec.name} is being cancelled; submit it again to have it run")
        if not record.spec.suspendable and record.state.live_run is not None:
            raise Conflict(f"job {record.spec.name} has no checkpoint and would lose its work; cancel it instead")
        return self._tell(record, ev.SuspendWanted(at=self._clock.now()))

    def resume(self, job_id: str) -> JobRecord:
        """Let a suspended job go on in its next best window."""
        record = self._living(job_id)
        if record.state.want is not Want.PAUSE:
            raise Conflict(f"job {record.spec.name} is not suspended by a person; it is {record.state.phase}")
        return self._tell(record, ev.ResumeWanted(at=self._clock.now()))

    def cancel(self, job_id: str) -> JobRecord:
        """Stop a job for good."""
        return self._tell(self._living(job_id), ev.CancelWanted(at=self._clock.now()))

    def _living(self, job_id: str) -> JobRecord:
        record = self._store.job(job_id)
        if record.state.phase.final:
            raise Conflict(f"job {record.spec.name} has already ended: {record.state.phase}")
        return record

    def _tell(self, record: JobRecord, event: ev.Event) -> JobRecord:
        changed, _ = self._book.apply(record.id, event)
        self._wake()
        return changed

    def _placed(self, spec: JobSpec, regions: list[Region]) -> JobSpec:
        if spec.carbon.signal != "average":
            raise BadInput(
                "job: carbon.signal: marginal is not planned on yet, and average does not stand in for it; leave it "
                "out or write average"
            )
        names = [region.name for region in regions]
        if not names:
            raise Refused(
                "no region is configured; add one with `kilowait regions add`", reason=Reason.NO_ALLOWED_REGION
            )
        choice = spec.regions or RegionChoice(home=names[0], any_of=tuple(names))
        unknown = [name for name in (choice.home, *choice.any_of) if name not in names]
        if unknown:
            raise BadInput(f"job: regions: {unknown[0]!r} does not exist; known regions: {', '.join(names)}")
        types = spec.resources.gpu_type
        fitting = [
            r.name for r in regions if r.name in choice.any_of and (types is None or r.gpu_type in (None, types))
        ]
        if not fitting:
            raise Refused(
                f"job {spec.name}: none of {', '.join(choice.any_of)} has {types} GPUs", reason=Reason.NO_ALLOWED_REGION
            )
        return spec.model_copy(update={"regions": RegionChoice(home=choice.home, any_of=tuple(fitting))})

    def _record(self, spec: JobSpec, *, now: datetime, package: str | None, user: str) -> JobRecord:
        job_id = new_job_id(now)
        duration = spec.duration or self._learned_duration(spec)
        checkpoint = spec.checkpoint
        assert spec.regions is not None
        return JobRecord(
            id=job_id,
            spec=spec,
            submitted_at=now,
            home=spec.regions.home,
            regions=spec.regions.any_of,
            power_per_gpu_w=spec.power_per_gpu_w or self._default_power_w,
            package=package,
            user=user,
            state=JobState(
                job_id=job_id,
                work_s=duration.total_seconds(),
                speeds=spec.resources.speeds,
                suspendable=spec.suspendable,
                restart_s=checkpoint.restart.total_seconds() if checkpoint else 0.0,
                checkpoint_period_s=checkpoint.period.total_seconds() if checkpoint else 0.0,
            ),
        )

    def _learned_duration(self, spec: JobSpec) -> timedelta:
        """Median work of the last jobs of this name and size. Raises Refused where there are none."""
        seconds = [
            work_s(record.state)
            for record in self._store.finished_like(spec.name)
            if record.spec.resources.speeds == spec.resources.speeds
        ]
        if not seconds:
            speeds = spec.resources.speeds
            sizes = " to ".join(str(size) for size in dict.fromkeys((min(speeds), max(speeds))))
            raise Refused(
                f"job {spec.name}: no duration is given and no earlier job of this name on {sizes} GPUs "
                "has finished; add e.g. duration: 6h",
                reason=Reason.DURATION_UNKNOWN,
            )
        return timedelta(seconds=statistics.median(seconds))


def _promised(record: JobRecord) -> Decision:
    """The standing plan of a job, as it was decided and promised."""
    state = record.state
    decision = Decision(record, state.windows, state.reason, state.detail)
    return decision if state.promise is None else replace(decision, **state.promise.model_dump())


def _repeated(first: JobRecord, spec: JobSpec) -> Proposal:
    """The job of a key's first use. Raises Conflict where the same key now comes with another job."""
    same = ("name", "entrypoint", "resources", "duration", "checkpoint", "runtime_env", "team", "project")
    if any(getattr(first.spec, name) != getattr(spec, name) for name in same):
        raise Conflict(f"this Idempotency-Key belongs to another job, {first.id} ({first.spec.name}); use a new key")
    return Proposal(first, _promised(first))


def _require_possible(record: JobRecord, regions: list[Region], *, now: datetime) -> None:
    """Refuse what no plan can do, in the words of its first binding constraint."""
    spec = record.spec
    due = spec.due.isoformat()
    if spec.due <= now:
        raise Refused(
            f"job {spec.name}: deadline {due} has passed (it is {now.isoformat()}); give a later one",
            reason=Reason.DEADLINE_PASSED,
        )
    start = max(now, spec.earliest) if spec.earliest else now
    work = timedelta(seconds=record.state.work_s / max(spec.resources.speeds.values()))
    if spec.due - start < work:
        room = format_duration(max(spec.due - start, timedelta(0)))
        raise Refused(
            f"job {spec.name}: {format_duration(work)} of work do not fit into the {room} before its deadline; "
            f"the earliest possible deadline is {(start + work).isoformat()}",
            reason=Reason.WINDOW_TOO_SHORT,
        )
    largest = max((r.capacity_gpus for r in regions if r.name in record.regions), default=0)
    if record.sizes[0] > largest:
        raise Refused(
            f"job {spec.name}: needs {record.sizes[0]} GPUs, the largest allowed region has {largest}; "
            "ask for fewer or allow a larger region",
            reason=Reason.GANG_TOO_LARGE,
        )
