"""Mix and weather, live: the model sees what a file would give it, nothing of what came later, and does without."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from forecasters.grids import FIRST, made_up
from kilowait_forecasters.errors import ForecastersError, Transient
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.mix import MixSlot
from kilowait_forecasters.models.hours import Hours, hour_number, hour_start
from kilowait_forecasters.models.own import OwnModel
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.providers.surroundings import REMEMBERED, Surroundings, by_hour
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = 90
NOW = hour_start(FIRST + DAYS * 24)


@dataclass
class World:
    """A made-up grid as provider, source of the mix, and of the weather; `until` is where it ends."""

    hours: Hours
    name: str = "world"
    signal = AVERAGE_LIFECYCLE
    fails: ForecastersError | None = None
    asked: list[tuple[str, datetime, datetime]] | None = None

    def zones(self) -> frozenset[str] | None:
        return None

    def _note(self, what: str, start: datetime, end: datetime) -> None:
        if self.asked is not None:
            self.asked.append((what, start, end))
        if self.fails is not None:
            raise self.fails

    async def forecast(self, zone: Zone, *, now: datetime, until: datetime) -> object:
        raise AssertionError

    async def history(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> IntensitySeries:
        slots = [
            Slot(hour_start(self.hours.first + n), hour_start(self.hours.first + n + 1), float(value))
            for n, value in enumerate(self.hours.g_per_kwh)
        ]
        known = [slot for slot in slots if slot.end <= now and slot.end > start]
        return IntensitySeries(zone=zone, signal=AVERAGE_LIFECYCLE, source=self.name, slots=known)

    async def mix(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> list[MixSlot]:
        self._note("mix", start, end)
        found = []
        for n in range(len(self.hours.g_per_kwh)):
            at = hour_start(self.hours.first + n)
            if start < at + HOUR <= min(end, now):
                found.append(MixSlot(at, at + HOUR, {k: float(v[n]) for k, v in self.hours.mix.items()}))
        return found

    async def weather(
        self, places: Sequence[tuple[float, float]], *, start: datetime, end: datetime, now: datetime
    ) -> dict[str, dict[int, float]]:
        self._note("weather", start, end)
        hours = range(hour_number(start), hour_number(end))
        return {
            name: {
                hour: float(values[hour - self.hours.first]) for hour in hours if hour - self.hours.first < len(values)
            }
            for name, values in self.hours.weather.items()
        }


def around(world: World, **more: object) -> Surroundings:
    given: dict[str, object] = {"mixes": {"DE": world}, "weather": world, "places": {"DE": [(52.5, 13.4)]}} | more
    return Surroundings(**given)  # type: ignore[arg-type]


async def forecast_of(world: World, surroundings: Surroundings, *, now: datetime = NOW) -> tuple[list[float], str]:
    own = OwnForecasts({"DE": world}, around=surroundings, wait_s=60)  # type: ignore[dict-item]
    forecast = await own.forecast(DE, now=now, until=now + 96 * HOUR)
    return [slot.g_per_kwh for slot in forecast.series.slots], forecast.parts[0].note


async def test_the_live_forecast_is_the_one_that_a_file_with_mix_and_weather_gives() -> None:
    hours = made_up(DAYS)
    values, note = await forecast_of(World(hours), around(World(hours)))

    outlook = OwnModel().outlook(hours.before(hour_number(NOW)), issued=hour_number(NOW))
    assert values == pytest.approx(outlook.quantiles[2].tolist())
    assert note.startswith("from world, generation by source, weather: ")


async def test_nothing_that_came_later_changes_a_forecast() -> None:
    hours = made_up(DAYS + 10)
    issued, first = hour_number(NOW), hours.first
    false = replace(
        hours,
        g_per_kwh=np.where(np.arange(len(hours.g_per_kwh)) < issued - first, hours.g_per_kwh, 9.0),
        mix={k: np.where(np.arange(len(v)) < issued - first, v, 1e6) for k, v in hours.mix.items()},
        weather={k: np.where(np.arange(len(v)) < issued + 96 - first, v, -99.0) for k, v in hours.weather.items()},
    )

    assert await forecast_of(World(hours), around(World(hours))) == await forecast_of(
        World(false), around(World(false))
    )


@pytest.mark.parametrize(
    ("mix", "weather", "told"),
    [(True, False, ", generation by source: "), (False, True, ", weather: "), (False, False, "from world: ")],
)
async def test_what_does_not_answer_is_done_without_and_the_forecast_says_what_it_saw(
    mix: bool, weather: bool, told: str
) -> None:
    hours = made_up(DAYS)
    down = World(hours, fails=Transient("down"))
    given = around(World(hours), mixes={"DE": World(hours) if mix else down}, weather=World(hours) if weather else down)
    values, note = await forecast_of(World(hours), given)

    assert told in note
    alone = replace(hours, mix=hours.mix if mix else {}, weather=hours.weather if weather else {})
    outlook = OwnModel().outlook(alone.before(hour_number(NOW)), issued=hour_number(NOW))
    assert values == pytest.approx(outlook.quantiles[2].tolist())


async def test_weather_without_most_of_its_past_is_not_learned_from() -> None:
    hours = made_up(DAYS)
    young = replace(
        hours, weather={k: np.where(np.arange(len(v)) < 30 * 24, np.nan, v) for k, v in hours.weather.items()}
    )

    class Young(World):
        async def weather(
            self, places: Sequence[tuple[float, float]], *, start: datetime, end: datetime, now: datetime
        ) -> dict[str, dict[int, float]]:
            found = await super().weather(places, start=start, end=end, now=now)
            return {name: {hour: v for hour, v in values.items() if np.isfinite(v)} for name, values in found.items()}

    assert "weather" not in (await forecast_of(World(hours), around(Young(young))))[1]


async def test_the_past_is_asked_for_once_and_then_only_what_is_new() -> None:
    hours = made_up(DAYS + 3)
    source = World(hours, asked=[])
    surroundings = around(source)
    for day in range(3):
        now = NOW + day * DAY
        known = hours.before(hour_number(now))
        seen = await surroundings.around(DE, known, until=hour_number(now) + 96, now=now)
        assert all(np.isfinite(values).all() for values in (*seen.mix.values(), *seen.weather.values()))
        assert all(np.array_equal(values, hours.mix[k][: len(values)]) for k, values in seen.mix.items())
    assert source.asked is not None
    starts = {what: [start for kind, start, _ in source.asked if kind == what] for what in ("mix", "weather")}
    assert starts["mix"][0] == starts["weather"][0] == hour_start(hours.first)
    assert all(start >= NOW - 3 * DAY for what in starts for start in starts[what][1:])


async def test_a_model_with_a_longer_past_is_given_all_of_it_though_another_asked_first_for_less() -> None:
    hours = made_up(DAYS)
    source = World(hours, asked=[])
    surroundings = around(source)
    cut = 80 * 24
    short = Hours(first=hours.first + cut, g_per_kwh=hours.g_per_kwh[cut:])
    for asked_at_once in ((short, hours), (short, hours)):
        found = await asyncio.gather(
            *(surroundings.around(DE, one, until=hour_number(NOW) + 96, now=NOW) for one in asked_at_once)
        )
        for seen in found:
            assert seen.weather
            assert all(np.isfinite(values).all() for values in (*seen.mix.values(), *seen.weather.values()))
    assert source.asked is not None
    starts = [start for kind, start, _ in source.asked if kind == "mix"]
    assert starts.count(hour_start(hours.first)) == 1


async def test_what_lies_further_back_than_models_learn_from_is_forgotten() -> None:
    hours = made_up(DAYS)
    surroundings = around(World(hours))
    await surroundings.around(DE, hours.before(hour_number(NOW)), until=hour_number(NOW) + 96, now=NOW)
    later = NOW + REMEMBERED - 35 * DAY
    seen = await surroundings.around(DE, hours, until=hour_number(later) + 96, now=later)
    assert np.isnan(seen.mix["wind"][: 53 * 24]).all()
    assert np.isfinite(seen.mix["wind"][54 * 24 :]).all()


async def test_a_mix_that_was_known_stays_while_its_source_is_down() -> None:
    hours = made_up(DAYS)
    source = World(hours)
    surroundings = around(source, weather=None)
    known = hours.before(hour_number(NOW) - 5)
    await surroundings.around(DE, known, until=hour_number(NOW), now=NOW - 5 * HOUR)
    source.fails = Transient("down")
    seen = await surroundings.around(DE, hours, until=hour_number(NOW), now=NOW)

    assert np.isfinite(seen.mix["wind"][:-5]).all()
    assert np.isnan(seen.mix["wind"][-5:]).all()


def test_quarter_hours_become_hours_and_an_hour_of_which_one_is_missing_has_none() -> None:
    quarter = timedelta(minutes=15)
    slots = [
        MixSlot(NOW + n * quarter, NOW + (n + 1) * quarter, {"wind": float(n), "coal": 4.0}) for n in range(8) if n != 5
    ]
    assert by_hour(slots) == {"wind": {hour_number(NOW): 1.5}, "coal": {hour_number(NOW): 4.0}}
