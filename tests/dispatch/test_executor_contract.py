"""What every executor must do, asked of the one in memory and of real Ray alike."""

from __future__ import annotations

import pytest

from kilowait_scheduler.dispatch.executor import (
    Accepted,
    AlreadyThere,
    Executor,
    Refused,
    Rejected,
    RunStatus,
    UnknownRun,
)

from .bench import Bench

pytestmark = pytest.mark.timeout(300)  # the first test of the lane starts the heads


async def test_a_probe_tells_the_incarnation_and_the_gpus(bench: Bench) -> None:
    info = await bench.a.probe()
    assert (info.nodes_alive, info.gpus_total) == (1, 4)
    assert info.session_name.startswith("session_")
    assert info.session_name != (await bench.b.probe()).session_name
    assert info.ray_version.count(".") == 2


async def test_a_run_is_accepted_and_runs_to_its_end(bench: Bench) -> None:
    request = bench.request("exec sleep 2")
    outcome = await bench.a.submit(request)
    assert outcome == Accepted((await bench.a.probe()).session_name)
    running = await bench.until(bench.a, request.submission_id, RunStatus.RUNNING)
    assert running.ended_at is None and running.accepted_at is not None
    ended = await bench.until(bench.a, request.submission_id)
    assert ended.status is RunStatus.SUCCEEDED
    assert ended.driver_exit_code == 0 and ended.error_type is None
    assert ended.accepted_at is not None and ended.ended_at is not None
    assert (ended.ended_at - ended.accepted_at).total_seconds() >= 2
    assert ended.metadata["kilowait_run"] == request.submission_id


async def test_the_same_submission_twice_is_already_there_and_runs_once(bench: Bench) -> None:
    request = bench.trainer(total=3)
    first = await bench.a.submit(request)
    second = await bench.a.submit(request)
    assert isinstance(first, Accepted)
    assert second == AlreadyThere(first.session_name, mine=True)
    assert (await bench.until(bench.a, request.submission_id)).status is RunStatus.SUCCEEDED
    assert isinstance(await bench.a.submit(request), AlreadyThere)
    assert bench.steps() == [1, 2, 3]


async def test_an_id_that_someone_else_holds_is_not_mine(bench: Bench) -> None:
    theirs = bench.request("exec sleep 60", metadata={"owner": "someone"})
    await bench.a.submit(theirs)
    mine = bench.request("exec sleep 60", submission_id=theirs.submission_id)
    outcome = await bench.a.submit(mine)
    assert isinstance(outcome, AlreadyThere) and not outcome.mine


async def test_the_same_id_is_free_in_another_region(bench: Bench) -> None:
    request = bench.request("exec sleep 60")
    assert isinstance(await bench.a.submit(request), Accepted)
    assert isinstance(await bench.b.submit(request), Accepted)


async def test_a_failing_program_is_told_from_a_failing_cluster(bench: Bench) -> None:
    failing = bench.request("""python -c 'raise ValueError("no such dataset")'""")
    broken = bench.request("exec sleep 60", runtime_env={"working_dir": "gcs://_ray_pkg_0123456789abcdef.zip"})
    await bench.a.submit(failing)
    await bench.a.submit(broken)
    ended = await bench.until(bench.a, failing.submission_id)
    assert (ended.status, ended.error_type) == (RunStatus.FAILED, "JOB_ENTRYPOINT_COMMAND_ERROR")
    assert ended.driver_exit_code == 1
    assert "\n" not in ended.message and "failed with exit code 1" in ended.message
    assert "no such dataset" in await bench.a.logs(failing.submission_id)
    ended = await bench.until(bench.a, broken.submission_id)
    assert (ended.status, ended.error_type) == (RunStatus.FAILED, "RUNTIME_ENV_SETUP_FAILURE")
    assert "\n" not in ended.message


async def test_our_environment_wins_over_the_users(bench: Bench) -> None:
    request = bench.request(
        "echo user=$THEIRS ours=$KILOWAIT_RUN_ID",
        runtime_env={"env_vars": {"THEIRS": "kept", "KILOWAIT_RUN_ID": "forged"}},
        env={"KILOWAIT_RUN_ID": "kw-true"},
    )
    await bench.a.submit(request)
    await bench.until(bench.a, request.submission_id)
    assert "user=kept ours=kw-true\n" in await bench.a.logs(request.submission_id)


async def test_a_working_directory_travels_with_the_run(bench: Bench) -> None:
    archive = bench.package("print('from the package')")
    request = bench.request("exec python main.py", working_dir_zip=archive, runtime_env={"working_dir": "."})
    again = bench.request("exec python main.py", working_dir_zip=archive)
    assert isinstance(await bench.a.submit(request), Accepted)
    assert (await bench.until(bench.a, request.submission_id)).status is RunStatus.SUCCEEDED
    assert "from the package" in await bench.a.logs(request.submission_id)
    assert isinstance(await bench.a.submit(again), Accepted)
    assert (await bench.until(bench.a, again.submission_id)).status is RunStatus.SUCCEEDED


async def test_a_folder_of_the_submitting_machine_is_rejected_before_it_is_sent(bench: Bench) -> None:
    request = bench.request("exec python main.py", runtime_env={"working_dir": "/somewhere/here"})
    outcome = await bench.a.submit(request)
    assert isinstance(outcome, Rejected) and "/somewhere/here" in outcome.reason
    assert await bench.a.get(request.submission_id) is None


async def test_a_stop_leaves_the_program_the_time_it_was_promised(bench: Bench) -> None:
    # Ray's own default is 3 s, so a save of 4 s shows that the promise reached it.
    request = bench.trainer(save_s=4.0, grace_s=20.0)
    await bench.a.submit(request)
    await bench.until_steps(bench.a, request.submission_id, 5)
    assert await bench.a.stop(request.submission_id) is True
    seen = await bench.a.get(request.submission_id)
    assert seen is not None and seen.status is RunStatus.RUNNING
    ended = await bench.until(bench.a, request.submission_id)
    assert ended.status is RunStatus.STOPPED and ended.driver_exit_code is None
    assert (bench.folder / "checkpoint").read_text() == str(bench.steps()[-1])


async def test_a_program_that_overstays_its_grace_is_killed(bench: Bench) -> None:
    request = bench.trainer(save_s=30.0, grace_s=0.5)
    await bench.a.submit(request)
    await bench.until_steps(bench.a, request.submission_id, 3)
    assert await bench.a.stop(request.submission_id)
    ended = await bench.until(bench.a, request.submission_id, within_s=20)
    assert ended.status is RunStatus.STOPPED
    assert not (bench.folder / "checkpoint").exists()


async def test_the_stop_signal_can_be_sigint(bench: Bench) -> None:
    request = bench.trainer(stop_signal="SIGINT", grace_s=20.0)
    await bench.a.submit(request)
    await bench.until_steps(bench.a, request.submission_id, 3)
    assert await bench.a.stop(request.submission_id)
    await bench.until(bench.a, request.submission_id)
    assert (bench.folder / "checkpoint").exists()


async def test_a_stop_of_an_ended_or_unknown_run_is_not_accepted(bench: Bench) -> None:
    request = bench.request("echo done")
    await bench.a.submit(request)
    await bench.until(bench.a, request.submission_id)
    assert await bench.a.stop(request.submission_id) is False
    assert await bench.a.stop("kw-never-submitted") is False


async def test_a_stop_of_a_pending_run_takes_effect_only_when_it_starts(bench: Bench) -> None:
    holder = bench.request("exec sleep 600", entrypoint_gpus=4, grace_s=1)
    waiting = bench.request("exec sleep 600", entrypoint_gpus=4, grace_s=1)
    await bench.a.submit(holder)
    await bench.until(bench.a, holder.submission_id, RunStatus.RUNNING)
    await bench.a.submit(waiting)
    assert await bench.a.stop(waiting.submission_id) is True
    await bench.wait(2.0)
    seen = await bench.a.get(waiting.submission_id)
    assert seen is not None and seen.status is RunStatus.PENDING
    with pytest.raises(Refused):
        await bench.a.delete(waiting.submission_id)
    await bench.a.stop(holder.submission_id)
    ended = await bench.until(bench.a, waiting.submission_id)
    assert ended.status is RunStatus.STOPPED


async def test_what_is_unknown_is_said_to_be(bench: Bench) -> None:
    assert await bench.a.get("kw-never-submitted") is None
    with pytest.raises(UnknownRun, match="kw-never-submitted"):
        await bench.a.logs("kw-never-submitted")
    await bench.a.delete("kw-never-submitted")


async def test_only_ended_runs_are_forgotten(bench: Bench) -> None:
    request = bench.trainer()
    await bench.a.submit(request)
    await bench.until(bench.a, request.submission_id, RunStatus.RUNNING)
    with pytest.raises(Refused, match="has not ended"):
        await bench.a.delete(request.submission_id)
    await bench.a.stop(request.submission_id)
    await bench.until(bench.a, request.submission_id)
    await bench.a.delete(request.submission_id)
    assert await bench.a.get(request.submission_id) is None


async def test_observe_lists_the_runs_with_the_prefix(bench: Bench) -> None:
    ours = bench.request("exec sleep 60")
    other = bench.request("exec sleep 60", submission_id=f"other-{ours.submission_id}")
    for request in (ours, other):
        await bench.a.submit(request)
    seen = await bench.a.observe()
    assert ours.submission_id in seen and other.submission_id not in seen
    assert other.submission_id in await bench.a.observe("other-")
    assert seen[ours.submission_id].metadata["kilowait_run"] == ours.submission_id


async def test_a_tombstone_loses_to_the_run_that_is_there(bench: Bench) -> None:
    request = bench.request("exec sleep 60")
    await bench.a.submit(request)
    assert await bench.a.tombstone(request.submission_id) == "original_won"
    seen = await bench.a.get(request.submission_id)
    assert seen is not None and not seen.status.terminal


async def test_a_tombstone_keeps_a_run_from_ever_starting(bench: Bench) -> None:
    request = bench.trainer()
    assert await bench.a.tombstone(request.submission_id) == "won"
    assert await bench.a.tombstone(request.submission_id) == "won"
    outcome = await bench.a.submit(request)
    assert isinstance(outcome, AlreadyThere) and not outcome.mine
    await bench.wait(2.5)
    # Seen as a run it would have "succeeded", and with it a job that never ran.
    assert await bench.a.get(request.submission_id) is None
    assert request.submission_id not in await bench.a.observe()
    assert bench.steps() == []


async def test_a_run_moves_from_one_region_to_another_without_losing_a_step(bench: Bench) -> None:
    first = bench.trainer(total=40, save_s=0.5, grace_s=20.0)
    await bench.a.submit(first)
    await bench.until_steps(bench.a, first.submission_id, 10)
    await bench.a.stop(first.submission_id)
    assert (await bench.until(bench.a, first.submission_id)).status is RunStatus.STOPPED
    saved = int((bench.folder / "checkpoint").read_text())
    assert 10 <= saved < 40
    second = bench.trainer(total=40, save_s=0.5, grace_s=20.0)
    await bench.b.submit(second)
    ended = await bench.until(bench.b, second.submission_id)
    assert ended.status is RunStatus.SUCCEEDED
    assert f"starts at {saved}" in await bench.b.logs(second.submission_id)
    assert bench.steps() == list(range(1, 41))


def test_both_are_executors(bench: Bench) -> None:
    executors: list[Executor] = [bench.a, bench.b]
    assert [executor.region for executor in executors] == ["A", "B"]
