"""Printing: data to stdout as table, JSON, YAML or CSV; everything else to stderr; colour only on a terminal."""

from __future__ import annotations

import csv
import json
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

_LOOK_EVERY_S = 0.5

out = Console()
err = Console(stderr=True)


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    YAML = "yaml"
    CSV = "csv"


def data(value: Any, fmt: Format, *, rows: Sequence[dict[str, Any]] | None = None) -> None:
    """Print `value` as JSON or YAML, or `rows` as CSV."""
    match fmt:
        case Format.JSON:
            sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
        case Format.YAML:
            sys.stdout.write(yaml.safe_dump(value, sort_keys=False, allow_unicode=True))
        case _:
            flat = rows if rows is not None else (value if isinstance(value, list) else [value])
            names = list(dict.fromkeys(name for row in flat for name in row))
            writer = csv.DictWriter(sys.stdout, names)
            writer.writeheader()
            writer.writerows([{k: _cell(v) for k, v in row.items()} for row in flat])


def _cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict | list) else value


def table(*columns: str, title: str | None = None) -> Table:
    """A plain table; columns whose name starts with '>' are right-aligned."""
    made = Table(
        title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="bold dim"
    )
    for column in columns:
        right = column.startswith(">")
        made.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold")
    return made


def listing(
    found: Sequence[dict[str, Any]],
    fmt: Format,
    *columns: str,
    row: Callable[[dict[str, Any]], Sequence[str]],
    none: str | None = None,
) -> None:
    """Print a list as it was asked for: as data, or as a table with a `row` of each, and `none` where it is empty."""
    if fmt is not Format.TABLE:
        data(list(found), fmt)
        return
    shown = table(*columns)
    for one in found:
        shown.add_row(*row(one))
    out.print(shown)
    if not found and none is not None:
        say(none)


@contextmanager
def busy(what: str, share: Callable[[], tuple[str, int, int] | None] | None = None) -> Iterator[None]:
    """On a terminal, a bar that moves while something is done, and for how long already.

    `share` is asked twice a second for what is being done and for how many of how many jobs it is; None: not known.
    """
    columns = (TextColumn("{task.description}"), BarColumn(bar_width=30), TimeElapsedColumn())
    over = threading.Event()
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=None)

        def look() -> None:
            while share is not None and not over.wait(_LOOK_EVERY_S):
                if (told := share()) is not None and told[2]:
                    progress.update(
                        task,
                        description=f"{told[0]}: {told[1]:,} of {told[2]:,} jobs",
                        completed=told[1],
                        total=told[2],
                    )

        looking = threading.Thread(target=look, daemon=True)
        if err.is_terminal:
            looking.start()
        try:
            yield
        finally:
            over.set()
            if looking.ident is not None:
                looking.join()


def say(message: str) -> None:
    """A line for the person at the terminal; not data."""
    err.print(message, highlight=False, markup=False, soft_wrap=True)


_STYLES = {
    "running": "green",
    "succeeded": "green",
    "waiting": "cyan",
    "queued": "cyan",
    "suspended": "yellow",
    "suspending": "yellow",
    "held": "magenta",
    "failed": "red",
    "cancelled": "dim",
}


def state(word: str) -> Text:
    return Text(word, style=_STYLES.get(word, ""))


def local(moment: str | None) -> str:
    """An ISO time as local time for a person, with the year where it is not this one; a dash where there is none."""
    if moment is None:
        return "-"
    at = datetime.fromisoformat(moment).astimezone()
    return at.strftime("%a %d %b %H:%M" if at.year == datetime.now().astimezone().year else "%a %d %b %Y %H:%M")


def until(moment: str, now: str) -> str:
    """How far `moment` lies ahead of `now`, roughly."""
    seconds = (datetime.fromisoformat(moment) - datetime.fromisoformat(now)).total_seconds()
    sign = "-" if seconds < 0 else ""
    seconds = abs(seconds)
    if seconds < 5400:
        return f"{sign}{seconds / 60:.0f} min"
    return f"{sign}{seconds / 3600:.1f} h" if seconds < 172_800 else f"{sign}{seconds / 86_400:.1f} d"


def grams(value: float | None) -> str:
    """Carbon with a unit a person can read; a dash where it is not known."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g} t"
    if size >= 1e3:
        return f"{value / 1e3:.3g} kg"
    return f"{value:.3g} g"


def money(cost: dict[str, str]) -> str:
    """An amount to the hundredth, with its currency."""
    return f"{Decimal(cost['amount']):.2f} {cost['currency']}"


_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float]) -> str:
    """The course of a few numbers as a line of blocks."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BARS[min(7, int((value - low) / span * 8))] for value in values)


def utc_now() -> str:
    return datetime.now(UTC).isoformat()
