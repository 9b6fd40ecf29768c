"""Meter: the protocol behind which NVML, the simulated meter and later sources stand alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .reading import Reading
from .wire import Source


@dataclass(frozen=True, slots=True)
class Device:
    """One physical GPU. The UUID is its identity; the index may change between driver loads."""

    uuid: str
    index: int
    name: str
    limit_mw: int | None = None
    """The highest power limit the board can be set to; None if it does not say. Bounds what a counter may claim."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds a device; `weight` is its share of the device's work, None if the meter cannot tell."""

    pid: int
    weight: int | None = None


class Meter(Protocol):
    """Something that knows the energy of this node's devices."""

    @property
    def source(self) -> Source:
        """Where the numbers come from; travels with every batch, so that no simulation is taken for a measurement."""
        ...

    def devices(self) -> Sequence[Device]:
        """The devices of this node that were found so far; later ones come at the end."""
        ...

    def read(self) -> Sequence[Reading]:
        """One reading per device, in the order of `devices()`; a device that fails is silent, the others still answer.

        Raises Transient if nothing could be read for now, Permanent if this process can never read again.
        """
        ...

    def processes(self) -> Mapping[str, Sequence[Process]]:
        """Who holds which device (by UUID) as of the last `read()`.

        An empty list means that nobody does. A device that is missing here is one whose processes are not known.
        """
        ...

    def close(self) -> None:
        """Let go of the driver; may be called twice."""
        ...
