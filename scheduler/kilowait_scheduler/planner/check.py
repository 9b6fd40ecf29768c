"""An independent judge of a plan: recomputes costs and constraints from the problem, sharing no code with the planner.

Whatever is to be executed passes through `violations` first; an empty list is the only acceptable answer.
"""

from __future__ import annotations

from itertools import pairwise

from .problem import Placement, Plan, Pool, Problem, Segment, Task


def faults(segments: tuple[Segment, ...], task: Task, problem: Problem) -> list[str]:
    """What is wrong with `segments` as a way of doing `task`, other tasks and the capacity they leave aside."""
    return _walk(segments, task, problem, {(pool.region, pool.gpu_type): pool for pool in problem.pools})[0]


def violations(plan: Plan, problem: Problem) -> list[str]:
    """Every broken rule as a sentence; empty where the plan is sound."""
    found: list[str] = []
    pools = {(pool.region, pool.gpu_type): pool for pool in problem.pools}
    used: dict[tuple[str, str | None], list[int]] = {key: [0] * problem.slots for key in pools}
    spent: dict[str, float] = dict.fromkeys(problem.budgets_g, 0.0)
    tasks = {task.id: task for task in problem.tasks}
    seen: set[str] = set()
    for placement in plan.placements:
        name = placement.task.id
        if placement.task != tasks.get(name):
            found.append(f"{name}: is not the task that was asked for")
            continue
        if name in seen:
            found.append(f"{name}: placed twice")
        seen.add(name)
        found.extend(f"{name}: {wrong}" for wrong in _judge(placement, problem, pools))
        for segment in placement.segments:
            column = used.get((segment.region, segment.gpu_type), [])
            for slot in range(max(0, segment.start), min(segment.end, len(column))):
                column[slot] += segment.gpus
        if placement.task.budget in spent:
            spent[placement.task.budget] += placement.carbon_g
    for (region, gpu_type), column in sorted(used.items(), key=str):
        there = pools[region, gpu_type].capacity
        name = region if gpu_type is None else f"{region} {gpu_type}"
        found.extend(
            f"{name} slot {slot}: {gpus} GPUs planned, {there[slot]} there"
            for slot, gpus in enumerate(column)
            if gpus > there[slot]
        )
    found.extend(
        f"{placement.task.id}: stops in the slot in which it runs, though its GPUs are there"
        for placement in plan.placements
        if placement.segments and _stops_needlessly(placement, used, problem)
    )
    for name, limit in problem.budgets_g.items():
        if spent[name] > limit + 1e-6 * max(1.0, abs(limit)):
            found.append(f"budget {name}: {spent[name]:.3f} g planned, {limit:.3f} g left")
    named = {item.task.id for item in plan.unplaced}
    found.extend(f"{name}: both placed and unplaced" for name in tasks if name in seen and name in named)
    found.extend(f"{name}: neither placed nor unplaced" for name in tasks if name not in seen and name not in named)
    return found


def _judge(placement: Placement, problem: Problem, pools: dict[tuple[str, str | None], Pool]) -> list[str]:
    found, carbon, price, restarts = _walk(placement.segments, placement.task, problem, pools)
    if not placement.segments or carbon is None:
        return found
    if restarts != placement.restarts:
        found.append(f"says {placement.restarts} restarts, has {restarts}")
    for what, said, costs in (("carbon", placement.carbon_g, carbon), ("prices", placement.price_g, price)):
        if abs(costs - said) > 1e-6 * max(1.0, abs(costs)):
            found.append(f"says {said:.6f} g of {what}, costs {costs:.6f} g")
    return found


def _walk(
    segments: tuple[Segment, ...], task: Task, problem: Problem, pools: dict[tuple[str, str | None], Pool]
) -> tuple[list[str], float | None, float, int]:
    """(what is wrong, grams of carbon, other prices, restarts); no carbon where the segments make no sense."""
    if not segments:
        return ["no windows"], None, 0.0, 0
    found = [wrong for segment in segments for wrong in _misplaced(segment, task, problem, pools)]
    found.extend("its windows overlap" for one, next_ in pairwise(segments) if next_.start < one.end)
    if found:
        return found, None, 0.0, 0
    carbon = price = work = 0.0
    restarts = 0
    home = task.home_of(problem.pools)
    for index, segment in enumerate(segments):
        pool = pools[segment.region, segment.gpu_type]
        earlier = segments[index - 1] if index else None
        same_pool = earlier is not None and (earlier.region, earlier.gpu_type) == (segment.region, segment.gpu_type)
        same_size = not task.resize_restarts or segment.gpus == (task.ran_gpus if earlier is None else earlier.gpus)
        goes_on = same_pool and same_size and earlier is not None and earlier.end == segment.start
        if earlier is None:
            same_pool = pool is home if task.running else task.ran_in == segment.region
            goes_on = task.running and pool is home and same_size and segment.start == max(0, task.earliest)
        resumes = not goes_on and (earlier is not None or task.ran_in is not None)
        carbon_of_kwh = pool.g_per_kwh
        price_of_kwh = None if pool.price_g_per_kwh is None else task.price_factor * pool.price_g_per_kwh
        size = next(size for size in task.sizes if size.gpus == segment.gpus)
        kwh = size.kw * task.kw_factor.get(segment.gpu_type or "", 1.0) * problem.slot_h
        for slot in range(segment.start, segment.end):
            carbon += kwh * float(carbon_of_kwh[slot])
            price += 0.0 if price_of_kwh is None else kwh * float(price_of_kwh[slot])
        if resumes:
            restarts += 1
            carbon += task.restart_kwh * float(carbon_of_kwh[segment.start])
            price += task.caution_kwh * float(carbon_of_kwh[segment.start])
            if price_of_kwh is not None:
                price += (task.restart_kwh + task.caution_kwh) * float(price_of_kwh[segment.start])
        if not goes_on and not same_pool:
            carbon += float(task.relocation_g.get(segment.region, 0.0))
            left = earlier.end if earlier is not None else max(0, task.earliest)
            if segment.start < left + task.relocation_slots.get(segment.region, 0):
                found.append(f"starts in {segment.region} at slot {segment.start}, before its data can be there")
        length = segment.end - segment.start
        overhead = task.restart_slots if resumes else 0
        following = segments[index + 1] if index + 1 < len(segments) else None
        if length <= overhead and (task.resize_restarts or following is None or following.start != segment.end):
            found.append(f"window {segment.start} to {segment.end} holds no work, only its restart")
        work += size.speed * (length - overhead)
    price += task.wait_g_per_slot * max(0, segments[-1].end - max(0, task.earliest) - task.least_slots)
    if work < task.work * (1 - 1e-9) - 1e-9 or (not task.elastic and work > task.work):
        found.append(f"works {work:g} slots instead of {task.work:g}")
    split = _gaps(segments) or (task.resize_restarts and len(segments) > 1)
    if not task.suspendable and (restarts > (task.ran_in is not None and not task.running) or split):
        found.append("is split although it cannot be suspended")
    stays = any(pool.region == task.ran_in and task.fits(pool) for pool in problem.pools)
    bound = task.suspendable and not task.movable and task.ran_in in task.regions and stays
    if bound and segments[0].region != task.ran_in:
        found.append("changes its region although it cannot be moved")
    homes = {(segment.region, segment.gpu_type) for segment in segments}
    if len(homes) > 1 and not task.movable:
        found.append("changes its region although it cannot be moved")
    return found, carbon, price, restarts


def _misplaced(segment: Segment, task: Task, problem: Problem, pools: dict[tuple[str, str | None], Pool]) -> list[str]:
    pool = pools.get((segment.region, segment.gpu_type))
    if pool is None or not task.fits(pool):
        return [f"runs in {segment.region}, which it may not"]
    if not 0 <= segment.start < segment.end <= problem.slots:
        return [f"slots {segment.start} to {segment.end} are not on the grid"]
    if segment.start < task.earliest or segment.end > task.deadline:
        return [f"runs in slots {segment.start} to {segment.end}, outside {task.earliest} to {task.deadline}"]
    if segment.gpus not in {size.gpus for size in task.sizes}:
        return [f"runs on {segment.gpus} GPUs, which is none of its sizes"]
    return []


def _gaps(segments: tuple[Segment, ...]) -> bool:
    return any(one.end != next_.start or one.region != next_.region for one, next_ in pairwise(segments))


def _stops_needlessly(placement: Placement, used: dict[tuple[str, str | None], list[int]], problem: Problem) -> bool:
    """Whether a task that is to finish the slot it runs in does not, though nobody else has taken its GPUs."""
    task, first = placement.task, placement.segments[0]
    now = max(0, task.earliest)
    home = task.home_of(problem.pools)
    if not (task.running and task.stays) or home is None:
        return False
    goes_on = not task.resize_restarts or first.gpus == task.ran_gpus
    if goes_on and (first.region, first.gpu_type, first.start) == (home.region, home.gpu_type, now):
        return False
    at_home = (one for one in placement.segments if (one.region, one.gpu_type) == (home.region, home.gpu_type))
    own = sum(segment.gpus for segment in at_home if segment.start <= now < segment.end)
    return int(home.capacity[now]) - used[home.region, home.gpu_type][now] + own >= task.stays_on
