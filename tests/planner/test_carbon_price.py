"""Carbon against money: a higher price never makes a plan dirtier, and the price of one project is not another's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.money import CarbonPrice, Tariff
from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.joint import plan
from kilowait_scheduler.planner.knowledge import Decision
from kilowait_scheduler.planner.problem import Problem
from kilowait_scheduler.planner.replan import replan
from moment import RULES, knowledge, record
from planning import alone, problems

PRICES = st.tuples(st.floats(0.01, 100), st.floats(1.01, 100))


def priced(problem: Problem, price: float, tariffs: list[float]) -> Problem:
    """All tasks at `price` per gram: what else they pay (energy, waiting) is in money and worth fewer grams then.

    Without caution: it counts restarts as dirtier than they are, so plans weigh carbon with it, not carbon alone.
    """
    pools = tuple(
        replace(pool, price_g_per_kwh=np.array([tariffs[(row + slot) % len(tariffs)] for slot in range(problem.slots)]))
        for row, pool in enumerate(problem.pools)
    )
    tasks = tuple(
        replace(task, price_factor=1 / price, wait_g_per_slot=task.wait_g_per_slot / price, caution_kwh=0.0)
        for task in problem.tasks
    )
    return replace(problem, pools=pools, tasks=tasks)


TARIFFS = st.lists(st.sampled_from((0.0, 5.0, 50.0, 300.0)), min_size=3, max_size=5)


@settings(max_examples=150, deadline=None)
@given(alone(slots=7), TARIFFS, PRICES)
def test_a_higher_price_never_makes_the_best_plan_of_a_job_dirtier(
    problem: Problem, tariffs: list[float], prices: tuple[float, float]
) -> None:
    low, high = prices[0], prices[0] * prices[1]
    cheap, dear = (plan(priced(problem, price, tariffs)) for price in (low, high))
    assert len(cheap.placements) == len(dear.placements)
    if cheap.placements:
        assert dear.carbon_g <= cheap.carbon_g + 1e-6 * max(1.0, abs(cheap.carbon_g))


@settings(max_examples=60, deadline=None)
@given(problems(), TARIFFS, PRICES)
def test_nor_a_plan_of_many_jobs_by_more_than_the_gaps_that_are_proven(
    problem: Problem, tariffs: list[float], prices: tuple[float, float]
) -> None:
    low, high = prices[0], prices[0] * prices[1]
    cheap, dear = (plan(priced(problem, price, tariffs)) for price in (low, high))
    if cheap.unplaced or dear.unplaced:
        return  # what is left out has no carbon to compare
    gaps = [made.objective_g - made.lower_bound_g for made in (cheap, dear)]
    # From C + M / high <= best + gap at the high price and likewise at the low one, for the plans of both.
    slack = (max(gaps[1], 0) + max(gaps[0], 0) * low / high) / (1 - low / high)
    assert dear.carbon_g <= cheap.carbon_g + slack + 1e-6 * max(1.0, abs(cheap.carbon_g))


@settings(max_examples=60, deadline=None)
@given(problems(), TARIFFS)
def test_a_plan_with_prices_of_several_projects_keeps_every_rule(problem: Problem, tariffs: list[float]) -> None:
    mixed = priced(problem, 1.0, tariffs)
    tasks = tuple(replace(task, price_factor=float(n % 3)) for n, task in enumerate(mixed.tasks))
    mixed = replace(mixed, tasks=tasks)
    assert violations(plan(mixed), mixed) == []


def decided(price: str | None, *, tariff_bb: str | None = "0.05", currency: str = "EUR") -> Decision:
    """A job that may run at home, aa, clean and dear, or in bb, dirty and cheap."""
    known = knowledge(aa=[100.0] * 48, bb=[300.0] * 48)
    tariffs = {"aa": Tariff(per_kwh="0.25", currency="EUR"), "bb": None}  # type: ignore[arg-type]
    if tariff_bb is not None:
        tariffs["bb"] = Tariff(per_kwh=tariff_bb, currency=currency)  # type: ignore[arg-type]
    regions = tuple(region.model_copy(update={"tariff": tariffs[region.name]}) for region in known.regions)
    job = record(regions=("aa", "bb"))
    prices = {}
    if price is not None:
        prices[job.id] = CarbonPrice(id="p", amount_per_t=price, currency="EUR")  # type: ignore[arg-type]
    (decision,) = replan([job], known=replace(known, regions=regions, carbon_prices=prices), rules=RULES)
    return decision


def test_the_price_moves_the_plan_where_it_outweighs_the_tariffs() -> None:
    # 200 g per kWh less for 0.20 EUR per kWh more: worth it from 1000 EUR per tonne on.
    assert decided("900").windows[0].region == "bb"
    assert decided("1100").windows[0].region == "aa"
    assert decided("1100").carbon_g < decided("900").carbon_g


def test_without_a_price_or_a_tariff_in_its_currency_carbon_alone_counts() -> None:
    assert decided(None).windows[0].region == "aa"
    assert decided("1", tariff_bb=None).windows[0].region == "aa", "an unknown tariff is not a free kWh"
    assert decided("1", currency="USD").windows[0].region == "aa"
