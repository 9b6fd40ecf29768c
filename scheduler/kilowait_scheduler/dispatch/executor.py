"""What the scheduler asks of a region's cluster, and every answer it can get.

    DispatchError
      Transient(retry_after_s)   ask again later; nothing was decided
        Unreachable              no answer: timeout, reset, a gateway's 502 to 504
          NotConnected           not even a connection: the call surely had no effect
        BadAnswer                an answer that is not the API's: HTML, truncated JSON, a server error
      Permanent                  asking again changes nothing until a person mends the configuration
        Unauthorized             401 or 403
        WrongAddress             something answers there, but no Jobs API; or its certificate is not trusted
        UnknownRun               the cluster does not know the run
      Refused(reason)            understood and declined: a live run is not deleted, a package is too large

A submission has more than two endings, and which one it was decides whether a job may be started elsewhere. So they
are values (`Outcome`), not errors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from kilowait_scheduler.core.errors import KilowaitError

# Ray does not check ids, and one with a space or a slash leaves a record that cannot be deleted; these stay safe in
# a URL path, as a file name on the head and as a Kubernetes name.
SUBMISSION_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
OUR_PREFIX = "kw-"
TOMBSTONE = "tombstone"

StopSignal = Literal["SIGTERM", "SIGINT"]


class DispatchError(KilowaitError):
    """Base of what a cluster can do to a call; the message is one line: what failed, where, what to do."""


class Transient(DispatchError):
    """It may work later. `retry_after_s`: seconds after which it is worth asking again."""

    def __init__(self, message: str, *, retry_after_s: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unreachable(Transient):
    """No answer. The cluster may be down, cut off or slow, and its runs may well be alive."""


class NotConnected(Unreachable):
    """There was no connection, so the call surely had no effect."""


class BadAnswer(Transient):
    """Something answered, but not with what this API says."""


class Permanent(DispatchError):
    """Asking again gives the same."""


class Unauthorized(Permanent):
    """The cluster wants a token, or does not accept the one it got."""


class WrongAddress(Permanent):
    """No Ray Jobs API lives at this address, or its certificate is not trusted."""


class UnknownRun(Permanent):
    """The cluster does not know this run (never submitted there, deleted, or forgotten at a restart)."""


class Refused(DispatchError):
    """Understood and declined. `reason` is a word for machines."""

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class RunStatus(StrEnum):
    """What a cluster says of a run; the same words as `core.events.Status`."""

    PENDING = "pending"
    RUNNING = "running"
    STOPPED = "stopped"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def terminal(self) -> bool:
        return self in (RunStatus.STOPPED, RunStatus.SUCCEEDED, RunStatus.FAILED)


@dataclass(frozen=True, kw_only=True)
class SubmitRequest:
    """One run to start.

    `env` is ours and wins over the `env_vars` of the user's `runtime_env`. `metadata` must tell this run from any other
    with the same id: it is what `AlreadyThere.mine` compares. `gpus` is what the run will occupy (the planner counted
    it; Ray reserves nothing for it); `entrypoint_gpus` is what Ray shall reserve for the entrypoint process itself, for
    programs that use GPUs without Ray actors. `working_dir_zip` is uploaded and replaces `runtime_env.working_dir`.
    After its stop signal the program has `grace_s` seconds (rounded up to whole ones) before SIGKILL.
    Malformed values raise ValueError.
    """

    submission_id: str
    entrypoint: str
    metadata: Mapping[str, str]
    runtime_env: Mapping[str, Any] = field(default_factory=dict, repr=False)
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    gpus: int = 0
    entrypoint_gpus: int = 0
    working_dir_zip: Path | None = None
    stop_signal: StopSignal = "SIGTERM"
    grace_s: float = 30.0

    def __post_init__(self) -> None:
        if not SUBMISSION_ID.fullmatch(self.submission_id):
            raise ValueError(
                f"submission id {self.submission_id!r}: use 1 to 63 of a-z, 0-9 and -, not starting with -"
            )
        if not self.entrypoint.strip():
            raise ValueError(f"run {self.submission_id}: the entrypoint is empty")
        if not self.metadata:
            raise ValueError(f"run {self.submission_id}: without metadata it cannot be told from someone else's")
        if self.stop_signal not in ("SIGTERM", "SIGINT"):
            raise ValueError(f"run {self.submission_id}: stop signal {self.stop_signal!r}: use SIGTERM or SIGINT")
        if not (math.isfinite(self.grace_s) and self.grace_s >= 0):
            raise ValueError(f"run {self.submission_id}: grace of {self.grace_s} s: use a number of seconds, 0 or more")
        if self.gpus < 0 or self.entrypoint_gpus < 0:
            raise ValueError(f"run {self.submission_id}: GPUs cannot be negative")
        for name, given in (("metadata", self.metadata), ("env", self.env)):
            for key, value in given.items():
                if not isinstance(value, str):
                    raise ValueError(f"run {self.submission_id}: {name}[{key!r}] must be a string")

    @property
    def merged_env(self) -> dict[str, str]:
        """The environment variables of the program: the user's, and ours over them."""
        return {**(self.runtime_env.get("env_vars") or {}), **self.env}


@dataclass(frozen=True)
class Accepted:
    """The cluster has the run now and did not have it before. `session_name` is the cluster's incarnation."""

    session_name: str


@dataclass(frozen=True)
class AlreadyThere:
    """The cluster already has a run of this id; `mine` if its metadata are those of the request."""

    session_name: str
    mine: bool


@dataclass(frozen=True)
class Rejected:
    """The cluster has not got it and will not take it as it is: the request itself is wrong."""

    reason: str


@dataclass(frozen=True)
class Ambiguous:
    """The cluster may have it, or may yet get it: submit the same again, or settle it with `tombstone`."""

    detail: str


@dataclass(frozen=True)
class NotSent:
    """This call certainly had no effect on the cluster (an earlier one of the same id may have had one)."""

    detail: str


Outcome = Accepted | AlreadyThere | Rejected | Ambiguous | NotSent


@dataclass(frozen=True, kw_only=True)
class ObservedRun:
    """A run as its cluster describes it.

    `accepted_at` is when the cluster took it, not when it began to run (Ray's start_time). `driver_exit_code` is None
    for stopped runs even when the program exited by itself after the signal; `driver_node_id` is where the program was
    begun, None where it never was. `ray_job_id` may be None again once the
    driver has gone, and is unique only within one incarnation of the cluster.
    """

    submission_id: str
    status: RunStatus
    metadata: Mapping[str, str]
    message: str = ""
    error_type: str | None = None
    accepted_at: datetime | None = None
    ended_at: datetime | None = None
    driver_exit_code: int | None = None
    ray_job_id: str | None = None
    driver_node_id: str | None = None

    @property
    def began(self) -> bool:
        """Whether its program was begun, however it ended."""
        return self.driver_node_id is not None or self.driver_exit_code is not None

    @property
    def is_tombstone(self) -> bool:
        """Whether this is no run but the marker that took a run's id, so that the run can never start."""
        return self.metadata.get(TOMBSTONE) == "1"


@dataclass(frozen=True, kw_only=True)
class ClusterInfo:
    """A cluster as it is now.

    `session_name` names its incarnation: when it changes, all runs of before are dead or dying. `gpus_total` counts
    nodes that are alive; `gpus_used` is what Ray has handed out, up to about 5 s old, None where it does not say.
    """

    session_name: str
    ray_version: str
    nodes_alive: int
    gpus_total: int
    gpus_used: int | None


class Executor(Protocol):
    """One region's cluster. Every call may raise Unreachable, BadAnswer, Unauthorized or WrongAddress."""

    @property
    def region(self) -> str: ...

    async def probe(self) -> ClusterInfo:
        """The cluster as it is now; only a cluster that can run jobs answers this."""
        ...

    async def submit(self, request: SubmitRequest) -> Outcome:
        """Start a run. Repeating it with the same request never starts a second one.

        Of the errors only Unauthorized and WrongAddress are raised, and then the call had no effect; every other
        ending is an `Outcome`.
        """
        ...

    async def observe(self, prefix: str = OUR_PREFIX) -> dict[str, ObservedRun]:
        """All runs whose id starts with `prefix`, by id; one call, whatever their number.

        Tombstones are left out: one that is seen as a run that succeeded would end a job that never ran.
        """
        ...

    async def get(self, submission_id: str) -> ObservedRun | None:
        """One run; None if the cluster answers that it does not know it, or has a tombstone in its place."""
        ...

    async def stop(self, submission_id: str) -> bool:
        """Send the stop signal and return at once. False: the run has ended already, or is unknown.

        A pending run takes the signal only once it has started, and stays PENDING until then.
        """
        ...

    async def tombstone(self, submission_id: str) -> Literal["won", "original_won"]:
        """Settle an ambiguous submission by competing for its id with a run that does nothing.

        "won": the original has not started and never will. "original_won": the cluster has it, or had it.
        """
        ...

    async def logs(self, submission_id: str) -> str:
        """The last part of what the run printed; UnknownRun if the cluster does not know it."""
        ...

    async def delete(self, submission_id: str) -> None:
        """Forget an ended run or a tombstone; no error if it is unknown, Refused if it is still live.

        The id is free again then, so this is for runs that were settled long ago.
        """
        ...

    async def close(self) -> None:
        """Let go of connections. The runs go on."""
        ...
