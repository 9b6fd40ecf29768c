"""What all tests share: the real components, and what happens where one is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn

import pytest

pytest_plugins = ["rayheads"]


@pytest.fixture(scope="session")
def lane_missing() -> Callable[[str], NoReturn]:
    """To be called with a reason where a real component is missing: skips; fails under KILOWAIT_REQUIRE_LANES=all."""

    def missing(reason: str) -> NoReturn:
        if os.environ.get("KILOWAIT_REQUIRE_LANES") == "all":
            pytest.fail(f"KILOWAIT_REQUIRE_LANES=all, but {reason}", pytrace=False)
        pytest.skip(reason)

    return missing
