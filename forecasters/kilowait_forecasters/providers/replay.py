"""Recorded intensity replayed as if it were live: for demonstrations, backtests, and sites without a provider."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from kilowait_forecasters.errors import Permanent, Refused, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, Signal
from kilowait_forecasters.zone import Zone

from .base import ended, none_realised, require_now, require_served, require_span
from .recording import TIME_COLUMN, Recording, columns_of, read_recording

_LIFECYCLE_COLUMN = "carbon_intensity_lifecycle"
_DIRECT_COLUMN = "carbon_intensity_direct"
_SIGNALS = {_LIFECYCLE_COLUMN: AVERAGE_LIFECYCLE, _DIRECT_COLUMN: AVERAGE_DIRECT}
_SHORT_NAMES = {"lifecycle": _LIFECYCLE_COLUMN, "direct": _DIRECT_COLUMN}
_SUFFIXES = (".csv", ".csv.gz")


class Replay:
    """Files with columns `datetime` and `carbon_intensity_lifecycle` and/or `carbon_intensity_direct`, one zone each.

    `paths` is a file, a folder, or several; the zone's id is the file's name up to `.csv` or `.csv.gz`. `column` (its
    full name, or `lifecycle` or `direct`) says which column; without it the lifecycle one is taken where any file has
    it. Another column needs `signal`. `shift` is added to the recording's times; whole weeks keep the hours of the day
    and the days of the week. Files are read when their zone is first asked for, and kept. Raises Refused.

    The forecast is what was recorded: perfect foresight, and labelled so. History ends at `now` all the same.
    """

    name = "replay"

    def __init__(
        self,
        paths: Path | Iterable[Path],
        *,
        column: str | None = None,
        signal: Signal | None = None,
        shift: timedelta = timedelta(),
    ) -> None:
        columns = _columns([paths] if isinstance(paths, Path) else list(paths))
        self.column = _column(columns, column)
        known = _SIGNALS.get(self.column, signal)
        if known is None or signal not in (None, known):
            raise Refused(f"replay: say which signal column {self.column!r} holds, e.g. average/lifecycle")
        self.signal = known
        self.shift = shift
        self._paths = {zone_id: path for zone_id, (path, names) in columns.items() if self.column in names}
        self._recordings: dict[str, Recording] = {}
        if not self._paths:
            have = sorted({name for _, names in columns.values() for name in names} - {TIME_COLUMN})
            raise Refused(f"replay: no file has column {self.column!r}; there are {', '.join(have)}")

    def zones(self) -> frozenset[str] | None:
        """Names of the files that have the column."""
        return frozenset(self._paths)

    def span(self, zone: Zone) -> tuple[datetime, datetime]:
        """First and last instant of the recording, `shift` included."""
        recording = self._recording(zone)
        return recording.start + self.shift, recording.end + self.shift

    def series(self, zone: Zone) -> IntensitySeries:
        """The whole recording, `shift` included, as realised values."""
        recording = self._recording(zone)
        return self._series(zone, recording.slots(recording.start, recording.end, shift=self.shift))

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        """The recorded values from the slot that holds `now` on, to `until` or the recording's end."""
        require_span(now, until)
        recording = await self._loaded(zone)
        slots = recording.slots(now - self.shift, until - self.shift, shift=self.shift)
        if not slots:
            raise self._nothing(zone, recording, start=now, end=until)
        series = self._series(zone, slots)
        return require_now(
            Forecast(
                zone=zone,
                signal=self.signal,
                issued_at=now,
                available_at=now,
                series=series,
                parts=(Part(series.start, series.source, "recorded values replayed as the forecast"),),
            ),
            now=now,
            name=self.name,
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        """The recorded slots that have ended by `now`."""
        require_span(start, end)
        recording = await self._loaded(zone)
        slots = recording.slots(start - self.shift, end - self.shift, shift=self.shift)
        if not slots:
            raise self._nothing(zone, recording, start=start, end=end)
        past = ended(slots, start=start, end=end, now=now)
        if not past:
            raise none_realised(self.name, zone, start=start, end=end, now=now)
        return self._series(zone, past)

    async def _loaded(self, zone: Zone) -> Recording:
        """The recording, read in a thread the first time: two years of hours take tens of milliseconds."""
        if zone.id in self._recordings:
            return self._recordings[zone.id]
        return await asyncio.to_thread(self._recording, zone)

    def _recording(self, zone: Zone) -> Recording:
        require_served(self, zone)
        if zone.id not in self._recordings:
            self._recordings[zone.id] = read_recording(self._paths[zone.id], column=self.column)
        return self._recordings[zone.id]

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return IntensitySeries(zone=zone, signal=self.signal, source=f"{self.name}:{zone}", slots=slots)

    def _nothing(self, zone: Zone, recording: Recording, *, start: datetime, end: datetime) -> Transient | Permanent:
        first, last = recording.start + self.shift, recording.end + self.shift
        lacks = f"{self.name}: {self._paths[zone.id]} has no value from {start.isoformat()} to {end.isoformat()}"
        if first < end and start < last:
            return Transient(f"{lacks}, a gap in the recording")
        return Permanent(
            f"{lacks}; it runs from {first.isoformat()} to {last.isoformat()}: shift it, or choose another recording"
        )


def _columns(paths: list[Path]) -> dict[str, tuple[Path, list[str]]]:
    """File and column names by zone id. In folders, files without times are no recordings and are passed over."""
    found: dict[str, tuple[Path, list[str]]] = {}
    for path in paths:
        inside = path.is_dir()
        files = sorted(file for file in path.iterdir() if file.name.endswith(_SUFFIXES)) if inside else [path]
        for file in files:
            names = columns_of(file)
            if TIME_COLUMN not in names:
                if inside:
                    continue
                raise Refused(f"{file}: no column {TIME_COLUMN!r}; it has {', '.join(names) or 'none'}")
            zone_id = _zone_id(file)
            if zone_id in found:
                raise Refused(f"{file}: zone {zone_id} is also in {found[zone_id][0]}; keep one of the files")
            found[zone_id] = file, names
    if not found:
        raise Refused(
            f"{', '.join(map(str, paths)) or 'no path'}: no recordings; give *.csv or *.csv.gz with columns "
            f"{TIME_COLUMN} and {_LIFECYCLE_COLUMN} or {_DIRECT_COLUMN}"
        )
    return found


def _zone_id(file: Path) -> str:
    try:
        return Zone(file.name.removesuffix(".gz").removesuffix(".csv")).id
    except Refused as error:
        raise Refused(f"{file}: its name is no zone id; {error}") from error


def _column(columns: dict[str, tuple[Path, list[str]]], wanted: str | None) -> str:
    if wanted is not None:
        return _SHORT_NAMES.get(wanted, wanted)
    lifecycle = any(_LIFECYCLE_COLUMN in names for _, names in columns.values())
    return _LIFECYCLE_COLUMN if lifecycle else _DIRECT_COLUMN
