"""What Prometheus scrapes, judged by Prometheus' own tool."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from kilowait_scheduler.metrics import exposition
from kilowait_scheduler.store.engine import migrate, open_engine
from kilowait_scheduler.store.repository import Store


@pytest.fixture
def text(tmp_path: Path) -> str:
    engine = open_engine(f"sqlite:///{tmp_path / 'k.db'}")
    migrate(engine)
    said = exposition(Store(engine))
    engine.dispose()
    return said


def test_every_state_has_a_figure_even_where_it_is_none(text: str) -> None:
    assert 'kilowait_jobs{state="running"} 0.0' in text


@pytest.mark.prometheus
def test_promtool_has_nothing_to_say(text: str, lane_missing: Callable[[str], NoReturn]) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        lane_missing("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
