"""A person gets one line that says what went wrong, and a machine gets no guess."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.events import Status
from kilowait_scheduler.dispatch.executor import RunStatus, SubmitRequest
from kilowait_scheduler.dispatch.ray_answers import alive_of, gpus_used_of, one_line, run_of, runs_of

from .stand_in import EXISTS, row

FAILED = """Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):
Running entrypoint for job kw-1: python train.py
Traceback (most recent call last):
  File "train.py", line 3, in <module>
    load("s3://bucket")
\x1b[31mbotocore.exceptions.NoCredentialsError: Unable to locate credentials\x1b[0m
"""
KILLED = """Job entrypoint command failed with exit code -9, last available logs (truncated to 20,000 chars):
step 1
step 2
"""
SETUP = "runtime_env setup failed: Failed to set up runtime environment.\nTraceback (most recent call last):\n"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            FAILED,
            "Job entrypoint command failed with exit code 1: botocore.exceptions.NoCredentialsError: Unable to locate",
        ),
        (KILLED, "Job entrypoint command failed with exit code -9"),
        (
            SETUP + "OSError: no space left",
            "runtime_env setup failed: Failed to set up runtime environment: OSError: no space left",
        ),
        (EXISTS.format("kw-1"), "ValueError: Job with submission_id kw-1 already exists."),
        ("Job finished successfully.", "Job finished successfully."),
        ("<!DOCTYPE html>\n<html><style>a {}</style>\n<h1>502 Bad Gateway</h1>", "502 Bad Gateway"),
        ("", ""),
        (" \n.\n", ""),
    ],
)
def test_a_message_becomes_its_most_telling_line(text: str, line: str) -> None:
    assert one_line(text).startswith(line)
    assert one_line(text) != "" or line == ""


@given(st.text(), st.integers(min_value=1, max_value=400))
def test_any_text_becomes_one_line_of_bounded_length(text: str, limit: int) -> None:
    line = one_line(text, limit=limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert line == line.strip()


@settings(max_examples=60)
@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_no_shape_of_json_is_more_than_a_value_error(answer: object) -> None:
    gpus_used_of(answer)
    for read in (alive_of, run_of, lambda rows: runs_of(rows, prefix="kw-")):
        try:
            read(answer)
        except ValueError as error:
            assert "\n" not in str(error)


def test_a_fraction_of_a_gpu_in_use_is_a_gpu_in_use() -> None:
    def used(gpu: object) -> int | None:
        return gpus_used_of({"data": {"clusterStatus": {"loadMetricsReport": {"usage": {"GPU": gpu}}}}})

    assert (used([0.0, 4.0]), used([0.25, 4.0]), used([4.0, 4.0])) == (0, 1, 4)
    assert (used([None, 4.0]), used([float("nan"), 4.0]), used([])) == (None, None, None)


def test_a_run_that_has_not_ended_has_no_end() -> None:
    assert run_of(row("kw-1", "RUNNING", end_time=0)).ended_at is None
    ended = run_of(row("kw-1", "STOPPED", end_time=1_795_412_728_306)).ended_at
    assert ended is not None and ended.isoformat() == "2026-11-23T05:45:28.306000+00:00"


def test_the_words_for_a_runs_state_are_those_of_the_rules() -> None:
    assert {status.value for status in RunStatus} == {status.value for status in Status}
    assert [status for status in RunStatus if status.terminal] == [
        RunStatus.STOPPED,
        RunStatus.SUCCEEDED,
        RunStatus.FAILED,
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"submission_id": "Has Spaces"},
        {"submission_id": "-x"},
        {"submission_id": "x" * 64},
        {"submission_id": "kw-1\n"},
        {"entrypoint": " "},
        {"metadata": {}},
        {"metadata": {"run": 1}},
        {"env": {"A": 1}},
        {"grace_s": -1.0},
        {"grace_s": float("nan")},
        {"gpus": -1},
        {"stop_signal": "SIGKILL"},
    ],
)
def test_a_request_that_ray_could_not_keep_apart_or_carry_out_is_none(wrong: dict[str, object]) -> None:
    good = {"submission_id": "kw-1", "entrypoint": "true", "metadata": {"run": "1"}}
    SubmitRequest(**good)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        SubmitRequest(**{**good, **wrong})  # type: ignore[arg-type]
