"""What `submit` and `plan` make of files, options and commands: the job that reaches the server."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.cli.job_input import command_line, default_name

Sent = Callable[..., dict[str, Any]]
NEEDED = ("--gpus", "1", "--within", "20h")


@pytest.fixture
def sent(run: Any, stand_in: Any) -> Sent:
    def call(*words: str) -> dict[str, Any]:
        stand_in.says(422, "enough")
        code, out, err = run("submit", "--dry-run", *words)
        assert (code, out, err) == (3, "", "kilowait: enough\n")
        method, path, _, body = stand_in.asked[-1]
        assert (method, path) == ("POST", "/api/v1/plans")
        assert isinstance(body, dict)
        return body

    return call


@pytest.fixture
def refused(run: Any, stand_in: Any) -> Callable[..., str]:
    def call(*words: str) -> str:
        code, out, err = run(*words)
        assert (code, out) == (2, ""), err
        assert len(err.strip().splitlines()) == 1, err
        assert stand_in.asked == []
        return str(err)

    return call


FULL: dict[str, Any] = {
    "name": "ft",
    "entrypoint": "python ft.py",
    "resources": {"gpus": 8, "gpu_type": "H100"},
    "within": "24h",
    "regions": {"home": "us", "any_of": ["us", "eu"]},
    "checkpoint": {"path": "/old", "period": "20m", "grace": "90s", "restart": "7m"},
}


def job_file(folder: Path, **changes: Any) -> str:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in {**FULL, **changes}.items() if v is not None}))
    return str(path)


@pytest.mark.parametrize(
    ("words", "entrypoint"),
    [
        (["python", "train.py", "--note", "two words"], "python train.py --note 'two words'"),
        (["python", "-c", "print('a'); print(1)"], """python -c 'print('"'"'a'"'"'); print(1)'"""),
        (["python", "train.py", "--glob", "*.bin", "$HOME"], "python train.py --glob '*.bin' '$HOME'"),
        (["cd work && exec python train.py"], "cd work && exec python train.py"),
        (["SEED=1", "python", "train.py"], "SEED=1 python train.py"),
        (["python", "train.py", "--", "--gpus", "3"], "python train.py -- --gpus 3"),
    ],
)
def test_the_words_after_the_dashes_reach_the_program_as_they_were_typed(
    sent: Sent, words: list[str], entrypoint: str
) -> None:
    job = sent(*NEEDED, "--", *words)
    assert job["entrypoint"] == entrypoint
    assert job["resources"] == {"gpus": 1}


@given(st.lists(st.text(min_size=1), min_size=2))
def test_a_shell_gives_back_exactly_the_words_of_a_command(words: list[str]) -> None:
    assert shlex.split(command_line(words)) == words


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["python", "train.py", "--seed", "0"], "train"),
        (["python", "/srv/my models/fine tune.py"], "fine-tune"),
        (["bash", "./run.sh", "eval.py"], "run"),
        (["./run.sh"], "run"),
        (["cd work; exec python v1.2/train.py && echo done"], "train"),
        (["(python train.py)"], "train"),
        (["torchrun", "--nproc-per-node", "8", "-m", "llama.train"], "torchrun"),
        (["SEED=0", "/opt/bin/trainer", "0"], "trainer"),
        (["exec", "trainer"], "trainer"),
        (["exec trainer 'unclosed"], "trainer"),
        (["0"], "job"),
        (["&&"], "job"),
        (["python", ".py"], "python"),
    ],
)
def test_a_job_without_a_name_is_called_after_its_script_or_program(words: list[str], name: str) -> None:
    assert default_name(words) == name


@given(st.lists(st.text()))
def test_a_default_name_is_always_a_safe_one(words: list[str]) -> None:
    name = default_name(words)
    assert 1 <= len(name) <= 100
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
    assert any(sign.isalpha() for sign in name)


def test_a_given_name_wins_over_that_of_the_script(sent: Sent) -> None:
    assert sent(*NEEDED, "--name", "mine", "--", "python", "train.py")["name"] == "mine"


def test_after_the_dashes_even_a_file_that_exists_is_a_command(
    sent: Sent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("run.sh", "job.yaml"):
        (tmp_path / name).write_text("echo hi\n")
        assert sent(*NEEDED, "--", f"./{name}")["entrypoint"] == f"./{name}"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("train.py",), "not a job file (.yaml, .yml, .json); to run it put -- before it"),
        (("--gpus", "1", "python", "train.py"), "put -- before a command"),
        ((), "give a job file, or a command after --"),
        (("--gpus", "1", "--"), "the command after -- is empty"),
        (("--gpus", "1", "--", " "), "the command after -- is empty"),
        (("job.yaml", "--", "python", "train.py"), "a job file or a command, not both"),
    ],
)
def test_what_is_neither_a_job_file_nor_a_command_is_a_usage_error(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.py").write_text("print(1)\n")
    assert says in refused("submit", *words)


def test_options_change_only_what_they_name_in_a_job_file(sent: Sent, tmp_path: Path) -> None:
    path = job_file(tmp_path)
    assert sent(path) == FULL
    assert sent(path, "--gpus", "4") == {**FULL, "resources": {"gpus": 4, "gpu_type": "H100"}}
    assert sent(path, "--gpu-type", "A100") == {**FULL, "resources": {"gpus": 8, "gpu_type": "A100"}}
    assert sent(path, "--checkpoint", "/new") == {**FULL, "checkpoint": {**FULL["checkpoint"], "path": "/new"}}
    assert sent(path, "--home", "eu") == {**FULL, "regions": {"home": "eu", "any_of": ["us", "eu"]}}
    assert sent(path, "--any-of", "us, ap") == {**FULL, "regions": {"home": "us", "any_of": ["us", "ap"]}}
    assert sent(path, "--name", "other", "--team", "nlp") == {**FULL, "name": "other", "team": "nlp"}


def test_a_deadline_replaces_the_within_of_a_job_file_and_the_other_way_round(sent: Sent, tmp_path: Path) -> None:
    job = sent(job_file(tmp_path), "--deadline", "2099-01-01T00:00:00Z")
    assert (job.get("within"), job["deadline"]) == (None, "2099-01-01T00:00:00Z")
    path = job_file(tmp_path, within=None, deadline="2099-01-01T00:00:00Z")
    assert sent(path, "--within", "3h") == {**FULL, "within": "3h"}


def test_allowed_regions_need_a_home(refused: Callable[..., str], sent: Sent, tmp_path: Path) -> None:
    assert "--any-of: give --home too" in refused("submit", *NEEDED, "--any-of", "a,b", "--", "python", "train.py")
    assert "--any-of: give --home too" in refused("submit", job_file(tmp_path, regions=None), "--any-of", "a,b")
    assert "--any-of: name regions" in refused("submit", job_file(tmp_path), "--any-of", " , ")
    job = sent(*NEEDED, "--home", "a", "--any-of", "a,b", "--", "python", "train.py")
    assert job["regions"] == {"home": "a", "any_of": ["a", "b"]}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"name: \xff\xfe\n", "not UTF-8"),
        (b"name: a\ndeadline: 2026-13-45\n", "month must be in 1..12"),
        (b"name: [unclosed", "expected"),
        (b"name: \x00", "special characters"),
        (b"- a\n- b\n", "expected a mapping"),
        (b"power_per_gpu_w: .nan\n", "JSON"),
        (b"data: !!binary aGk=\n", "JSON"),
        (b"name: &a [*a]\n", "JSON"),
        (b"? 2026-01-01\n: a\n", "JSON"),
        (b"[" * 1000, "nested"),
    ],
)
@pytest.mark.parametrize("command", ["submit", "plan"])
def test_a_job_file_that_cannot_be_read_is_one_line(
    refused: Callable[..., str], tmp_path: Path, command: str, content: bytes, says: str
) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    said = refused(command, str(path))
    assert f"job file {path}: " in said and says in said


def test_files_that_are_folders_or_missing_are_one_line(refused: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    assert "Is a directory" in refused("submit", str(tmp_path / "folder.yaml"))
    assert "No such file" in refused("plan", str(tmp_path / "missing"))
    (tmp_path / "problem.json").write_bytes(b'{"a": "\xff"}')
    assert "not UTF-8" in refused("plan", "--problem", str(tmp_path / "problem.json"))
    assert "Is a directory" in refused("plan", "--problem", str(tmp_path))


def test_what_to_leave_out_of_a_working_directory_must_be_a_list(refused: Callable[..., str], tmp_path: Path) -> None:
    for excludes in (5, [5], "*.bin"):
        path = job_file(tmp_path, runtime_env={"working_dir": ".", "excludes": excludes})
        assert "runtime_env.excludes" in refused("submit", path)
