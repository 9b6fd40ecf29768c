"""Admits jobs beside those that are there: many that come at once share one plan."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from kilowait_scheduler.core.errors import Refused
from kilowait_scheduler.core.reasons import Reason, sentence
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.core.state import Want
from kilowait_scheduler.planner.knowledge import Decision
from kilowait_scheduler.store.repository import Store

from .planning import Planning


@dataclass(frozen=True)
class Proposal:
    """A job that could be admitted and what would be done with it; nothing has been stored."""

    record: JobRecord
    decision: Decision
    others: tuple[Decision, ...] = ()

    @property
    def saved_g(self) -> float:
        return self.decision.run_now_g - self.decision.carbon_g


@dataclass(eq=False)
class _Asked:
    """Someone who waits for an answer, an exception where it is no; `woken` once it is there, or they are to plan.

    `known`: the answer where it stands without a plan. `keep` stores what is admitted.
    """

    record: JobRecord
    keep: Callable[[Proposal], Proposal]
    known: Callable[[], Proposal | None]
    woken: threading.Event = field(default_factory=threading.Event)
    answer: Proposal | BaseException | None = None

    def tell(self, answer: Proposal | BaseException) -> None:
        self.answer = answer
        self.woken.set()


class Admission:
    """One plan is made at a time. Who comes meanwhile waits, and all who wait are planned together in the next one.

    Each is admitted or refused as if they had come one after the other: where a plan for all fails, halves are looked
    at, the earlier first. One of those who wait makes the plans until their own answer stands, then the next one does.
    """

    def __init__(self, *, store: Store, planning: Planning) -> None:
        self._store, self._planning = store, planning
        self._lock = threading.Lock()  # of the three below; held for moments only, never while planning
        self._waiting: list[_Asked] = []
        self._groups: deque[list[_Asked]] = deque()  # those to plan before who waits; a plan for each
        self._planner: _Asked | None = None  # two plans at once would both give the last GPUs away

    def propose(self, record: JobRecord) -> Proposal:
        """What would be done with a job beside the others, without storing anything. Raises Refused."""
        return self._planned([record])[0]

    def admit(
        self, record: JobRecord, keep: Callable[[Proposal], Proposal], *, known: Callable[[], Proposal | None]
    ) -> Proposal:
        """What `keep` made of the proposal, before anyone else is planned; what is `known` by then, where something is.

        Raises Refused, and what `keep` and `known` raise.
        """
        asked = _Asked(record, keep, known)
        try:
            with self._lock:
                self._waiting.append(asked)
                if self._planner is None:
                    self._planner = asked
                    asked.woken.set()
            asked.woken.wait()
            while asked.answer is None:
                self._answer(self._next_group())
        except BaseException as error:
            asked.answer = error  # nobody waits for another one
            raise
        finally:
            self._hand_over(asked)
        if isinstance(asked.answer, BaseException):
            raise asked.answer
        return asked.answer

    def _hand_over(self, planner: _Asked) -> None:
        """Let the next who has no answer plan, if it was `planner` who did."""
        with self._lock:
            if self._planner is planner:
                left = (one for some in (*self._groups, self._waiting) for one in some if one.answer is None)
                self._planner = next(left, None)
                if self._planner is not None:
                    self._planner.woken.set()

    def _next_group(self) -> list[_Asked]:
        with self._lock:
            if not self._groups:
                self._groups.append(self._waiting)
                self._waiting = []
            return self._groups.popleft()

    def _answer(self, group: Sequence[_Asked]) -> None:
        """Answer each, in their order, or leave halves of them to be planned next."""
        try:
            for one in group:
                _try(one, one.known)
            left = [one for one in group if one.answer is None]
            if not left:
                return
            try:
                proposals = self._planned([one.record for one in left])
            except Exception as error:
                if len(left) == 1:
                    left[0].tell(error)
                else:
                    half = len(left) // 2
                    with self._lock:
                        self._groups.extendleft((left[half:], left[:half]))
                return
            for one, proposal in zip(left, proposals, strict=True):
                _try(one, partial(one.keep, proposal))
        except BaseException:
            for one in group:
                if one.answer is None:
                    one.tell(RuntimeError("planning was broken off; submit the job again"))
            raise

    def _planned(self, records: Sequence[JobRecord]) -> list[Proposal]:
        """A proposal for each. Raises Refused where one finds no room, or makes an admitted job late."""
        others = [record for record in self._store.active_jobs() if record.state.want is Want.RUN]
        decisions = self._planning.ask([*others, *records])
        beside, own = decisions[: len(others)], decisions[len(others) :]
        for record, decision in zip(records, own, strict=True):
            if not decision.windows or decision.late_by is not None:
                raise _crowded_out(record, decision)
        late = {decision.record.id for decision in beside if _is_late(decision)}
        if late:
            harmed = late - {decision.record.id for decision in self._planning.ask(others) if _is_late(decision)}
            if harmed:
                raise Refused(
                    f"job {records[0].spec.name}: it would push {len(harmed)} admitted job(s) past their deadline; "
                    "give it a later deadline, a lower priority or more regions",
                    reason=Reason.CAPACITY_TAKEN,
                )
        return [Proposal(record, decision, tuple(beside)) for record, decision in zip(records, own, strict=True)]


def _try(asked: _Asked, way: Callable[[], Proposal | None]) -> None:
    """Tell what it gives or fails with, if there is no answer yet and it gives one."""
    if asked.answer is None:
        try:
            answer = way()
        except Exception as error:
            asked.tell(error)
        else:
            if answer is not None:
                asked.tell(answer)


def _is_late(decision: Decision) -> bool:
    return decision.late_by is not None or not decision.windows


def _crowded_out(record: JobRecord, decision: Decision) -> Refused:
    reason, detail = decision.reason, decision.detail
    if decision.windows:
        reason, detail = Reason.CAPACITY_TAKEN, f"it could end at {decision.windows[-1].end.isoformat()}"
    return Refused(
        f"job {record.spec.name}: {sentence(reason)} ({detail}); move the deadline or allow more regions", reason=reason
    )
