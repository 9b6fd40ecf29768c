"""An independent judge of a plan: recomputes costs and constraints from the problem, sharing no code with the planner.

Whatever is to be executed passes through `violations` first; an empty list is the only acceptable answer.
"""

from __future__ import annotations

from .problem import Placement, Plan, Problem


def violations(plan: Plan, problem: Problem) -> list[str]:
    """Every broken rule as a sentence; empty where the plan is sound."""
    found: list[str] = []
    used: dict[tuple[str, int], int] = {}
    seen: set[str] = set()
    for placement in plan.placements:
        name = placement.task.id
        if name in seen:
            found.append(f"{name}: placed twice")
        seen.add(name)
        found.extend(f"{name}: {problem_}" for problem_ in _judge(placement, problem))
        for segment in placement.segments:
            for slot in range(segment.start, segment.end):
                used[segment.region, slot] = used.get((segment.region, slot), 0) + placement.task.gpus
    for (name, slot), gpus in sorted(used.items()):
        region = problem.region(name)
        if region is not None and 0 <= slot < problem.slots and gpus > region.capacity[slot]:
            found.append(f"{name} slot {slot}: {gpus} GPUs planned, {region.capacity[slot]} there")
    found.extend(f"{item.task.id}: both placed and unplaced" for item in plan.unplaced if item.task.id in seen)
    return found


def _judge(placement: Placement, problem: Problem) -> list[str]:
    task, segments = placement.task, placement.segments
    found: list[str] = []
    if not segments:
        return ["no windows"]
    grams = 0.0
    work = 0
    restarts = 0
    previous: str | None = task.ran_in
    for index, segment in enumerate(segments):
        region = problem.region(segment.region)
        if region is None or segment.region not in task.regions:
            found.append(f"runs in {segment.region}, which it may not")
            continue
        if not (0 <= segment.start < segment.end <= problem.slots):
            found.append(f"slots {segment.start} to {segment.end} are not on the grid")
            continue
        if segment.start < task.earliest or segment.end > task.deadline:
            found.append(f"runs in slots {segment.start} to {segment.end}, outside {task.earliest} to {task.deadline}")
        if index and segment.start < segments[index - 1].end:
            found.append("its windows overlap")
        goes_on = index == 0 and task.running and segment.region == task.ran_in and segment.start == task.earliest
        resumes = not goes_on and (index > 0 or task.ran_in is not None)
        if resumes:
            restarts += 1
            grams += task.restart_kwh * float(region.g_per_kwh[segment.start])
        if previous != segment.region and not goes_on:
            grams += float(task.relocation_g.get(segment.region, 0.0))
        work += segment.end - segment.start - (task.restart_slots if resumes else 0)
        for slot in range(segment.start, segment.end):
            grams += task.gpus * task.kw_per_gpu * problem.slot_h * float(region.g_per_kwh[slot])
        previous = segment.region
    if work != task.slots:
        found.append(f"works {work} slots instead of {task.slots}")
    if len(segments) > 1 and not task.suspendable:
        found.append("is split although it cannot be suspended")
    if len({segment.region for segment in segments}) > 1 and not task.movable:
        found.append("changes its region although it cannot be moved")
    if restarts != placement.restarts:
        found.append(f"says {placement.restarts} restarts, has {restarts}")
    if abs(grams - placement.carbon_g) > 1e-6 * max(1.0, abs(grams)):
        found.append(f"says {placement.carbon_g:.6f} g, costs {grams:.6f} g")
    return found
