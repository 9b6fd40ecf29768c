"""The lever: within the board's bounds, and always put back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pynvml
import pytest

from fake_nvml import FakeNode
from kilowait_agents.power_limit import restore

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def limited(node: FakeNode, tmp_path: Path) -> Start:
    """Two boards that take 200 to 700 W, and the lever on them."""
    for _ in range(2):
        node.gpu().const(0, 100, 400)
    node.write()

    def start(*words: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "kilowait_agents.power_limit", "--state", str(tmp_path / "limits.json"), *words]
        return subprocess.Popen(argv, env=node.environment(), stderr=subprocess.PIPE, text=True)

    return start


def limits(node: FakeNode) -> list[float | None]:
    return [node.limit_w(index) for index in range(2)]


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_limits_are_put_back_however_it_ends(
    node: FakeNode, tmp_path: Path, limited: Start, number: signal.Signals
) -> None:
    process = limited("--watts", "400")
    assert process.stderr is not None
    assert "2 GPUs limited to 400 W" in process.stderr.readline()
    assert limits(node) == [400, 400]
    process.send_signal(number)
    process.wait(20)
    assert until(lambda: limits(node) == [700, 700])
    assert until(lambda: not (tmp_path / "limits.json").exists())
    process.stderr.close()


def test_what_nobody_could_put_back_is_put_back_at_the_next_start(
    node: FakeNode, tmp_path: Path, limited: Start
) -> None:
    (tmp_path / "limits.json").write_text(f'{{"{node.boards[1].uuid}": 650000, "GPU-gone": 1}}')
    _, said = (process := limited("--restore")).communicate(timeout=20)
    assert (process.returncode, limits(node)) == (0, [None, 650])
    assert "GPU-gone cannot be put back" in said
    assert not (tmp_path / "limits.json").exists()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("--watts", "900"), 2, "takes 200 to 700 W"),
        (("--watts", "300", "--gpu", "GPU-x"), 2, "there is no GPU GPU-x"),
        ((), 2, "how much?"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(
    node: FakeNode, limited: Start, words: tuple[str, ...], code: int, says: str
) -> None:
    _, said = (process := limited(*words)).communicate(timeout=20)
    assert process.returncode == code
    assert says in said
    assert limits(node) == [None, None]


def test_without_the_right_it_says_so_and_changes_nothing(node: FakeNode, tmp_path: Path, limited: Start) -> None:
    node.say("permission", 0)
    node.write()
    _, said = (process := limited("--watts", "400")).communicate(timeout=20)
    assert process.returncode == 3
    assert "it takes CAP_SYS_ADMIN" in said
    assert limits(node) == [None, None]


def test_only_the_named_board_is_limited_and_only_for_the_time_given(node: FakeNode, limited: Start) -> None:
    process = limited("--watts", "300", "--gpu", node.boards[1].uuid, "--duration", "300ms")
    assert process.stderr is not None
    process.stderr.readline()
    seen = limits(node)
    process.communicate(timeout=20)
    assert (seen, limits(node)) == ([None, 300], [None, 700])


class Lost:
    """NVML of two boards, of which the first cannot be set."""

    NVMLError = pynvml.NVMLError

    def __init__(self) -> None:
        self.set: dict[str, int] = {}

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        return uuid

    def nvmlDeviceSetPowerManagementLimit(self, handle: str, limit_mw: int) -> None:
        if handle == "GPU-A":
            raise pynvml.NVMLError(15)
        self.set[handle] = limit_mw


def test_a_board_that_cannot_be_set_keeps_no_other_from_its_limit_and_is_not_forgotten(tmp_path: Path) -> None:
    nvml, state = Lost(), tmp_path / "limits.json"
    state.write_text('{"GPU-A": 700000, "GPU-B": 650000}')
    with pytest.raises(OSError):
        restore(nvml, state)
    assert nvml.set == {"GPU-B": 650_000}
    assert json.loads(state.read_text()) == {"GPU-A": 700_000}
