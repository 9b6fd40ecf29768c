"""Mix and weather, live: the model sees what a file would give it, nothing of what came later, and does without."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from forecasters.grids import FIRST, made_up
from kilowait_forecasters.errors import ForecastersError, Transient
from kilowait_forecasters.intensity import IntensitySeries, Slot
from kilowait_forecasters.mix import MixSlot
from kilowait_forecasters.models.hours import Columns, Floats, Hours, by_hour, hour_number, hour_start
from kilowait_forecasters.models.own import OwnModel
from kilowait_forecasters.providers.own_model import OwnForecasts
from kilowait_forecasters.providers.surroundings import REMEMBERED, Surroundings
from kilowait_forecasters.signal import AVERAGE_LIFECYCLE
from kilowait_forecasters.zone import Zone

DE = Zone("DE")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = 90
NOW = hour_start(FIRST + DAYS * 24)


@dataclass
class World:
    """A made-up grid as provider, source of the mix, of what is announced, and of the weather."""

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
    ) -> Columns:
        self._note("weather", start, end)
        return self._columns(self.hours.weather, start, end)

    async def day_ahead(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> Columns:
        """Up to the end of tomorrow."""
        self._note("day-ahead", start, end)
        tomorrow_ends = hour_start((hour_number(now) // 24 + 2) * 24)
        return self._columns(self.hours.day_ahead, start, min(end, tomorrow_ends))

    def _columns(self, known: Mapping[str, Floats], start: datetime, end: datetime) -> Columns:
        hours, first = range(hour_number(start), hour_number(end)), self.hours.first
        return {
            name: {
                hour: float(values[hour - first])
                for hour in hours
                if 0 <= hour - first < len(values) and np.isfinite(values[hour - first])
            }
            for name, values in known.items()
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
        ) -> Columns:
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


def announcing(days: int = DAYS, *, ahead: int = 10) -> Hours:
    """The made-up grid of `days` days, with wind, solar and load announced for all of them and `ahead` days more."""
    count = (days + ahead) * 24
    columns = {name: np.arange(count) + offset for name, offset in (("wind", 1e3), ("solar", 5e3), ("load", 9e3))}
    return replace(made_up(days), day_ahead=columns)


def announced(source: World, **more: object) -> Surroundings:
    return Surroundings(day_ahead={"DE": source}, **more)  # type: ignore[arg-type]


async def test_what_is_announced_reaches_from_the_first_hour_to_the_end_of_tomorrow_and_is_unknown_after_that() -> None:
    hours = announcing()
    known = hours.before(hour_number(NOW) - 3)
    seen = await announced(World(hours)).around(DE, known, until=hour_number(NOW) + 96, now=NOW)

    there = (DAYS + 2) * 24
    assert seen.day_ahead.keys() == {"wind", "solar", "load"}
    for name, values in seen.day_ahead.items():
        assert len(values) == DAYS * 24 + 96
        assert np.array_equal(values[:there], hours.day_ahead[name][:there])
        assert np.isnan(values[there:]).all()
    assert seen.mix == seen.weather == {}


async def test_a_column_that_the_source_does_not_give_is_absent_and_a_zone_without_a_source_has_none() -> None:
    hours = replace(announcing(), day_ahead={"load": np.ones(DAYS * 24)})
    surroundings = announced(World(hours))
    assert (await surroundings.around(DE, hours, until=hour_number(NOW), now=NOW)).day_ahead.keys() == {"load"}
    assert (await surroundings.around(Zone("FR"), hours, until=hour_number(NOW), now=NOW)).day_ahead == {}


async def test_announcements_are_asked_for_once_and_from_two_days_back_anew_to_the_end_of_the_horizon() -> None:
    hours = announcing()
    source = World(hours, asked=[])
    surroundings = announced(source)
    until = hour_number(NOW) + 96
    for n in range(3):
        await surroundings.around(DE, hours, until=until + n, now=NOW + n * HOUR)
    assert source.asked == [
        ("day-ahead", hour_start(hours.first), hour_start(until)),
        ("day-ahead", NOW + HOUR - 2 * DAY, hour_start(until + 1)),
        ("day-ahead", NOW + 2 * HOUR - 2 * DAY, hour_start(until + 2)),
    ]


async def test_what_is_announced_anew_takes_the_place_of_what_was_and_older_values_stay() -> None:
    hours = announcing()
    source = World(hours)
    surroundings = announced(source)
    until, back = hour_number(NOW) + 24, DAYS * 24 - 48
    await surroundings.around(DE, hours, until=until, now=NOW)
    source.hours = replace(hours, day_ahead={"load": hours.day_ahead["load"] + 1})
    seen = await surroundings.around(DE, hours, until=until, now=NOW)

    assert np.array_equal(seen.day_ahead["load"][:back], hours.day_ahead["load"][:back])
    assert np.array_equal(seen.day_ahead["load"][back:], source.hours.day_ahead["load"][back : DAYS * 24 + 24])
    # What an answer leaves out was announced all the same.
    assert np.array_equal(seen.day_ahead["wind"], hours.day_ahead["wind"][: DAYS * 24 + 24])


async def test_what_was_announced_for_tomorrow_stays_true_while_the_source_is_down() -> None:
    hours = announcing()
    source = World(hours)
    surroundings = announced(source)
    until = hour_number(NOW) + 48
    before = await surroundings.around(DE, hours, until=until, now=NOW)
    source.fails = Transient("down")
    seen = await surroundings.around(DE, hours, until=until + 5, now=NOW + 5 * HOUR)

    for name, values in seen.day_ahead.items():
        assert np.array_equal(values[:-5], before.day_ahead[name])
        assert np.isnan(values[-5:]).all()


async def test_days_that_an_outage_left_out_are_asked_for_after_it() -> None:
    hours = announcing(ahead=20)
    source = World(hours)
    surroundings = announced(source)
    await surroundings.around(DE, hours, until=hour_number(NOW) + 48, now=NOW)
    source.fails = Transient("down")
    await surroundings.around(DE, hours, until=hour_number(NOW) + 9 * 24, now=NOW + 7 * DAY)
    source.fails, later = None, NOW + 8 * DAY
    seen = await surroundings.around(DE, hours, until=hour_number(later) + 48, now=later)

    assert all(np.isfinite(values).all() for values in seen.day_ahead.values())


async def test_a_source_that_is_down_from_the_start_announces_nothing_and_is_asked_again() -> None:
    hours = announcing()
    source = World(hours, fails=Transient("down"))
    surroundings = announced(source)
    until = hour_number(NOW) + 24
    assert (await surroundings.around(DE, hours, until=until, now=NOW)).day_ahead == {}
    source.fails = None
    seen = await surroundings.around(DE, hours, until=until, now=NOW)
    assert all(np.isfinite(values).all() for values in seen.day_ahead.values())


async def test_an_area_that_announces_nothing_is_asked_for_all_of_its_past_once_a_day_and_once_it_begins() -> None:
    world = World(made_up(DAYS, day_ahead=("load",)), asked=[])
    silent = replace(world, hours=replace(world.hours, day_ahead={}))
    there = around(silent, mixes={}, weather=None, day_ahead={"DE": silent})
    alone = Hours(world.hours.first, world.hours.g_per_kwh)

    async def asked(hours_later: int) -> list[tuple[int, int]]:
        assert world.asked is not None
        world.asked.clear()
        now = NOW + hours_later * HOUR
        await there.around(DE, alone, until=hour_number(now) + 96, now=now)
        return [
            (hour_number(now) - hour_number(start), hour_number(end) - hour_number(now))
            for _, start, end in world.asked
        ]

    whole = DAYS * 24
    assert await asked(0) == [(whole, 96)]
    assert await asked(1) == await asked(23) == [(48, 96)]
    assert await asked(24) == [(whole + 24, 96)]
    silent.hours = world.hours
    assert await asked(25) == [(48, 96), (whole + 25, -48)]
    assert await asked(26) == [(48, 96)]


async def test_a_long_past_comes_in_pieces_and_what_came_stays_though_the_next_does_not() -> None:
    world = World(made_up(300, day_ahead=("load",)), asked=[])
    now, long = world.hours.end, 300 * 24

    class Tired(World):
        """Answers one question, then is busy until the next hour."""

        rested_at: int = -1

        async def day_ahead(self, zone: Zone, *, start: datetime, end: datetime, now: datetime) -> Columns:
            if self.rested_at == hour_number(now):
                raise Transient("busy")
            if start < now - 3 * DAY:
                self.rested_at = hour_number(now)
            return await super().day_ahead(zone, start=start, end=end, now=now)

    tired = Tired(world.hours)
    there = around(tired, mixes={}, weather=None, day_ahead={"DE": tired})
    alone = Hours(world.hours.first, world.hours.g_per_kwh)
    known = []
    for later in range(4):
        seen = await there.around(DE, alone, until=now + later, now=hour_start(now + later))
        known.append(int(np.isfinite(seen.day_ahead["load"][:long]).sum()) // 24)
    assert known == [120, 240, 300, 300]


async def test_a_column_absent_from_the_first_answers_is_asked_for_all_of_its_past_once_it_comes() -> None:
    whole = made_up(DAYS + 1, day_ahead=("wind", "load"))
    world = World(replace(whole, day_ahead={"load": whole.day_ahead["load"]}))
    there = around(world, mixes={}, weather=None, day_ahead={"DE": world})
    alone = Hours(whole.first, whole.g_per_kwh[: DAYS * 24])
    for later in range(4):
        world.hours = whole if later == 3 else world.hours
        seen = await there.around(DE, alone, until=hour_number(NOW), now=NOW + later * HOUR)
    assert np.isfinite(seen.day_ahead["wind"]).all()


async def test_an_area_that_stopped_long_ago_is_asked_for_two_weeks_and_no_more() -> None:
    world = World(made_up(DAYS, day_ahead=("load",)), asked=[])
    there = around(world, mixes={}, weather=None, day_ahead={"DE": world})
    alone = Hours(world.hours.first, world.hours.g_per_kwh)
    ended = {"load": world.hours.day_ahead["load"][: 40 * 24]}
    world.hours = replace(world.hours, day_ahead=ended)
    assert world.asked is not None
    for later in range(2):
        world.asked.clear()
        await there.around(DE, alone, until=hour_number(NOW) + 9, now=NOW + later * HOUR)
    assert [(NOW + HOUR - start) // DAY for _, start, _ in world.asked] == [14]


async def test_a_column_that_was_late_for_days_is_fetched_whole_once_it_comes() -> None:
    whole = made_up(DAYS + 12, day_ahead=("wind", "load"))
    world = World(whole)
    there = around(world, mixes={}, weather=None, day_ahead={"DE": world})
    alone = Hours(whole.first, whole.g_per_kwh[: DAYS * 24])
    silent_from = DAYS * 24 - 24
    for day in range(8):
        wind = whole.day_ahead["wind"].copy()
        if day < 6:
            wind[silent_from:] = np.nan
        world.hours = replace(whole, day_ahead={**whole.day_ahead, "wind": wind})
        now = NOW + day * DAY
        seen = await there.around(DE, alone, until=hour_number(now), now=now)
    assert np.isfinite(seen.day_ahead["wind"][: (DAYS + 6) * 24]).all()


async def test_hours_before_what_was_asked_for_first_are_asked_for_once() -> None:
    hours = announcing()
    source = World(hours, asked=[])
    surroundings = announced(source)
    cut = 80 * 24
    short = Hours(first=hours.first + cut, g_per_kwh=hours.g_per_kwh[cut:])
    until = hour_number(NOW) + 24
    for one in (short, hours, short, hours):
        seen = await surroundings.around(DE, one, until=until, now=NOW)
        assert all(np.isfinite(values).all() for values in seen.day_ahead.values())
    assert source.asked is not None
    assert [(start, end) for _, start, end in source.asked if start < hour_start(short.first)] == [
        (hour_start(hours.first), hour_start(short.first))
    ]


async def test_announcements_that_lie_further_back_than_models_learn_from_are_forgotten() -> None:
    hours = announcing()
    surroundings = announced(World(hours))
    await surroundings.around(DE, hours, until=hour_number(NOW) + 48, now=NOW)
    later = NOW + REMEMBERED - 35 * DAY
    seen = await surroundings.around(DE, hours, until=hour_number(NOW), now=later)

    assert np.isnan(seen.day_ahead["load"][: 53 * 24]).all()
    assert np.isfinite(seen.day_ahead["load"][54 * 24 :]).all()
    kept = surroundings._announced["DE"].columns
    assert all(min(values) >= hour_number(later - REMEMBERED - DAY) for values in kept.values())


async def test_the_mix_and_what_is_announced_fail_apart() -> None:
    hours = announcing()
    for down, there in (("mix", "day_ahead"), ("day_ahead", "mix")):
        sources = {what: World(hours, fails=Transient("down") if what == down else None) for what in (down, there)}
        surroundings = Surroundings(mixes={"DE": sources["mix"]}, day_ahead={"DE": sources["day_ahead"]})
        seen = await surroundings.around(DE, hours, until=hour_number(NOW) + 48, now=NOW)
        assert getattr(seen, down) == {}
        assert all(np.isfinite(values).all() for values in getattr(seen, there).values())


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (("wind", "solar", "load"), ", day-ahead wind, solar and load: "),
        (("load", "wind"), ", day-ahead wind and load: "),
        (("load",), ", day-ahead load: "),
    ],
)
async def test_the_forecast_says_what_was_announced(columns: tuple[str, ...], told: str) -> None:
    hours = announcing()
    hours = replace(hours, day_ahead={name: hours.day_ahead[name] for name in columns})
    _, note = await forecast_of(World(hours), announced(World(hours)))
    assert note.startswith(f"from world{told}")


async def test_announcements_that_do_not_reach_the_hour_of_issue_are_not_told() -> None:
    for beyond, told in ((0, False), (1, True), (2, True)):
        hours = announcing()
        ended = {name: values[: DAYS * 24 + beyond] for name, values in hours.day_ahead.items()}
        hours = replace(hours, day_ahead=ended)
        _, note = await forecast_of(World(hours), announced(World(hours)))
        assert ("day-ahead" in note) is told


def test_announcements_are_cut_where_the_past_begins_and_stay_where_it_is_cut_off() -> None:
    hours = announcing(2, ahead=1)
    lead = replace(hours, g_per_kwh=np.where(np.arange(48) < 5, np.nan, hours.g_per_kwh))

    assert np.array_equal(lead.trimmed().day_ahead["load"], hours.day_ahead["load"][5:])
    assert np.array_equal(hours.before(hours.first + 9).day_ahead["load"], hours.day_ahead["load"])


def test_quarter_hours_become_hours_and_an_hour_of_which_one_is_missing_has_none() -> None:
    quarter = timedelta(minutes=15)
    slots = [
        MixSlot(NOW + n * quarter, NOW + (n + 1) * quarter, {"wind": float(n), "coal": 4.0}) for n in range(8) if n != 5
    ]
    assert by_hour(slots) == {"wind": {hour_number(NOW): 1.5}, "coal": {hour_number(NOW): 4.0}}
