"""A capacitated vehicle routing problem in PyVRP, whose log is printed by a handler of Python's logging."""

from __future__ import annotations

import pyvrp
from pyvrp.stop import MaxIterations, MaxRuntime
from user import Answer, Problem, distances, found, run


def solve(problem: Problem, limit: float) -> Answer:
    model = pyvrp.Model()
    places = [model.add_location(x, y) for x, y in problem["places"]]
    depot = model.add_depot(places[0])
    for place, demand in zip(places[1:], problem["demands"][1:], strict=True):
        model.add_client(place, delivery=demand)
    model.add_vehicle_type(problem["vehicles"], capacity=problem["capacity"], start_depot=depot, end_depot=depot)
    for one, row in zip(places, distances(problem), strict=True):
        for other, distance in zip(places, row, strict=True):
            model.add_edge(one, other, distance=distance)
    stop = MaxIterations(problem["iterations"]) if "iterations" in problem else MaxRuntime(limit)
    result = model.solve(stop=stop, seed=1)
    status = "feasible" if result.is_feasible() else "unknown"
    return found(result.cost(), status=status, iterations=result.num_iterations, time=result.runtime)


run(solve)
