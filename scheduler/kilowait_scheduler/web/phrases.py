"""Times, spans and health in words."""

from __future__ import annotations

from datetime import datetime, timedelta

from kilowait_scheduler.dispatch.reconciler import RegionHealth


def spoken(span: timedelta) -> str:
    """A span in its two largest units that matter, e.g. `5 h 20 min`; the sign is left to the sentence."""
    seconds = abs(span.total_seconds())
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def relative(moment: datetime, *, now: datetime) -> str:
    """Where `moment` lies seen from `now`: `in 5 h`, `12 min ago`."""
    return f"in {spoken(moment - now)}" if moment > now else f"{spoken(now - moment)} ago"


def health_words(health: RegionHealth | None) -> tuple[str, bool]:
    """What the last round saw of a cluster, and whether that is a problem."""
    if health is None:
        return "not asked yet", False
    if health.problem:
        return f"does not answer: {health.problem}", True
    info = health.info
    assert info is not None
    gpus = f"{info.gpus_total} GPUs" if info.gpus_used is None else f"{info.gpus_used} of {info.gpus_total} GPUs in use"
    words = f"Ray {info.ray_version}, {gpus}"
    if health.orphans:
        words += f"; {len(health.orphans)} runs there are not known here: {', '.join(health.orphans[:3])}"
    return words, bool(health.orphans)
