"""Average and marginal never meet: where types are checked not at all, and where they are not, in no sum."""

from __future__ import annotations

import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from kilowait_forecasters.errors import SignalMismatch
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, MARGINAL_DIRECT, Signal, require_average
from kilowait_forecasters.zone import Zone

ROOT = Path(__file__).parent.parent.parent
MIXED = Path(__file__).parent / "mixed_signals.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_type_checker_refuses_every_way_to_mix_them_and_nothing_else() -> None:
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml"]
    told = subprocess.run([*command, str(MIXED)], cwd=ROOT, capture_output=True, text=True, check=False)
    pattern = re.compile(rf"^{re.escape(str(MIXED.relative_to(ROOT)))}:(\d+): error", re.MULTILINE)
    found = {int(line) for line in pattern.findall(told.stdout)}

    lines = MIXED.read_text().splitlines()
    wanted = {number for number, line in enumerate(lines, start=1) if line.endswith("# refused")}
    assert found == wanted, told.stdout + told.stderr


@pytest.mark.parametrize("other", [AVERAGE_DIRECT, AVERAGE_LIFECYCLE])
def test_where_no_type_was_checked_they_refuse_to_meet(other: Signal, now: datetime) -> None:
    def series(signal: Signal) -> IntensitySeries:
        slots = [Slot(now, now + timedelta(hours=1), 100)]
        return IntensitySeries(zone=Zone("DE"), signal=signal, source="test", slots=slots)

    with pytest.raises(SignalMismatch, match="marginal/direct"):
        series(other).extended(series(MARGINAL_DIRECT))  # type: ignore[arg-type]


def test_a_margin_is_not_read_back_as_an_average() -> None:
    assert require_average(Signal.parse("average/direct")) == AVERAGE_DIRECT
    with pytest.raises(SignalMismatch, match="plans and accounts are kept in average"):
        require_average(Signal.parse("marginal/direct"))
