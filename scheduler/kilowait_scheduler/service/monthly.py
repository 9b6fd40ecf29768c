"""Reports of past months, written into a folder by themselves: provisional at first, and again once they are final.

The files are the memory: a month is done where its final JSON lies, whoever wrote it and however often the server was
restarted. Files are put in place whole, the JSON last, so that a crash in between only means that they are made again.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from uuid import uuid4

from kilowait_scheduler.clock import GridClock
from kilowait_scheduler.core.months import month_of, month_span
from kilowait_scheduler.reports.model import Report
from kilowait_scheduler.reports.render import to_csv, to_html, to_json

from .reporting import Asked, Reporting

log = logging.getLogger("kilowait.monthly")

_BACK = 12  # months that are still written after a long absence
_LOOK_AGAIN = timedelta(days=1)  # at a month of which it is not known yet when it will be final
_WAYS: dict[str, Callable[[Report], str]] = {"html": to_html, "csv": to_csv, "json": to_json}  # the JSON last


@dataclass(frozen=True)
class Month:
    """A calendar month of a time zone, as [start, end) in UTC."""

    name: str
    start: datetime
    end: datetime


class Monthly:
    """Writes what is due into `folder`; months begin at midnight in `zone`."""

    def __init__(
        self, *, reporting: Reporting, clock: GridClock, folder: Path, zone: str, may_act: Callable[[], bool]
    ) -> None:
        self._reporting, self._clock, self._folder = reporting, clock, folder
        self._timezone, self._may_act = zone, may_act
        self._done: set[str] = set()

    async def write_due(self) -> list[Path]:
        """Write the months that are over and not final yet; the files that were written. Only the leading server does.

        The first month is that of the first job, and at most twelve are looked at.
        """
        if not await asyncio.to_thread(self._may_act):
            return []
        written: list[Path] = []
        first = await asyncio.to_thread(self._reporting.first_submission)
        for month in self._months(self._clock.now()):
            if first is None or month.end <= first:
                continue
            try:
                if await asyncio.to_thread(self._is_due, month):
                    report = await self._reporting.savings(Asked(timezone=self._timezone).of_month(month.name))
                    written += await asyncio.to_thread(self._write, month, report)
            except OSError as error:
                what = error.strerror or error
                log.error("the monthly report of %s is not written: %s: %s", month.name, self._folder, what)
            except Exception:  # a month that cannot be made must not hold up the others
                log.exception("the monthly report of %s is not made", month.name)
        return written

    def _months(self, now: datetime) -> list[Month]:
        """The last twelve that are over, oldest first."""
        following, _ = month_span(month_of(now, self._timezone), self._timezone)
        found: list[Month] = []
        for _ in range(_BACK):
            name = month_of(following - timedelta(microseconds=1), self._timezone)
            found.insert(0, Month(name, *month_span(name, self._timezone)))
            following = found[0].start
        return found

    def _path(self, month: Month, ending: str, *, final: bool) -> Path:
        return self._folder / f"savings-{month.name}{'' if final else '-provisional'}.{ending}"

    def _is_due(self, month: Month) -> bool:
        """Whether there is no report of it, or a provisional one that is final by now, or may be."""
        if month.name in self._done:
            return False
        if self._known(self._path(month, "json", final=True)) is not None:
            self._close(month)
            return False
        known = self._known(self._path(month, "json", final=False))
        if known is None:
            return True
        made_at, final_from = known
        later = final_from if final_from is not None and final_from > made_at else made_at + _LOOK_AGAIN
        return self._clock.now() >= later

    def _known(self, path: Path) -> tuple[datetime, datetime | None] | None:
        """When a report was made and from when on it is final; None where there is none, or it is damaged."""
        try:
            report = json.loads(path.read_text(encoding="utf-8"))
            made_at, final_from = report["generated_at"], report["totals"]["final_from"]
            return datetime.fromisoformat(made_at), datetime.fromisoformat(final_from) if final_from else None
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError):
            log.warning("%s is not a report as we write it; it is made again", path)
            return None

    def _close(self, month: Month) -> None:
        """Its final report lies there: what is provisional goes."""
        for ending in _WAYS:
            self._path(month, ending, final=False).unlink(missing_ok=True)
        self._done.add(month.name)

    def _write(self, month: Month, report: Report) -> list[Path]:
        final = _is_final(report, otherwise=month.end)
        self._folder.mkdir(parents=True, exist_ok=True)
        written = []
        for ending, text_of in _WAYS.items():
            path = self._path(month, ending, final=final)
            part = path.with_name(f"{path.name}.{uuid4().hex}.part")  # its own, whoever else may be writing
            try:
                part.write_text(text_of(report), encoding="utf-8")
                part.replace(path)
            finally:
                part.unlink(missing_ok=True)
            written.append(path)
        if final:
            self._close(month)
        log.info("report of %s written to %s%s", month.name, self._folder, "" if final else ", provisional")
        return written


def _is_final(report: Report, *, otherwise: datetime) -> bool:
    """Whether no figure may change any more, or come: of a job without any reading none will."""
    last = report.totals.final_from if report.jobs else otherwise
    settled = last is not None and last <= report.generated_at
    figured = [line for line in report.jobs if line.carbon_g is not None]
    awaited = any(line.carbon_g is None and line.runs and line.measured_pct for line in report.jobs)
    return settled and not awaited and not any(line.provisional for line in figured)
