"""What jobs drew, emitted and saved, kept as counters that never fall, for those who watch them from outside."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from sqlalchemy import func
from sqlalchemy import select as sa_select
from sqlmodel import Session, col, select

from kilowait_scheduler.core.tally import JobValues, Quantity, Tally

from .tables import TallyRow

# Names of teams and projects are whatever submitters write. More pairs than this are counted together.
MOST_PAIRS = 500
OTHER = "(other)"
_AT_ONCE = 500


@dataclass(frozen=True)
class TallyLine:
    """All jobs of one team and project in one region."""

    team: str
    project: str
    region: str
    quantity: Quantity
    tally: Tally


class Tallies(ABC):
    """The part of the repository that keeps counters."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    def tally(self, jobs: Sequence[JobValues]) -> None:
        """Bring the counters of jobs to what is known of them; what they say already writes nothing."""
        known = self._tallied([job.job_id for job in jobs])
        changed = [
            (job, region, quantity, value)
            for job in jobs
            for (region, quantity), value in job.values.items()
            if known.get((job.job_id, region, quantity), 0) != value
        ]
        if not changed:
            return
        with self.writing() as session:
            for job, region, quantity, value in changed:
                row = session.get(TallyRow, (job.job_id, region, quantity.value), with_for_update=True)
                if row is None:
                    team, project = _shown(session, job.team, job.project)
                    row = TallyRow(
                        job_id=job.job_id, region=region, quantity=quantity.value, team=team, project=project
                    )
                moved = Tally(row.up, row.down).moved_to(value)
                row.up, row.down = moved.up, moved.down
                session.add(row)
                session.flush()

    def _tallied(self, job_ids: Sequence[str]) -> dict[tuple[str, str, Quantity], int]:
        found = {}
        with self.reading() as session:
            for start in range(0, len(job_ids), _AT_ONCE):
                some = job_ids[start : start + _AT_ONCE]
                for row in session.exec(select(TallyRow).where(col(TallyRow.job_id).in_(some))).all():
                    found[row.job_id, row.region, Quantity(row.quantity)] = row.up - row.down
        return found

    def tallies(self) -> list[TallyLine]:
        """Sums by team, project, region and quantity."""
        key = (col(TallyRow.team), col(TallyRow.project), col(TallyRow.region), col(TallyRow.quantity))
        query = sa_select(*key, func.sum(TallyRow.up), func.sum(TallyRow.down)).group_by(*key).order_by(*key)
        with self.reading() as session:
            return [
                TallyLine(team, project, region, Quantity(quantity), Tally(int(up), int(down)))
                for team, project, region, quantity, up, down in session.execute(query).all()
            ]


def _shown(session: Session, team: str, project: str) -> tuple[str, str]:
    """The names that a job is counted under, for good: its own, unless there are too many already."""
    pairs = select(TallyRow.team, TallyRow.project).distinct()
    if session.exec(pairs.where(TallyRow.team == team, TallyRow.project == project)).first() is not None:
        return team, project
    return (team, project) if len(session.exec(pairs.limit(MOST_PAIRS)).all()) < MOST_PAIRS else (OTHER, OTHER)
