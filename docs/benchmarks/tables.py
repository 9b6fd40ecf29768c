"""Tables and paragraphs in Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from statistics import median


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """`head`: the columns' names with " | " between them."""
    lines = [f"| {head} |", "|" + "---|" * len(head.split(" | "))]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def prose(text: str) -> str:
    """Paragraphs, filled; a line that begins with "- " is an item of a list."""
    return "\n\n".join(_filled(paragraph.strip()) for paragraph in text.strip().split("\n\n"))


def _filled(paragraph: str) -> str:
    items = paragraph.split("\n- ") if paragraph.startswith("- ") else [paragraph]
    return "\n".join(
        textwrap.fill(
            " ".join(item.removeprefix("- ").split()),
            118,
            initial_indent="- " if paragraph.startswith("- ") else "",
            subsequent_indent="  " if paragraph.startswith("- ") else "",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for item in items
    )


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median (and largest)."""
    return f"{median(values):.{digits}f} ({max(values):.{digits}f})" if len(values) > 1 else f"{values[0]:.{digits}f}"
