"""Errors of the scheduler, split by what the caller does next."""

from __future__ import annotations

from .reasons import Reason


class KilowaitError(Exception):
    """Base of every error the scheduler raises on purpose; the message is one line for a person."""


class BadInput(KilowaitError):
    """What was given is malformed; the message says where and how to mend it."""


class OtherRelease(KilowaitError):
    """What was given is of another release than ours; its content may be as good as any."""


class NotFound(KilowaitError):
    """There is no such thing."""


class Conflict(KilowaitError):
    """The thing is in a state in which this cannot be done; look at it again and decide anew."""


class Refused(KilowaitError):
    """Well-formed and still not possible: deadline, capacity, residency, budget; `reason` is what binds."""

    def __init__(self, message: str, *, reason: Reason) -> None:
        super().__init__(message)
        self.reason = reason
