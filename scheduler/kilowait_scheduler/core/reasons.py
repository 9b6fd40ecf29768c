"""Why a job is where it is: one machine word and one sentence for each answer to "why?"."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Machine reasons; the API and the tests speak these words."""

    NEW = "new"
    WAITING_FOR_WINDOW = "waiting_for_window"
    STARTS_NOW = "starts_now"
    RUNNING_AS_PLANNED = "running_as_planned"
    RUNNING_OVER = "running_over"
    WINDOW_CLOSED = "window_closed"
    RELOCATING = "relocating"
    RESIZING = "resizing"
    BETWEEN_WINDOWS = "between_windows"
    USER_SUSPENDED = "user_suspended"
    STOPPED_OUTSIDE = "stopped_outside"
    BUDGET_EXHAUSTED = "budget_exhausted"
    CLUSTER_UNREACHABLE = "cluster_unreachable"
    SUBMIT_UNCLEAR = "submit_unclear"
    RUN_LOST = "run_lost"
    INFRASTRUCTURE_FAILED = "infrastructure_failed"
    ENTRYPOINT_FAILED = "entrypoint_failed"
    RETRIES_EXHAUSTED = "retries_exhausted"
    FINISHED = "finished"
    CANCELLED_BY_USER = "cancelled_by_user"
    # Refusals and binding constraints.
    DEADLINE_PASSED = "deadline_passed"
    WINDOW_TOO_SHORT = "window_too_short"
    GANG_TOO_LARGE = "gang_too_large"
    NO_ALLOWED_REGION = "no_allowed_region"
    CAPACITY_TAKEN = "capacity_taken"
    DURATION_UNKNOWN = "duration_unknown"


_SENTENCES = {
    Reason.NEW: "Accepted; the plan is being made.",
    Reason.WAITING_FOR_WINDOW: "Waiting for a cleaner window.",
    Reason.STARTS_NOW: "Its window is open; starting.",
    Reason.RUNNING_AS_PLANNED: "Running inside its planned window.",
    Reason.RUNNING_OVER: "Taking longer than planned; it keeps running until it is done.",
    Reason.WINDOW_CLOSED: "Its clean window closed; stopping at a checkpoint.",
    Reason.RESIZING: "Another number of GPUs suits the hours to come better; stopping here to resume on it.",
    Reason.RELOCATING: "A cleaner region is worth the move; stopping here to resume there.",
    Reason.BETWEEN_WINDOWS: "Suspended until its next clean window.",
    Reason.USER_SUSPENDED: "Suspended by a person; `kilowait resume` lets it go on.",
    Reason.STOPPED_OUTSIDE: "Stopped on the cluster by somebody else; `kilowait resume` lets it go on.",
    Reason.BUDGET_EXHAUSTED: "Its carbon budget does not cover it.",
    Reason.CLUSTER_UNREACHABLE: "Its cluster does not answer; the run is presumed alive until shown otherwise.",
    Reason.SUBMIT_UNCLEAR: "The cluster did not say whether it took the run; asking again under the same id.",
    Reason.RUN_LOST: "The cluster lost the run; it resumes elsewhere or later once the old one is surely dead.",
    Reason.INFRASTRUCTURE_FAILED: "The cluster failed the run, not the program; it will be tried again.",
    Reason.ENTRYPOINT_FAILED: "The program ended with an error; see `kilowait logs`.",
    Reason.RETRIES_EXHAUSTED: "The cluster failed it too often; see `kilowait logs`.",
    Reason.FINISHED: "Done.",
    Reason.CANCELLED_BY_USER: "Cancelled by a person.",
    Reason.DEADLINE_PASSED: "Its deadline lies in the past.",
    Reason.WINDOW_TOO_SHORT: "There is less time until the deadline than the work takes.",
    Reason.GANG_TOO_LARGE: "No allowed region has that many GPUs.",
    Reason.NO_ALLOWED_REGION: "None of its allowed regions exists.",
    Reason.CAPACITY_TAKEN: "Other jobs hold the GPUs it would need before its deadline.",
    Reason.DURATION_UNKNOWN: "Nothing says how long it runs.",
}


def sentence(reason: Reason) -> str:
    """The sentence a person reads for `reason`."""
    return _SENTENCES[reason]


def explained(reason: Reason, detail: str) -> str:
    """The sentence for `reason` and its particulars as a second sentence, where there are any."""
    said = sentence(reason)
    if not detail:
        return said
    end = "" if detail.endswith((".", "!", "?")) else "."
    return f"{said} {detail[0].upper()}{detail[1:]}{end}"
