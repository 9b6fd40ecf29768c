"""Figures that are revised, as two counters that never fall: what was added, and what was taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Quantity(StrEnum):
    """What is counted, in whole millijoules (facility energy) or micrograms CO2e."""

    ENERGY_MJ = "energy_mj"
    CARBON_UG = "carbon_ug"
    SAVED_UG = "saved_ug"


@dataclass(frozen=True)
class Tally:
    """`up` less `down` is what is known now; both only ever grow, whatever becomes known and in whichever order."""

    up: int = 0
    down: int = 0

    @property
    def value(self) -> int:
        return self.up - self.down

    def moved_to(self, value: int) -> Tally:
        """With `value` as what is known now: a rise is added, a fall is counted as taken back."""
        change = value - self.value
        return Tally(self.up + max(change, 0), self.down + max(-change, 0))


@dataclass(frozen=True)
class JobValues:
    """What is known of a job now, by region and quantity; what is not known is left out and stays as it was."""

    job_id: str
    team: str
    project: str
    values: Mapping[tuple[str, Quantity], int]
