"""Brings the counters of what was saved up to date; those of energy and carbon follow the books (`accounting`)."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

from kilowait_scheduler.core.ledger import to_ug
from kilowait_scheduler.core.tally import JobValues, Quantity
from kilowait_scheduler.store.repository import Store

from .reporting import Asked, Reporting

# Jobs submitted within this time are looked at: older ones are settled.
_COUNTED = timedelta(days=60)


async def count_saved(store: Store, reporting: Reporting, *, now: datetime) -> None:
    """Count what a report against run-now@1 says now, of each job in its home region."""
    records = await asyncio.to_thread(store.jobs)
    submitted = [record.submitted_at for record in records if record.submitted_at >= now - _COUNTED]
    if not submitted:
        return
    report = await reporting.savings(Asked(start=min(submitted)))
    known = [
        JobValues(line.id, line.team, line.project, {(line.home, Quantity.SAVED_UG): to_ug(line.saved_g)})
        for line in report.jobs
        if line.saved_g is not None
    ]
    await asyncio.to_thread(store.tally, known)
