"""A zone: the grid area whose intensity a region's electricity has."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .errors import Refused

_ZONE_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")


@dataclass(frozen=True, order=True)
class Zone:
    """Identifier of a grid area as its provider spells it, e.g. `DE`, `US-CAL-CISO`, `GB`.

    Raises Refused where the id is not letters, digits, `-` and `_`.
    """

    id: str

    def __post_init__(self) -> None:
        if not _ZONE_ID.fullmatch(self.id):
            raise Refused(
                f"zone {self.id!r}: use letters, digits, '-' and '_', starting with a letter, e.g. US-CAL-CISO"
            )

    def __str__(self) -> str:
        return self.id
