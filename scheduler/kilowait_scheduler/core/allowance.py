"""What a period of a budget was given and what became of it; what is due when it begins, and who has drawn on it.

All amounts are integer micrograms, and all of them are sums of ledger entries: `Flows` holds, per kind of entry, what
moved from one account to another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .budget import Budget, CarryOver, Period, Span
from .ledger import UG_PER_G, Entry, EntryKind, budget, emitted, grant, held, to_ug, transfer

Flows = Mapping[tuple[EntryKind, str, str], int]


@dataclass(frozen=True)
class Position:
    """Where a period stands. `moved_ug`: what came from other budgets or periods, less what went to them."""

    granted_ug: int = 0
    extended_ug: int = 0
    moved_ug: int = 0
    held_ug: int = 0
    emitted_ug: int = 0

    @property
    def allowed_ug(self) -> int:
        """All that may be emitted in the period."""
        return self.granted_ug + self.extended_ug + self.moved_ug

    @property
    def left_ug(self) -> int:
        """What new holds may still take; negative where measurement overtook the limit."""
        return self.allowed_ug - self.held_ug - self.emitted_ug

    @property
    def committed_pct(self) -> float:
        """Held and emitted as a share of what is allowed, in percent."""
        committed = self.held_ug + self.emitted_ug
        return 100 * committed / self.allowed_ug if self.allowed_ug > 0 else (100.0 if committed else 0.0)


def position(account: str, flows: Flows) -> Position:
    """The position of a period from its flows."""

    def net(name: str, *kinds: EntryKind) -> int:
        total = 0
        for (kind, debit, credit), amount in flows.items():
            if not kinds or kind in kinds:
                total += amount * ((credit == name) - (debit == name))
        return total

    return Position(
        granted_ug=net(budget(account), EntryKind.GRANT),
        extended_ug=net(budget(account), EntryKind.EXTENSION),
        moved_ug=net(budget(account), EntryKind.TRANSFER),
        held_ug=net(held(account)),
        emitted_ug=net(emitted(account)),
    )


def applied(flows: Flows, entries: Iterable[Entry]) -> Flows:
    """`flows` as they would be with some more entries."""
    after = dict(flows)
    for entry in entries:
        key = (entry.kind, entry.debit, entry.credit)
        after[key] = after.get(key, 0) + entry.amount_ug
    return after


def limit_due(one: Budget, span: Span, flows: Flows, *, past: Flows, at: datetime) -> list[Entry]:
    """The grant that brings a period's limit to what it has to be.

    `past`: flows of a rolling budget from before its window. What was used or given then counts no more, so the limit
    is granted anew by as much.
    """
    wanted_ug = to_ug(one.limit_g)
    if one.period is Period.ROLLING:
        gone = position(span.account, past)
        wanted_ug += gone.emitted_ug - gone.extended_ug - gone.moved_ug
    granted_ug = position(span.account, flows).granted_ug
    return grant(span.account, amount_ug=wanted_ug - granted_ug, at=at, memo=f"limit of {one.limit_g:g} g")


def carry_due(one: Budget, before: Span, span: Span, flows: Flows, *, at: datetime) -> list[Entry]:
    """What still has to go from the period before into this one, or back, as its last jobs are settled."""
    out, back = (budget(before.account), budget(span.account)), (budget(span.account), budget(before.account))
    carried_ug = flows.get((EntryKind.TRANSFER, *out), 0) - flows.get((EntryKind.TRANSFER, *back), 0)
    left_ug = position(before.account, flows).left_ug + carried_ug
    wanted_ug = 0
    if one.carry_over in (CarryOver.UNUSED, CarryOver.BOTH):
        wanted_ug += min(max(left_ug, 0), to_ug(one.limit_g * one.carry_cap_pct / 100))
    if one.carry_over in (CarryOver.OVERDRAWN, CarryOver.BOTH):
        wanted_ug += min(left_ug, 0)
    due_ug = wanted_ug - carried_ug
    if not due_ug:
        return []
    giver, taker = (before, span) if due_ug > 0 else (span, before)
    memo = f"carried from {before.account} to {span.account}"
    return [transfer(giver.account, taker.account, amount_ug=abs(due_ug), at=at, memo=memo)]


@dataclass(frozen=True)
class Drawn:
    """What one job holds of a period's account, and what it has been charged there."""

    account: str
    held_ug: int
    charged_ug: int


def settlement(
    drawn: Sequence[Drawn],
    *,
    job_id: str,
    total_ug: int,
    energy_mj: int,
    charged_mj: int | None,
    ended: bool,
    at: datetime,
) -> list[Entry]:
    """Entries that bring what a job has been charged under one budget to `total_ug`; repeating it changes nothing.

    `drawn`: the periods it drew on, oldest first. More is charged to the last one, out of the hold first; less is taken
    back from the last one first, and stays held for a job that has not `ended`: it may still use all that it was
    promised. Where the total moves although the energy is still `charged_mj`, the intensity was revised: a correction,
    as is every total that falls.
    """
    difference = total_ug - sum(one.charged_ug for one in drawn)
    moves: list[tuple[str, str, int]] = []
    if difference >= 0:
        last = drawn[-1]
        from_hold = min(difference, max(last.held_ug, 0))
        moves = [
            (held(last.account), emitted(last.account), from_hold),
            (budget(last.account), emitted(last.account), difference - from_hold),
        ]
    else:
        back_ug = -difference
        for one in reversed(drawn):
            part = min(back_ug, max(one.charged_ug, 0))
            moves.append((emitted(one.account), (budget if ended else held)(one.account), part))
            back_ug -= part
    kind = EntryKind.CORRECTION if difference < 0 or energy_mj == charged_mj else EntryKind.CHARGE
    return [
        Entry(at=at, kind=kind, debit=debit, credit=credit, amount_ug=amount, job_id=job_id, energy_mj=energy_mj)
        for debit, credit, amount in moves
        if amount > 0
    ]


def refusal(one: Budget, span: Span, where: Position, *, needed_ug: int, held_ug: int = 0) -> str:
    """Why a budget does not cover a job, and what would: one sentence each. `held_ug`: of its need, held already."""
    left_ug, kg = max(where.left_ug, 0), UG_PER_G * 1000
    short_ug = needed_ug - held_ug - left_ug
    said = (
        f"budget {one.id} ({one.whose}) has {left_ug / kg:.3f} kg left of {where.allowed_ug / kg:.3f} kg, "
        f"this job needs up to {needed_ug / kg:.3f} kg"
    )
    if held_ug > 0:
        said += f", of which it holds {held_ug / kg:.3f} kg"
    ways = [f"{short_ug / kg:.3f} kg more would release it: `kilowait budget request {one.id}`, or raise the limit"]
    if where.held_ug > held_ug:
        ways.append(
            f"{(where.held_ug - held_ug) / kg:.3f} kg are held for other jobs, and what they do not use comes back"
        )
    if one.period is Period.ROLLING:
        ways.append(f"what was emitted more than {one.days} days ago is free again, from {one.local(span.end)} on")
    elif one.period is Period.ONCE:
        ways.append(f"it counts until {one.local(span.end)}")
    elif needed_ug <= to_ug(one.limit_g):
        ways.append(f"the next period begins {one.local(span.end)}")
    else:
        ways.append("it needs more than the limit of a whole period, so waiting alone does not help")
    return ". ".join([said, *(way[0].upper() + way[1:] for way in ways)])
