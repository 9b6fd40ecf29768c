"""Contracted clean energy: hourly matching conserves, annual volumes never touch it, two methods have no sum."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from kilowait_scheduler.core.clean import (
    Clean,
    CleanSupply,
    MarketBased,
    ResidualMix,
    cover,
    scope2,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
YEAR = [START + HOUR * n for n in range(8760)]


def supply(wh: list[int], *, start: datetime = START, hours: int | None = None, name: str = "s") -> CleanSupply:
    return CleanSupply(id=name, region="aa", start=start, end=start + HOUR * (hours or len(wh)), wh=tuple(wh))


def score(load: dict[datetime, float], clean: Clean) -> float:
    matched = scope2(((hour, kwh, kwh * 300) for hour, kwh in load.items()), clean).matched_kwh
    assert matched is not None
    return 100 * matched / sum(load.values())


def test_solar_certificates_for_all_of_a_year_match_far_less_than_all_of_its_hours() -> None:
    """Flat load, sun from 6 to 18 with summer twice as long in strength: 100 % over the year, under half by hour."""
    load = dict.fromkeys(YEAR, 100.0)
    sun = [
        max(0.0, math.sin((hour.hour - 6) / 12 * math.pi)) * (1.0 - 0.5 * math.cos(2 * math.pi * n / 8760))
        for n, hour in enumerate(YEAR)
    ]
    scale = 100_000 * 8760 / sum(sun)
    solar = supply([math.ceil(scale * value) for value in sun])
    assert sum(solar.wh) >= 100_000 * 8760, "all of the year's energy"
    hourly = score(load, cover(load, supplies=[solar]))
    assert 35 < hourly < 55
    yearly = cover(load, supplies=[supply([sum(solar.wh)], hours=8760)])
    assert sum(yearly.uncovered.values()) == pytest.approx(0.0), "as one annual volume it covers everything on paper"
    assert yearly.matched == {}, "and says nothing about any hour"


hours = st.integers(0, 47).map(lambda n: START + HOUR * n)
loads = st.dictionaries(hours, st.floats(0.01, 1e4), min_size=1, max_size=48)


@given(
    loads,
    st.lists(st.lists(st.integers(0, 10**7), min_size=48, max_size=48), max_size=3),
    st.lists(st.tuples(st.integers(0, 40), st.integers(2, 48), st.integers(0, 10**9)), max_size=3),
)
def test_no_contract_covers_more_than_it_supplied_and_no_load_is_covered_twice(
    load: dict[datetime, float], hourly: list[list[int]], volumes: list[tuple[int, int, int]]
) -> None:
    supplies = [supply(wh, name=f"h{n}") for n, wh in enumerate(hourly)]
    supplies += [supply([wh], start=START + HOUR * a, hours=n, name=f"v{i}") for i, (a, n, wh) in enumerate(volumes)]
    clean = cover(load, supplies=supplies)
    for hour, kwh in load.items():
        assert 0.0 <= clean.uncovered[hour] <= 1.0
        if hourly:
            came = sum(one.kwh(hour) for one in supplies if one.hourly)
            assert clean.matched[hour] * kwh == pytest.approx(min(kwh, came))
        else:
            assert hour not in clean.matched, "what nobody said is not zero"
    covered = sum(kwh * (1 - clean.uncovered[hour]) for hour, kwh in load.items())
    supplied = sum(sum(one.wh) for one in supplies) / 1000
    assert covered <= supplied * (1 + 1e-9) + 1e-9


@given(loads, st.lists(st.integers(0, 10**7), min_size=48, max_size=48), st.floats(0.0, 1.0), st.integers(0, 10**9))
def test_jobs_share_the_supply_of_an_hour_by_their_load_in_it(
    load: dict[datetime, float], wh: list[int], part: float, volume: int
) -> None:
    clean = cover(load, supplies=[supply(wh), supply([volume], hours=47, name="v")])
    whole = scope2(((hour, kwh, kwh * 300) for hour, kwh in load.items()), clean)
    halves = [
        scope2(((hour, kwh * share, kwh * share * 300) for hour, kwh in load.items()), clean)
        for share in (part, 1 - part)
    ]
    assert whole.matched_kwh == pytest.approx(sum(half.matched_kwh or 0.0 for half in halves))
    together = halves[0].market_based + halves[1].market_based
    assert together.carbon_g == pytest.approx(whole.market_based.carbon_g)
    assert whole.matched_kwh is not None and whole.matched_kwh <= sum(load.values()) * (1 + 1e-9)


def test_an_annual_volume_changes_neither_the_score_of_an_hour_nor_what_is_location_based() -> None:
    load = {START: 10.0, START + HOUR: 10.0}
    day = supply([5000, 0])
    before, after = (cover(load, supplies=found) for found in ([day], [day, supply([8_000], hours=3, name="v")]))
    pieces = [(hour, kwh, kwh * 300) for hour, kwh in load.items()]
    assert score(load, before) == score(load, after) == 25.0
    assert scope2(pieces, before).market_based == MarketBased(15 * 300)
    assert scope2(pieces, after).market_based.carbon_g == pytest.approx(7 * 300)


def test_what_no_contract_covers_counts_by_the_residual_mix_where_there_is_one() -> None:
    mix = ResidualMix(region="aa", start=START, end=START + HOUR, g_per_kwh=600, source="AIB 2025")
    clean = cover({START: 10.0}, supplies=[supply([4000])], residual=[mix])
    both = [(START, 10.0, 3000.0), (START + HOUR, 1.0, 300.0)]
    assert scope2(both, clean).market_based == MarketBased(6 * 600 + 300)
    assert scope2(both, clean).matched_kwh is None, "nobody knows what came in the second hour"


def test_location_and_market_based_grams_have_no_sum() -> None:
    market = MarketBased(5.0)
    assert market + MarketBased(2.0) == MarketBased(7.0)
    with pytest.raises(TypeError):
        market + 3.0  # type: ignore[operator]
    with pytest.raises(TypeError):
        3.0 + market  # type: ignore[operator]
    with pytest.raises(TypeError):
        sum([3.0, market])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": START + timedelta(minutes=30)}, "not a full hour"),
        ({"end": START}, "later than start"),
        ({"wh": (1, 2)}, "one for each of the 3 hours"),
        ({"wh": (-1,)}, "greater than or equal to 0"),
        ({"wh": ()}, "at least 1"),
    ],
)
def test_a_supply_that_is_none_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CleanSupply.model_validate(
            {"id": "s", "region": "aa", "start": START, "end": START + 3 * HOUR, "wh": (1, 2, 3), **changes}
        )


def test_of_residual_mixes_that_overlap_the_one_that_starts_last_counts() -> None:
    first, second = (
        ResidualMix(region="aa", start=START + n * HOUR, end=START + 9 * HOUR, g_per_kwh=g, source="test")
        for n, g in ((0, 600.0), (3, 800.0))
    )
    for mixes in ([first, second], [second, first]):
        clean = Clean({}, {}, mixes)
        assert [clean.residual_of(START + n * HOUR) for n in (2, 3, 9)] == [600.0, 800.0, None]
