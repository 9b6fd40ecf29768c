"""A meter seen through a compressed clock; the one mechanism by which demonstrations run faster than the day."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from .clock import CompressedClock
from .meter import Device, Meter, Process
from .reading import Reading
from .wire import Source


class CompressedMeter:
    """`meter` with its readings moved to grid time: power unchanged, durations and energy times the clock's speed.

    One real second at 400 W counts as `speed` seconds at 400 W. Readings are mapped one by one and without state, so a
    counter that restarts in the driver restarts here too. Batches carry the speed, so that nobody takes such energy
    for what the wall socket delivered.
    """

    def __init__(self, *, meter: Meter, clock: CompressedClock) -> None:
        self._meter = meter
        self._clock = clock

    @property
    def source(self) -> Source:
        return self._meter.source

    def devices(self) -> Sequence[Device]:
        return self._meter.devices()

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        return [
            reading._replace(
                t_us=self._clock.grid_us(reading.t_us),
                mono_ns=self._clock.scale(reading.mono_ns),
                counter_mj=None if reading.counter_mj is None else self._clock.scale(reading.counter_mj),
            )
            for reading in self._meter.read(only, exact=exact)
        ]

    def processes(self) -> Mapping[str, Sequence[Process]]:
        return self._meter.processes()

    def close(self) -> None:
        self._meter.close()
