"""How the Ray executor reads answers, odd ones above all: what is said must never be mistaken for what is meant."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest

from kilowait_scheduler.dispatch.executor import (
    Accepted,
    AlreadyThere,
    Ambiguous,
    BadAnswer,
    DispatchError,
    NotConnected,
    NotSent,
    Refused,
    Rejected,
    RunStatus,
    SubmitRequest,
    Unauthorized,
    UnknownRun,
    Unreachable,
    WrongAddress,
)
from kilowait_scheduler.dispatch.ray_jobs import RayJobsExecutor
from kilowait_scheduler.dispatch.ray_packages import MAX_PACKAGE_BYTES, package_name

from .stand_in import EXISTS, StandIn, row

HTML = "<html><head><title>Sign in</title><style>p {}</style></head><body><p>Please sign in</p></body></html>"
SUBMIT, LIST, VERSION = "POST /api/jobs/", "GET /api/jobs/", "GET /api/version"


def request_of(**changes: Any) -> SubmitRequest:
    return SubmitRequest(**{"submission_id": "kw-1", "entrypoint": "true", "metadata": {"run": "1"}, **changes})


@pytest.fixture
def ray() -> StandIn:
    return StandIn()


def body_of(ray: StandIn) -> dict[str, Any]:
    sent = [r for r in ray.requests if r.method == "POST" and r.url.path == "/api/jobs/"]
    return dict(json.loads(sent[-1].content))


class TestSubmit:
    async def test_it_sends_only_fields_that_every_ray_knows(self, ray: StandIn) -> None:
        runtime_env = {"pip": ["torch"], "env_vars": {"A": "1", "B": "2"}}
        request = request_of(runtime_env=runtime_env, env={"B": "ours"}, gpus=4, grace_s=59.1, stop_signal="SIGINT")
        assert await ray.executor().submit(request) == Accepted("session_1")
        stop = {"RAY_JOB_STOP_WAIT_TIME_S": "60", "RAY_JOB_STOP_SIGNAL": "SIGINT"}
        assert body_of(ray) == {
            "submission_id": "kw-1",
            "entrypoint": "true",
            "metadata": {"run": "1"},
            "runtime_env": {"pip": ["torch"], "env_vars": {"A": "1", "B": "ours", **stop}},
        }
        assert runtime_env == {"pip": ["torch"], "env_vars": {"A": "1", "B": "2"}}

    async def test_gpus_are_reserved_for_the_entrypoint_only_on_demand(self, ray: StandIn) -> None:
        await ray.executor().submit(request_of(gpus=4, entrypoint_gpus=2))
        assert body_of(ray)["entrypoint_num_gpus"] == 2

    async def test_the_token_goes_with_every_call_and_headers_too(self, ray: StandIn) -> None:
        executor = ray.executor(token=" secret\n", headers={"X-Ray-Authorization": "Bearer other"})
        await executor.submit(request_of())
        assert {r.headers["authorization"] for r in ray.requests} == {"Bearer secret"}
        assert {r.headers["x-ray-authorization"] for r in ray.requests} == {"Bearer other"}

    async def test_a_path_in_the_address_is_kept(self, ray: StandIn) -> None:
        with pytest.raises(DispatchError):
            await ray.executor(address="https://ray.test/clusters/north/").observe()
        assert str(ray.requests[0].url) == "https://ray.test/clusters/north/api/jobs/"

    async def test_a_taken_id_is_compared_by_metadata(self, ray: StandIn) -> None:
        ray.rows["kw-1"] = row("kw-1", "RUNNING", metadata={"run": "1", "job_name": "set by Ray"})
        assert await ray.executor().submit(request_of()) == AlreadyThere("session_1", mine=True)
        assert await ray.executor().submit(request_of(metadata={"run": "2"})) == AlreadyThere("session_1", mine=False)

    async def test_a_taken_id_that_cannot_be_looked_up_stays_open(self, ray: StandIn) -> None:
        ray.say(SUBMIT, 500, EXISTS.format("kw-1"))
        assert isinstance(await ray.executor().submit(request_of()), Ambiguous)
        ray.fail("GET /api/jobs/kw-1", httpx.ReadTimeout(""))
        assert isinstance(await ray.executor().submit(request_of()), Ambiguous)

    async def test_a_bad_request_is_rejected_in_one_line(self, ray: StandIn) -> None:
        trace = 'Traceback (most recent call last):\n  File "utils.py", line 128\nTypeError: metadata must be a dict\n'
        ray.say(SUBMIT, 400, trace)
        outcome = await ray.executor().submit(request_of())
        assert isinstance(outcome, Rejected)
        assert outcome.reason.endswith("does not take run kw-1: TypeError: metadata must be a dict")

    async def test_a_bad_request_found_by_the_agent_is_rejected_too(self, ray: StandIn) -> None:
        ray.say(SUBMIT, 500, EXISTS.replace("Job with submission_id {0} already exists.", "bad label."))
        assert isinstance(await ray.executor().submit(request_of()), Rejected)

    @pytest.mark.parametrize(
        ("status", "text"),
        [
            (500, "No available agent to submit job, please try again later."),
            (500, "Traceback (most recent call last):\nKeyError: 'Agent info not found in internal KV'"),
            (502, HTML),
            (503, ""),
            (504, HTML),
            (200, HTML),
            (200, '{"job_id": "kw-1", "submiss'),
            (200, '{"job_id": "kw-2", "submission_id": "kw-2"}'),
            (200, "[]"),
        ],
    )
    async def test_whatever_may_have_reached_the_cluster_is_ambiguous(
        self, ray: StandIn, status: int, text: str
    ) -> None:
        ray.say(SUBMIT, status, text)
        outcome = await ray.executor().submit(request_of())
        assert isinstance(outcome, Ambiguous)
        assert "kw-1" in outcome.detail and "\n" not in outcome.detail

    @pytest.mark.parametrize(
        "error",
        [httpx.ReadTimeout(""), httpx.ReadError("reset"), httpx.WriteError(""), httpx.RemoteProtocolError("gone")],
    )
    async def test_a_call_that_broke_off_is_ambiguous(self, ray: StandIn, error: Exception) -> None:
        ray.fail(SUBMIT, error)
        assert isinstance(await ray.executor().submit(request_of()), Ambiguous)

    @pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ConnectTimeout(""), httpx.PoolTimeout("")])
    async def test_a_call_without_a_connection_was_surely_not_sent(self, ray: StandIn, error: Exception) -> None:
        ray.fail(SUBMIT, error)
        assert isinstance(await ray.executor().submit(request_of()), NotSent)

    async def test_a_cluster_that_says_nothing_before_is_sent_nothing(self, ray: StandIn) -> None:
        ray.fail(VERSION, httpx.ReadTimeout(""))
        assert isinstance(await ray.executor().submit(request_of()), NotSent)
        assert SUBMIT not in ray.calls

    async def test_a_slow_answer_is_given_up(self, ray: StandIn) -> None:
        async def forever(_request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        ray.odd[SUBMIT] = forever
        executor = ray.executor(submit_wait_s=-2.9)  # and 3 s for the connection
        outcome = await executor.submit(request_of())
        assert isinstance(outcome, Ambiguous) and "did not answer within" in outcome.detail

    async def test_a_head_that_restarts_in_between_is_not_believed(self, ray: StandIn) -> None:
        def restarting(_request: httpx.Request) -> httpx.Response:
            ray.session_name = "session_2"
            return httpx.Response(200, json={"submission_id": "kw-1"})

        ray.odd[SUBMIT] = restarting
        outcome = await ray.executor().submit(request_of())
        assert isinstance(outcome, Ambiguous) and "restarted" in outcome.detail

    @pytest.mark.parametrize("status", [401, 404, 503])
    async def test_a_head_that_goes_wrong_after_its_answer_is_not_believed(self, ray: StandIn, status: int) -> None:
        def falling_silent(_request: httpx.Request) -> httpx.Response:
            ray.say(VERSION, status)
            return httpx.Response(200, json={"submission_id": "kw-1"})

        ray.odd[SUBMIT] = falling_silent
        assert isinstance(await ray.executor().submit(request_of()), Ambiguous)

    @pytest.mark.parametrize("status", [401, 403])
    async def test_a_missing_right_is_an_error_of_the_region_and_not_of_the_job(
        self, ray: StandIn, status: int
    ) -> None:
        ray.say(SUBMIT, status, "Unauthorized")
        with pytest.raises(Unauthorized, match="RAY_AUTH_TOKEN"):
            await ray.executor().submit(request_of())

    async def test_a_missing_route_is_an_error_of_the_region_and_not_of_the_job(self, ray: StandIn) -> None:
        ray.say(SUBMIT, 404, "404: Not Found")
        with pytest.raises(WrongAddress, match="address"):
            await ray.executor().submit(request_of())

    @pytest.mark.parametrize(
        ("runtime_env", "hint"),
        [
            ({"working_dir": "."}, "working_dir"),
            ({"working_dir": 7}, "working_dir"),
            ({"py_modules": ["s3://bucket/a.zip", "./mine"]}, r"py_modules\[1\]"),
            ({"pip": "requirements.txt"}, "requirements.txt"),
            ({"conda": "environment.yml"}, "environment.yml"),
            ({"env_vars": {"A": 1}}, "quotes"),
            ({"env_vars": ["A=1"]}, "env_vars"),
            ({"config": {1, 2}}, "JSON"),
        ],
    )
    async def test_what_ray_would_choke_on_is_not_sent(
        self, ray: StandIn, runtime_env: dict[str, Any], hint: str
    ) -> None:
        outcome = await ray.executor().submit(request_of(runtime_env=runtime_env))
        assert isinstance(outcome, Rejected)
        assert re.search(hint, outcome.reason) and "\n" not in outcome.reason
        assert ray.calls == []


class TestPackages:
    async def test_it_is_uploaded_once_and_looked_at_before_each_submission(self, ray: StandIn, tmp_path: Path) -> None:
        archive = tmp_path / "package.zip"
        archive.write_bytes(b"zip")
        name = package_name(b"zip")
        runtime_env = {"working_dir": ".", "excludes": ["data"]}
        executor = ray.executor()
        for number in "12":
            request = request_of(submission_id=f"kw-{number}", working_dir_zip=archive, runtime_env=runtime_env)
            assert isinstance(await executor.submit(request), Accepted)
            assert body_of(ray)["runtime_env"]["working_dir"] == f"gcs://{name}"
            assert "excludes" not in body_of(ray)["runtime_env"]
        path = f"/api/packages/gcs/{name}"
        assert [call for call in ray.calls if "packages" in call] == [
            f"GET {path}",
            f"PUT {path}",
            f"GET {path}",
            f"GET {path}",
        ]
        assert ray.calls.index(f"GET {path}") < ray.calls.index(SUBMIT)

    async def test_a_cluster_that_was_restarted_gets_it_again(self, ray: StandIn, tmp_path: Path) -> None:
        archive = tmp_path / "package.zip"
        archive.write_bytes(b"zip")
        executor = ray.executor()
        await executor.submit(request_of(working_dir_zip=archive))
        ray.packages.clear()
        await executor.submit(request_of(submission_id="kw-2", working_dir_zip=archive))
        assert list(ray.packages.values()) == [b"zip"]

    async def test_trouble_with_the_upload_has_no_effect(self, ray: StandIn, tmp_path: Path) -> None:
        archive = tmp_path / "package.zip"
        archive.write_bytes(b"zip")
        path = f"/api/packages/gcs/{package_name(b'zip')}"
        ray.fail(f"PUT {path}", httpx.WriteTimeout(""))
        assert isinstance(await ray.executor().submit(request_of(working_dir_zip=archive)), NotSent)
        ray.say(f"PUT {path}", 500, "Traceback (most recent call last):\nValueError: Package size exceeds the limit")
        outcome = await ray.executor().submit(request_of(working_dir_zip=archive))
        assert isinstance(outcome, NotSent) and "ValueError: Package size" in outcome.detail
        ray.say(f"PUT {path}", 413, "Maximum request body size exceeded")
        assert isinstance(await ray.executor().submit(request_of(working_dir_zip=archive)), Rejected)
        assert SUBMIT not in ray.calls

    async def test_a_package_that_is_gone_or_too_large_is_rejected(self, ray: StandIn, tmp_path: Path) -> None:
        archive = tmp_path / "package.zip"
        assert isinstance(await ray.executor().submit(request_of(working_dir_zip=archive)), Rejected)
        with archive.open("wb") as file:
            file.truncate(MAX_PACKAGE_BYTES + 1)
        outcome = await ray.executor().submit(request_of(working_dir_zip=archive))
        assert isinstance(outcome, Rejected) and str(MAX_PACKAGE_BYTES) in outcome.reason


class TestProbe:
    async def test_it_counts_whole_gpus_of_living_nodes(self, ray: StandIn) -> None:
        info = await ray.executor().probe()
        assert (info.session_name, info.ray_version) == ("session_1", "2.60.0")
        assert (info.nodes_alive, info.gpus_total, info.gpus_used) == (2, 6, 2)

    @pytest.mark.parametrize(
        ("status", "text"),
        [(500, ""), (404, "404: Not Found"), (200, "null"), (200, '{"data": {"clusterStatus": null}}'), (200, HTML)],
    )
    async def test_use_that_is_not_told_is_unknown_and_not_zero(self, ray: StandIn, status: int, text: str) -> None:
        ray.say("GET /api/cluster_status", status, text)
        assert (await ray.executor().probe()).gpus_used is None

    async def test_a_head_without_its_gcs_is_unreachable_though_it_tells_its_version(self, ray: StandIn) -> None:
        ray.fail("GET /api/v0/nodes", httpx.ReadTimeout(""))
        executor = ray.executor()
        for _ in range(3):
            with pytest.raises(Unreachable):
                await executor.probe()
        before = len(ray.calls)
        with pytest.raises(NotConnected) as caught:
            await executor.probe()
        assert len(ray.calls) == before
        assert caught.value.retry_after_s > 0

    @pytest.mark.parametrize("text", ['{"data": {}}', "[]", '{"data": {"result": {"result": [{}]}}}', "{"])
    async def test_nodes_in_another_shape_are_a_bad_answer(self, ray: StandIn, text: str) -> None:
        ray.say("GET /api/v0/nodes", 200, text)
        with pytest.raises(BadAnswer):
            await ray.executor().probe()


class TestObserve:
    async def test_rows_of_others_are_left_out(self, ray: StandIn) -> None:
        ray.rows = {
            "kw-1": row("kw-1", "RUNNING", metadata={"run": "1"}, job_id="02000000"),
            "kw-2": row("kw-2", "SUCCEEDED", metadata={"tombstone": "1"}),
            "theirs": row("raysubmit_x", "NEW STATUS"),
            "driver": row("", "RUNNING", type="DRIVER", submission_id=None),
        }
        seen = await ray.executor().observe()
        assert list(seen) == ["kw-1"]
        assert (seen["kw-1"].status, seen["kw-1"].ray_job_id) == (RunStatus.RUNNING, "02000000")
        accepted_at = seen["kw-1"].accepted_at
        assert accepted_at is not None and accepted_at.isoformat() == "2026-11-23T05:45:24.352000+00:00"
        assert seen["kw-1"].ended_at is None

    @pytest.mark.parametrize(
        "text", [HTML, "{}", "null", '[{"submission_id": "kw-1"', '[{"submission_id": "kw-1"}]', "[7]"]
    )
    async def test_a_list_that_cannot_be_read_in_full_is_no_list(self, ray: StandIn, text: str) -> None:
        ray.say(LIST, 200, text)
        with pytest.raises(BadAnswer):
            await ray.executor().observe()

    async def test_a_status_of_the_future_makes_no_run_look_gone(self, ray: StandIn) -> None:
        ray.rows = {"kw-1": row("kw-1", "RUNNING"), "kw-2": row("kw-2", "PAUSED")}
        with pytest.raises(BadAnswer, match="kw-2 has the status 'PAUSED'"):
            await ray.executor().observe()

    @pytest.mark.parametrize(
        ("status", "error"),
        [
            (401, Unauthorized),
            (403, Unauthorized),
            (302, WrongAddress),
            (404, WrongAddress),
            (500, BadAnswer),
            (502, Unreachable),
            (503, Unreachable),
            (504, Unreachable),
            (429, Unreachable),
        ],
    )
    async def test_each_refusal_has_its_meaning(self, ray: StandIn, status: int, error: type[DispatchError]) -> None:
        ray.say(LIST, status, HTML, headers={"location": "https://login.test/?next=secret"})
        with pytest.raises(error) as caught:
            await ray.executor().observe()
        assert type(caught.value) is error
        assert "\n" not in str(caught.value) and "secret" not in str(caught.value) and "north" in str(caught.value)


class TestOneRun:
    async def test_a_404_of_a_proxy_does_not_make_a_run_look_gone(self, ray: StandIn) -> None:
        ray.say("GET /api/jobs/kw-1", 404, HTML)
        with pytest.raises(WrongAddress):
            await ray.executor().get("kw-1")
        ray.say("POST /api/jobs/kw-1/stop", 404, "404: Not Found")
        with pytest.raises(WrongAddress):
            await ray.executor().stop("kw-1")

    async def test_a_stop_must_say_whether(self, ray: StandIn) -> None:
        ray.say("POST /api/jobs/kw-1/stop", 200, '{"stopped": "yes"}')
        with pytest.raises(BadAnswer):
            await ray.executor().stop("kw-1")

    async def test_a_log_of_a_driver_is_read_from_its_end(self, ray: StandIn) -> None:
        ray.rows["kw-1"] = row("kw-1", "RUNNING", driver_node_id="n1")
        ray.say("GET /api/v0/logs/file", 200, "the end\n")
        assert await ray.executor().logs("kw-1") == "the end\n"
        sent = ray.requests[-1].url.params
        assert (sent["node_id"], sent["filename"], sent["lines"]) == ("n1", "job-driver-kw-1.log", "10000")

    async def test_a_log_without_a_driver_or_off_the_node_is_read_whole(self, ray: StandIn) -> None:
        ray.rows["kw-1"] = row("kw-1", "PENDING")
        assert await ray.executor().logs("kw-1") == "working\n"
        ray.rows["kw-1"] = row("kw-1", "RUNNING", driver_node_id="n1")
        ray.say("GET /api/v0/logs/file", 500, "A file is not found at: ...")
        assert await ray.executor().logs("kw-1") == "working\n"

    async def test_an_endless_log_costs_bounded_memory(self, ray: StandIn) -> None:
        ray.rows["kw-1"] = row("kw-1", "RUNNING", driver_node_id="n1")
        ray.say("GET /api/v0/logs/file", 200, "x" * 5_000_000 + "end")
        log = await ray.executor().logs("kw-1")
        assert len(log) == 4 * 1024 * 1024 and log.endswith("xend")

    async def test_a_log_of_an_unknown_run_is_an_error(self, ray: StandIn) -> None:
        with pytest.raises(UnknownRun):
            await ray.executor().logs("kw-1")

    async def test_a_live_run_is_not_deleted(self, ray: StandIn) -> None:
        error = "RuntimeError: Attempted to delete job 'kw-1', but it is in a non-terminal state RUNNING."
        text = f"Traceback (most recent call last):\n{error}"
        ray.say("DELETE /api/jobs/kw-1", 500, text)
        with pytest.raises(Refused) as caught:
            await ray.executor().delete("kw-1")
        assert caught.value.reason == "run_is_live"

    async def test_odd_ids_stay_within_their_place(self, ray: StandIn) -> None:
        odd = "../../api/packages?x=1#y"
        ray.say("*", 404, f"Job {odd} does not exist")
        assert await ray.executor().stop(odd) is False
        assert ray.requests[-1].url.raw_path == b"/api/jobs/..%2F..%2Fapi%2Fpackages%3Fx%3D1%23y/stop"


class TestTombstone:
    async def test_a_tombstone_whose_answer_was_lost_has_still_won(self, ray: StandIn) -> None:
        executor = ray.executor()
        assert await executor.tombstone("kw-1") == "won"
        assert await executor.tombstone("kw-1") == "won"
        assert body_of(ray) == {"submission_id": "kw-1", "entrypoint": "true", "metadata": {"tombstone": "1"}}

    async def test_a_cluster_that_does_not_answer_settles_nothing(self, ray: StandIn) -> None:
        for error in (httpx.ConnectError(""), httpx.ReadTimeout("")):
            ray.fail(SUBMIT, error)
            with pytest.raises(Unreachable, match="not settled"):
                await ray.executor().tombstone("kw-1")


class TestTheWire:
    @pytest.mark.parametrize(
        ("options", "error"),
        [
            ({"address": "ray.test:8265"}, WrongAddress),
            ({"address": "http://"}, WrongAddress),
            ({"address": "http://ray.test:port"}, WrongAddress),
            ({"address": "http://me:hunter2@ray.test"}, WrongAddress),
            ({"address": "ftp://me:hunter2@ray.test"}, WrongAddress),
            ({"token": ""}, Unauthorized),
            ({"token": "two words"}, Unauthorized),
        ],
    )
    async def test_a_wrong_set_up_is_said_when_the_region_is_used(
        self, ray: StandIn, options: dict[str, str], error: type[DispatchError]
    ) -> None:
        executor = ray.executor(**options)
        with pytest.raises(error, match="north") as caught:
            await executor.probe()
        assert "hunter2" not in str(caught.value) and ray.calls == []

    async def test_a_certificate_that_is_not_trusted_is_for_a_person_to_mend(self, ray: StandIn) -> None:
        error = httpx.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
        error.__cause__ = ssl.SSLCertVerificationError("self-signed")
        ray.fail("*", error)
        with pytest.raises(WrongAddress, match="CA bundle"):
            await ray.executor().observe()

    async def test_the_token_is_in_no_message_and_no_repr(self, ray: StandIn) -> None:
        executor = ray.executor(token="hunter2")
        for status in (401, 403, 404, 500, 503):
            ray.say("*", status, "no")
            with pytest.raises(DispatchError) as caught:
                await executor.observe()
            assert "hunter2" not in str(caught.value) and "hunter2" not in repr(executor)
        assert "hunter2" not in repr(request_of(env={"SECRET": "hunter2"}))

    async def test_a_cluster_that_does_not_answer_is_left_alone_and_asked_again_later(self, ray: StandIn) -> None:
        executor = ray.executor()
        ray.fail("*", httpx.ConnectError("refused"))
        for _ in range(3):
            with pytest.raises(Unreachable):
                await executor.observe()
        with pytest.raises(NotConnected, match="asked again in 2 s"):
            await executor.observe()
        outcome = await executor.submit(request_of())
        assert isinstance(outcome, NotSent)
        assert len(ray.calls) == 3
        ray.odd.clear()
        ray.time_s += 2.0
        assert await executor.observe() == {}
        assert await executor.observe() == {}

    async def test_a_refusal_is_an_answer_and_opens_no_breaker(self, ray: StandIn) -> None:
        executor = ray.executor()
        ray.say("*", 401)
        for _ in range(5):
            with pytest.raises(Unauthorized):
                await executor.observe()
        assert len(ray.calls) == 5

    async def test_a_call_that_was_cancelled_is_nobodys_fault(self, ray: StandIn) -> None:
        async def forever(_request: httpx.Request) -> httpx.Response:
            await asyncio.Event().wait()
            raise AssertionError

        executor = ray.executor()
        ray.odd["*"] = forever
        for _ in range(5):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await executor.observe()
        ray.odd.clear()
        assert await executor.observe() == {}

    async def test_four_calls_at_a_time_are_enough(self, ray: StandIn) -> None:
        under_way, most = 0, 0
        go = asyncio.Event()

        async def counted(_request: httpx.Request) -> httpx.Response:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            await go.wait()
            under_way -= 1
            return httpx.Response(200, json=[])

        ray.odd[LIST] = counted
        executor = ray.executor()
        calls = [asyncio.create_task(executor.observe()) for _ in range(12)]
        while under_way < 4:
            await asyncio.sleep(0)
        go.set()
        assert await asyncio.gather(*calls) == [{}] * 12
        assert most == 4

    async def test_a_client_that_was_lent_is_not_closed(self) -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _r: httpx.Response(200, json=[]))) as client:
            executor = RayJobsExecutor(region="north", address="http://ray.test", client=client)
            await executor.close()
            assert await executor.observe() == {}

    async def test_nobody_listening_is_said_in_one_line(self) -> None:
        executor = RayJobsExecutor(region="north", address="http://127.0.0.1:9")
        with pytest.raises(NotConnected, match=r"cannot list the jobs: region north \(http://127.0.0.1:9\)") as caught:
            await executor.observe()
        assert "\n" not in str(caught.value)
        await executor.close()
