"""One job: the compiled and the numpy planner against enumeration and against each other, and the judge of plans."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilowait_scheduler.core.reasons import Reason
from kilowait_scheduler.planner.arrays import arrays_of
from kilowait_scheduler.planner.check import violations
from kilowait_scheduler.planner.kernels import cost_of
from kilowait_scheduler.planner.problem import Placement, Plan, Pool, Problem, Segment, Size, Task, Unplaced
from kilowait_scheduler.planner.rows import placement_of
from kilowait_scheduler.planner.schedule import best_rows
from planning import BELOW_ZERO, EXACT, alone, by_chance, compiled_rows, every_schedule, some_pools, some_task

Solver = Callable[..., tuple[float, Any, Any]]
SOLVERS: tuple[Solver, ...] = (best_rows, compiled_rows)


def best(task: Task, *pools: Pool, solver: Solver = compiled_rows) -> Placement | None:
    problem = Problem(1.0, len(pools[0].g_per_kwh), pools, (task,))
    p = arrays_of(problem)
    value, where, size = solver(p, 0, p.cap)
    return placement_of(problem, p, 0, where, size) if value < np.inf else None


def cost(task: Task, *pools: Pool) -> float:
    found = best(task, *pools)
    return np.inf if found is None else found.objective_g


def pool(name: str, grams: Any, *, gpus: Any = 8, gpu_type: str | None = None, price: Any = None) -> Pool:
    values = np.array(grams, dtype=float)
    return Pool(name, values, np.broadcast_to(np.array(gpus), values.shape).astype(int), gpu_type, price)


def rigid(slots: int, *, gpus: int = 1, deadline: int = 8, **more: Any) -> Task:
    given_ = {"earliest": 0, "regions": ("r0",), **more}
    return Task.rigid("j", gpus=gpus, kw_per_gpu=1.0, slots=slots, deadline=deadline, **given_)


def assert_is_the_best_of_all(problem: Problem) -> None:
    """Both planners answer with a sound schedule that costs what the best of all schedules costs, if there is one."""
    p = arrays_of(problem)
    every = min((way.objective_g for way in every_schedule(problem.tasks[0], problem)), default=np.inf)
    for solver in SOLVERS:
        value, where, size = solver(p, 0, p.cap)
        assert value == (pytest.approx(every, rel=EXACT, abs=1e-9) if every < np.inf else np.inf), solver
        if every < np.inf:
            found = placement_of(problem, p, 0, where, size)
            assert found.objective_g == pytest.approx(value, rel=EXACT, abs=1e-9)
            assert violations(Plan((found,), (), found.objective_g), problem) == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_the_best_schedule_costs_what_the_best_of_all_schedules_costs(data: st.DataObject) -> None:
    grams = data.draw(st.sampled_from([BELOW_ZERO[:-1], BELOW_ZERO]))
    assert_is_the_best_of_all(data.draw(alone(slots=7, grams=grams, priced=data.draw(st.booleans()))))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_so_does_the_best_schedule_among_several_gpu_types(data: st.DataObject) -> None:
    assert_is_the_best_of_all(data.draw(alone(slots=5, types=("a", "b"), priced=data.draw(st.booleans()))))


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_so_does_the_best_schedule_of_an_elastic_job(data: st.DataObject) -> None:
    grams = data.draw(st.sampled_from([BELOW_ZERO[:-1], BELOW_ZERO]))
    assert_is_the_best_of_all(data.draw(alone(slots=5, elastic=True, grams=grams)))


def test_so_do_the_best_schedules_of_a_thousand_jobs() -> None:
    for seed in range(1000):
        pick = by_chance(seed)
        elastic, types = pick((False, False, True)), pick(((None,), (None,), ("a", "b")))
        slots = 5 if elastic or len(types) > 1 else 7
        pools = some_pools(pick, slots=slots, types=types, priced=pick((False, True)), grams=BELOW_ZERO)
        task = some_task(pick, slots=slots, elastic=elastic, types=types)
        assert_is_the_best_of_all(Problem(0.5, slots, pools, (task,)))


def test_the_compiled_and_the_numpy_planner_agree_to_the_last_bit() -> None:
    for seed in range(400):
        pick, rng = by_chance(seed), np.random.default_rng(seed)
        slots, elastic, types = pick((5, 12, 24)), pick((False, True)), pick(((None,), ("a", "b")))
        pools = [
            replace(pool, g_per_kwh=pool.g_per_kwh + rng.normal(0, 30, slots), capacity=rng.integers(0, 7, slots))
            for pool in some_pools(pick, slots=slots, types=types, priced=pick((False, True)), grams=BELOW_ZERO)
        ]
        task = some_task(pick, slots=slots, elastic=elastic, types=types, longest=slots // 2)
        p = arrays_of(Problem(0.25, slots, tuple(pools), (task,)), round_up=pick((False, True)))
        free = np.maximum(0, p.cap - rng.integers(0, 3, p.cap.shape))
        price, scale = rng.choice([0.0, 0.0, 3.3, 70.1], size=p.cap.shape), float(rng.choice([1.0, 1.7]))
        mine, where, size = best_rows(p, 0, free, price=price, scale=scale)
        theirs, where_too, size_too = compiled_rows(p, 0, free, price=price, scale=scale)
        assert mine == theirs, seed
        if mine < np.inf:
            for rows in ((where, size), (where_too, size_too)):
                assert paid(p, rows, price, scale) == pytest.approx(mine, rel=EXACT, abs=1e-9), seed


def paid(p: Any, rows: tuple[Any, Any], price: Any, scale: float) -> float:
    """What a schedule costs, its GPUs included."""
    where, size = rows
    busy = np.flatnonzero(where >= 0)
    return cost_of(p, 0, scale, where, size) + float(p.size_gpus[size[busy]] @ price[where[busy], busy])


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_free_restart_takes_the_cleanest_slots_and_a_dear_one_takes_one_stretch(solver: Solver) -> None:
    grams = [90.0, 10.0, 90.0, 20.0, 90.0, 30.0, 90.0]
    cheap = best(rigid(3, deadline=7, suspendable=True), pool("r0", grams), solver=solver)
    dear = best(rigid(3, deadline=7, suspendable=True, restart_kwh=100.0), pool("r0", grams), solver=solver)
    assert cheap is not None and dear is not None
    assert cheap.carbon_g == 60.0 and cheap.restarts == 2
    assert dear.carbon_g == 120.0 and dear.segments == (Segment("r0", 1, 4, 1),)


@pytest.mark.parametrize("solver", SOLVERS)
def test_caution_about_restarts_decides_and_is_no_carbon(solver: Solver) -> None:
    grams = [90.0, 10.0, 90.0, 20.0, 90.0, 30.0, 90.0]
    task = rigid(3, deadline=7, suspendable=True, restart_kwh=0.5)
    bold = best(task, pool("r0", grams), solver=solver)
    careful = best(replace(task, caution_kwh=0.5), pool("r0", grams), solver=solver)
    afraid = best(replace(task, caution_kwh=100.0), pool("r0", grams), solver=solver)
    assert bold is not None and careful is not None and afraid is not None
    assert careful.segments == bold.segments and careful.carbon_g == bold.carbon_g == 85.0
    assert (bold.price_g, careful.price_g) == (0.0, 25.0)
    assert afraid.restarts == 0 and afraid.price_g == 0.0


def test_a_task_of_one_size_has_whole_slots_of_work() -> None:
    with pytest.raises(ValueError, match=r"2\.5 slots of work"):
        rigid(2.5)  # type: ignore[arg-type]


def test_without_a_price_on_restarts_the_cleanest_slots_are_taken() -> None:
    rng = np.random.default_rng(5)
    for _ in range(100):
        slots = int(rng.integers(4, 60))
        grams, work = rng.normal(100, 80, slots), int(rng.integers(1, slots))
        task = rigid(work, deadline=slots, suspendable=True)
        assert cost(task, pool("r0", grams)) == pytest.approx(np.sort(grams)[:work].sum(), rel=EXACT)


def test_where_a_restart_costs_more_than_it_can_save_the_cleanest_stretch_is_taken() -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        slots = int(rng.integers(4, 60))
        grams, work = rng.uniform(1, 200, slots), int(rng.integers(1, slots))
        stretch = np.convolve(grams, np.ones(work), mode="valid").min()
        for task in (rigid(work, deadline=slots), rigid(work, deadline=slots, suspendable=True, restart_kwh=1e6)):
            assert cost(task, pool("r0", grams)) == pytest.approx(stretch, rel=EXACT)


@pytest.mark.parametrize("movable", [False, True])
def test_a_harder_job_never_costs_less(movable: bool) -> None:
    """Dearer or longer restarts, more work, a shorter window, fewer regions, fewer GPUs, a price on waiting."""
    rng = np.random.default_rng(7)
    for _ in range(60):
        slots = 16
        r0, r1 = (pool(f"r{i}", rng.uniform(0, 200, slots), gpus=rng.integers(1, 5, slots)) for i in (0, 1))
        easy = rigid(
            int(rng.integers(1, 7)), gpus=2, deadline=14, earliest=2, suspendable=True, movable=movable,
            regions=("r0", "r1"), restart_kwh=0.2, relocation_g={"r1": 20.0}, relocation_slots={"r1": 1},
        )  # fmt: skip
        least = cost(easy, r0, r1)
        harder = [
            replace(easy, restart_kwh=0.9),
            replace(easy, restart_slots=1),
            replace(easy, work=easy.work + 1),
            replace(easy, deadline=12),
            replace(easy, earliest=4),
            replace(easy, regions=("r1",)),
            replace(easy, movable=False),
            replace(easy, suspendable=False),
            replace(easy, relocation_g={"r1": 40.0}),
            replace(easy, relocation_slots={"r1": 3}),
            replace(easy, wait_g_per_slot=5.0),
        ]
        for task in harder:
            assert cost(task, r0, r1) >= least * (1 - EXACT), task
        assert cost(easy, replace(r0, capacity=r0.capacity - 1), r1) >= least * (1 - EXACT)


def test_equal_costs_start_at_once_and_at_home() -> None:
    flat = [50.0] * 7
    task = rigid(3, deadline=7, suspendable=True, regions=("r1", "r0"))
    for solver in SOLVERS:
        found = best(task, pool("r0", flat), pool("r1", flat), solver=solver)
        assert found is not None and found.segments == (Segment("r1", 0, 3, 1),)


def test_a_running_job_goes_on_unless_stopping_pays_for_the_restart() -> None:
    task = rigid(2, deadline=6, suspendable=True, restart_kwh=1.0, ran_in="r0", running=True)
    stays = best(task, pool("r0", [100, 100, 70, 70, 70, 70]))
    stops = best(task, pool("r0", [100, 100, 70, 9, 9, 70]))
    assert stays is not None and (stays.segments, stays.restarts) == ((Segment("r0", 0, 2, 1),), 0)
    assert stops is not None and (stops.segments, stops.carbon_g) == ((Segment("r0", 3, 5, 1),), 27.0)


def test_a_running_job_that_is_to_finish_its_slot_does_so_however_dirty() -> None:
    task = rigid(2, deadline=6, suspendable=True, ran_in="r0", running=True, stays=True)
    for solver in SOLVERS:
        found = best(task, pool("r0", [900, 50, 10, 10, 10, 10]), solver=solver)
        assert found is not None and found.segments == (Segment("r0", 0, 1, 1), Segment("r0", 2, 3, 1))
        gone = best(task, pool("r0", [900, 50, 10, 10, 10, 10], gpus=[0, 1, 1, 1, 1, 1]), solver=solver)
        assert gone is not None and gone.segments == (Segment("r0", 2, 4, 1),)


def test_data_must_have_arrived_before_a_job_starts_elsewhere() -> None:
    r0, r1 = pool("r0", [90.0] * 8), pool("r1", [1, 1, 1, 50, 60, 60, 60, 60])
    fresh = rigid(1, regions=("r0", "r1"), relocation_slots={"r1": 3})
    found = best(fresh, r0, r1)
    assert found is not None and found.segments == (Segment("r1", 3, 4, 1),)
    moving = rigid(
        2, regions=("r0", "r1"), suspendable=True, movable=True, relocation_slots={"r1": 3}, ran_in="r0", running=True,
        stays=True,
    )  # fmt: skip
    moved = best(moving, r0, r1)  # stops at slot 1, so that it may go on at slot 4
    assert moved is not None and moved.segments == (Segment("r0", 0, 1, 1), Segment("r1", 4, 5, 1))


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_job_that_was_parked_where_there_is_no_pool_any_more_resumes_elsewhere_if_it_may_move(solver: Solver) -> None:
    task = rigid(1, regions=("r0", "r1"), suspendable=True, movable=True, restart_kwh=1.0, ran_in="r0")
    found = best(task, pool("r1", [50.0] * 8), solver=solver)
    assert found is not None and (found.segments, found.restarts) == ((Segment("r1", 0, 1, 1),), 1)


TASK = rigid(2, gpus=2, earliest=1, deadline=4)
SPLIT = rigid(3, gpus=2, suspendable=True, restart_slots=1, restart_kwh=0.5)
MOVING = replace(SPLIT, movable=True, regions=("r0", "r1"), relocation_g={"r1": 7.0}, relocation_slots={"r1": 2})
PARKED = rigid(1, regions=("r0", "r1"), suspendable=True, ran_in="r0")
STAYING = rigid(2, gpus=1, suspendable=True, ran_in="r0", running=True, stays=True)
ELASTIC = Task("j", (Size(1, 1.0), Size(2, 2.0, 1.5)), 3.5, 0, 8, ("r0",))
POOLS = (
    pool("r0", [10.0] * 8, gpus=2, price=np.ones(8)),
    pool("r1", [10.0] * 8, gpus=2),
    pool("r0", [10.0] * 8, gpu_type="a"),
)


def placed(task: Task, *segments: Segment, carbon: float, price: float = 0.0, restarts: int = 0) -> Placement:
    return Placement(task, segments, carbon, price, restarts)


def seg(start: int, end: int, region: str = "r0", gpus: int = 2, gpu_type: str | None = None) -> Segment:
    return Segment(region, start, end, gpus, gpu_type)


TRUTHS = {
    "rigid": placed(TASK, seg(1, 3), carbon=40, price=4),
    "suspended": placed(SPLIT, seg(0, 1), seg(2, 5), carbon=85, price=8.5, restarts=1),
    "moved": placed(MOVING, seg(0, 1), seg(3, 6, "r1"), carbon=92, price=2, restarts=1),
    "resumed at home": placed(PARKED, seg(2, 3, gpus=1), carbon=10, price=1, restarts=1),
    "goes on": placed(STAYING, seg(0, 2, gpus=1), carbon=20, price=2),
    "elastic": placed(ELASTIC, seg(0, 1, gpus=1), seg(1, 3), carbon=50, price=5),
}
LIES = [
    ("g of carbon", placed(TASK, seg(1, 3), carbon=39, price=4)),
    ("g of prices", placed(TASK, seg(1, 3), carbon=40, price=5)),
    ("in r1, which it may not", placed(TASK, seg(1, 3, "r1"), carbon=40)),
    ("in nowhere, which it may not", placed(TASK, seg(1, 3, "nowhere"), carbon=40)),
    ("in r0, which it may not", placed(replace(TASK, gpu_type="b"), seg(1, 3, gpu_type="a"), carbon=40)),
    ("outside 1 to 4", placed(TASK, seg(0, 2), carbon=40, price=4)),
    ("outside 1 to 4", placed(TASK, seg(3, 5), carbon=40, price=4)),
    ("not on the grid", placed(replace(TASK, deadline=9), seg(7, 9), carbon=40, price=4)),
    ("not on the grid", placed(TASK, seg(2, 2), carbon=0)),
    ("is split although", placed(TASK, seg(1, 2), seg(3, 4), carbon=40, price=4, restarts=1)),
    ("works 3 slots instead of 2", placed(TASK, seg(1, 4), carbon=60, price=6)),
    ("works 1 slots instead of 2", placed(TASK, seg(1, 2), carbon=20, price=2)),
    ("works 2 slots instead of 3", placed(SPLIT, seg(0, 1), seg(2, 4), carbon=65, price=6.5, restarts=1)),
    ("works 2.5 slots instead of 3.5", placed(ELASTIC, seg(0, 1, gpus=1), seg(1, 2), carbon=30, price=3)),
    ("no windows", placed(TASK, carbon=0)),
    ("overlap", placed(SPLIT, seg(0, 3), seg(2, 4), carbon=100, price=10, restarts=1)),
    ("holds no work", placed(SPLIT, seg(0, 3), seg(4, 5), carbon=85, price=8.5, restarts=1)),
    ("on 1 GPUs, which is none of its sizes", placed(TASK, seg(1, 3, gpus=1), carbon=20, price=2)),
    ("says 0 restarts, has 1", placed(SPLIT, seg(0, 1), seg(2, 5), carbon=85, price=8.5)),
    ("although it cannot be moved", placed(
        replace(MOVING, movable=False), seg(0, 1), seg(3, 6, "r1"), carbon=92, price=2, restarts=1
    )),
    ("although it cannot be moved", placed(PARKED, seg(2, 3, "r1", gpus=1), carbon=10, restarts=1)),
    ("before its data can be there", placed(MOVING, seg(0, 1), seg(2, 5, "r1"), carbon=92, price=2, restarts=1)),
    ("r0 slot 1: 4 GPUs planned, 2 there", placed(
        replace(TASK, sizes=(Size(4, 2.0),)), seg(1, 3, gpus=4), carbon=40, price=4
    )),
]  # fmt: skip


@pytest.mark.parametrize("truth", TRUTHS.values(), ids=TRUTHS)
def test_the_judge_finds_nothing_wrong_with_the_truth(truth: Placement) -> None:
    assert violations(Plan((truth,), (), 0.0), Problem(1.0, 8, POOLS, (truth.task,))) == []


@pytest.mark.parametrize(("sentence", "lie"), LIES, ids=[sentence for sentence, _ in LIES])
def test_the_judge_notices_each_kind_of_lie(sentence: str, lie: Placement) -> None:
    found = violations(Plan((lie,), (), 0.0), Problem(1.0, 8, POOLS, (lie.task,)))
    assert any(sentence in wrong for wrong in found), found


def test_the_judge_notices_what_no_job_alone_does_wrong() -> None:
    one = TRUTHS["rigid"]
    other = replace(one, task=replace(TASK, id="k"))
    problem = Problem(1.0, 8, POOLS, (TASK, other.task))
    assert violations(Plan((one,), (), 0.0), problem) == ["k: neither placed nor unplaced"]
    stranger = replace(one, task=replace(TASK, deadline=99))
    assert "j: is not the task that was asked for" in violations(Plan((stranger, other), (), 0.0), problem)
    assert any("placed twice" in wrong for wrong in violations(Plan((one, one), (), 0.0), problem))
    assert any("slot 2: 4 GPUs planned" in wrong for wrong in violations(Plan((one, other), (), 0.0), problem))
    lost = Unplaced(TASK, Reason.CAPACITY_TAKEN, "no room")
    assert any("both placed and unplaced" in wrong for wrong in violations(Plan((one,), (lost,), 0.0), problem))
    billed = replace(one, task=replace(TASK, budget="team"))
    for limit, wrong in ((39.9, 1), (40.0, 0)):
        alone = replace(problem, tasks=(billed.task,), budgets_g={"team": limit})
        assert len(violations(Plan((billed,), (), 0.0), alone)) == wrong


def test_the_judge_notices_a_running_job_that_is_stopped_for_nobody() -> None:
    later = placed(STAYING, seg(2, 4, gpus=1), carbon=20, price=2, restarts=1)
    problem = Problem(1.0, 8, POOLS[:1], (STAYING,))
    assert violations(Plan((later,), (), 0.0), problem)
    crowd = placed(rigid(2, gpus=2), seg(0, 2), carbon=40, price=4)
    crowd = replace(crowd, task=replace(crowd.task, id="crowd"))
    both = replace(problem, tasks=(STAYING, crowd.task))
    assert violations(Plan((later, crowd), (), 0.0), both) == []
