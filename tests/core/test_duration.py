"""Durations: what people write is read back as the same, and what is unclear is refused."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilowait_scheduler.core.duration import exact_duration, format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("30m", 1800),
        ("6h", 21600),
        ("2d", 172800),
        ("1w", 604800),
        ("1h30m", 5400),
        ("0.5h", 1800),
        ("PT6H", 21600),
        ("P1DT12H", 129600),
        ("P2W", 1209600),
        ("PT1.5S", 1.5),
        (" 5m ", 300),
        ("0s", 0),
    ],
)
def test_durations_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "6",
        6,
        6.0,
        "6 h",
        "h",
        "-1h",
        "1y",
        "P",
        "PT",
        "P1Y",
        "1h-30m",
        "6hours",
        None,
        True,
        "1e3s",
    ],
)
def test_what_is_no_duration_is_refused_with_an_example(value: object) -> None:
    with pytest.raises(ValueError, match="write e\\.g\\. 90s, 30m, 6h, 2d or PT6H"):
        parse_duration(value)


@pytest.mark.parametrize(
    "value", ["3651d", "9" * 400 + "d", "P" + "9" * 30 + "W", timedelta.max, timedelta(seconds=-1)]
)
def test_a_duration_beyond_all_measure_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="3650d"):
        parse_duration(value)


@given(st.integers(0, 3650 * 86400))
def test_whole_seconds_are_read_back_as_they_were_written(seconds: int) -> None:
    assert parse_duration(format_duration(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3650)))
def test_what_is_stored_is_read_back_to_the_microsecond(value: timedelta) -> None:
    assert parse_duration(exact_duration(value)) == value


def test_the_shortest_form_is_written() -> None:
    assert format_duration(timedelta(hours=26)) == "1d2h"
    assert format_duration(timedelta(seconds=-90)) == "-1m30s"
    assert exact_duration(timedelta(minutes=1, microseconds=500_000)) == "1m0.500000s"
