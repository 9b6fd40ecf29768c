"""The best plan of a problem that CP-SAT finds in some seconds: a program for the environment that has ortools.

`python cpsat_solver.py SECONDS < problem.json` reads the outside format of a planning problem (rigid jobs of one region
each) and prints {"objective_g", "bound_g", "status", "placed"}. A job may be left out at a cost that no plan outweighs.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from ortools.sat.python import cp_model

UNIT = 1000  # costs are whole thousandths of a gram


def whole(grams: float) -> int:
    return round(UNIT * grams)


def model_of(problem: dict[str, Any]) -> tuple[cp_model.CpModel, list[tuple[int, cp_model.IntVar]]]:
    """(model, what leaving out each job costs and whether it is left out)."""
    model = cp_model.CpModel()
    regions = {region["name"]: region for region in problem["regions"]}
    use: dict[tuple[str, int], list[tuple[int, cp_model.IntVar]]] = {}
    costs: list[tuple[int, cp_model.IntVar]] = []
    drops: list[tuple[int, cp_model.IntVar]] = []
    dearest = max(g for region in problem["regions"] for g in region["intensity_g_per_kwh"])
    hours = problem["slot_minutes"] / 60
    for job in problem["jobs"]:
        kwh, length, last = job["gpus"] * job["kw_per_gpu"] * hours, job["slots"], job["deadline_slot"]
        window = range(job["earliest_slot"], last)
        chosen = {name: model.new_bool_var("") for name in job["regions"]}
        out = model.new_bool_var("")
        model.add_exactly_one([*chosen.values(), out])
        drops.append((4 * whole(length * (kwh + job["restart_kwh"]) * dearest), out))
        for name, here in chosen.items():
            per_kwh = [g * regions[name].get("pue", 1.0) for g in regions[name]["intensity_g_per_kwh"]]
            costs.append((whole(job.get("relocation_g", {}).get(name, 0.0)), here))
            if not job["suspendable"]:
                starts = {slot: model.new_bool_var("") for slot in window if slot + length <= last}
                model.add_exactly_one([*starts.values(), here.negated()])
                for start, column in starts.items():
                    costs.append((whole(kwh * sum(per_kwh[start : start + length])), column))
                    for slot in range(start, start + length):
                        use.setdefault((name, slot), []).append((job["gpus"], column))
                continue
            runs = {slot: model.new_bool_var("") for slot in window}
            firsts = {slot: model.new_bool_var("") for slot in window if slot + length <= last}
            model.add(sum(runs.values()) == length * here)
            model.add_exactly_one([*firsts.values(), here.negated()])
            for slot in window:
                costs.append((whole(kwh * per_kwh[slot]), runs[slot]))
                use.setdefault((name, slot), []).append((job["gpus"], runs[slot]))
                begun = [first for at, first in firsts.items() if at <= slot]
                model.add_bool_or([runs[slot].negated(), *begun])
                begins = [runs[slot].negated(), *begun[slot - window.start :]]
                if slot in firsts:
                    model.add_implication(firsts[slot], runs[slot])
                if slot > window.start:
                    resumes = model.new_bool_var("")
                    costs.append((whole(job["restart_kwh"] * per_kwh[slot]), resumes))
                    begins += [runs[slot - 1], resumes]
                model.add_bool_or(begins)
    for (name, slot), holders in use.items():
        model.add(sum(gpus * column for gpus, column in holders) <= regions[name]["capacity_gpus"][slot])
    model.minimize(sum(cost * column for cost, column in [*costs, *drops]))
    return model, drops


def main() -> None:
    model, drops = model_of(json.load(sys.stdin))
    solver = cp_model.CpSolver()
    solver.parameters.max_time_in_seconds = float(sys.argv[1])
    solver.parameters.num_workers = 2
    solver.parameters.random_seed = 1
    solver.parameters.linearization_level = 2
    status = solver.solve(model)
    if status not in (cp_model.OPTIMAL, cp_model.FEASIBLE):
        raise SystemExit(f"CP-SAT: {solver.status_name(status)}")
    missing = [cost for cost, out in drops if solver.value(out)]
    answer = {
        "objective_g": (solver.objective_value - sum(missing)) / UNIT,
        "bound_g": solver.best_objective_bound / UNIT,
        "status": solver.status_name(status),
        "placed": len(drops) - len(missing),
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
