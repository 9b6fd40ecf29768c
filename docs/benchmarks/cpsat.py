"""CP-SAT on a small problem, run by the Python of `.venv-oracles`: it cannot share a process with HiGHS.

stdin: {"problem": as in `kilowait plan --problem`, "drop_g": what leaving out each job counts as, "seconds", "workers"}
stdout: {"state", "seconds", "bound_g", "jobs": {id: [region, [slots]]}, "ortools"}; jobs it left out are absent
"""

from __future__ import annotations

import json
import sys
import time

import ortools
from ortools.sat.python import cp_model

PER_G = 100  # integer costs per gram


def main() -> None:
    asked = json.load(sys.stdin)
    problem = asked["problem"]
    model, terms = cp_model.CpModel(), []
    use: dict[tuple[str, int], list[tuple[object, int]]] = {}
    regions = {region["name"]: region for region in problem["regions"]}
    hours = problem["slot_minutes"] / 60
    runs: dict[str, list[tuple[str, object, list[int]]]] = {}
    for job, drop in zip(problem["jobs"], asked["drop_g"], strict=True):
        begin, end, work, gpus = job["earliest_slot"], job["deadline_slot"], job["slots"], job["gpus"]
        out = model.new_bool_var("")
        terms.append((out, drop))
        choices = [out]
        runs[job["id"]] = []
        for name in job["regions"]:
            grams = regions[name]["intensity_g_per_kwh"]
            slot_g = [gpus * job["kw_per_gpu"] * hours * g for g in grams]
            move = job["relocation_g"].get(name, 0.0)
            if not job["suspendable"]:
                for t in range(begin, end - work + 1):
                    start = model.new_bool_var("")
                    choices.append(start)
                    terms.append((start, sum(slot_g[t : t + work]) + move))
                    runs[job["id"]].append((name, start, list(range(t, t + work))))
                    for slot in range(t, t + work):
                        use.setdefault((name, slot), []).append((start, gpus))
                continue
            here = model.new_bool_var("")
            choices.append(here)
            terms.append((here, move))
            x = {t: model.new_bool_var("") for t in range(begin, end)}
            first = {t: model.new_bool_var("") for t in range(begin, end)}
            again = {t: model.new_bool_var("") for t in range(begin, end)}
            model.add(sum(x.values()) == work * here)
            model.add(sum(first.values()) == here)
            for t in range(begin, end):
                model.add(x[t] - (x[t - 1] if t > begin else 0) <= first[t] + again[t])
                terms += [(x[t], slot_g[t]), (again[t], job["restart_kwh"] * grams[t])]
                use.setdefault((name, t), []).append((x[t], gpus))
                runs[job["id"]].append((name, x[t], [t]))
        model.add_exactly_one(choices)
    for (name, slot), users in use.items():
        model.add(sum(gpus * var for var, gpus in users) <= regions[name]["capacity_gpus"][slot])
    model.minimize(sum(round(PER_G * cost) * var for var, cost in terms))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = asked["seconds"]
    solver.parameters.num_workers = asked["workers"]
    solver.parameters.random_seed = 1
    begin = time.perf_counter()
    state = solver.solve(model)
    seconds = time.perf_counter() - begin
    jobs = {}
    if state in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        for job, found in runs.items():
            mine = [(name, slots) for name, var, slots in found if solver.value(var)]
            if mine:
                jobs[job] = [mine[0][0], sorted(slot for _, slots in mine for slot in slots)]
    bound = solver.best_objective_bound / PER_G
    answer = {"state": solver.status_name(state), "seconds": seconds, "bound_g": bound, "jobs": jobs}
    print(json.dumps(answer | {"ortools": ortools.__version__}))


main()
