"""A job shop in OR-tools CP-SAT."""

from __future__ import annotations

from ortools.sat.python import cp_model
from user import Answer, Problem, found, horizon, run


def solve(problem: Problem, limit: float) -> Answer:
    latest, model = horizon(problem), cp_model.CpModel()
    end = model.new_int_var(0, latest, "end")
    on_machine: dict[int, list[cp_model.IntervalVar]] = {}
    for durations, machines in zip(problem["duration_matrix"], problem["machines_matrix"], strict=True):
        before = 0
        for duration, machine in zip(durations, machines, strict=True):
            start = model.new_int_var(0, latest, "")
            on_machine.setdefault(machine, []).append(model.new_fixed_size_interval_var(start, duration, ""))
            model.add(start >= before)
            before = start + duration
        model.add(end >= before)
    for intervals in on_machine.values():
        model.add_no_overlap(intervals)
    model.minimize(end)
    solver = cp_model.CpSolver()
    solver.parameters.log_search_progress = True
    solver.parameters.num_workers = 1
    solver.parameters.max_time_in_seconds = limit
    status = solver.status_name(solver.solve(model))
    return found(
        solver.objective_value if status in {"OPTIMAL", "FEASIBLE"} else None,
        status=status.lower(),
        bound=solver.best_objective_bound,
        nodes=solver.num_branches,
        iterations=solver.response_proto.num_lp_iterations,
        time=solver.wall_time,
    )


run(solve)
