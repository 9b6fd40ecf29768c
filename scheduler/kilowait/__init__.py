"""The door for people's own code: `from kilowait import Client, track`. Everything lives elsewhere and is loaded when
used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilowait_agents.track import Tracked, track
    from kilowait_scheduler.client import BadSetting, Client, ServerError, ServerUnreachable
    from kilowait_scheduler.core.job import JobSpec, parse_job

__all__ = ["BadSetting", "Client", "JobSpec", "ServerError", "ServerUnreachable", "Tracked", "parse_job", "track"]

_HOMES = {
    "BadSetting": "kilowait_scheduler.client",
    "Client": "kilowait_scheduler.client",
    "ServerError": "kilowait_scheduler.client",
    "ServerUnreachable": "kilowait_scheduler.client",
    "Tracked": "kilowait_agents.track",
    "track": "kilowait_agents.track",
    "JobSpec": "kilowait_scheduler.core.job",
    "parse_job": "kilowait_scheduler.core.job",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kilowait' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
