"""What an intensity value means: average or marginal, and which emissions it counts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias

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


Average: TypeAlias = Literal[Kind.AVERAGE]
Marginal: TypeAlias = Literal[Kind.MARGINAL]

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    # What a type does not say is average: so a margin cannot slip into what never asked for one.
    K = TypeVar("K", bound=Kind, default=Average)
else:
    from typing import TypeVar

    K = TypeVar("K", bound=Kind)


@dataclass(frozen=True, order=True)
class Signal(Generic[K]):
    """Kind and scope together. Two series may only meet in one sum or comparison when their signals are equal.

    The kind is part of the type: where types are checked, average and marginal do not even meet; scopes, and kinds
    that come from outside, are compared when they meet.
    """

    kind: K
    scope: Scope

    def require(self, other: Signal[K]) -> None:
        """Raise SignalMismatch unless `other` is the same signal."""
        if self != other:
            raise SignalMismatch(f"{self} and {other} intensity cannot be combined; choose one signal for both")

    def __str__(self) -> str:
        return f"{self.kind}/{self.scope}"

    @classmethod
    def parse(cls, text: str) -> AnySignal:
        """Read `average/lifecycle` back. Raises ValueError on anything else."""
        kind, _, scope = text.partition("/")
        average: Signal = Signal(Kind.AVERAGE, Scope(scope))
        marginal: Signal[Marginal] = Signal(Kind.MARGINAL, Scope(scope))
        return average if Kind(kind) is Kind.AVERAGE else marginal


# A signal of either kind, where none is combined with another.
AnySignal: TypeAlias = Signal[Average] | Signal[Marginal]


def require_average(signal: AnySignal) -> Signal[Average]:
    """`signal` where it is an average one. Raises SignalMismatch: nothing else is planned on or accounted."""
    if signal.kind is not Kind.AVERAGE:
        raise SignalMismatch(f"{signal} intensity, where plans and accounts are kept in average")
    return Signal(Kind.AVERAGE, signal.scope)


AVERAGE_LIFECYCLE: Signal[Average] = Signal(Kind.AVERAGE, Scope.LIFECYCLE)
AVERAGE_DIRECT: Signal[Average] = Signal(Kind.AVERAGE, Scope.DIRECT)
AVERAGE_OPERATIONAL: Signal[Average] = Signal(Kind.AVERAGE, Scope.OPERATIONAL)
MARGINAL_DIRECT: Signal[Marginal] = Signal(Kind.MARGINAL, Scope.DIRECT)
