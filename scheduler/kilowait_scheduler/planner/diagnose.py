"""Why a task cannot be done even if it were alone."""

from __future__ import annotations

from kilowait_scheduler.core.reasons import Reason

from .problem import Problem, Task, Unplaced


def diagnose(task: Task, problem: Problem) -> Unplaced | None:
    """The constraint that binds, or None where a window, a gang and a region can be found by counting alone."""
    known = [pool for pool in problem.pools if pool.region in task.regions]
    if not known:
        have = ", ".join(dict.fromkeys(pool.region for pool in problem.pools)) or "none"
        return Unplaced(task, Reason.NO_ALLOWED_REGION, f"allowed: {', '.join(task.regions)}; known regions: {have}")
    fitting = [pool for pool in known if task.fits(pool)]
    if not fitting:
        have = ", ".join(dict.fromkeys(pool.gpu_type or "unnamed" for pool in known))
        return Unplaced(task, Reason.NO_ALLOWED_REGION, f"needs {task.gpu_type}; its regions have {have}")
    slots = task.least_slots
    room = min(task.deadline, problem.slots) - max(task.earliest, 0)
    if slots < 1 or room < slots:
        return Unplaced(task, Reason.WINDOW_TOO_SHORT, f"needs {slots} slots, has {max(room, 0)} before its deadline")
    largest = max(pool.largest for pool in fitting)
    if largest < task.least_gpus:
        detail = f"needs {task.least_gpus} GPUs, the largest allowed region has {largest}"
        return Unplaced(task, Reason.GANG_TOO_LARGE, detail)
    return None
