"""How far a report is, for whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable

# Told what is being made, and how many of how many jobs are done.
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, whole: int) -> None:
    """Nobody waits."""
