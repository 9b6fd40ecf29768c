"""Job files: every mistake gives one line that says where it is and how to mend it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.job import JobSpec, parse_job

NOW = datetime(2026, 11, 23, tzinfo=UTC)
GOOD: dict[str, Any] = {"name": "a", "entrypoint": "python t.py", "resources": {"gpus": 8}, "within": "24h"}
GONE = object()


def changed(**changes: Any) -> dict[str, Any]:
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not GONE}


@pytest.mark.parametrize(
    ("changes", "where", "mend"),
    [
        ({"name": GONE}, "name", "missing; add it"),
        ({"entrypoint": GONE}, "entrypoint", "missing; add it"),
        ({"resources": GONE}, "resources", "missing; add it"),
        ({"resources": {}}, "resources.gpus", "missing; add it"),
        ({"resources": 8}, "resources", "expected a mapping with gpu_type, gpus"),
        ({"resources": {"gpus": 0}}, "resources.gpus", "greater than or equal to 1"),
        ({"resources": {"gpus": 1.5}}, "resources.gpus", "integer"),
        ({"resources": {"gpus": {"min": 1, "max": 2}}}, "resources", "e.g. throughput: {2: 1.0, 4: 1.9}"),
        ({"resources": {"gpus": {"min": 1}, "throughput": {1: 1}}}, "resources.gpus.max", "missing; add it"),
        (
            {"resources": {"gpus": {"min": 1, "mx": 2}, "throughput": {1: 1}}},
            "resources.gpus.mx",
            "did you mean 'max'?",
        ),
        ({"resources": {"gpus": {"min": 4, "max": 2}, "throughput": {4: 1}}}, "resources", "min 4 is more than max 2"),
        ({"resources": {"gpus": {"min": 1, "max": 2}, "throughput": {1: 1}}}, "resources", "no value for 2 GPUs"),
        (
            {"resources": {"gpus": {"min": 1, "max": 2}, "throughput": {1: 1, 2: 2, 4: 3}}},
            "resources",
            "4 GPUs lie outside",
        ),
        ({"resources": {"gpus": {"min": 1, "max": 2}, "throughput": {1: 1, 2: 0}}}, "resources.throughput.2", "than 0"),
        ({"resources": {"gpus": 2, "throughput": {2: 1}}}, "resources", "goes with a range"),
        ({"resources": {"gpus": 8, "gpu_typ": "H100"}}, "resources.gpu_typ", "did you mean 'gpu_type'?"),
        ({"name": ""}, "name", "at least 1 character"),
        ({"name": "a\nb"}, "name", "leave it out"),
        ({"team": "a\0"}, "team", "leave it out"),
        ({"dead_line": "x"}, "dead_line", "did you mean 'deadline'?"),
        ({"zzz": 1}, "zzz", "known keys: carbon, checkpoint"),
        ({"within": GONE}, "", "give either deadline (a time) or within (a duration)"),
        ({"deadline": "2026-11-24T08:00:00Z"}, "", "one of the two"),
        ({"within": 24}, "within", "write e.g. 90s, 30m, 6h"),
        ({"within": "24"}, "within", "write e.g. 90s, 30m, 6h"),
        ({"duration": "0s"}, "duration", "longer than 0s"),
        ({"duration": "1" * 300 + "h"}, "duration", "longer than 3650d"),
        ({"within": GONE, "deadline": "tomorrow"}, "deadline", "write e.g. 2026-11-24T08:00:00Z"),
        ({"within": GONE, "deadline": "2026-11-24T08:00:00"}, "deadline", "write e.g. 2026-11-24T08:00:00Z"),
        ({"within": GONE, "deadline": date(2026, 11, 24)}, "deadline", "has no offset"),
        ({"within": GONE, "deadline": 20261124}, "deadline", "write e.g. 2026-11-24T08:00:00Z"),
        ({"within": GONE, "deadline": "1764000000"}, "deadline", "write e.g. 2026-11-24T08:00:00Z"),
        ({"within": GONE, "deadline": "0001-01-01T00:00:00+14:00"}, "deadline", "outside the years"),
        ({"priority": "urgent"}, "priority", "'low', 'normal' or 'high'"),
        ({"carbon": {"budget_kg": -1}}, "carbon.budget_kg", "greater than 0"),
        ({"carbon": {"budget": 1}}, "carbon.budget", "did you mean 'budget_kg'?"),
        ({"carbon": {"signal": "green"}}, "carbon.signal", "'average' or 'marginal'"),
        ({"checkpoint": {}}, "checkpoint.path", "missing; add it"),
        ({"checkpoint": {"path": "p", "perod": "1m"}}, "checkpoint.perod", "did you mean 'period'?"),
        ({"checkpoint": {"path": "p", "signal": "SIGKILL"}}, "checkpoint.signal", "'SIGTERM' or 'SIGINT'"),
        ({"checkpoint": "s3://b"}, "checkpoint", "expected a mapping with grace, path, period, restart, signal"),
        ({"regions": {"any_of": ["a"]}}, "regions.home", "missing; add it"),
        ({"regions": ["a"]}, "regions", "expected a mapping with any_of, home"),
        ({"data": {"size_gb": float("inf")}}, "data.size_gb", "finite"),
        ({"data": {"size_gb": -1}}, "data.size_gb", "greater than or equal to 0"),
        ({"power_per_gpu_w": float("nan")}, "power_per_gpu_w", "finite"),
        ({"power_per_gpu_w": 0}, "power_per_gpu_w", "greater than 0"),
        ({"runtime_env": "x"}, "runtime_env", "expected a mapping"),
        ({"runtime_env": {"env_vars": {"A": "\ud800"}}}, "runtime_env", "cannot be sent as JSON"),
        ({"runtime_env": {"pip": date(2026, 1, 1)}}, "runtime_env", "quote dates"),
        ({"runtime_env": {"x": float("nan")}}, "runtime_env", "cannot be sent as JSON"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_its_mending(changes: dict[str, Any], where: str, mend: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_job(changed(**changes))
    message = str(caught.value)
    assert message.startswith(f"job: {where}: " if where else "job: ")
    assert mend in message
    assert "\n" not in message


@pytest.mark.parametrize("data", [None, [], "name: a", 7])
def test_what_is_no_mapping_is_refused(data: object) -> None:
    with pytest.raises(BadInput, match="expected a mapping with name, entrypoint"):
        parse_job(data)


def test_the_home_region_alone_is_meant_where_no_others_are_named() -> None:
    spec = parse_job(changed(regions={"home": "us-west"}))
    assert spec.regions is not None
    assert spec.regions.any_of == ("us-west",)


def test_home_may_be_left_out_of_where_the_job_may_run() -> None:
    spec = parse_job(changed(regions={"home": "us-west", "any_of": ["eu-north"]}))
    assert spec.regions is not None
    assert spec.regions.any_of == ("eu-north",)


def test_a_deadline_in_local_time_is_kept_in_utc() -> None:
    spec = parse_job(changed(within=GONE, deadline="2026-11-24T08:00:00+01:00"))
    assert spec.due == datetime(2026, 11, 24, 7, tzinfo=UTC)


def test_within_counts_from_the_moment_of_submission() -> None:
    spec = parse_job(GOOD)
    with pytest.raises(BadInput, match="'within' has not been turned into a deadline"):
        _ = spec.due
    resolved = spec.resolved(NOW)
    assert resolved.due == NOW + timedelta(hours=24)
    assert resolved.resolved(NOW + timedelta(hours=5)).due == resolved.due


def test_a_checkpoint_says_that_the_job_may_be_suspended() -> None:
    assert not parse_job(GOOD).suspendable
    spec = parse_job(changed(checkpoint={"path": "s3://b/p", "period": "90s", "restart": "0s"}))
    assert spec.suspendable
    assert spec.checkpoint is not None
    assert (spec.checkpoint.period, spec.checkpoint.restart) == (timedelta(seconds=90), timedelta(0))


def test_a_job_is_stored_and_read_back_as_the_same() -> None:
    full = changed(
        duration="1.5s",
        earliest="2026-11-23T01:02:03.456789Z",
        checkpoint={"path": "p", "grace": "PT1.5S"},
        data={"size_gb": 500, "at": ["us-west"]},
        regions={"home": "us-west", "any_of": ["us-west", "eu-north"]},
        runtime_env={"env_vars": {"A": "1"}},
        carbon={"budget_kg": 0.5},
    )
    spec = parse_job(full).resolved(NOW)
    assert JobSpec.model_validate(json.loads(json.dumps(spec.model_dump(mode="json")))) == spec


def test_an_elastic_job_says_how_fast_it_is_on_each_number_of_gpus() -> None:
    spec = parse_job(changed(resources={"gpus": {"min": 2, "max": 8}, "throughput": {"8": 340, 2: 100.0, 4: 190}}))
    assert spec.resources.speeds == pytest.approx({2: 1.0, 4: 1.9, 8: 3.4})
    assert list(spec.resources.speeds) == [2, 4, 8]
    assert JobSpec.model_validate_json(spec.model_dump_json()) == spec
    assert parse_job(changed()).resources.speeds == {spec_gpus(): 1.0}


def spec_gpus() -> int:
    gpus = parse_job(changed()).resources.gpus
    assert isinstance(gpus, int)
    return gpus


def test_a_range_of_one_number_is_that_number() -> None:
    spec = parse_job(changed(resources={"gpus": {"min": 2, "max": 2}, "throughput": {2: 7.0}}))
    assert spec.resources.speeds == {2: 1.0}
