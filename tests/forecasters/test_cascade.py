"""The cascade: who answers, what stands in, and that every stand-in says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from forecasters.fake_grid import TOKEN, FakeGrid, Reply, hour_of, truth
from kilowait_forecasters.cascade import STAND_IN_NOTE, Attempt, Cascade
from kilowait_forecasters.errors import ForecastersError, Permanent, Refused, SignalMismatch, Transient
from kilowait_forecasters.forecast import Forecast, Part
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.profiles import NOTE, TypicalDays, typical_day
from kilowait_forecasters.providers.base import ended, hours
from kilowait_forecasters.providers.electricity_maps import ElectricityMaps
from kilowait_forecasters.providers.http import Patience
from kilowait_forecasters.providers.neso import Neso
from kilowait_forecasters.providers.replay import Replay
from kilowait_forecasters.providers.static import Static
from kilowait_forecasters.signal import AVERAGE_DIRECT, AVERAGE_LIFECYCLE, AVERAGE_OPERATIONAL, Scope, Signal
from kilowait_forecasters.zone import Zone

DE, GB, SG = Zone("DE"), Zone("GB"), Zone("SG")
HOUR = timedelta(hours=1)


@dataclass
class Scripted:
    """A provider whose hourly values are `value`, until `fails` is set; `horizon_h` bounds it, `lag_h` its history."""

    name: str = "scripted"
    signal: Signal = AVERAGE_LIFECYCLE
    value: float = 100
    horizon_h: int = 24
    lag_h: int = 0
    age: timedelta = timedelta()
    without: set[datetime] = field(default_factory=set)
    varies: bool = False
    fails: ForecastersError | None = None
    asked: int = 0

    def zones(self) -> frozenset[str] | None:
        return None

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
        self.asked += 1
        if self.fails is not None:
            raise self.fails
        series = self._series(zone, self._slots(now, now + self.horizon_h * HOUR))
        issued_at = now - self.age
        parts = (Part(series.start, self.name),)
        return Forecast(
            zone=zone, signal=self.signal, issued_at=issued_at, available_at=issued_at, series=series, parts=parts
        )

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        if self.fails is not None:
            raise self.fails
        past = ended(self._slots(start, end), start=start, end=end, now=now - self.lag_h * HOUR)
        if not past:
            raise Transient(f"{self.name}: none yet")
        return self._series(zone, past)

    def _slots(self, start: datetime, end: datetime) -> list[Slot]:
        return [
            Slot(first, last, self.value + (first.hour if self.varies else 0))
            for first, last in hours(start, end)
            if first not in self.without
        ]

    def _series(self, zone: Zone, slots: list[Slot]) -> IntensitySeries:
        return IntensitySeries(zone=zone, signal=self.signal, source=self.name, slots=slots)


RESORTS = (TypicalDays(), TypicalDays(scope=Scope.DIRECT), Static({"DE": 350, "SG": 480}))


async def test_the_first_that_answers_wins_and_the_others_are_not_asked(now: datetime) -> None:
    first, second = Scripted("first"), Scripted("second")
    answer = await Cascade({"DE": [first, second]}, last_resorts=RESORTS).forecast(DE, now=now, until=now + 20 * HOUR)

    assert answer.forecast.source == "first"
    assert answer.answers == (Attempt("first"),)
    assert second.asked == 0


async def test_when_the_first_fails_the_second_answers_and_the_reason_is_kept(now: datetime) -> None:
    first, second = Scripted("first", fails=Transient("first: 503")), Scripted("second", value=200)
    answer = await Cascade({"DE": [first, second]}, last_resorts=RESORTS).forecast(DE, now=now, until=now + 20 * HOUR)

    assert answer.forecast.series.at(now) == 200
    assert answer.answers == (Attempt("first", "first: 503"), Attempt("second"))


async def test_beyond_the_horizon_comes_the_typical_day_marked_as_such(now: datetime) -> None:
    cascade = Cascade({"DE": [Scripted(horizon_h=24)]}, last_resorts=RESORTS)
    answer = await cascade.forecast(DE, now=now, until=now + 60 * HOUR)

    forecast = answer.forecast
    seam = hour_of(now) + 25 * HOUR
    assert forecast.series.covers(now, now + 60 * HOUR)
    assert [(part.start, part.source, part.note) for part in forecast.parts] == [
        (hour_of(now), "scripted", ""),
        (seam, "typical-day", NOTE),
    ]
    assert forecast.series.at(seam) == typical_day("DE").at(seam).mean_g_per_kwh
    assert not forecast.series.slot_at(now).estimated
    assert forecast.series.slot_at(seam).estimated
    assert [attempt.provider for attempt in answer.answers] == ["scripted", "typical-day"]


async def test_a_gap_in_the_forecast_is_filled_and_marked(now: datetime) -> None:
    hole = hour_of(now) + 5 * HOUR
    answer = await Cascade({"DE": [Scripted(without={hole})]}, last_resorts=RESORTS).forecast(
        DE, now=now, until=now + 10 * HOUR
    )

    assert answer.forecast.series.slot_at(hole).estimated
    assert answer.forecast.part_at(hole).source == "typical-day"
    assert answer.forecast.part_at(hole + HOUR).source == "scripted"


async def test_without_a_last_resort_the_forecast_stays_short_and_nothing_is_invented(now: datetime) -> None:
    hole = hour_of(now) + 5 * HOUR
    answer = await Cascade({"GB": [Scripted(without={hole})]}, last_resorts=RESORTS).forecast(
        GB, now=now, until=now + 60 * HOUR
    )

    assert answer.forecast.series.end == hour_of(now) + 25 * HOUR
    assert not answer.forecast.series.covers(hole, hole + HOUR)
    assert [attempt.error is None for attempt in answer.answers] == [True, False, False, False]
    assert "no zone GB; it has DE" in str(answer.answers[1].error)


async def test_the_last_good_forecast_is_reused_while_young_with_its_age_noted(now: datetime) -> None:
    first, second = Scripted("first"), Scripted("second", value=200)
    cascade = Cascade({"DE": [first, second]}, stale_after=6 * HOUR)
    await cascade.forecast(DE, now=now, until=now + 5 * HOUR)
    first.fails = Transient("first: 503")

    later = await cascade.forecast(DE, now=now + 5.5 * HOUR, until=now + 8 * HOUR)
    assert later.forecast.series.at(now + 6 * HOUR) == 100
    assert later.forecast.issued_at == now
    assert later.forecast.parts[0].note == "issued 5 h 30 min ago, reused because first did not answer"
    assert later.answers == (Attempt("first", "first: 503"), Attempt("last forecast of first"))

    too_late = await cascade.forecast(DE, now=now + 6 * HOUR, until=now + 8 * HOUR)
    assert too_late.forecast.source == "second"


async def test_a_remembered_forecast_that_no_longer_holds_now_is_not_reused(now: datetime) -> None:
    first = Scripted("first", horizon_h=1)
    cascade = Cascade({"DE": [first]}, last_resorts=RESORTS)
    await cascade.forecast(DE, now=now, until=now + HOUR)
    first.fails = Permanent("first: key revoked")

    answer = await cascade.forecast(DE, now=now + 3 * HOUR, until=now + 5 * HOUR)
    assert answer.forecast.source == "typical-day"


async def test_a_provider_that_answers_with_something_old_is_passed_over(now: datetime) -> None:
    old, fresh = Scripted("old", age=7 * HOUR), Scripted("fresh")
    answer = await Cascade({"DE": [old, fresh]}, stale_after=6 * HOUR).forecast(DE, now=now, until=now + HOUR)

    assert answer.forecast.source == "fresh"
    assert answer.answers[0] == Attempt("old", "old: its forecast for DE is 7 h 0 min old; too old to use")


@pytest.mark.parametrize("value", [-0.5, -1e9, 3000.5, 1e6])
async def test_a_lying_provider_falls_through(now: datetime, value: float) -> None:
    answer = await Cascade({"DE": [Scripted("liar", value=value), Scripted("honest")]}).forecast(
        DE, now=now, until=now + HOUR
    )

    assert answer.forecast.source == "honest"
    assert "liar: implausible" in str(answer.answers[0].error)


@pytest.mark.parametrize("value", [0.0, -0.0, 3000.0])
async def test_the_bounds_themselves_are_believed(now: datetime, value: float) -> None:
    # Zero for more than an hour or two is an outage, which is another test's.
    provider = Scripted(value=value, horizon_h=4)
    answer = await Cascade({"DE": [provider]}).forecast(DE, now=now, until=now + HOUR)

    assert answer.forecast.series.at(now) == value


async def test_a_forecast_from_the_future_is_passed_over(now: datetime) -> None:
    answer = await Cascade({"DE": [Scripted("early", age=-HOUR), Scripted("fine")]}).forecast(
        DE, now=now, until=now + HOUR
    )

    assert answer.forecast.source == "fine"
    assert "check the clocks" in str(answer.answers[0].error)


async def test_a_zone_without_a_provider_has_its_typical_day_and_one_without_that_its_mean(now: datetime) -> None:
    cascade = Cascade({}, last_resorts=RESORTS)

    german = await cascade.forecast(DE, now=now, until=now + 30 * HOUR)
    assert german.forecast.parts == (Part(hour_of(now), "typical-day", NOTE),)
    singapore = await cascade.forecast(SG, now=now, until=now + 30 * HOUR)
    assert singapore.forecast.source == "static"
    assert [attempt.provider for attempt in singapore.answers] == ["typical-day", "typical-day", "static"]
    assert "average/direct" in str(singapore.answers[1].error)


async def test_where_nobody_can_ever_answer_the_error_is_permanent_and_tells_all_reasons(now: datetime) -> None:
    with pytest.raises(Permanent, match=r"zone GB has no forecast; .*no source is configured"):
        await Cascade({}).forecast(GB, now=now, until=now + HOUR)
    with pytest.raises(Permanent, match=r"first: key revoked; typical-day: no zone GB"):
        await Cascade({"GB": [Scripted(fails=Permanent("first: key revoked"))]}, last_resorts=[TypicalDays()]).forecast(
            GB, now=now, until=now + HOUR
        )


async def test_where_a_failure_may_pass_the_error_is_transient_with_the_earliest_wish(now: datetime) -> None:
    failing: list[Scripted] = [
        Scripted("a", fails=Transient("a: 429", retry_after_s=300)),
        Scripted("b", fails=Transient("b: 429", retry_after_s=60)),
        Scripted("c", fails=Permanent("c: key revoked")),
    ]
    with pytest.raises(Transient, match="a: 429; b: 429; c: key revoked") as caught:
        await Cascade({"GB": failing}).forecast(GB, now=now, until=now + HOUR)
    assert caught.value.retry_after_s == 60


# One signal per zone


def test_providers_of_different_signals_for_one_zone_are_refused() -> None:
    lifecycle, operational = Scripted("em"), Scripted("neso", signal=AVERAGE_OPERATIONAL)

    with pytest.raises(SignalMismatch, match=r"zone GB: neso gives average/operational .* em gives average/lifecycle"):
        Cascade({"GB": [operational, lifecycle]})
    cascade = Cascade({"GB": [operational], "DE": [lifecycle]}, signal=AVERAGE_DIRECT)
    assert cascade.signal_of(GB) == AVERAGE_OPERATIONAL
    assert cascade.signal_of(DE) == AVERAGE_LIFECYCLE
    assert cascade.signal_of(SG) == AVERAGE_DIRECT


async def test_a_last_resort_of_another_scope_is_not_used_for_lifecycle(now: datetime) -> None:
    cascade = Cascade({"DE": [Scripted(horizon_h=2)]}, last_resorts=[TypicalDays(scope=Scope.DIRECT)])
    answer = await cascade.forecast(DE, now=now, until=now + 10 * HOUR)

    assert answer.forecast.series.end == hour_of(now) + 3 * HOUR
    assert answer.answers[-1] == Attempt(
        "typical-day", "typical-day: gives average/direct; zone DE is kept in average/lifecycle"
    )


async def test_direct_stands_in_for_operational_and_lifecycle_does_not(now: datetime) -> None:
    operator = Scripted("operator", signal=AVERAGE_OPERATIONAL, horizon_h=2)
    answer = await Cascade({"DE": [operator]}, last_resorts=RESORTS).forecast(DE, now=now, until=now + 10 * HOUR)

    forecast = answer.forecast
    seam = hour_of(now) + 3 * HOUR
    assert forecast.signal == forecast.series.signal == AVERAGE_OPERATIONAL
    assert forecast.series.at(seam) == typical_day("DE", scope=Scope.DIRECT).at(seam).mean_g_per_kwh
    assert forecast.parts[-1] == Part(seam, "typical-day", f"{NOTE}; {STAND_IN_NOTE}")
    assert [(attempt.provider, attempt.error is None) for attempt in answer.answers] == [
        ("operator", True),
        ("typical-day", False),
        ("typical-day", True),
    ]


async def test_a_provider_that_gives_another_signal_than_it_promised_is_passed_over(now: datetime) -> None:
    class Turncoat(Scripted):
        async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> Forecast:
            self.signal = AVERAGE_DIRECT
            return await super().forecast(zone, now=now, until=until)

    turncoat, honest = Turncoat("turncoat"), Scripted("honest")
    cascade = Cascade({"DE": [honest, turncoat]})
    honest.fails = Transient("honest: 503")

    with pytest.raises(ForecastersError, match="cannot be combined"):
        await cascade.forecast(DE, now=now, until=now + HOUR)


# History and what is accounted


async def test_history_comes_from_the_first_and_later_ones_fill_what_it_left_open(now: datetime) -> None:
    hour = hour_of(now)
    first = Scripted("first", without={hour - 3 * HOUR})
    second = Scripted("second", value=200)
    answer = await Cascade({"DE": [first, second]}, last_resorts=RESORTS).history(
        DE, start=hour - 5 * HOUR, end=hour, now=now
    )

    assert [slot.g_per_kwh for slot in answer.series.slots] == [100, 100, 200, 100, 100]
    assert answer.series.source == "first+second"
    assert not answer.filled


async def test_history_takes_nothing_from_last_resorts(now: datetime) -> None:
    cascade = Cascade({"DE": [Scripted("first", fails=Transient("first: 503"))]}, last_resorts=RESORTS)

    with pytest.raises(Transient, match=r"zone DE has no realised value .* first: 503"):
        await cascade.history(DE, start=now - 5 * HOUR, end=now, now=now)


async def test_realised_values_cover_exactly_what_was_asked_and_are_not_estimates(now: datetime) -> None:
    hour = hour_of(now)
    start, end = hour - 4.5 * HOUR, hour - 0.25 * HOUR
    answer = await Cascade({"DE": [Scripted()]}, last_resorts=RESORTS).realised(DE, start=start, end=end, now=now)

    assert (answer.series.start, answer.series.end) == (start, end)
    assert answer.series.covers(start, end)
    assert not answer.filled
    assert answer.series.estimated_share(start, end) == 0


async def test_late_values_are_filled_from_what_was_forecast_for_them_and_flagged(now: datetime) -> None:
    provider = Scripted(lag_h=3)
    cascade = Cascade({"DE": [provider]}, last_resorts=RESORTS)
    start = hour_of(now) - 2 * HOUR
    await cascade.forecast(DE, now=start - HOUR, until=start + 24 * HOUR)
    provider.value = 120
    await cascade.forecast(DE, now=start + HOUR, until=start + 24 * HOUR)
    provider.value = 140

    answer = await cascade.realised(DE, start=start - 3 * HOUR, end=now, now=now)
    # Realised, then the first forecast where the second does not reach back, then the second up to now.
    assert [slot.g_per_kwh for slot in answer.series.slots] == [140, 140, 100, 100, 120, 120]
    assert [slot.estimated for slot in answer.series.slots] == [False, False, True, True, True, True]
    assert answer.answers == (Attempt("scripted"), Attempt("forecast of scripted"))
    assert answer.filled


async def test_what_was_never_forecast_is_filled_with_the_typical_day_and_flagged(now: datetime) -> None:
    start = hour_of(now) - 2 * HOUR
    answer = await Cascade({"DE": [Scripted(lag_h=3)]}, last_resorts=RESORTS).realised(
        DE, start=start - 3 * HOUR, end=now, now=now
    )

    day = typical_day("DE")
    for slot in answer.series.slots[2:]:
        assert slot.estimated
        assert slot.g_per_kwh == day.at(slot.start).mean_g_per_kwh
    assert answer.filled
    assert answer.answers == (Attempt("scripted"), Attempt("typical-day"))


async def test_what_nobody_knows_is_an_error_and_never_zero(now: datetime) -> None:
    cascade = Cascade({"GB": [Scripted(lag_h=3)]}, last_resorts=RESORTS)

    with pytest.raises(Permanent, match="zone GB is not known throughout"):
        await cascade.realised(GB, start=now - 5 * HOUR, end=now, now=now)


async def test_what_has_not_come_yet_is_not_realised(now: datetime) -> None:
    with pytest.raises(Refused, match="has not come yet"):
        await Cascade({}, last_resorts=RESORTS).realised(DE, start=now, end=now + HOUR, now=now)


async def test_forecasts_of_past_days_are_not_kept_for_ever(now: datetime) -> None:
    cascade = Cascade({"DE": [Scripted(horizon_h=1, lag_h=10_000)]})
    for n in range(24 * 10):
        await cascade.forecast(DE, now=now + n * HOUR, until=now + (n + 1) * HOUR)
    late = now + 24 * 10 * HOUR

    assert (await cascade.realised(DE, start=late - 48 * HOUR, end=late - HOUR, now=late)).filled
    with pytest.raises(ForecastersError, match="not known throughout"):
        await cascade.realised(DE, start=late - 96 * HOUR, end=late - HOUR, now=late)


# Against services on real sockets


async def test_a_service_that_breaks_and_recovers_is_bridged(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, now: datetime
) -> None:
    maps = ElectricityMaps(client, token=TOKEN, base_url=grid.url, patience=patience)
    cascade = Cascade({"DE": [maps]}, last_resorts=RESORTS)
    until = now + 80 * HOUR

    healthy = await cascade.forecast(DE, now=now, until=until)
    assert healthy.forecast.source == "electricity-maps+typical-day"

    grid.answer = lambda _: Reply(500, "<html><title>Bad gateway</title></html>")
    broken = await cascade.forecast(DE, now=now + HOUR, until=until)
    assert broken.forecast.source == "electricity-maps+typical-day"
    assert "issued 1 h 13 min ago" in broken.forecast.parts[0].note
    assert "Bad gateway" in str(broken.answers[0].error)

    grid.answer = None
    grid.now = now + 2 * HOUR
    again = await cascade.forecast(DE, now=grid.now, until=until)
    assert again.forecast.parts[0].note == ""
    assert again.forecast.issued_at == grid.now - timedelta(minutes=13)


async def test_great_britain_is_operational_and_its_mean_continues_it(
    grid: FakeGrid, client: httpx.AsyncClient, patience: Patience, now: datetime
) -> None:
    grid.published_until = hour_of(now) + 5 * HOUR
    mean = Static({"GB": 150}, signal=AVERAGE_OPERATIONAL)
    cascade = Cascade({"GB": [Neso(client, base_url=grid.url, patience=patience)]}, last_resorts=(*RESORTS, mean))

    forecast = (await cascade.forecast(GB, now=now, until=now + 10 * HOUR)).forecast
    assert forecast.signal == AVERAGE_OPERATIONAL
    assert forecast.source == "neso+static"
    assert (forecast.series.at(now), forecast.series.at(now + 9 * HOUR)) == (truth(hour_of(now)), 150)


async def test_a_recording_serves_as_provider_and_settles_exactly(record: Callable[..., Path], now: datetime) -> None:
    start = hour_of(now) - 48 * HOUR
    cascade = Cascade({"DE": [Replay(record("DE.csv", start=start, hours=96))]}, last_resorts=RESORTS)

    forecast = (await cascade.forecast(DE, now=now, until=now + 10 * HOUR)).forecast
    later = now + 5 * HOUR
    realised = await cascade.realised(DE, start=now, end=later, now=later)
    assert realised.series.mean(now, later) == pytest.approx(forecast.series.mean(now, later))
    # The last, unfinished hour is known from the forecast alone.
    assert realised.filled
    assert [slot.estimated for slot in realised.series.slots] == [False] * 5 + [True]
    settled = await cascade.realised(DE, start=now, end=later, now=later + HOUR)
    assert not settled.filled


@pytest.mark.parametrize("signal", [AVERAGE_LIFECYCLE, AVERAGE_OPERATIONAL])
async def test_zero_for_hours_is_an_outage_and_no_clean_grid(now: datetime, signal: Signal) -> None:
    cascade = Cascade({"DE": [Scripted(value=0, signal=signal)]}, last_resorts=RESORTS)
    answer = await cascade.forecast(DE, now=now, until=now + 10 * HOUR)

    assert answer.forecast.source == "typical-day"
    assert "zero for DE from 2026-09-14T09:00:00+00:00 on" in str(answer.answers[0].error)
    realised = await cascade.realised(DE, start=now - 10 * HOUR, end=now, now=now)
    assert realised.filled
    assert min(slot.g_per_kwh for slot in realised.series.slots) > 100


async def test_zero_is_believed_for_an_hour_and_of_direct_emissions_for_good(now: datetime) -> None:
    short = Cascade({"DE": [Scripted(value=0, horizon_h=4)]})
    assert (await short.forecast(DE, now=now, until=now + HOUR)).forecast.series.at(now) == 0
    water = Cascade({"DE": [Scripted(value=0, signal=AVERAGE_DIRECT)]})
    assert (await water.forecast(DE, now=now, until=now + 20 * HOUR)).forecast.series.at(now) == 0


async def test_a_source_that_gets_stuck_on_one_value_is_replaced_and_taken_back_when_it_moves(now: datetime) -> None:
    first, second = Scripted("first", varies=True), Scripted("second", value=200, varies=True)
    cascade = Cascade({"DE": [first, second]}, stale_after=HOUR)
    await cascade.forecast(DE, now=now, until=now + 5 * HOUR)
    first.varies = False
    later = now + 2 * HOUR

    answer = await cascade.forecast(DE, now=later, until=later + 5 * HOUR)
    assert answer.forecast.source == "second"
    assert "the source is stuck" in str(answer.answers[0].error)
    first.varies = True
    answer = await cascade.forecast(DE, now=later, until=later + 5 * HOUR)
    assert answer.forecast.source == "first"


async def test_a_zone_that_was_never_anything_but_flat_is_believed(now: datetime) -> None:
    cascade = Cascade({"DE": [Scripted(value=490)]})
    for hours_on in range(0, 100, 10):
        later = now + hours_on * HOUR
        assert (await cascade.forecast(DE, now=later, until=later + HOUR)).forecast.source == "scripted"


async def test_what_another_than_the_first_provider_says_has_been_is_an_estimate(now: datetime) -> None:
    first, second = Scripted(name="first", value=400), Scripted(name="second", value=300)
    cascade = Cascade({"DE": [first, second]})
    start, end = now - 6 * HOUR, now - HOUR
    first.fails = Transient("down")
    answer = await cascade.realised(DE, start=start, end=end, now=now)
    assert {(slot.g_per_kwh, slot.estimated) for slot in answer.series.slots} == {(300, True)}

    first.fails, first.without = None, {(now - 3 * HOUR).replace(minute=0, second=0)}
    answer = await cascade.realised(DE, start=start, end=end, now=now)
    assert {(slot.g_per_kwh, slot.estimated) for slot in answer.series.slots} == {(400, False), (300, True)}


async def test_where_the_first_provider_never_tells_what_has_been_the_next_one_leads(now: datetime) -> None:
    cascade = Cascade({"DE": [Scripted(name="first", fails=Permanent("no history")), Scripted(name="second")]})
    answer = await cascade.realised(DE, start=now - 6 * HOUR, end=now - HOUR, now=now)
    assert not any(slot.estimated for slot in answer.series.slots)
