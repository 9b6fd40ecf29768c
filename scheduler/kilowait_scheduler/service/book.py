"""The book of jobs: every change of a job is an event applied by the rules and committed with its journal entry."""

from __future__ import annotations

from kilowait_scheduler.core.errors import Conflict
from kilowait_scheduler.core.events import Event, Instruction
from kilowait_scheduler.core.lifecycle import Policy, handle
from kilowait_scheduler.core.record import JobRecord
from kilowait_scheduler.store.repository import Store

_ATTEMPTS = 8


class Book:
    """Applies events to jobs. Safe to use from several threads: a lost race is read again and decided anew."""

    def __init__(self, store: Store, *, policy: Policy) -> None:
        self._store = store
        self._policy = policy

    def apply(self, job_id: str, event: Event) -> tuple[JobRecord, list[Instruction]]:
        """The job after `event`, and what is to be done. An event that changes nothing is not journalled."""
        for attempt in range(_ATTEMPTS):
            record = self._store.job(job_id)
            state, instructions = handle(record.state, event, self._policy)
            if state == record.state:
                return record, instructions
            try:
                return self._store.change_job(record, state, event), instructions
            except Conflict:
                if attempt == _ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")
