"""What an intensity value means: average or marginal, and which emissions it counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .errors import SignalMismatch


class Kind(StrEnum):
    """AVERAGE: of all generation; MARGINAL: of the plants that answer one more kWh."""

    AVERAGE = "average"
    MARGINAL = "marginal"


class Scope(StrEnum):
    """LIFECYCLE: stack, fuel chain, construction; DIRECT: the stack alone; OPERATIONAL: as an operator defines it."""

    LIFECYCLE = "lifecycle"
    DIRECT = "direct"
    OPERATIONAL = "operational"


@dataclass(frozen=True, order=True)
class Signal:
    """Kind and scope together. Two series may only meet in one sum or comparison when their signals are equal."""

    kind: Kind
    scope: Scope

    def require(self, other: Signal) -> None:
        """Raise SignalMismatch unless `other` is the same signal."""
        if self != other:
            raise SignalMismatch(f"{self} and {other} intensity cannot be combined; choose one signal for both")

    def __str__(self) -> str:
        return f"{self.kind}/{self.scope}"

    @classmethod
    def parse(cls, text: str) -> Signal:
        """Read `average/lifecycle` back. Raises ValueError on anything else."""
        kind, _, scope = text.partition("/")
        return cls(Kind(kind), Scope(scope))


AVERAGE_LIFECYCLE = Signal(Kind.AVERAGE, Scope.LIFECYCLE)
AVERAGE_DIRECT = Signal(Kind.AVERAGE, Scope.DIRECT)
AVERAGE_OPERATIONAL = Signal(Kind.AVERAGE, Scope.OPERATIONAL)
MARGINAL_DIRECT = Signal(Kind.MARGINAL, Scope.DIRECT)
