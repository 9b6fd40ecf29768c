"""Meter: the protocol behind which NVML, the simulated meter and later sources stand alike."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from .reading import Reading
from .wire import Source


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a partitioned device: its numbers on it (MIG: GPU instance, compute instance), its size, its UUID."""

    instance: tuple[int, int]
    slices: int
    uuid: str = ""


@dataclass(frozen=True, slots=True)
class Device:
    """One physical GPU. The UUID is its identity; the index may change between driver loads."""

    uuid: str
    index: int
    name: str
    limit_mw: int | None = None
    """The highest power limit the board can be set to; None if it does not say. Bounds what a counter may claim."""
    counter: bool = True
    """It counts its energy. Where it does not, its power has to be read often."""
    slices: int = 0
    """Into how many slices it can be cut, where it is cut (MIG); 0 for a whole device."""
    parts: tuple[Part, ...] = ()
    """Into which it was cut when it was found."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that holds a device, or a part of it; `weight` is its share of the device's work, None if the meter
    cannot tell. `client` marks those that work through a server process on the device (MPS)."""

    pid: int
    weight: int | None = None
    part: Part | None = None
    client: bool = False


class Meter(Protocol):
    """Something that knows the energy of this node's devices."""

    @property
    def source(self) -> Source:
        """Where the numbers come from; travels with every batch, so that no simulation is taken for a measurement."""
        ...

    def devices(self) -> Sequence[Device]:
        """The devices of this node that were found so far; later ones come at the end."""
        ...

    def read(self, only: Collection[str] | None = None, *, exact: bool = False) -> Sequence[Reading]:
        """One reading per device (of `only`, by UUID), in the order of `devices()`; a device that fails is silent.

        Counters move in ticks; with `exact` they are drawn out to this very moment, which may take two ticks to know.
        Raises Transient if nothing could be read for now, Permanent if this process can never read again.
        """
        ...

    def processes(self) -> Mapping[str, Sequence[Process]]:
        """Who holds which device (by UUID) now.

        An empty list means that nobody does. A device that is missing here is one whose processes are not known.
        """
        ...

    def close(self) -> None:
        """Let go of the driver; may be called twice."""
        ...
