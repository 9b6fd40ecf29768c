"""Where server and token come from, and what is said when they, or the server's answers, are of no use."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kilowait_scheduler.cli import doctor
from kilowait_scheduler.client import BadSetting, Client

Fails = Callable[..., tuple[int, str]]


@pytest.fixture
def fails(run: Any) -> Fails:
    def call(*words: str) -> tuple[int, str]:
        code, out, err = run(*words)
        assert out == ""
        assert len(err.strip().splitlines()) == 1, err
        return code, err

    return call


def test_a_token_is_taken_from_the_first_place_that_has_one(
    run: Any, stand_in: Any, at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def used(*words: str) -> str | None:
        assert run("regions", "-o", "json", *words)[0] == 0
        return str(stand_in.asked[-1][2]) if stand_in.asked[-1][2] else None

    def file(path: Path, text: str) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
        return str(path)

    assert used() is None
    file(at_home / ".local" / "state" / "kilowait" / "admin.token", "usual")
    assert used() == "usual"
    file(at_home / "mine", "config")
    file(at_home / ".config" / "kilowait" / "config.yaml", "token_file: ~/mine\nserver:")
    assert used() == "config"
    monkeypatch.setenv("KILOWAIT_TOKEN_FILE", file(tmp_path / "env", "environment file"))
    assert used() == "environment file"
    monkeypatch.setenv("KILOWAIT_TOKEN", "environment")
    assert used() == "environment"
    assert used("--token-file", file(tmp_path / "option", "option")) == "option"
    monkeypatch.setenv("KILOWAIT_TOKEN", "")
    assert used() == "environment file"


def test_a_script_takes_its_token_from_the_environment_in_the_same_order(
    stand_in: Any, at_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KILOWAIT_SERVER", stand_in.url)
    (tmp_path / "token").write_text("from file\n")
    monkeypatch.setenv("KILOWAIT_TOKEN_FILE", str(tmp_path / "token"))
    for token, used in (("direct", "direct"), ("", "from file")):
        monkeypatch.setenv("KILOWAIT_TOKEN", token)
        with Client.from_environment() as client:
            client.get("regions")
        assert stand_in.asked[-1][2] == used
    monkeypatch.setenv("KILOWAIT_TOKEN_FILE", str(tmp_path / "none"))
    with pytest.raises(BadSetting, match="No such file"):
        Client.from_environment()


@pytest.mark.parametrize(
    "url", ["ftp://there", "localhost:8080", "127.0.0.1:8080", "http://", "http://x:port", "http://\n", "http://a..b"]
)
def test_an_address_that_is_none_is_said_before_anything_is_sent(
    fails: Fails, stand_in: Any, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    by_option = fails("jobs", "--server", url)
    monkeypatch.setenv("KILOWAIT_SERVER", url)
    assert fails("jobs") == by_option
    assert by_option[0] == 2 and "http://HOST:PORT" in by_option[1]
    assert stand_in.asked == []


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"\xff\xfe", "not UTF-8"), ("tökén".encode(), "ASCII"), (b"two\nlines", "one line"), (b" \n", "empty")],
)
def test_a_token_file_without_a_token_in_it_is_said_without_showing_it(
    fails: Fails, tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    code, said = fails("jobs", "--token-file", str(path))
    assert code == 2 and says in said
    assert "tök" not in said and "two" not in said
    assert fails("jobs", "--token-file", str(tmp_path))[0] == 2


def test_a_token_in_the_environment_must_be_ascii(fails: Fails, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILOWAIT_TOKEN", "tökén")
    code, said = fails("jobs")
    assert code == 2 and "KILOWAIT_TOKEN" in said and "ASCII" in said


@pytest.mark.parametrize("content", [b"\xff", b"server: [", b"- a", b"server: 2026-13-45"])
def test_a_config_file_that_cannot_be_read_is_one_line(fails: Fails, at_home: Path, content: bytes) -> None:
    path = at_home / ".config" / "kilowait" / "config.yaml"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    code, said = fails("jobs")
    assert code == 2 and f"config file {path}" in said


def test_a_report_that_cannot_be_written_is_one_line(fails: Fails, stand_in: Any, tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "x.html", tmp_path):
        code, said = fails("report", "--html", str(path))
        assert code == 2 and str(path) in said
    assert stand_in.asked == [], "the server does not work for a page that has no place"


@pytest.mark.parametrize(
    ("status", "code"),
    [(400, 2), (401, 2), (403, 2), (404, 2), (409, 1), (413, 2), (422, 3), (500, 1), (503, 4)],
)
def test_the_servers_no_becomes_the_documented_exit_code(fails: Fails, stand_in: Any, status: int, code: int) -> None:
    stand_in.says(status, "what failed;\nwhat to do")
    assert fails("logs", "train") == (code, "kilowait: what failed; what to do\n")


def test_an_answer_that_is_not_a_servers_says_that_something_else_listens_there(fails: Fails, stand_in: Any) -> None:
    stand_in.body = b"<html>hello</html>"
    for words in (("jobs",), ("show", "x"), ("cancel", "x"), ("token", "create", "x")):
        code, said = fails(*words)
        assert code == 4 and "not as a Kilowait server" in said


@pytest.mark.parametrize("job", ["a/b", "a?b", "a#b", "a\nb", "50%", "ä"])
@pytest.mark.parametrize("command", ["show", "explain", "logs", "cancel"])
def test_a_name_stays_one_part_of_the_address(fails: Fails, stand_in: Any, command: str, job: str) -> None:
    stand_in.says(404, "no such job")
    assert fails(command, job)[0] == 2
    path = stand_in.asked[-1][1]
    assert path.count("/") == (4 if command == "show" else 5), path
    assert "?" not in path


def test_numbers_that_are_none_are_not_sent(fails: Fails, stand_in: Any) -> None:
    assert fails("budget", "set", "b", "--limit-kg", "nan")[0] == 2
    region = ("regions", "add", "r", "--zone", "DE", "--address", "http://127.0.0.1:1", "--gpus", "1")
    assert fails(*region, "--pue", "inf")[0] == 2
    assert stand_in.asked == []


@pytest.mark.parametrize(("url", "body"), [("http://x:port", None), ("http://\n", None), (None, b"<html>")])
def test_the_doctor_survives_a_server_address_that_is_none(
    at_home: Path,
    stand_in: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    url: str | None,
    body: bytes | None,
) -> None:
    monkeypatch.setenv("KILOWAIT_SERVER", url or stand_in.url)
    stand_in.body = body or b""
    doctor.main([])
    said = next(line for line in capsys.readouterr().out.splitlines() if " server: " in line)
    assert said.startswith(("-", "FAIL"))


def test_a_cloud_region_gives_zone_and_pue_and_options_win(run: Any, stand_in: Any) -> None:
    add = ("regions", "add", "west", "--address", "http://127.0.0.1:1", "--gpus", "8")
    code, _, said = run(*add, "--cloud", "aws:us-west-1")
    assert code == 0
    sent = stand_in.asked[-1][3]
    assert sent["zone"] == "US-CAL-CISO"
    assert f"PUE {sent['pue']:g}" in said
    run(*add, "--cloud", "aws:us-west-1", "--zone", "US-NW-PACW", "--pue", "1.4")
    assert (stand_in.asked[-1][3]["zone"], stand_in.asked[-1][3]["pue"]) == ("US-NW-PACW", 1.4)
    run(*add, "--zone", "DE")
    assert (stand_in.asked[-1][3]["zone"], stand_in.asked[-1][3]["pue"]) == ("DE", 1.2)


def test_a_region_without_a_zone_or_of_an_unknown_cloud_is_refused(fails: Fails, stand_in: Any) -> None:
    add = ("regions", "add", "west", "--address", "http://127.0.0.1:1", "--gpus", "8")
    assert "--zone DE, or --cloud" in fails(*add)[1]
    assert "did you mean aws:us-west-1" in fails(*add, "--cloud", "aws:us-west1")[1]
    assert stand_in.asked == []
