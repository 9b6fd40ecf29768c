"""Outbox: where records wait for the server; what the uplink needs of the spool."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from .wire import Record


class Outbox(Protocol):
    """Records in the order in which they were made, until the server holds them. Safe between threads."""

    def head(self, limit: int) -> list[Record]:
        """The oldest records, at most `limit`; they stay."""
        ...

    def sending(self, records: Collection[Record]) -> None:
        """These records of the head are about to leave: from now on the server may hold them."""
        ...

    def done(self, records: Collection[Record]) -> None:
        """Let go of these records of the head: the server holds them, or never will."""
        ...

    def __len__(self) -> int: ...
