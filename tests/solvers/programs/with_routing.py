"""A capacitated vehicle routing problem in OR-tools' routing solver, which logs to stderr."""

from __future__ import annotations

from ortools.constraint_solver import pywrapcp, routing_enums_pb2
from user import Answer, Problem, distances, found, run

# `ROUTING_SUCCESS` and `ROUTING_PARTIAL_SUCCESS_LOCAL_OPTIMUM_NOT_REACHED`: there is a plan, and no proof.
STATUS = {1: "feasible", 2: "feasible"}


def solve(problem: Problem, limit: float) -> Answer:
    far, demands = distances(problem), problem["demands"]
    manager = pywrapcp.RoutingIndexManager(len(far), problem["vehicles"], 0)
    routing = pywrapcp.RoutingModel(manager)
    node = manager.IndexToNode
    routing.SetArcCostEvaluatorOfAllVehicles(routing.RegisterTransitCallback(lambda i, j: far[node(i)][node(j)]))
    demand = routing.RegisterUnaryTransitCallback(lambda i: demands[node(i)])
    routing.AddDimension(demand, 0, problem["capacity"], True, "load")
    search = pywrapcp.DefaultRoutingSearchParameters()
    search.local_search_metaheuristic = routing_enums_pb2.LocalSearchMetaheuristic.GUIDED_LOCAL_SEARCH
    search.time_limit.FromMilliseconds(round(limit * 1000))
    search.log_search = True
    if "solutions" in problem:
        search.solution_limit = problem["solutions"]
    plan = routing.SolveWithParameters(search)
    return found(
        plan.ObjectiveValue() if plan else None, status=STATUS.get(routing.status()), nodes=routing.solver().Branches()
    )


run(solve)
