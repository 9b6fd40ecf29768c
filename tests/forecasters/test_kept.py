"""Answers kept: one question per issue, never an old answer beyond it, and none that is too short."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from forecasters.test_cascade import Scripted
from kilowait_forecasters.errors import Transient
from kilowait_forecasters.providers.kept import Kept
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


async def test_until_the_next_issue_the_provider_is_not_asked_again(now: datetime) -> None:
    provider = Scripted(age=10 * MINUTE, horizon_h=72)
    kept = Kept(provider, every=HOUR)
    first = await kept.forecast(DE, now=now, until=now + 48 * HOUR)

    for minutes in (5, 20, 49):
        later = now + minutes * MINUTE
        assert await kept.forecast(DE, now=later, until=later + 48 * HOUR) is first
    assert provider.asked == 1
    later = now + 57 * MINUTE  # ten minutes old when it came, and spread over six
    await kept.forecast(DE, now=later, until=later + 48 * HOUR)
    assert provider.asked == 2


async def test_an_issue_that_is_late_is_looked_for_more_often(now: datetime) -> None:
    provider = Scripted(age=2 * HOUR)
    kept = Kept(provider, every=HOUR)
    for minutes in (0, 10, 22, 40):
        await kept.forecast(DE, now=now + minutes * MINUTE, until=now + 2 * HOUR)
    assert provider.asked == 3


async def test_who_wants_to_see_farther_is_not_given_a_short_answer(now: datetime) -> None:
    provider = Scripted()
    kept = Kept(provider, every=HOUR)
    await kept.forecast(DE, now=now, until=now + 5 * HOUR)
    await kept.forecast(DE, now=now, until=now + 20 * HOUR)
    assert provider.asked == 2


async def test_a_forecast_that_is_over_is_not_given_though_no_newer_one_is_due(now: datetime) -> None:
    provider = Scripted(horizon_h=0, age=HOUR)  # published late: the next is looked for in a quarter of an hour
    kept = Kept(provider, every=HOUR)
    await kept.forecast(DE, now=now + 45 * MINUTE, until=now + 2 * HOUR)
    provider.horizon_h = 24
    end = now.replace(minute=0, second=0, microsecond=0) + HOUR

    assert (await kept.forecast(DE, now=end, until=end + MINUTE)).series.covers(end, end + HOUR)
    assert provider.asked == 2


async def test_zones_do_not_come_due_together(now: datetime) -> None:
    provider = Scripted()
    kept = Kept(provider, every=HOUR)
    zones = [Zone(f"Z{n}") for n in range(50)]
    for zone in zones:
        await kept.forecast(zone, now=now, until=now + HOUR)
    due = []
    for minute in range(60, 67):
        before = provider.asked
        for zone in zones:
            await kept.forecast(zone, now=now + minute * MINUTE, until=now + minute * MINUTE + MINUTE)
        due.append(provider.asked - before)
    assert sum(due) == 50
    assert max(due) < 25


async def test_a_failure_is_passed_on_and_what_was_kept_is_not_given_in_its_place(now: datetime) -> None:
    provider = Scripted()
    kept = Kept(provider, every=HOUR)
    await kept.forecast(DE, now=now, until=now + HOUR)
    provider.fails = Transient("down")

    with pytest.raises(Transient, match="down"):
        await kept.forecast(DE, now=now + 2 * HOUR, until=now + 3 * HOUR)


async def test_a_clock_that_was_set_back_is_not_answered_from_the_future(now: datetime) -> None:
    provider = Scripted()
    kept = Kept(provider, every=HOUR)
    await kept.forecast(DE, now=now, until=now + HOUR)
    await kept.forecast(DE, now=now - HOUR, until=now)
    assert provider.asked == 2


async def test_name_signal_zones_and_history_are_the_providers(now: datetime) -> None:
    provider = Scripted()
    kept = Kept(provider, every=HOUR)
    assert (kept.name, kept.signal, kept.zones()) == (provider.name, provider.signal, None)
    history = await kept.history(DE, start=now - 5 * HOUR, end=now, now=now)
    assert history.slots == (await provider.history(DE, start=now - 5 * HOUR, end=now, now=now)).slots
