"""The time-indexed linear program of an instance, for HiGHS; run as a program of its own.

usage: lp.py INTENSITY_DIR SPEC simplex|ipm|mip restarts|no-restarts SECONDS LOG

Prints one JSON line when the model is built and handed over, another when it is solved. HiGHS and CP-SAT cannot share a
process, and a solver that does not end must be stoppable: hence a process.

`mip`: all columns are integers, which makes it the whole problem where restarts are in it.

Columns: of a suspendable job, x (region, slot) is the share it runs there and then, y (region) the share of it that is
done there; of any other, s (region, slot) is its start. With restarts: f is its first start, z every further one.
    minimise  sum of slot costs x + window costs s + relocation y + restart costs z
    each job: sum y = 1 or sum s = 1          each (region, slot): sum gpus x <= capacity
    each job and region: sum x = work y, x <= y, and with restarts sum f = y, x[t] - x[t-1] <= f[t] + z[t]
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import highspy
import numpy as np
from instances import Spec, instance, traces

from kilowait_scheduler.planner.problem import Problem


class Model:
    """Columns, rows and the matrix' entries as they come."""

    def __init__(self) -> None:
        self.cost: list[np.ndarray] = []
        self.lower: list[np.ndarray] = []
        self.upper: list[np.ndarray] = []
        self.entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.columns = self.rows = 0

    def add_columns(self, cost: np.ndarray) -> np.ndarray:
        self.cost.append(np.asarray(cost, dtype=float))
        self.columns += len(cost)
        return np.arange(self.columns - len(cost), self.columns)

    def add_rows(self, count: int, lower: float, upper: float) -> np.ndarray:
        self.lower.append(np.full(count, lower))
        self.upper.append(np.full(count, upper))
        self.rows += count
        return np.arange(self.rows - count, self.rows)

    def enter(self, rows: np.ndarray, columns: np.ndarray, value: float) -> None:
        rows, columns = np.broadcast_arrays(rows, columns)
        self.entries.append((rows.ravel(), columns.ravel(), np.full(rows.size, value)))

    def lp(self) -> highspy.HighsLp:
        row, column, value = (np.concatenate(part) for part in zip(*self.entries, strict=True))
        order = np.lexsort((row, column))
        made = highspy.HighsLp()
        made.num_col_, made.num_row_ = self.columns, self.rows
        made.col_cost_ = np.concatenate(self.cost)
        made.col_lower_, made.col_upper_ = np.zeros(self.columns), np.full(self.columns, highspy.kHighsInf)
        made.row_lower_, made.row_upper_ = np.concatenate(self.lower), np.concatenate(self.upper)
        made.a_matrix_.format_ = highspy.MatrixFormat.kColwise
        made.a_matrix_.start_ = np.searchsorted(column[order], np.arange(self.columns + 1)).astype(np.int32)
        made.a_matrix_.index_ = row[order].astype(np.int32)
        made.a_matrix_.value_ = value[order]
        return made


def model_of(problem: Problem, *, restarts: bool) -> Model:
    model, inf = Model(), highspy.kHighsInf
    pools = {pool.region: index for index, pool in enumerate(problem.pools)}
    room = np.array([model.add_rows(problem.slots, -inf, 0.0) for _ in problem.pools])
    model.upper = [pool.capacity.astype(float) for pool in problem.pools]
    for task in problem.tasks:
        once = model.add_rows(1, 1.0, 1.0)
        work, gpus, begin = int(task.work), float(task.least_gpus), task.earliest
        window = task.deadline - begin
        for name in task.regions:
            grams = problem.pools[pools[name]].g_per_kwh[begin : task.deadline]
            cost, here = task.sizes[0].kw * problem.slot_h * grams, room[pools[name], begin : task.deadline]
            move = task.relocation_g.get(name, 0.0)
            if not task.suspendable:
                total = np.concatenate(([0.0], np.cumsum(cost)))
                s = model.add_columns(total[work:] - total[:-work] + move)
                model.enter(once, s, 1.0)
                model.enter(here[np.arange(len(s))[:, None] + np.arange(work)], s[:, None], gpus)
                continue
            x, y = model.add_columns(cost), model.add_columns(np.array([move]))
            done, link = model.add_rows(1, 0.0, 0.0), model.add_rows(window, -inf, 0.0)
            model.enter(once, y, 1.0)
            model.enter(here, x, gpus)
            model.enter(done, x, 1.0)
            model.enter(done, y, -float(work))
            model.enter(link, x, 1.0)
            model.enter(link, y, -1.0)
            if restarts:
                f, z = model.add_columns(np.zeros(window)), model.add_columns(task.restart_kwh * grams)
                first, start = model.add_rows(1, 0.0, 0.0), model.add_rows(window, -inf, 0.0)
                model.enter(first, f, 1.0)
                model.enter(first, y, -1.0)
                model.enter(start, x, 1.0)
                model.enter(start[1:], x[:-1], -1.0)
                model.enter(start, f, -1.0)
                model.enter(start, z, -1.0)
    return model


def main() -> None:
    folder, text, solver, restarts, seconds, log = sys.argv[1:]
    problem = instance(Spec.parse(text), traces(Path(folder)))
    begin = time.perf_counter()
    model = model_of(problem, restarts=restarts == "restarts")
    highs = highspy.Highs()
    highs.setOptionValue("output_flag", True)
    highs.setOptionValue("log_to_console", False)
    highs.setOptionValue("log_file", log)
    highs.setOptionValue("time_limit", float(seconds))
    lp = model.lp()
    if solver == "mip":
        lp.integrality_ = [highspy.HighsVarType.kInteger] * model.columns
    else:
        highs.setOptionValue("solver", solver)
    if solver == "ipm":
        highs.setOptionValue("run_crossover", "off")
    highs.passModel(lp)
    built = time.perf_counter() - begin
    print(json.dumps({"built_s": built, "columns": model.columns, "rows": model.rows}), flush=True)
    begin = time.perf_counter()
    highs.run()
    solved = time.perf_counter() - begin
    state = highs.modelStatusToString(highs.getModelStatus())
    info = highs.getInfo()
    objective = info.objective_function_value
    bound = info.mip_dual_bound if solver == "mip" else objective
    answer = {"solved_s": solved, "state": state, "objective_g": objective, "bound_g": bound}
    print(json.dumps(answer), flush=True)


main()
