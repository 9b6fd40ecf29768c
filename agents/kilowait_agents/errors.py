"""What can go wrong between a GPU and the server, split by what the caller does next.

- `Transient`: try again later (`retry_after_s` says when, if the other side said so).
- `Permanent`: trying again in this process changes nothing: no driver, a driver replaced under our feet.
- `Refused`: what was handed over is wrong: a malformed message, a split that does not add up, a bad setting.
"""

from __future__ import annotations


class AgentError(Exception):
    """Base of every error this package raises on purpose."""


class Transient(AgentError):
    """It failed for now; `retry_after_s` is the other side's wish, or None."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(AgentError):
    """It will not work in this process, however often it is tried."""


class Refused(AgentError):
    """The input is wrong; `field` names the place (`records[3].energy_mj`) where there is one."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class OtherVersion(Refused):
    """The message is of another release; nothing is wrong with what it says."""
