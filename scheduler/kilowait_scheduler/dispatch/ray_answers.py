"""Reading what Ray says: its JSON rows, its tracebacks and its ways of saying no. Pure.

The shapes are those of Ray 2.60, measured; every function refuses with ValueError what it does not recognise, because
a row that is silently dropped looks like a run that is gone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .executor import ObservedRun, RunStatus

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Timeout|Warning)\b.*")
# Where Ray's own sentence ends and a copy of a log or a traceback begins.
_SENTENCE_END = re.compile(
    r",? *(?:last available logs\b|full traceback:|traceback \(most recent call last\):).*", re.I
)
_TAGS = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.I | re.S)


def one_line(text: str, *, limit: int = 300) -> str:
    """The one line of a Ray message that tells a person most: its first sentence and the exception behind it."""
    text = _ANSI.sub("", text)
    if text.lstrip()[:1] == "<":
        text = _TAGS.sub(" ", text)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    lines = [line for line in lines if line.strip(".")]
    if not lines:
        return ""
    errors = [line for line in lines[1:] if _EXCEPTION.fullmatch(line)]
    first = _SENTENCE_END.sub("", lines[0]).rstrip(" :")
    error = errors[-1] if errors else ("" if first else lines[-1])
    line = f"{first.rstrip('.')}: {error}" if first and error and error not in first else first or error
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def says_exists(text: str) -> bool:
    """Whether a refusal means that the id is taken; Ray wraps this in an HTTP 500 and two tracebacks."""
    return "already exists. Please use a different submission_id" in text


def says_invalid(text: str) -> bool:
    """Whether a 500 hides a 400: the job agent refused the request itself, before it recorded anything."""
    return "Request failed with status code 400" in text and not says_exists(text)


def says_unknown(text: str, submission_id: str) -> bool:
    """Whether a 404 is Ray's word on this run, rather than that of some proxy on this path."""
    return f"Job {submission_id} does not exist" in text


def says_live(text: str) -> bool:
    """Whether a refused delete means that the run has not ended."""
    return "non-terminal state" in text


def run_of(row: object) -> ObservedRun:
    """A row of the Jobs API as a run."""
    if not isinstance(row, Mapping):
        raise ValueError(f"a job is not an object but {_shown(row)}")
    submission_id, said = row.get("submission_id"), row.get("status")
    if not isinstance(submission_id, str):
        raise ValueError(f"a job has the submission_id {_shown(submission_id)}")
    try:
        status = RunStatus(str(said).lower())
    except ValueError:
        raise ValueError(
            f"job {submission_id} has the status {_shown(said)}, which this version does not know"
        ) from None
    exit_code = row.get("driver_exit_code")
    return ObservedRun(
        submission_id=submission_id,
        status=status,
        metadata={str(key): str(value) for key, value in (row.get("metadata") or {}).items()},
        message=one_line(str(row.get("message") or "")),
        error_type=_text(row.get("error_type")),
        accepted_at=_instant(row.get("start_time")),
        ended_at=_instant(row.get("end_time")) if status.terminal else None,
        driver_exit_code=exit_code if isinstance(exit_code, int) else None,
        ray_job_id=_text(row.get("job_id")),
        driver_node_id=_text(row.get("driver_node_id")),
    )


def runs_of(rows: object, *, prefix: str) -> dict[str, ObservedRun]:
    """The submissions among the rows of the job list whose id starts with `prefix`; tombstones are none."""
    if not isinstance(rows, list):
        raise ValueError(f"the list of jobs is not a list but {_shown(rows)}")
    runs = {}
    for row in rows:
        # Rows of type DRIVER are programs that connected to the cluster by themselves; they have no submission id.
        if isinstance(row, Mapping) and (
            row.get("type") == "DRIVER" or not str(row.get("submission_id")).startswith(prefix)
        ):
            continue
        run = run_of(row)
        if not run.is_tombstone:
            runs[run.submission_id] = run
    return runs


def alive_of(answer: object) -> tuple[int, int]:
    """(nodes alive, GPUs on them) of the state API's list of nodes; a fraction of a GPU is none."""
    try:
        rows = answer["data"]["result"]["result"]  # type: ignore[index]
        alive = [row for row in rows if row["state"] == "ALIVE"]
        gpus = [float((row.get("resources_total") or {}).get("GPU", 0.0)) for row in alive]
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        raise ValueError(f"the list of nodes has another shape ({type(error).__name__}: {error})") from None
    return len(alive), math.floor(sum(gpus))


def gpus_used_of(answer: object) -> int | None:
    """GPUs handed out, by the autoscaler's report; None where there is no report (yet) or it says nothing of GPUs."""
    try:
        usage = answer["data"]["clusterStatus"]["loadMetricsReport"]["usage"]  # type: ignore[index]
        used = float(usage["GPU"][0])
    except (LookupError, TypeError, ValueError):
        return None
    # Half a GPU in use is one that cannot be given to a job.
    return math.ceil(used) if math.isfinite(used) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _instant(milliseconds: object) -> datetime | None:
    """A time of Ray, in ms since 1970; 0 and null mean "not yet"."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float) or milliseconds <= 0:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, tz=UTC)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
