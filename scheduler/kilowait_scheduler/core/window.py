"""A window: a half-open span of time in one region in which a job holds a number of GPUs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, model_validator


def as_utc(moment: datetime) -> datetime:
    """`moment` in UTC. Raises ValueError where it has no offset: local time is a matter of display."""
    if moment.tzinfo is None:
        raise ValueError(f"time {moment.isoformat()} has no offset; write e.g. {moment.isoformat()}Z")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"time {moment.isoformat()} lies outside the years 1 to 9999 in UTC") from None


def _written_out(value: Any) -> Any:
    """Refuses bare numbers, which would be read as seconds since 1970: a date without dashes became one."""
    if isinstance(value, (int, float)) or (isinstance(value, str) and _NUMBER.match(value)):
        raise ValueError(f"{value!r} is not a time; write e.g. 2026-11-24T08:00:00Z")
    return value


_NUMBER = re.compile(r"^\s*[+-]?\d*\.?\d*\s*$")
Utc = Annotated[datetime, BeforeValidator(_written_out), AfterValidator(as_utc)]


class Window(BaseModel):
    """[start, end) in `region` on `gpus` GPUs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    region: str
    start: Utc
    end: Utc
    gpus: int

    @model_validator(mode="after")
    def _has_length(self) -> Window:
        if self.end <= self.start:
            raise ValueError(f"window {self.start} to {self.end} has no length")
        return self

    @property
    def duration(self) -> timedelta:
        return self.end - self.start

    def contains(self, moment: datetime) -> bool:
        return self.start <= moment < self.end


def joined(windows: Iterable[Window]) -> tuple[Window, ...]:
    """`windows` in order of time, adjacent ones of equal region and size made one."""
    result: list[Window] = []
    for window in sorted(windows, key=lambda w: w.start):
        last = result[-1] if result else None
        if last and last.end == window.start and (last.region, last.gpus) == (window.region, window.gpus):
            result[-1] = last.model_copy(update={"end": window.end})
        else:
            result.append(window)
    return tuple(result)
