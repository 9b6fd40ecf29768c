"""What can go wrong between us and a number about the grid, split by what the caller does next.

- `Transient`: ask again later (`retry_after_s` says when, if the source said so).
- `Permanent`: asking again changes nothing: a wrong key, an unknown zone, a plan without this signal.
- `Refused`: the question itself is wrong: outside the series, across a gap, kinds of signal mixed.
"""

from __future__ import annotations


class ForecastersError(Exception):
    """Base of every error this package raises on purpose."""


class Transient(ForecastersError):
    """The source failed for now; `retry_after_s` is its own wish, or None."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Permanent(ForecastersError):
    """The source will not answer this question, however often it is asked; `status` is that of its HTTP answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Refused(ForecastersError):
    """The question cannot be answered from the data at hand without inventing a number."""


class OutOfRange(Refused):
    """A time outside the series was asked for; nothing is extrapolated."""


class Gap(Refused):
    """The span asked for crosses hours without a value; a missing value is never zero."""


class SignalMismatch(Refused):
    """Average met marginal, or lifecycle met direct; such numbers do not add."""
