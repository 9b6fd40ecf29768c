"""The command line in this process, and a server that answers what a test wants and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kilowait_scheduler.cli.app import _run

Run = Callable[..., tuple[int, str, str]]


class StandIn:
    """Answers every request with `status` and `body`; `asked` holds (method, path, token, body) of each."""

    def __init__(self) -> None:
        self.status = 200
        self.body = b"[]"
        self.asked: list[tuple[str, str, str | None, Any]] = []
        stand_in = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
                stand_in.asked.append((self.command, self.path, token, json.loads(sent) if sent else None))
                self.send_response(stand_in.status)
                self.send_header("Content-Length", str(len(stand_in.body)))
                self.end_headers()
                self.wfile.write(stand_in.body)

            do_GET = do_POST = do_DELETE = answer

            def log_message(self, *_: object) -> None:
                """Nothing on stderr: the tests read it."""

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}"
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def says(self, status: int, detail: str) -> None:
        self.status, self.body = status, json.dumps({"detail": detail}).encode()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture(scope="session")
def listening() -> Iterator[StandIn]:
    made = StandIn()
    yield made
    made.close()


@pytest.fixture
def stand_in(listening: StandIn) -> StandIn:
    """A stand-in that has been asked nothing and answers an empty list."""
    listening.status, listening.body, listening.asked = 200, b"[]", []
    return listening


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder and no KILOWAIT_ variable."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name in ("XDG_CONFIG_HOME", "KILOWAIT_SERVER", "KILOWAIT_TOKEN", "KILOWAIT_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def run(at_home: Path, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """The command line against the stand-in: (exit code, stdout, stderr)."""
    monkeypatch.setenv("KILOWAIT_SERVER", stand_in.url)

    def call(*words: str) -> tuple[int, str, str]:
        code = _run(list(words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return call
