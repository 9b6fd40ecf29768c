"""The same folder gives the same package, on whatever machine, and nothing goes along that should not."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kilowait_scheduler.dispatch import ignore_rules
from kilowait_scheduler.dispatch.executor import Refused
from kilowait_scheduler.dispatch.ray_packages import pack, package_name


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as zipped:
        return zipped.namelist()


def test_two_copies_of_a_folder_make_the_same_package(tmp_path: Path) -> None:
    files = ("train.py", "lib/a.py", "lib/b/c.py", "données.txt")
    one, two = tree(tmp_path / "one", *files), tree(tmp_path / "two", *reversed(files))
    os.utime(two / "train.py", (1, 1))
    (two / "lib/a.py").chmod(0o600)
    first = pack(one, tmp_path / "1.zip")
    assert pack(two, tmp_path / "2.zip") == first
    assert (tmp_path / "1.zip").read_bytes() == (tmp_path / "2.zip").read_bytes()
    assert first == package_name((tmp_path / "1.zip").read_bytes())
    assert first.startswith("_ray_pkg_") and first.endswith(".zip")


@pytest.mark.parametrize("change", ["content", "name", "mode"])
def test_any_change_that_a_program_can_see_makes_another_package(tmp_path: Path, change: str) -> None:
    folder = tree(tmp_path / "folder", "train.py", "run.sh")
    before = pack(folder, tmp_path / "1.zip")
    if change == "content":
        (folder / "train.py").write_text("other")
    elif change == "name":
        (folder / "train.py").rename(folder / "learn.py")
    else:
        (folder / "run.sh").chmod(0o755)
    assert pack(folder, tmp_path / "2.zip") != before


def test_what_can_be_executed_still_can_be(tmp_path: Path) -> None:
    folder = tree(tmp_path / "folder", "run.sh", "train.py")
    (folder / "run.sh").chmod(0o700)
    pack(folder, tmp_path / "1.zip")
    with zipfile.ZipFile(tmp_path / "1.zip") as zipped:
        modes = {info.filename: oct(info.external_attr >> 16) for info in zipped.infolist()}
    assert modes == {"run.sh": "0o100755", "train.py": "0o100644"}


def test_what_belongs_to_the_machine_stays_there(tmp_path: Path) -> None:
    folder = tree(
        tmp_path,
        "train.py",
        ".git/config",
        ".venv/bin/python",
        "lib/__pycache__/a.pyc",
        "lib/a.py",
        "b.pyc",
        ".env.example",
    )
    pack(folder, folder / "package.zip")
    assert names(folder / "package.zip") == [".env.example", "lib/a.py", "train.py"]


def test_what_git_ignores_and_what_the_job_excludes_stays_there(tmp_path: Path) -> None:
    folder = tree(
        tmp_path / "f", "train.py", ".env", "data/x.bin", "data/keep.txt", "out/log", "lib/out/y", "lib/z.tmp"
    )
    (folder / ".gitignore").write_text("# secrets\n.env\n/out\n")
    (folder / "lib/.gitignore").write_text("*.tmp\n")
    pack(folder, tmp_path / "1.zip", excludes=["data/*", "!data/keep.txt", ".gitignore"])
    assert names(tmp_path / "1.zip") == ["data/keep.txt", "lib/out/y", "train.py"]


def test_a_job_can_take_along_what_git_ignores(tmp_path: Path) -> None:
    folder = tree(tmp_path / "f", "train.py", "build/kernel.so", "build/x.o", "weights/w")
    (folder / ".gitignore").write_text("build/\n*.o\n")
    (folder / ".rayignore").write_text("/weights\n.*ignore\n")
    pack(folder, tmp_path / "1.zip", excludes=["!build/"])
    assert names(tmp_path / "1.zip") == ["build/kernel.so", "train.py"]


def test_a_link_to_a_file_goes_along_as_a_file(tmp_path: Path) -> None:
    folder = tree(tmp_path / "f", "train.py")
    tree(tmp_path, "shared.py")
    (folder / "lib.py").symlink_to(tmp_path / "shared.py")
    pack(folder, tmp_path / "1.zip")
    with zipfile.ZipFile(tmp_path / "1.zip") as zipped:
        assert zipped.read("lib.py") == b"shared.py"


def test_what_cannot_go_along_is_refused_by_name_and_leaves_no_archive(tmp_path: Path) -> None:
    folder = tree(tmp_path / "f", "train.py")
    archive = tmp_path / "1.zip"
    for name, make in (
        ("link", lambda path: path.symlink_to(tmp_path)),
        ("dangling", lambda path: path.symlink_to(tmp_path / "nowhere")),
        ("pipe", os.mkfifo),
    ):
        make(folder / name)
        with pytest.raises(Refused, match=name):
            pack(folder, archive)
        assert not archive.exists()
        pack(folder, archive, excludes=[name])
        archive.unlink()
        (folder / name).unlink()


def test_a_missing_or_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="is not a folder"):
        pack(tmp_path / "none", tmp_path / "1.zip")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="no file"):
        pack(tmp_path / "empty", tmp_path / "1.zip")
    assert not (tmp_path / "1.zip").exists()


def test_too_much_is_refused_early_and_the_message_says_what_is_large(tmp_path: Path) -> None:
    folder = tree(tmp_path / "f", "train.py")
    (folder / "data").mkdir()
    (folder / "data" / "set.bin").write_bytes(random.Random(1).randbytes(3 << 20))
    with pytest.raises(Refused, match=r"more than 1 MiB.*data \(\d\.\d MiB\).*excludes") as caught:
        pack(folder, tmp_path / "1.zip", limit_bytes=1 << 20)
    assert caught.value.reason == "package_too_large"
    assert not (tmp_path / "1.zip").exists()


# The rules of .gitignore files, with git itself as the judge.

PATHS = ["a", "b.py", "a.py", "lib/a", "lib/b.py", "lib/sub/a.py", "lib/sub/b", "x y", "[z]", "sub/lib/a", "#c", "!d"]
PIECES = st.sampled_from(
    ["a", "b", "lib", "sub", "*", "**", "?", "*.py", "[ab]", "[!a]", "[a-c].py", "x y", "\\#c", "\\[z]"]
)
RULE = st.builds(
    lambda back, anchor, pieces, end: back + anchor + "/".join(pieces) + end,
    st.sampled_from(["", "", "!"]),
    st.sampled_from(["", "/"]),
    st.lists(PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "/", " ", "/**"]),
)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, lane_missing: Callable[[str], NoReturn]) -> Path:
    if shutil.which("git") is None:
        lane_missing("git is not installed; our ignore rules are not compared with its")
    folder = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    return tree(folder, *PATHS)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rules=st.lists(RULE, max_size=4), nested=st.lists(RULE, max_size=2))
def test_the_rules_mean_what_git_takes_them_to_mean(repository: Path, rules: list[str], nested: list[str]) -> None:
    (repository / ".gitignore").write_text("\n".join(rules))
    (repository / "lib/.gitignore").write_text("\n".join(nested))
    given_paths = "\0".join(PATHS)
    done = subprocess.run(
        ["git", "-C", str(repository), "check-ignore", "--stdin", "-z", "--no-index"],
        input=given_paths,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"},
    )
    by_git = {path for path in done.stdout.split("\0") if path}
    outer, inner = ignore_rules.parse(rules), ignore_rules.parse(nested, base="lib/")
    by_us = {path for path in PATHS if _left_out(path, (*outer, *inner))}
    assert by_us == by_git


def _left_out(path: str, rules: tuple[ignore_rules.Rule, ...]) -> bool:
    parts = path.split("/")
    above = ["/".join(parts[:count]) for count in range(1, len(parts))]
    if any(ignore_rules.ignored(folder, folder=True, rules=rules) for folder in above):
        return True
    return ignore_rules.ignored(path, folder=False, rules=rules)
