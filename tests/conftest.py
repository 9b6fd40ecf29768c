"""What all tests share: the real components, and what happens where one is missing."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import NoReturn

import pytest
from hypothesis import settings

# How long an example takes says how busy this machine is, and nothing about the program.
settings.register_profile("kilowait", deadline=None)
settings.load_profile("kilowait")

pytest_plugins = ["rayheads"]

# Started in the background of a script, we inherit that interrupts are ignored, and so would every process we start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def lane_missing() -> Callable[[str], NoReturn]:
    """To be called with a reason where a real component is missing: skips; fails under KILOWAIT_REQUIRE_LANES=all."""

    def missing(reason: str) -> NoReturn:
        if os.environ.get("KILOWAIT_REQUIRE_LANES") == "all":
            pytest.fail(f"KILOWAIT_REQUIRE_LANES=all, but {reason}", pytrace=False)
        pytest.skip(reason)

    return missing
