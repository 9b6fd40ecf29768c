"""Admits jobs beside those that are there: many that come at once share one plan."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    """Someone who waits for an answer; `keep` stores what is admitted."""

    record: JobRecord
    keep: Callable[[Proposal], Proposal]
    answer: Proposal | Exception | None = None


class Admission:
    """One plan is made at a time. Who comes meanwhile waits, and all who wait are planned together in the next one.

    Each is admitted or refused as if they had come one after the other: where there is no room for all, halves are
    looked at, the earlier first.
    """

    def __init__(self, *, store: Store, planning: Planning) -> None:
        self._store, self._planning = store, planning
        self._waiting: deque[_Asked] = deque()
        self._turn = threading.Lock()  # two plans at once would both give the last GPUs away

    def propose(self, record: JobRecord) -> Proposal:
        """What would be done with a job beside the others, without storing anything. Raises Refused."""
        return self._planned([record])[0]

    def admit(self, record: JobRecord, keep: Callable[[Proposal], Proposal]) -> Proposal:
        """What `keep` made of the proposal, before anyone else is planned. Raises Refused, and what `keep` raises."""
        asked = _Asked(record, keep)
        self._waiting.append(asked)
        with self._turn:
            if asked.answer is None:
                self._answer([self._waiting.popleft() for _ in range(len(self._waiting))])
        if isinstance(asked.answer, Exception):
            raise asked.answer
        assert asked.answer is not None
        return asked.answer

    def _answer(self, asked: Sequence[_Asked]) -> None:
        """Answer each, in their order."""
        try:
            proposals = self._planned([one.record for one in asked])
        except Refused as refused:
            if len(asked) == 1:
                asked[0].answer = refused
                return
            half = len(asked) // 2
            self._answer(asked[:half])
            self._answer(asked[half:])
            return
        except Exception as error:
            for one in asked:
                one.answer = error
            return
        for one, proposal in zip(asked, proposals, strict=True):
            try:
                one.answer = one.keep(proposal)
            except Exception as error:
                one.answer = error

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


def _is_late(decision: Decision) -> bool:
    return decision.late_by is not None or not decision.windows


def _crowded_out(record: JobRecord, decision: Decision) -> Refused:
    reason, detail = decision.reason, decision.detail
    if decision.windows:
        reason, detail = Reason.CAPACITY_TAKEN, f"it could end at {decision.windows[-1].end.isoformat()}"
    return Refused(
        f"job {record.spec.name}: {sentence(reason)} ({detail}); move the deadline or allow more regions", reason=reason
    )
