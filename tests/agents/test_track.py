"""The tracker in a program: right numbers at both ends, once per node, and never in the program's way."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import kilowait
from fake_nvml import LOST, FakeNode
from kilowait_agents.clock import WallClock
from kilowait_agents.emissions_csv import COLUMNS
from kilowait_agents.errors import Permanent
from kilowait_agents.meter import Device, Meter, Part
from kilowait_agents.nvml import NvmlMeter
from kilowait_agents.track import own_parts, visible

Make = Callable[..., kilowait.track]


@pytest.fixture
def real_node(nvml_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeNode:
    """Boards in real time, since an hour ago; the test adds them."""
    monkeypatch.setenv("FAKE_NVML", "")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return FakeNode(nvml_library, tmp_path / "node", virtual=False, epoch_s=time.time() - 3600)


@pytest.fixture
def tracked(real_node: FakeNode, tmp_path: Path) -> Make:
    def meters(clock: WallClock) -> Sequence[Meter]:
        return [NvmlMeter(nvml=real_node.pynvml(), clock=clock)]

    def make(name: str = "run", **rest: object) -> kilowait.track:
        return kilowait.track(name, meters=meters, locks=tmp_path / "locks", csv=tmp_path / "emissions.csv", **rest)  # type: ignore[arg-type]

    return make


def test_a_second_is_measured_between_the_ticks(real_node: FakeNode, tracked: Make) -> None:
    real_node.gpu(phase_ms=37).square(0, 1e6, 70, 690, 1.3)
    real_node.write()
    errors = []
    for _ in range(5):
        with tracked() as run:
            began = real_node.now_s
            time.sleep(1)
            ended = real_node.now_s
        assert run.result is not None
        assert run.result.gpu_mj is not None
        assert run.result.quality == "measured"
        truth_mj = real_node.truth_mj(0, began, ended)
        errors.append((run.result.gpu_mj - truth_mj) / truth_mj)
        time.sleep(0.123)
    assert sorted(map(abs, errors))[2] <= 0.05


def test_a_row_has_codecarbons_columns_and_leaves_out_what_is_not_known(
    real_node: FakeNode, tracked: Make, tmp_path: Path
) -> None:
    real_node.gpu().const(0, 1e6, 360)
    real_node.write()
    for intensity in (None, 500.0):
        with tracked(intensity_g_per_kwh=intensity):
            time.sleep(0.3)
    with (tmp_path / "emissions.csv").open() as file:
        unknown, known = csv.DictReader(file)
    assert tuple(known) == COLUMNS
    assert float(known["gpu_power"]) == pytest.approx(360, rel=0.03)
    assert float(known["emissions"]) == pytest.approx(float(known["energy_consumed"]) * 0.5)
    assert (unknown["emissions"], unknown["ram_energy"], known["country_name"]) == ("", "", "")
    assert known["gpu_model"] == "NVIDIA H100 80GB HBM3"


@pytest.mark.peers
def test_the_columns_are_those_of_codecarbon_where_it_is_installed(lane_missing: Callable[[str], None]) -> None:
    python = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"
    if not python.exists():
        lane_missing("CodeCarbon lives in .venv-peers (make prepare-peers)")
    code = (
        "import dataclasses; from codecarbon.output_methods.emissions_data import EmissionsData;"
        "print(*[field.name for field in dataclasses.fields(EmissionsData)])"
    )
    said = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.split()[-len(COLUMNS) :] == list(COLUMNS)


def test_a_decorated_function_is_measured_at_each_call(real_node: FakeNode, tracked: Make, tmp_path: Path) -> None:
    real_node.gpu().const(0, 1e6, 360)
    real_node.write()

    @tracked("step")
    def step(n: int) -> int:
        return n + 1

    assert [step(1), step(2)] == [2, 3]
    assert len((tmp_path / "emissions.csv").read_text().splitlines()) == 3


def test_the_ranks_of_a_node_count_each_board_once(real_node: FakeNode, tmp_path: Path) -> None:
    for _ in range(2):
        real_node.gpu().const(0, 1e6, 400)
    real_node.write()
    code = (
        "import sys, time, kilowait\n"
        "from pathlib import Path\n"
        "with kilowait.track('ddp', csv=sys.argv[1], locks=Path(sys.argv[2])) as run:\n"
        "    print('in', flush=True); sys.stdin.readline(); time.sleep(0.5)\n"
        "print(run.result.gpu_mj, *run.result.devices)\n"
    )
    argv = [sys.executable, "-c", code, str(tmp_path / "e.csv"), str(tmp_path / "locks")]
    ranks = [
        subprocess.Popen(argv, env=real_node.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for rank in ranks:
        assert rank.stdout is not None
        assert rank.stdout.readline() == "in\n"
    counted = [rank.communicate("\n")[0].split() for rank in ranks]
    boards = [uuid for _, *uuids in counted for uuid in uuids]
    assert sorted(boards) == [board.uuid for board in real_node.boards]
    assert sum(mj != "None" for mj, *_ in counted) in (1, 2)


def test_a_board_that_is_lost_in_between_shows_in_the_quality(real_node: FakeNode, tracked: Make) -> None:
    now = time.time() - real_node.epoch_s
    real_node.gpu().const(0, 1e6, 400).fault(now + 0.5, now + 1e6, "all", LOST)
    real_node.write()
    with tracked() as run:
        time.sleep(0.8)
    assert run.result is not None
    assert run.result.quality == "gap"


def test_what_cannot_be_measured_never_stops_the_program(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def nothing(clock: WallClock) -> Sequence[Meter]:
        raise Permanent("NVML is not on this node")

    with kilowait.track("run", meters=nothing, csv=tmp_path / "none" / "emissions.csv") as run:
        pass
    assert run.result is not None
    assert (run.result.gpu_mj, run.result.energy_kwh, run.result.quality) == (None, None, "gap")
    assert "not measured: NVML is not on this node" in caplog.text
    assert "cannot be written" in caplog.text


def test_an_error_of_the_program_passes_through_and_is_measured(real_node: FakeNode, tracked: Make) -> None:
    real_node.gpu().const(0, 1e6, 360)
    real_node.write()
    run = tracked()
    with pytest.raises(ZeroDivisionError), run:
        raise ZeroDivisionError
    assert run.result is not None
    assert run.result.gpu_mj is not None


@pytest.mark.parametrize(
    ("named", "seen"),
    [(None, [0, 1, 2]), ("", []), ("1", [1]), ("2,0", [0, 2]), ("GPU-b", [1]), ("-1", []), ("GPU-a,2", [0, 2])],
)
def test_only_the_boards_that_the_program_may_use_are_its_own(named: str | None, seen: list[int]) -> None:
    devices = [Device(uuid=f"GPU-{letter}{letter}", index=index, name="x") for index, letter in enumerate("abc")]
    environment = {} if named is None else {"CUDA_VISIBLE_DEVICES": named}
    assert [device.index for device in visible(devices, environment=environment)] == seen


def test_a_part_of_a_board_pays_for_its_slices_of_what_the_board_draws(
    real_node: FakeNode, tracked: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = real_node.gpu().const(0, 1e6, 400)
    board.say("mig", 1, 3, 40_000, 60).say("mig", 2, 2, 20_000, 32)
    board.process(11, 0, 1e6, instance=1).process(12, 0, 1e6, instance=2)
    real_node.write()
    first, second = (f"MIG-{board.uuid}-{instance}" for instance in (1, 2))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", first)
    with tracked() as one:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", second)
        with tracked() as other:
            time.sleep(0.5)
    assert one.result is not None
    assert other.result is not None
    for run, slices in ((one.result, 3), (other.result, 2)):
        assert run.devices == (board.uuid,)
        assert run.gpu_mj == pytest.approx(400_000 * run.seconds * slices / 5, rel=0.05)
        assert run.uncertainty_pct == 30, "no board says what a part of it draws"


def test_a_cut_board_is_used_by_the_part_that_is_named_or_else_by_its_first() -> None:
    parts = tuple(Part(instance=(number, 0), slices=1, uuid=f"MIG-{number}{number}") for number in (4, 5))
    device = Device(uuid="GPU-a", index=0, name="x", slices=7, parts=parts)
    for named, own in (("MIG-5", [5]), ("MIG-44,MIG-55", [4, 5]), ("0", [4])):
        environment = {"CUDA_VISIBLE_DEVICES": named}
        assert visible([device], environment=environment) == [device]
        assert [part.instance[0] for part in own_parts(device, environment=environment)] == own
    assert visible([device], environment={"CUDA_VISIBLE_DEVICES": "MIG-6"}) == []
    assert own_parts(replace(device, parts=()), environment={}) == []


def test_the_door_opens_without_the_scheduler(real_node: FakeNode) -> None:
    code = "import sys, kilowait; kilowait.track; print(sorted(set(sys.modules) & {'sqlmodel', 'pydantic', 'httpx'}))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert said.stdout.strip() == "[]"
