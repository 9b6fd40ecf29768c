"""Reading: what a meter said about one device at one moment."""

from __future__ import annotations

from typing import Literal, NamedTuple

from .wire import Scope

PowerKind = Literal["average", "instant"]
"""A power value is the mean of the last second, or the value of a moment."""


class Reading(NamedTuple):
    """One device at one moment; None where the device did not say, never zero instead.

    `counter_mj` is the cumulative energy since the driver was loaded, `power_mw` the power by `power_kind`. `t_us` is
    microseconds since 1970 UTC on the agent's clock and places energy in time; `mono_ns` never steps, includes
    suspend, and gives durations.
    """

    device_uuid: str
    name: str
    scope: Scope
    counter_mj: int | None
    power_mw: int | None
    t_us: int
    mono_ns: int
    power_kind: PowerKind = "instant"
    modelled: bool = False
    """Nobody measured it: a model says so."""
    counter_era: int = 0
    """Counters of different eras have no difference: the meter lost count between them. The first of a life is 0, and
    goes on from the life before."""

    @property
    def silent(self) -> bool:
        """The device answered with neither a counter nor a power."""
        return self.counter_mj is None and self.power_mw is None
