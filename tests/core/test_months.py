"""Months of time zones: one after the other without a gap, wherever clocks change or skip midnight."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kilowait_scheduler.core.errors import BadInput
from kilowait_scheduler.core.months import month_of, month_span, months_of

ZONES = ("UTC", "Europe/Berlin", "America/Los_Angeles", "Pacific/Kiritimati", "Asia/Amman", "America/Havana")
TICK = timedelta(microseconds=1)
moments = st.datetimes(datetime(2000, 1, 1), datetime(2040, 12, 31), timezones=st.just(UTC))


@given(moments, st.sampled_from(ZONES))
@example(datetime(2022, 3, 31, 21, 30, tzinfo=UTC), "Asia/Amman")
@example(datetime(2026, 10, 31, 23, 0, tzinfo=UTC), "Europe/Berlin")
def test_a_moment_lies_in_the_month_that_is_named_for_it_and_in_no_other(moment: datetime, zone: str) -> None:
    month = month_of(moment, zone)
    assert month == f"{moment.astimezone(ZoneInfo(zone)):%Y-%m}"
    start, end = month_span(month, zone)
    assert start <= moment < end
    assert month_of(start, zone) == month_of(end - TICK, zone) == month
    assert month_span(month_of(end, zone), zone)[0] == end, "the next one begins where it ends"
    assert start.astimezone(ZoneInfo(zone)).day == 1


@given(moments, st.integers(0, 400 * 86_400), st.sampled_from(ZONES))
def test_the_parts_of_a_span_are_all_of_it_each_in_a_month_of_its_own(start: datetime, seconds: int, zone: str) -> None:
    end = start + timedelta(seconds=seconds)
    parts = list(months_of(start, end, zone))
    edges = [start, *(last for _, _, last in parts)]
    assert [first for _, first, _ in parts] == edges[:-1]
    assert edges[-1] == end
    assert len({month for month, _, _ in parts}) == len(parts)


def test_a_month_has_as_many_hours_as_its_clocks_show() -> None:
    spans = {month: month_span(month, "Europe/Berlin") for month in ("2026-03", "2026-10", "2026-11")}
    assert {month: (end - start) / timedelta(hours=1) for month, (start, end) in spans.items()} == {
        "2026-03": 743,
        "2026-10": 745,
        "2026-11": 720,
    }


@pytest.mark.parametrize("written", ["2026-13", "2026-1", "soon", "0000-01", "9999-12", "2026-11-01", ""])
def test_what_is_no_month_gets_one_line(written: str) -> None:
    with pytest.raises(BadInput, match=r"is no month; write e\.g\. 2026-11$"):
        month_span(written, "UTC")


@pytest.mark.parametrize("timezone", ["Asia/Tokyo", "America/New_York", "Pacific/Kiritimati", "UTC"])
def test_every_month_that_is_one_has_ends_in_utc_whatever_the_zone_and_others_are_refused(timezone: str) -> None:
    for year in (2, 1583, 9998):
        start, end = month_span(f"{year:04}-01", timezone)
        assert timedelta(days=30) < end - start < timedelta(days=32)
    for none in ("0001-01", "0000-12", "9999-12"):
        with pytest.raises(BadInput, match="is no month"):
            month_span(none, timezone)
