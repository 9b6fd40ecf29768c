"""Sources that fail are left alone for a while: as long as they ask for, or after failures in a row, ever longer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from .errors import Transient

# Three failures in a row are no hiccup. A source that came back is noticed within half an hour, which is as often as
# forecasts are fetched anyway.
_FAILURES_TO_PAUSE = 3
_FIRST_PAUSE, _LONGEST_PAUSE = timedelta(minutes=5), timedelta(minutes=30)
# What a source may ask for: one that says "come back next year" is asked again the next day.
_LONGEST_WISH = timedelta(days=1)


@dataclass
class _Trouble:
    failures: int = 0
    last: datetime | None = None
    until: datetime | None = None
    wished_until: datetime | None = None


class Pauses:
    """What is known of each source's failures, by its name. Pure: the caller passes in the time.

    Failures at one instant, of several zones asked together, count once.
    """

    def __init__(self) -> None:
        self._troubles: dict[str, _Trouble] = {}

    def require_open(self, name: str, *, now: datetime) -> None:
        """Raise Transient, saying until when, while the source is to be left alone."""
        trouble = self._troubles.get(name)
        if trouble is None or trouble.until is None or trouble.last is None:
            return
        if trouble.last <= now < trouble.until:
            raise Transient(
                f"{name}: left alone until {trouble.until:%H:%M} UTC, it failed at {trouble.last:%H:%M}",
                retry_after_s=(trouble.until - now).total_seconds(),
            )

    def answered(self, name: str, *, now: datetime) -> None:
        """The source answered, whatever it said; a wait it asked for meanwhile, in another zone's answer, stays."""
        trouble = self._troubles.pop(name, None)
        if trouble is None or trouble.last is None or trouble.wished_until is None:
            return
        if trouble.last <= now < trouble.wished_until:
            until = trouble.wished_until
            self._troubles[name] = _Trouble(last=trouble.last, until=until, wished_until=until)

    def failed(self, name: str, error: Transient, *, now: datetime) -> None:
        """The source did not answer. One wait it asks for is kept to at once; without one, failures in a row count."""
        trouble = self._troubles.setdefault(name, _Trouble())
        if trouble.last is None or now != trouble.last:
            trouble.failures += 1
            trouble.last = now
        over = trouble.failures - _FAILURES_TO_PAUSE
        pause = min(_FIRST_PAUSE * 2 ** min(over, 10), _LONGEST_PAUSE) if over >= 0 else timedelta()
        wish = timedelta(seconds=min(error.retry_after_s or 0.0, _LONGEST_WISH.total_seconds()))
        if (wait := max(pause, wish)) > timedelta():
            trouble.until = now + wait
        if wish > timedelta():
            trouble.wished_until = now + wish
