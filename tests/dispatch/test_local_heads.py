"""Local heads without Ray: their ports, their environment and what is said when they do not come up."""

from __future__ import annotations

import random
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kilowait_scheduler.dispatch import local_heads
from kilowait_scheduler.dispatch.local_heads import HeadFailed, LocalHead
from kilowait_scheduler.dispatch.local_ports import BLOCK, NoFreePorts, free_block


def test_two_blocks_never_overlap_even_with_the_same_luck() -> None:
    with free_block({0, 1}, rng=random.Random(7)) as (one, _), free_block({0, 1}, rng=random.Random(7)) as (two, _):
        assert abs(one - two) >= BLOCK
    with free_block({0, 1}, rng=random.Random(7)) as (again, _):
        assert again == one


def test_a_block_with_a_port_in_use_is_passed_over() -> None:
    with free_block({0, 1}, rng=random.Random(7)) as (base, _):
        pass
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", base + 1))
        with free_block({0, 1}, rng=random.Random(7)) as (other, _):
            assert other != base


def test_no_free_block_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilowait_scheduler.dispatch.local_ports._BASES", range(0))
    with pytest.raises(NoFreePorts), free_block({0}, rng=random.Random()):
        pass


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Have a head start with a program of the test instead of Ray."""

    def start_with(source: str) -> None:
        monkeypatch.setattr(local_heads, "missing", lambda: None)
        monkeypatch.setattr(local_heads, "_command", lambda **_: [sys.executable, "-c", source])

    return start_with


async def test_a_start_that_fails_says_why_and_where_to_read_on(tmp_path: Path, no_ray: Callable[[str], None]) -> None:
    no_ray("raise SystemExit('ModuleNotFoundError: No module named ray.scripts')")
    with pytest.raises(HeadFailed, match=r"region A did not come up: .*No module named ray.scripts.*ray\.log"):
        await LocalHead.start(region="A", run_dir=tmp_path / "A", token=None, rng=random.Random())
    assert [path.name for path in (tmp_path / "A").iterdir()] == ["ray.log"]


async def test_a_start_that_gives_up_is_tried_once_more(tmp_path: Path, no_ray: Callable[[str], None]) -> None:
    tries = tmp_path / "tries"
    no_ray(f"open({str(tries)!r}, 'a').write('x'); print('Traceback:'); print('  inner()'); raise SystemExit('busy')")
    with pytest.raises(HeadFailed, match="`ray start` failed: busy"):
        await LocalHead.start(region="A", run_dir=tmp_path / "A", token=None, rng=random.Random())
    assert tries.read_text() == "xx"


async def test_a_start_that_takes_too_long_is_given_up(tmp_path: Path, no_ray: Callable[[str], None]) -> None:
    no_ray("import time; time.sleep(600)")
    times = iter([0.0, 1.0, 121.0])
    with pytest.raises(HeadFailed, match="not ready in time: `ray start` has not come to an end"):
        await LocalHead.start(
            region="A", run_dir=tmp_path, token=None, rng=random.Random(), clock=lambda: next(times, 121.0)
        )


async def test_a_head_without_ray_is_refused_with_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(HeadFailed, match=r"kilowait\[ray\]"):
        await LocalHead.start(region="A", run_dir=tmp_path, token=None, rng=random.Random())


async def test_a_head_inherits_no_settings_of_another_ray_or_of_ours(
    tmp_path: Path, no_ray: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "http://production:8265")
    monkeypatch.setenv("KILOWAIT_TOKEN", "hunter2")
    monkeypatch.setenv("LANG", "C.UTF-8")
    no_ray("import os; print(sorted(os.environ.items())); raise SystemExit('RuntimeError: enough')")
    with pytest.raises(HeadFailed):
        await LocalHead.start(region="A", run_dir=tmp_path, token="t", rng=random.Random(), env={"HF_HOME": "/models"})
    seen = (tmp_path / "ray.log").read_text()
    assert "production" not in seen and "hunter2" not in seen
    assert "('LANG', 'C.UTF-8')" in seen and "('HF_HOME', '/models')" in seen
    assert "('RAY_AUTH_MODE', 'token'), ('RAY_AUTH_TOKEN', 't')" in seen
    assert f"('PATH', '{Path(sys.executable).parent}" in seen
