"""Compares a cloud's carbon with our own, account by account: how far apart they are, and what that is made of.

A difference is split into parts that the data show, each with its name; what is left is called `unexplained`. A part
that rests on an estimate says so. Nothing is fitted: what the data do not show is not named.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kilowait_scheduler.core.months import months_of

from .bill import Bill, BillLine, Shape
from .cloud import Account, accounts
from .model import Report

DEFAULT_TOLERANCE_PCT = 5.0

# Two figures that are the same thing in two books agree to a thousandth; what differs by more is not that thing.
_SAME = 1e-3
LOCATION, MARKET = "location", "market"
OTHER = {LOCATION: MARKET, MARKET: LOCATION}
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Part:
    """A part of a difference (theirs less ours), in grams; `estimated` where it is not in the data as such."""

    name: str
    g: float
    estimated: bool = False


@dataclass(frozen=True)
class Comparison:
    """One account (project), region and month, by one method (`location` or `market`).

    `theirs_g` and `ours_g` are None where that side has no such figure. `difference_g` is theirs less ours, the
    sum of `parts`, and `difference_pct` its share of the larger of the two; None where both are zero.
    """

    account: str
    region: str
    month: str
    method: str
    theirs_g: float | None
    ours_g: float | None
    difference_g: float
    difference_pct: float | None
    parts: tuple[Part, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Reconciliation:
    """A whole file against our books, in months of `timezone`. `exceeding`: how many comparisons differ by more than
    `tolerance_pct`."""

    shape: Shape
    timezone: str
    tolerance_pct: float
    comparisons: tuple[Comparison, ...]
    exceeding: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Names:
    """What a difference can be seen to be. `other_g` is ours by the other of the two methods."""

    pue: float | None
    method: str
    other_g: float | None

    def of(self, theirs_g: float, ours_g: float) -> str | None:
        """What a figure of theirs is of ours, where it is that to a thousandth; None where it is ours itself to one."""

        def is_that(figure_g: float | None) -> bool:
            return figure_g is not None and _same(theirs_g, figure_g) and not _same(figure_g, ours_g)

        if _same(theirs_g, ours_g):
            return None
        if is_that(self.other_g):
            return f"method: what they call {self.method}-based is ours {OTHER[self.method]}-based"
        if self.pue is not None and is_that(ours_g / self.pue):
            return f"PUE: theirs is ours without the region's PUE of {self.pue:g}"
        for factor in (1e3, 1e6):
            if _same(theirs_g, ours_g * factor):
                return f"unit: theirs is {factor:,.0f} times ours"
            if _same(theirs_g, ours_g / factor):
                return f"unit: ours is {factor:,.0f} times theirs"
        return None


@dataclass(frozen=True)
class _Theirs:
    """All rows of one account, region and month."""

    lines: Sequence[BillLine]

    def total(self, name: str) -> float | None:
        values = [value for line in self.lines if (value := getattr(line, name)) is not None]
        return sum(values) if values else None

    def silent(self, name: str) -> int:
        """How many rows lack a figure."""
        return sum(getattr(line, name) is None for line in self.lines)

    @property
    def models(self) -> list[str]:
        return sorted({line.model for line in self.lines})


def reconcile(
    bill: Bill,
    report: Report,
    *,
    account_names: Mapping[str, str],
    region_names: Mapping[str, str],
    month: str | None,
    tolerance_pct: float,
) -> Reconciliation:
    """`bill` against `report`, of one month or of all months that the file has.

    The report's months are to be those of the bill's zone. `account_names` and `region_names` give our name (project,
    region) of theirs; others keep theirs.
    """
    theirs: dict[Key, list[BillLine]] = {}
    for line in bill.lines:
        if month in (None, line.month):
            key = account_names.get(line.account, line.account), region_names.get(line.region, line.region), line.month
            theirs.setdefault(key, []).append(line)
    months = {month} if month else {line.month for line in bill.lines}
    ours = {
        (one.project, one.region, one.month): one
        for one in accounts(report)
        if one.month in months and one.carbon_g is not None
    }
    pue = {region.name: region.pue for region in report.regions}
    blind = _without_figures(report)
    found = [
        comparison
        for key in sorted({*theirs, *ours})
        for comparison in _compared(
            key,
            _Theirs(theirs[key]) if key in theirs else None,
            ours.get(key),
            shape=bill.shape,
            pue=pue.get(key[1]),
            blind=blind.get(key, 0),
        )
    ]
    exceeding = sum(abs(one.difference_pct or 0.0) > tolerance_pct for one in found)
    notes = tuple(_notes(bill, months, theirs, ours))
    if theirs and not found:
        notes += ("No row of theirs has a figure, and our books have none there either: nothing was compared.",)
    return Reconciliation(bill.shape, bill.timezone, tolerance_pct, tuple(found), exceeding, notes)


def _notes(bill: Bill, months: set[str], theirs: Mapping[Key, object], ours: Mapping[Key, object]) -> Iterable[str]:
    if not theirs:
        yield f"The file has no row of {', '.join(sorted(months))}."
    if theirs and ours and not {key[0] for key in theirs} & {key[0] for key in ours}:
        yield "No account of theirs is a project of ours: say which is which with --account THEIRS=OURS."
    if theirs and ours and not {key[1] for key in theirs} & {key[1] for key in ours}:
        yield "No region of theirs is one of ours: say which is which with --region THEIRS=OURS."
    if theirs and ours:
        yield (
            f"Theirs ({bill.shape}) covers everything an account used, ours the GPUs of its jobs: hosts, storage, "
            "network and idle devices are in theirs alone. Nothing says how much that is: it stays in `unexplained`."
        )


def _without_figures(report: Report) -> dict[Key, int]:
    """How many jobs ran in each place without having figures."""
    found: dict[Key, int] = {}
    for job in report.jobs:
        if job.carbon_g is None:
            places = {
                (job.project, window.region, month)
                for window in job.windows
                for month, _, _ in months_of(window.start, window.end or report.generated_at, report.timezone)
            }
            for place in places:
                found[place] = found.get(place, 0) + 1
    return found


def _compared(
    key: Key, theirs: _Theirs | None, ours: Account | None, *, shape: Shape, pue: float | None, blind: int
) -> Iterable[Comparison]:
    notes = [f"{blind} of our jobs here have no figures yet"] if blind else []
    if theirs is not None and len(theirs.models) > 1:
        notes.append(f"their rows come from several models: {', '.join(theirs.models)}")
    elif theirs is not None and theirs.models != [""]:
        notes.append(f"their model: {theirs.models[0]}")
    located = ours.carbon_g if ours is not None else None
    market = ours.market_based.carbon_g if ours is not None and ours.market_based is not None else None
    for method, own, other in ((LOCATION, located, market), (MARKET, market, located)):
        said = theirs.total(f"{method}_g") if theirs is not None else None
        if own is None and (said is None or method == MARKET):
            continue
        parts = _parts(theirs, ours, said, own, shape=shape, names=_Names(pue, method, other))
        silent = theirs.silent(f"{method}_g") if theirs is not None and said is not None else 0
        gap = [f"{silent} of their {len(theirs.lines)} rows here have no such figure"] if theirs and silent else []
        yield _comparison(key, method, said, own, parts, [*notes, *gap])


def _comparison(
    key: Key, method: str, theirs_g: float | None, ours_g: float | None, parts: Sequence[Part], notes: Sequence[str]
) -> Comparison:
    difference = (theirs_g or 0.0) - (ours_g or 0.0)
    larger = max(abs(theirs_g or 0.0), abs(ours_g or 0.0))
    pct = 100 * difference / larger if larger else None
    return Comparison(*key, method, theirs_g, ours_g, difference, pct, tuple(parts), tuple(notes))


def _parts(
    theirs: _Theirs | None,
    ours: Account | None,
    said: float | None,
    own: float | None,
    *,
    shape: Shape,
    names: _Names,
) -> list[Part]:
    """What a difference is made of: all of it."""
    if theirs is None:
        return [Part("only in ours", -(own or 0.0))]
    if said is None:
        return [Part("only in ours: theirs has the account, but no such figure", -(own or 0.0))]
    if ours is None or own is None:
        return [Part("only in theirs", said)]
    parts = _beyond(theirs, ours, shape=shape)
    rest = said - own - sum(part.g for part in parts)
    if not math.isclose(rest, 0.0, abs_tol=1e-9 * max(abs(said), abs(own))):
        parts.append(Part(names.of(own + rest, own) or "unexplained", rest))
    return parts


def _beyond(theirs: _Theirs, ours: Account, *, shape: Shape) -> list[Part]:
    """What theirs holds besides the electricity that ours is about."""
    parts = []
    if fuel := theirs.total("scope1_g"):
        parts.append(Part("scope 1, in theirs alone", fuel))
    if made := theirs.total("scope3_g"):
        parts.append(Part("scope 3 (hardware and buildings), in theirs alone", made))
    if shape is Shape.AWS and any(_holds_scope3(model) for model in theirs.models) and ours.embodied_g is not None:
        name = "scope 3 in their total; this much is the making of the GPUs by our table"
        parts.append(Part(name, ours.embodied_g.mid, estimated=True))
    return parts


def _holds_scope3(model: str) -> bool:
    """Whether AWS's model counts scope 3: since v3.0.0."""
    found = re.fullmatch(r"v(\d+)(\..*)?", model)
    return found is not None and int(found[1]) >= 3


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=_SAME)
