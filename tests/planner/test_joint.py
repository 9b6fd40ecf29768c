"""All jobs in one plan: against enumeration, against its own certificate, and against what must not change it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.planner.arrays import Arrays, arrays_of
from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.joint import Effort, Start, plan
from kilowait_scheduler.planner.prices import LocalRound
from kilowait_scheduler.planner.problem import Plan, Pool, Prices, Problem, Segment, Size, Task
from planning import (
    BELOW_ZERO,
    best_joint_g,
    by_chance,
    drops_g,
    every_schedule,
    market,
    problems,
    some_problem,
    worth_g,
)

LIGHT = Effort(iterations=6, moves=1)
THOROUGH = Effort(iterations=600, moves=1)


def pool(name: str, grams: Any, *, gpus: Any = 4, gpu_type: str | None = None, price: Any = None) -> Pool:
    values = np.array(grams, dtype=float)
    return Pool(name, values, np.broadcast_to(np.array(gpus), values.shape).astype(int), gpu_type, price)


def rigid(name: str, *, slots: int = 1, gpus: int = 1, deadline: int = 4, **more: Any) -> Task:
    given_ = {"earliest": 0, "regions": ("r0",), **more}
    return Task.rigid(name, gpus=gpus, kw_per_gpu=1.0, slots=slots, deadline=deadline, **given_)


def placed(made: Plan) -> dict[str, tuple[Segment, ...]]:
    return {placement.task.id: placement.segments for placement in made.placements}


def weights_g(problem: Problem) -> dict[str, float]:
    """What leaving a job out weighs: whether it runs, then the number of jobs, then what they may cost."""
    drops = drops_g(problem)
    return {task.id: (1e9 if task.running else 1e6) + drops[task.id] for task in problem.tasks}


def assert_sound(made: Plan, problem: Problem) -> None:
    assert violations(made, problem) == []
    assert sorted([*placed(made), *(item.task.id for item in made.unplaced)]) == sorted(t.id for t in problem.tasks)
    assert made.lower_bound_g <= made.objective_g + 1e-6
    assert all(item.detail for item in made.unplaced)


def assert_between_bound_and_optimum(made: Plan, problem: Problem) -> float:
    """Returns the least objective of all plans that place the same jobs."""
    assert_sound(made, problem)
    least = best_joint_g(problem, must=placed(made))
    room = 1e-6 * max(1.0, abs(least))
    assert made.lower_bound_g - room <= least <= made.objective_g + room
    return least


# --- against enumeration ---


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_every_plan_of_a_few_jobs_costs_at_least_the_optimum_and_the_bound_at_most(data: st.DataObject) -> None:
    grams = data.draw(st.sampled_from([BELOW_ZERO[:-1], BELOW_ZERO]))
    problem = data.draw(problems(grams=grams, priced=data.draw(st.booleans()), elastic=(False, False, True), slots=5))
    assert_between_bound_and_optimum(plan(problem), problem)


def tight(seed: int) -> Problem:
    return some_problem(by_chance(seed), tasks=(2, 3, 4), gpus=(2, 3, 4), slots=6)


def loose(seed: int) -> Problem:
    return some_problem(by_chance(seed), tasks=(3, 4), gpus=(1, 1, 2), slots=6, grams=BELOW_ZERO, priced=seed % 2 > 0)


def elastic(seed: int) -> Problem:
    return some_problem(by_chance(seed), tasks=(1, 2, 3), elastic=(True, False), gpus=(1, 2, 4), slots=5)


def under_way(seed: int) -> Problem:
    drawn = some_problem(by_chance(seed), tasks=(2, 3), fresh=False, slots=5, grams=BELOW_ZERO)
    return replace(drawn, tasks=tuple(replace(task, stays=False) for task in drawn.tasks))


def several_types(seed: int) -> Problem:
    return some_problem(by_chance(seed), tasks=(2, 3), gpus=(2, 3, 4), slots=4, types=("a", "b"))


@pytest.mark.parametrize(
    ("draw", "seeds"),
    [
        (tight, range(60, 120)),
        (loose, range(30)),
        (elastic, range(40)),
        (under_way, range(40)),
        (several_types, range(20, 50)),
    ],
)
def test_the_plan_of_a_few_jobs_is_the_best_of_all_plans(draw: Callable[[int], Problem], seeds: range) -> None:
    """It costs least of those that place the same jobs; no other pushes fewer jobs out, or cheaper ones."""
    worse = []
    for seed in seeds:
        problem = draw(seed)
        made, weights = plan(problem), weights_g(problem)
        least = assert_between_bound_and_optimum(made, problem)
        left_out = [item.task.id for item in made.unplaced]
        if made.objective_g > least + 1e-6 * max(1.0, abs(least)):
            worse.append(f"seed {seed}: {made.objective_g:.3f} g instead of {least:.3f} g")
        elif left_out and worth_g(made, weights) > best_joint_g(problem, drop_g=weights) + 1e-3:
            worse.append(f"seed {seed}: without {', '.join(left_out)}")
    assert worse == []


def test_two_jobs_of_which_both_must_give_way_get_their_best_plan() -> None:
    """The first is at its best in slots 0 and 3; together they are best off if it takes 0 and 1."""
    r0, r1 = pool("r0", [0, 10, 90, 0]), pool("r1", [90, 10, 10, 90], gpus=[4, 4, 0, 4])
    wide = rigid("wide", slots=2, gpus=4, suspendable=True, regions=("r1", "r0"), relocation_g={"r1": 15.0})
    moves = replace(wide, id="moves", sizes=(Size(2, 2.0),), earliest=1, movable=True, restart_kwh=6.0)
    moves = replace(moves, wait_g_per_slot=14.0)
    problem = Problem(0.5, 4, (r0, r1), (wide, moves))
    assert plan(problem).objective_g == pytest.approx(best_joint_g(problem))


def test_to_leave_a_job_out_counts_more_than_any_way_of_doing_it() -> None:
    for seed in range(300):
        problem = some_problem(by_chance(seed), tasks=(2,), elastic=(False, True), fresh=False, slots=5, priced=True)
        drops = drops_g(problem)
        for task in problem.tasks:
            assert max((way.objective_g for way in every_schedule(task, problem)), default=0.0) < drops[task.id]


# --- rules and certificate ---


def test_ten_thousand_plans_break_no_rule() -> None:
    """With every second one cut short somewhere."""
    for seed in range(10_000):
        pick = by_chance(seed)
        problem = some_problem(
            pick, tasks=range(5), slots=pick((1, 2, 4)), regions=pick((1, 2)), fresh=pick((True, False)),
            elastic=(False, False, False, True), grams=BELOW_ZERO, priced=pick((False, True)),
        )  # fmt: skip
        assert_sound(plan(problem, effort=LIGHT, enough=after(pick((0, 1, 3, 6, 8, 9)))), problem)


@pytest.mark.parametrize("seed", range(6))
def test_nor_do_plans_of_so_many_jobs_that_kernels_account_for_them(seed: int) -> None:
    problem = some_problem(
        by_chance(seed), tasks=(70, 90), slots=12, regions=3, gpus=(1, 2, 4), elastic=(False, False, True),
        fresh=bool(seed % 2), grams=BELOW_ZERO, priced=True, types=("a", "b"), budgeted=seed > 3,
    )  # fmt: skip
    made = plan(problem, effort=LIGHT)
    assert len(made.placements) > 5
    assert_sound(made, problem)


def after(looks: int) -> Callable[[], bool]:
    left = iter(range(looks))
    return lambda: next(left, None) is None


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_plans_of_anything_break_no_rule(data: st.DataObject) -> None:
    problem = data.draw(
        problems(
            tasks=range(8), slots=data.draw(st.sampled_from([1, 3, 9])), regions=data.draw(st.sampled_from([1, 3])),
            elastic=(False, True), fresh=data.draw(st.booleans()), grams=BELOW_ZERO, priced=data.draw(st.booleans()),
            types=data.draw(st.sampled_from([(None,), ("a", "b")])),
        )
    )  # fmt: skip
    assert_sound(plan(problem, seed=data.draw(st.integers(0, 5))), problem)


def value_at(problem: Problem, price: Any, *, wanted: int = 2, scale: Any = None) -> float:
    """The Lagrangian at `price`: what all jobs pay at their best, less the price of what there is."""
    p = arrays_of(problem, round_up=True)
    look = LocalRound(p, np.full(len(p.pair_pool), -np.inf), budgets=len(problem.budgets_g))
    jobs = len(problem.tasks)
    paid, _, _ = look(price, np.ones(jobs) if scale is None else scale, np.full(jobs, wanted))
    return paid - float((price * p.cap).sum())


def test_whatever_the_prices_they_prove_a_lower_bound() -> None:
    for seed in range(200):
        problem = some_problem(by_chance(seed), tasks=(1, 2, 3), elastic=(False, True), slots=5, priced=True)
        least, drops = best_joint_g(problem), drops_g(problem)
        with_drops = best_joint_g(problem, drop_g=drops)
        rng = np.random.default_rng(seed)
        for spread in (0.0, 1.0, 20.0, 300.0):
            price = rng.exponential(spread, (len(problem.pools), problem.slots)) * (rng.random(problem.slots) < 0.5)
            assert value_at(problem, price) <= least + 1e-6
            assert value_at(problem, price, wanted=1) <= with_drops + 1e-6


def test_prices_on_a_budget_prove_a_lower_bound_too() -> None:
    for seed in range(100):
        problem = some_problem(by_chance(seed), tasks=(1, 2, 3), slots=5, budgeted=True, priced=True)
        least = best_joint_g(problem)
        for mu in (0.0, 0.3, 5.0):
            scale = np.array([1 + mu if task.budget else 1.0 for task in problem.tasks])
            value = value_at(problem, np.zeros((2, 5)), scale=scale) - mu * problem.budgets_g["team"]
            assert value <= least + 1e-6


def test_rounds_that_remember_what_a_pool_costs_at_least_answer_as_those_that_do_not() -> None:
    for seed in range(60):
        problem = some_problem(
            by_chance(seed), tasks=(3, 4), elastic=(False, True), slots=6, fresh=False, types=("a", "b")
        )
        p, rng = arrays_of(problem), np.random.default_rng(seed)
        wanted, ones = np.ones(len(problem.tasks), dtype=np.int64), np.ones(len(problem.tasks))
        anything = np.full(len(p.pair_pool), -np.inf)
        remembers = LocalRound(p, anything, budgets=0)
        for _ in range(8):
            price = rng.exponential(30.0, p.cap.shape)
            fresh, use, _ = LocalRound(p, anything, budgets=0)(price, ones, wanted)
            again, use_too, _ = remembers(price, ones, wanted)
            assert again == pytest.approx(fresh, rel=1e-12)
            assert (use == use_too).all()


# --- what must not change a plan, or only for the better ---


@pytest.fixture(scope="module")
def fair() -> Problem:
    return market(3, jobs=14, regions=3, slots=24, load=0.45, restart_kwh=0.2, suspendable=0.7)


def bound(problem: Problem) -> float:
    made = plan(problem, effort=THOROUGH)
    assert made.unplaced == ()
    return made.lower_bound_g


def test_twice_the_intensity_is_twice_the_carbon_of_the_same_plan(fair: Problem) -> None:
    twice = replace(fair, pools=tuple(replace(pool, g_per_kwh=2 * pool.g_per_kwh) for pool in fair.pools))
    one, two = plan(fair), plan(twice)
    assert placed(one) == placed(two)
    assert two.carbon_g == pytest.approx(2 * one.carbon_g) and two.lower_bound_g == pytest.approx(2 * one.lower_bound_g)


def test_the_order_of_jobs_regions_and_pools_does_not_matter_to_the_bound(fair: Problem) -> None:
    shuffled = replace(
        fair,
        pools=fair.pools[::-1],
        tasks=tuple(replace(task, regions=task.regions[::-1]) for task in fair.tasks[::-1]),
    )
    assert bound(shuffled) == pytest.approx(bound(fair), rel=0.002)
    price = np.random.default_rng(1).exponential(20.0, (3, 24))
    assert value_at(shuffled, price[::-1]) == pytest.approx(value_at(fair, price), rel=1e-9)


def more_of_everything(problem: Problem) -> Iterator[Problem]:
    """More GPUs; another region; later deadlines; earlier starts."""
    yield replace(problem, pools=tuple(replace(pool, capacity=pool.capacity + 2) for pool in problem.pools))
    other = Pool("other", np.full(problem.slots, 120.0), np.full(problem.slots, 4))
    tasks = tuple(replace(task, regions=(*task.regions, "other")) for task in problem.tasks)
    yield replace(problem, pools=(*problem.pools, other), tasks=tasks)
    yield replace(problem, tasks=tuple(replace(task, deadline=task.deadline + 3) for task in problem.tasks))
    yield replace(problem, tasks=tuple(replace(task, earliest=max(0, task.earliest - 3)) for task in problem.tasks))


def test_more_gpus_regions_or_time_never_raise_the_bound(fair: Problem) -> None:
    before = bound(fair)
    price = np.random.default_rng(2).exponential(20.0, (4, 24))
    for richer in more_of_everything(fair):
        assert bound(richer) <= before * 1.002
        at, then = price[:3], price[: len(richer.pools)].copy()
        then[3:] = 0.0
        assert value_at(richer, then) <= value_at(fair, at) + 1e-6


def test_where_all_slots_are_alike_everyone_runs_now_and_pays_what_run_now_pays() -> None:
    drawn = market(5, jobs=12, regions=2, slots=24, load=0.1, restart_kwh=0.5, suspendable=0.6)
    flat = replace(drawn, pools=tuple(Pool(p.region, np.full(24, 200.0), p.capacity * 0 + 99) for p in drawn.pools))
    made = plan(flat)
    for placement in made.placements:
        task = placement.task
        assert placement.carbon_g == pytest.approx(task.work * task.sizes[0].kw * 200.0)
        assert (placement.segments[0].start, placement.restarts) == (task.earliest, 0)
    crowded = replace(flat, pools=tuple(replace(p, capacity=p.capacity * 0 + 6) for p in flat.pools))
    assert plan(crowded).carbon_g == pytest.approx(made.carbon_g)


def test_the_same_seed_makes_the_same_plan_on_any_number_of_threads() -> None:
    problem = market(8, jobs=160, regions=3, slots=24, load=0.7, restart_kwh=0.2, suspendable=0.6)

    def threads(count: int) -> Callable[..., LocalRound]:
        def rounds(p: Arrays, floor: Any, budgets: int) -> LocalRound:
            return LocalRound(p, floor, budgets=budgets, threads=count)

        return rounds

    effort = Effort(iterations=40, moves=5)
    one, two, three = (plan(problem, effort=effort, rounds=threads(count), seed=4) for count in (1, 2, 3))
    for other in (two, three):
        assert (other.placements, other.unplaced, other.lower_bound_g) == (
            one.placements,
            one.unplaced,
            one.lower_bound_g,
        )
        assert one.prices is not None and other.prices is not None
        assert (other.prices.gpu_g == one.prices.gpu_g).all()
    assert_sound(plan(problem, effort=effort, seed=5), problem)


# --- budgets, priorities, GPU types, starts from an earlier plan ---


def budgeted(seed: int) -> Problem:
    return some_problem(by_chance(seed), tasks=(1, 2, 3), slots=5, budgeted=True, priced=seed % 2 > 0)


def test_a_budget_is_never_exceeded_whatever_the_cost() -> None:
    for seed in range(40):
        problem = budgeted(seed)
        assert_between_bound_and_optimum(plan(problem), problem)


def test_nor_when_planning_is_cut_short() -> None:
    for seed in range(200):
        problem = budgeted(seed)
        assert_sound(plan(problem, effort=LIGHT, enough=after(seed % 10)), problem)


def test_one_job_leaves_its_cheap_dirty_slot_if_its_budget_does_not_cover_it() -> None:
    cheap_is_dirty = pool("r0", [300, 300, 20, 20], price=np.array([0.0, 0.0, 500.0, 500.0]))
    task = rigid("j", suspendable=True, budget="team")
    for limit, carbon_g in ((300.0, 300.0), (299.0, 20.0), (20.0, 20.0), (19.0, 0.0)):
        problem = Problem(1.0, 4, (cheap_is_dirty,), (task,), {"team": limit})
        made = plan(problem)
        assert_sound(made, problem)
        assert made.carbon_g == carbon_g
        assert [item.reason for item in made.unplaced] == ([] if carbon_g else [Reason.BUDGET_EXHAUSTED])


def test_the_tighter_the_budget_the_less_its_team_emits() -> None:
    drawn = market(11, jobs=8, regions=2, slots=18, load=0.4, longest=8)
    dirty_is_cheap = tuple(replace(p, price_g_per_kwh=1.5 * (500 - p.g_per_kwh)) for p in drawn.pools)
    tasks = tuple(replace(task, budget="team" if index % 2 else None) for index, task in enumerate(drawn.tasks))
    free = replace(drawn, pools=dirty_is_cheap, tasks=tasks)

    def emits(problem: Problem) -> float:
        made = plan(problem)
        assert_sound(made, problem)
        return sum(placement.carbon_g for placement in made.placements if placement.task.budget)

    before = emits(free)
    for share in (0.99, 0.6, 0.0):
        now = emits(replace(free, budgets_g={"team": share * before}))
        assert now <= share * before + 1e-6
    assert plan(replace(free, budgets_g={"team": 0.9 * before})).unplaced == ()  # that can be met by all


def test_under_scarcity_the_more_urgent_job_is_placed() -> None:
    for seed in range(6):
        order = np.random.default_rng(seed).permutation(4)
        tasks = [rigid(f"j{i}", slots=3, gpus=4, deadline=6, priority=int(i) - 1) for i in order]
        made = plan(Problem(1.0, 6, (pool("r0", [50, 10, 90, 30, 70, 20]),), tuple(tasks)))
        assert sorted(placed(made)) == ["j2", "j3"]
        assert {item.reason for item in made.unplaced} == {Reason.CAPACITY_TAKEN}


def test_a_small_urgent_job_is_placed_rather_than_a_large_one_that_can_wait() -> None:
    urgent = rigid("urgent", priority=1)
    large = rigid("large", slots=4, gpus=4, priority=-1)
    assert [*placed(plan(Problem(1.0, 4, (pool("r0", [50, 10, 90, 30]),), (large, urgent))))] == ["urgent"]


def test_only_gpus_of_the_type_asked_for_are_used_and_their_power_counts() -> None:
    old, new = pool("r0", [100] * 4, gpu_type="old"), pool("r0", [150] * 4, gpu_type="new")
    factor = {"old": 1.0, "new": 0.5}
    tasks = (
        rigid("any", slots=2, kw_factor=factor),
        rigid("old", slots=2, gpu_type="old", kw_factor=factor),
        rigid("none", gpu_type="other"),
    )
    made = plan(Problem(1.0, 4, (old, new), tasks))
    assert {name: segments[0].gpu_type for name, segments in placed(made).items()} == {"any": "new", "old": "old"}
    assert {placement.task.id: placement.carbon_g for placement in made.placements} == {"any": 150.0, "old": 200.0}
    assert [(item.task.id, item.reason) for item in made.unplaced] == [("none", Reason.NO_ALLOWED_REGION)]


def test_an_allowed_type_that_is_full_leaves_the_other_types_alone() -> None:
    full, idle = pool("r0", [10] * 4, gpus=1, gpu_type="a"), pool("r0", [90] * 4, gpus=8, gpu_type="b")
    tasks = tuple(rigid(f"j{i}", slots=4, gpu_type="a") for i in range(2))
    made = plan(Problem(1.0, 4, (full, idle), tasks))
    assert len(made.placements) == 1 and made.unplaced[0].reason is Reason.CAPACITY_TAKEN


def test_data_on_its_way_keeps_a_job_out_of_a_region_until_it_is_there() -> None:
    home, away = pool("home", [90, 90, 90, 90, 90, 90]), pool("away", [1, 1, 1, 20, 30, 40], gpus=1)
    tasks = tuple(rigid(f"j{i}", deadline=6, regions=("home", "away"), relocation_slots={"away": 3}) for i in range(4))
    made = plan(Problem(1.0, 6, (home, away), tasks))
    assert sorted((s.region, s.start) for segments in placed(made).values() for s in segments) == [
        ("away", 3), ("away", 4), ("away", 5), ("home", 0),
    ]  # fmt: skip


def test_a_plan_that_starts_from_an_earlier_one_is_not_worse() -> None:
    for seed in range(3):
        problem = market(
            20 + seed, jobs=30, regions=3, slots=24, load=0.8, restart_kwh=0.3, suspendable=0.6, movable=seed % 2 > 0
        )
        before = plan(problem, effort=Effort(iterations=60, moves=10))
        assert before.prices is not None
        start = Start(before.prices, placed(before))
        for effort in (None, Effort(iterations=1, moves=1)):
            after_ = plan(problem, start=start, effort=effort)
            assert_sound(after_, problem)
            assert len(after_.placements) >= len(before.placements)
            if len(after_.placements) == len(before.placements):
                assert after_.objective_g <= before.objective_g * (1 + 1e-9)
        assert plan(problem, start=start).lower_bound_g >= before.lower_bound_g * 0.98


def test_an_earlier_plan_that_does_not_fit_any_more_is_no_obstacle() -> None:
    problem = market(31, jobs=30, regions=3, slots=24, load=0.7, suspendable=0.6)
    before = plan(problem)
    assert before.prices is not None
    nonsense = {
        "j0": (Segment("gone", 0, 4, 1),),
        "j1": (Segment("r0", -3, 2, 1),),
        "j2": (),
        "who": (Segment("r0", 0, 1, 1),),
    }
    start = Start(before.prices, {**placed(before), **nonsense})
    fewer = replace(
        problem,
        pools=tuple(
            replace(p, capacity=np.maximum(0, p.capacity - 3), g_per_kwh=p.g_per_kwh[::-1]) for p in problem.pools
        ),
        tasks=tuple(replace(task, earliest=task.earliest + 1) for task in problem.tasks[5:]),
    )
    assert_sound(plan(fewer, start=start), fewer)


# --- nothing to do, and what cannot be done ---


@pytest.mark.parametrize(
    ("problem", "reason"),
    [
        (Problem(1.0, 4, (pool("r0", [1] * 4),), ()), None),
        (Problem(1.0, 0, (), ()), None),
        (Problem(1.0, 0, (pool("r0", []),), (rigid("j"),)), Reason.WINDOW_TOO_SHORT),
        (Problem(1.0, 4, (), (rigid("j"),)), Reason.NO_ALLOWED_REGION),
        (Problem(1.0, 4, (pool("r1", [1] * 4),), (rigid("j"),)), Reason.NO_ALLOWED_REGION),
        (Problem(1.0, 4, (pool("r0", [1] * 4, gpus=0),), (rigid("j"),)), Reason.GANG_TOO_LARGE),
        (Problem(1.0, 4, (pool("r0", [1] * 4, gpus=[0, 1, 0, 1]),), (rigid("j", slots=2),)), Reason.CAPACITY_TAKEN),
        (Problem(1.0, 4, (pool("r0", [1] * 4),), (rigid("j", slots=5),)), Reason.WINDOW_TOO_SHORT),
        (Problem(1.0, 4, (pool("r0", [1] * 4),), (rigid("j", earliest=3, deadline=2),)), Reason.WINDOW_TOO_SHORT),
        (Problem(1.0, 4, (pool("r0", [1] * 4),), (rigid("j", slots=0),)), Reason.WINDOW_TOO_SHORT),
    ],
)
def test_what_cannot_be_done_is_an_answer(problem: Problem, reason: Reason | None) -> None:
    made = plan(problem)
    assert_sound(made, problem)
    assert [item.reason for item in made.unplaced] == ([reason] if reason else [])
    assert (made.placements, made.objective_g, made.lower_bound_g, made.gap_pct) == ((), 0, 0, 0)


def test_what_cannot_be_done_does_not_keep_the_others_from_being_planned() -> None:
    crowd = tuple(rigid(f"j{i}", slots=2, gpus=2, suspendable=i % 2 > 0) for i in range(6))
    odd = (rigid("wide", gpus=9), rigid("long", slots=9), rigid("away", regions=("x",)), rigid("past", deadline=-2))
    made = plan(Problem(1.0, 4, (pool("r0", [50, 10, 90, 30]),), (*odd, *crowd)))
    assert len(made.placements) == 4 and len(made.unplaced) == 6


def test_energy_with_negative_intensity_is_used_for_no_more_than_the_work() -> None:
    tasks = (rigid("a", slots=2), rigid("b", slots=2, suspendable=True), rigid("c", gpus=2, suspendable=True))
    problem = Problem(1.0, 4, (pool("r0", [-5, -40, 30, -40], gpus=2),), tasks)
    made = plan(problem)
    assert_sound(made, problem)
    assert made.carbon_g == pytest.approx(best_joint_g(problem)) and made.carbon_g < 0


def test_what_runs_goes_on_though_its_standing_windows_begin_later() -> None:
    """Its GPUs are there, so it does not stop in the slot that runs; the others see to it that prices are needed."""
    grams = np.array([50.0, 60.0, 10.0, 40.0, 90.0, 90.0])
    pool = Pool("r0", grams, np.full(6, 3))
    runs = Task.rigid(
        "runs", gpus=1, kw_per_gpu=1.0, slots=2, earliest=0, deadline=6, regions=("r0",), suspendable=True,
        ran_in="r0", running=True, stays=True,
    )  # fmt: skip
    rivals = [
        Task.rigid(name, gpus=2, kw_per_gpu=1.0, slots=1, earliest=0, deadline=6, regions=("r0",)) for name in "bc"
    ]
    problem = Problem(1.0, 6, (pool,), (runs, *rivals))
    standing = {"runs": (Segment("r0", 2, 4, 1),), "b": (Segment("r0", 3, 4, 2),), "c": (Segment("r0", 2, 3, 2),)}
    for prices in (None, Prices(np.zeros((1, 6)))):
        made = plan(problem, start=Start(prices, standing), effort=Effort(iterations=2, moves=0))
        assert violations(made, problem) == []
        assert next(p for p in made.placements if p.task.id == "runs").segments[0].start == 0
