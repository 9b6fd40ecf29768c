"""Intensity of zones: forecasts as issued, and what it turned out to be."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func
from sqlalchemy import select as sql_select
from sqlmodel import Session, col, select

from kilowait_forecasters.forecast import Forecast
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import Signal, require_average
from kilowait_forecasters.zone import Zone

from .bulk import insert_new
from .tables import ForecastRow, RealisedRow


class Intensity(ABC):
    """The part of the repository that keeps intensity."""

    @abstractmethod
    def reading(self) -> AbstractContextManager[Session]: ...

    @abstractmethod
    def writing(self) -> AbstractContextManager[Session]: ...

    def add_forecast(self, forecast: Forecast) -> None:
        """Archive a forecast as issued; the same one again is kept once."""
        with self.writing() as session:
            issued = (ForecastRow.zone == forecast.zone.id, ForecastRow.issued_at == forecast.issued_at)
            if session.exec(select(ForecastRow.id).where(*issued, ForecastRow.source == forecast.source)).first():
                return
            session.add(
                ForecastRow(
                    zone=forecast.zone.id,
                    signal=str(forecast.signal),
                    source=forecast.source,
                    issued_at=forecast.issued_at,
                    available_at=forecast.available_at,
                    body={
                        "p10": _plain(forecast.low),
                        "p50": _plain(forecast.series),
                        "p90": _plain(forecast.high),
                        "parts": [[p.start.isoformat(), p.source, p.note] for p in forecast.parts],
                    },
                )
            )

    def forecasts_issued(
        self, zone: str, *, signal: Signal, start: datetime, end: datetime, every: timedelta
    ) -> list[tuple[datetime, IntensitySeries]]:
        """Medians of archived forecasts with their issue times in [start, end), the first of each `every` at most."""
        wanted = (
            ForecastRow.zone == zone,
            ForecastRow.signal == str(signal),
            col(ForecastRow.issued_at) >= start,
            col(ForecastRow.issued_at) < end,
        )
        query = select(ForecastRow.id, ForecastRow.issued_at).where(*wanted).order_by(col(ForecastRow.issued_at))
        chosen: dict[int, int | None] = {}
        with self.reading() as session:
            for row_id, issued_at in session.exec(query).all():
                chosen.setdefault((issued_at - start) // every, row_id)
            rows = session.exec(select(ForecastRow).where(col(ForecastRow.id).in_(chosen.values()))).all()
        return sorted(((row.issued_at, _series(row, row.body["p50"])) for row in rows), key=lambda one: one[0])

    def forecast_numbers(
        self, zone: str, *, signal: Signal, start: datetime, end: datetime
    ) -> list[tuple[datetime, int]]:
        """When each archived forecast that became available in [start, end] did, and its number, oldest first."""
        query = select(ForecastRow.available_at, ForecastRow.id).where(
            ForecastRow.zone == zone,
            ForecastRow.signal == str(signal),
            col(ForecastRow.available_at) >= start,
            col(ForecastRow.available_at) <= end,
        )
        with self.reading() as session:
            return [
                (at, number) for at, number in session.exec(query.order_by(col(ForecastRow.available_at))) if number
            ]

    def forecast(self, number: int) -> tuple[datetime, str, IntensitySeries]:
        """An archived forecast by its number: when it was issued, by whom, its median."""
        with self.reading() as session:
            row = session.get_one(ForecastRow, number)
            return row.issued_at, row.source, _series(row, row.body["p50"])

    def add_realised(self, series: IntensitySeries, *, at: datetime) -> None:
        """Keep realised intensity; a later word on a slot (measured for estimated, a revision) takes its place.

        So it does on slots of other lengths that it overlaps: what is kept never says two things of one instant.
        """
        begins = {slot.start for slot in series.slots}
        known = select(RealisedRow).where(
            RealisedRow.zone == series.zone.id,
            RealisedRow.signal == str(series.signal),
            col(RealisedRow.end) > series.start,
            col(RealisedRow.start) < series.end,
        )
        with self.writing() as session:
            for row in session.exec(known).all():
                if row.start in begins or list(series.gaps(row.start, row.end)) != [(row.start, row.end)]:
                    session.delete(row)
            session.flush()
            common = {"zone": series.zone.id, "signal": str(series.signal), "source": series.source, "seen_at": at}
            rows = [
                {**common, "start": s.start, "end": s.end, "g_per_kwh": s.g_per_kwh, "estimated": s.estimated}
                for s in series.slots
            ]
            insert_new(session, RealisedRow, rows)

    def realised(self, zone: str, *, signal: Signal, start: datetime, end: datetime) -> IntensitySeries | None:
        """What is known of a zone's intensity on [start, end), perhaps with gaps; None where nothing is."""
        columns: list[Any] = [
            RealisedRow.start,
            RealisedRow.end,
            RealisedRow.g_per_kwh,
            RealisedRow.estimated,
            RealisedRow.source,
        ]
        query = sql_select(*columns).where(
            col(RealisedRow.zone) == zone,
            col(RealisedRow.signal) == str(signal),
            col(RealisedRow.end) > start,
            col(RealisedRow.start) < end,
        )
        with self.reading() as session:
            rows = session.execute(query.order_by(col(RealisedRow.start))).all()
        if not rows:
            return None
        sources = "+".join(sorted({source for *_, source in rows}))
        slots = [Slot(*slot) for *slot, _ in rows]
        return IntensitySeries(zone=Zone(zone), signal=signal, source=sources, slots=slots)

    def realised_seen(
        self, zone: str, *, signal: Signal, since: datetime
    ) -> tuple[datetime, datetime, datetime] | None:
        """First start and last end of the slots kept that start at `since` or later, and when the one longest not
        asked for was last seen; None where there are none.
        """
        query = select(func.min(RealisedRow.start), func.max(RealisedRow.end), func.min(RealisedRow.seen_at)).where(
            RealisedRow.zone == zone, RealisedRow.signal == str(signal), col(RealisedRow.start) >= since
        )
        with self.reading() as session:
            first, last, seen = session.exec(query).one()
        return (first, last, seen) if first is not None else None


def _series(row: ForecastRow, plain: list[list[Any]]) -> IntensitySeries:
    slots = [
        Slot(datetime.fromisoformat(start), datetime.fromisoformat(end), g_per_kwh, estimated)
        for start, end, g_per_kwh, estimated in plain
    ]
    return IntensitySeries(
        zone=Zone(row.zone), signal=require_average(Signal.parse(row.signal)), source=row.source, slots=slots
    )


def _plain(series: IntensitySeries | None) -> list[list[Any]] | None:
    if series is None:
        return None
    return [[s.start.isoformat(), s.end.isoformat(), s.g_per_kwh, s.estimated] for s in series.slots]
