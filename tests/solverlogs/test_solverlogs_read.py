"""Solvers' logs as they are: what is read from each is what the solver's own API said of that solve."""

from itertools import pairwise
from pathlib import Path

import pytest

from nxtrack.solverlogs import read

LOGS = Path(__file__).parent


def sample(name):
    return (LOGS / f"{name}.log").read_bytes()


# Log, our word for the solver's status, objective, bound, gap, nodes, iterations, seconds: all from the API, None for
# what has no value there (no solution, or infinite), or is none for an LP.
SOLVED = [
    # highspy: getModelStatus, getInfo, getRunTime
    ("highs-mip-optimal", "optimal", 3089.0, 3089.0, 0.0, 1, 85, 0.052),
    ("highs-mip-time-limit", "time_limit", 12715.89237910006, 10615.688701697465, 0.16516368767437084, 1, 3977, 3.002),
    ("highs-mip-node-limit", "solution_limit", 12715.89237910006, 10619.64100029078, 0.16485287200564, 39, 7446, 3.618),
    ("highs-mip-infeasible", "infeasible", None, None, None, 0, 0, 0.0003),
    ("highs-mip-unbounded", "infeasible_or_unbounded", None, None, None, 0, 0, 0.0003),
    ("highs-mip-cancelled", "interrupted", 12854.694360600011, 10607.684434056895, 0.17480072754045892, 0, 1919, 2.456),
    ("highs-mip-maximum", "optimal", 83.0, 83.0, 0.0, 1, 2, 0.055),
    ("highs-lp-optimal", "optimal", 2520.5717391304347, 2520.5717391304347, 0.0, None, 13, 0.0006),
    ("highs-lp-ipm", "optimal", 2520.5717391304347, 2520.5717391304347, 0.0, None, 13, 0.0012),
    ("highs-lp-pdlp", "optimal", 2520.5718964378884, 2520.5718964378884, 0.0, None, 680, 0.0007),
    ("highs-lp-infeasible", "infeasible", None, None, None, None, None, 0.0001),
    ("highs-lp-iteration-limit", "iteration_limit", None, None, None, None, 3, 0.0003),
    # scipy: milp and linprog minimise, and cvxpy gives HiGHS the negative of what it maximises (its optimum: 240)
    ("scipy-milp", "optimal", -673.9999999999984, -673.9999999999984, 0.0, 22, 1152, 0.34),
    ("scipy-lp-unbounded", "unbounded", None, None, None, None, None, 0.0),
    ("cvxpy-mip", "optimal", -240.0, -240.0, 0.0, 1, 0, 0.04),
    # CP-SAT: StatusName, ObjectiveValue, BestObjectiveBound, NumBranches, WallTime; it tells no gap
    ("cpsat-maximum", "optimal", 183.0, 183.0, 0.0, 0, 0, 0.01606557),
    ("cpsat-optimal", "optimal", 418.0, 418.0, 0.0, 319, 0, 0.026096006),
    ("cpsat-time-limit", "time_limit", 1390.0, 1170.0, 220 / 1390, 1760, 0, 2.995226038),
    ("cpsat-work-limit", "feasible", 1328.0, 1170.0, 158 / 1328, 15870, 0, 16.465344337),
    ("cpsat-ctrl-c", "interrupted", 1465.0, 1170.0, 295 / 1465, 318, 0, 0.50292237),
    ("cpsat-infeasible", "infeasible", None, None, None, 0, 0, 0.002269379),
    ("cpsat-time-limit-without-solution", "time_limit", None, None, None, 0, 0, 0.322148847),
    ("cpsat-satisfied", "optimal", None, None, None, 485, 0, 0.030585672),
    ("cpsat-invalid", "error", None, None, None, 0, 0, 0.001379428),
    # PySCIPOpt: getStatus, getPrimalbound, getDualbound, getGap, getNTotalNodes, getNLPIterations, getSolvingTime
    ("scip-mip-optimal", "optimal", 3089.0, 3089.0, 0.0, 1, 138, 0.030873),
    ("scip-mip-time-limit", "time_limit", 12854.694360600008, 10583.09659833072, 0.2146439599377359, 3, 534, 3.00038),
    ("scip-mip-ctrl-c", "interrupted", 12715.892379100005, 10586.433506329255, 0.20114978963383864, 3, 617, 2.537326),
    ("scip-mip-gap-limit", "gap_limit", 13177.386576000006, 10566.40181589075, 0.24710254309869348, 1, 240, 1.074641),
    ("scip-mip-infeasible", "infeasible", None, None, None, 0, None, 0.000659),
    ("scip-mip-unbounded", "unbounded", None, None, None, 0, None, 0.000576),
    ("scip-lp-optimal", "optimal", 20.625, 20.625, 0.0, 1, 3, 0.001357),
    # pywraplp: Solve, Objective().Value(), BestBound(), nodes, iterations
    ("scip-mpsolver-optimal", "optimal", 2832.0, 2832.0, 0.0, 2, 93, 0.023),
    ("cbc-mpsolver-optimal", "optimal", 2832.0, 2832.0, 0.0, 4, 871, 0.1),
    ("cbc-mpsolver-infeasible", "infeasible", None, None, None, None, None, 0.0),
    ("cbc-mpsolver-lp", "optimal", 15.3, 15.3, 0.0, None, 2, 0.007),
    # PuLP tells status and objective; the rest it reads from the log itself
    ("cbc-mip-optimal", "optimal", 3089.0, 3089.0, 0.0, 0, 162, 0.05),
    ("cbc-mip-time-limit", "time_limit", 12062.5592, 10593.306, 0.1387, 59129, 367019, 3.87),
    ("cbc-mip-node-limit", "node_limit", 12464.1002, 10593.306, 0.1766, 100, 1368, 0.77),
    ("cbc-mip-gap", "optimal", 13783.5142, 10482.795, 0.31487, 0, 0, 0.26),
    ("cbc-mip-infeasible", "infeasible", None, None, None, None, None, 0.0),
    ("cbc-mip-maximum", "optimal", 21545.0, 21545.0, 0.0, 102, 3674, 0.25),
    ("cbc-mip-time-limit-without-solution", "time_limit", None, 25877.60927781605, None, 0, 0, 0.59),
    ("cbc-lp-optimal", "optimal", 15.3, 15.3, 0.0, None, 2, 0.0),
    ("cbc-lp-unbounded", "unbounded", None, None, None, 0, 0, 0.0),
    ("cbc-lp-infeasible", "infeasible", None, None, None, 0, 0, 0.0),
    # gurobipy: Status, ObjVal, ObjBound, MIPGap, NodeCount, IterCount, Runtime
    ("gurobi-mip-optimal", "optimal", 3089.0, 3089.0, 0.0, 1, 34, 0.023),
    ("gurobi-mip-time-limit", "time_limit", 47.0, 0.0, 1.0, 8104, 17477, 2.008),
    ("gurobi-mip-node-limit", "node_limit", 12809.707947799976, 10614.356628934938, 0.17138184007091917, 55, 962, 1.19),
    ("gurobi-mip-ctrl-c", "interrupted", 47.0, 0.0, 1.0, 9532, 20974, 2.015),
    ("gurobi-mip-solution-limit", "solution_limit", 157344.61033, None, None, 0, 0, 0.0003),
    ("gurobi-mip-infeasible", "infeasible", None, None, None, 0, 0, 0.0004),
    ("gurobi-mip-unbounded", "unbounded", None, None, None, 0, 0, 0.0004),
    ("gurobi-lp-optimal", "optimal", 20.625, 20.625, 0.0, None, 3, 0.0005),
    ("gurobi-lp-barrier", "optimal", 2520.5717391304347, 2520.5717391304347, 0.0, None, 9, 0.0196),
    ("gurobi-lp-infeasible", "infeasible", None, None, None, None, 0, 0.0004),
    ("gurobi-lp-iteration-limit", "iteration_limit", None, None, None, None, 50, 0.0006),
    # PyVRP: is_feasible, cost, num_iterations, runtime; what ended it is not told
    ("pyvrp-iteration-limit", "feasible", 375.0, None, None, None, 1000, 0.1808),
    ("pyvrp-time-limit", "feasible", 31854.0, None, None, None, 713, 4.0269),
    ("pyvrp-without-solution", "unknown", None, None, None, None, 300, 0.0629),
    # OR-tools' routing: ObjectiveValue, Branches, WallTime; what ended it is not told
    ("routing-solution-limit", "feasible", 424.0, None, None, 151, None, 0.055),
    ("routing-scaled", "feasible", 499.0, None, None, 57, None, 0.021),
    ("routing-time-limit-without-solution", "unknown", None, None, None, 133958, None, 1.574),
]
SAMPLES = [name for name, *_ in SOLVED]
SOLVERS = {
    "cbc": "CBC",
    "cpsat": "CP-SAT",
    "cvxpy": "HiGHS",
    "gurobi": "Gurobi",
    "highs": "HiGHS",
    "pyvrp": "PyVRP",
    "routing": "OR-tools routing",
    "scip": "SCIP",
    "scipy": "HiGHS",
}


@pytest.mark.parametrize(("name", "status", "expected"), [(name, status, more) for name, status, *more in SOLVED])
def test_a_log_says_what_the_api_says(name, status, expected):
    objective, bound, gap, nodes, iterations, seconds = expected
    found = dict(read(sample(name)).metrics)
    assert found.pop("time") == pytest.approx(seconds, abs=0.1)  # logs round it, and count what comes before and after
    expected = {"objective": objective, "bound": bound, "gap": gap, "nodes": nodes, "iterations": iterations}
    told = {key: pytest.approx(value, rel=1e-4, abs=1e-9) for key, value in expected.items() if value is not None}
    assert found == {"solver": SOLVERS[name.partition("-")[0]], "status": status, "solves": 1} | told


def test_lines_may_end_as_on_windows():
    for name in SAMPLES:
        assert read(sample(name).replace(b"\n", b"\r\n")) == read(sample(name)), name


def test_every_sample_is_tested():
    named = {*SAMPLES, "highs-twice", "gurobi-twice", "highs-mip-ctrl-c", "highs-mip-killed"}
    others = {path.stem for path in LOGS.glob("*.log")} - named
    assert others == {"scip-mip-node-limit"}


def test_scip_tells_the_iterations_of_its_last_row_only():
    found = read(sample("scip-mip-node-limit")).metrics
    assert (found["status"], found["nodes"]) == ("node_limit", 53)
    assert found["objective"] == pytest.approx(12715.892379100005)
    assert found["gap"] == pytest.approx(0.19837068021910725)
    assert found["iterations"] <= 1456


@pytest.mark.parametrize(
    ("name", "status", "objective", "bound"),
    # The first was cancelled by Ctrl-C, which highspy raises out of the solve; the second killed after two seconds.
    [
        ("highs-mip-ctrl-c", "interrupted", 12854.694361, 10607.684434),
        ("highs-mip-killed", "unknown", 12715.892379, 10607.74409),
    ],
)
def test_a_solve_that_never_got_to_its_end_is_known_as_far_as_it_got(name, status, objective, bound):
    found = read(sample(name)).metrics
    assert (found["status"], found["objective"], found["bound"]) == (status, objective, bound)


@pytest.mark.parametrize(
    ("name", "status", "objective", "bound"),
    [("highs-twice", "optimal", 3095.0, 3095.0), ("gurobi-twice", "node_limit", 3828.0, 2521.0)],
)
def test_of_two_solves_by_one_instance_the_last_counts(name, status, objective, bound):
    found = read(sample(name)).metrics
    assert (found["status"], found["objective"], found["bound"]) == (status, objective, bound)
    assert found["solves"] == 2


def test_highs_prints_its_banner_for_the_first_solve_of_a_process_only():
    for name in SAMPLES:
        if name.startswith(("highs", "scipy")):
            later = sample(name).partition(b"\n")[2]
            assert read(later) == read(sample(name)), name


def test_of_several_solvers_the_last_counts():
    samples = ["highs-mip-optimal", "cbc-mip-optimal", "scip-mip-optimal", "gurobi-mip-optimal", "cpsat-maximum"]
    for last in samples:
        log = b"".join(sample(name) for name in samples if name != last) + sample(last)
        found = read(log)
        assert found.metrics == dict(read(sample(last)).metrics) | {"solves": 5}
        assert found.series == read(sample(last)).series


def test_a_result_that_is_printed_again_is_no_second_solve():
    again = sample("cpsat-time-limit")
    again += again[again.index(b"CpSolverResponse") :]
    assert read(again) == read(sample("cpsat-time-limit"))
    statistics = b"SCIP Status        : problem is solved [optimal solution found]\nTotal Time         :       0.04\n"
    assert read(sample("scip-mip-optimal") + statistics) == read(sample("scip-mip-optimal"))


def test_a_program_may_print_responses_alone():
    responses = [sample(name) for name in ("cpsat-infeasible", "cpsat-time-limit")]
    found = read(b"".join(log[log.index(b"CpSolverResponse") :] for log in responses))
    # What ended the last one is not known without the parameters.
    assert (found.metrics["status"], found.metrics["objective"], found.metrics["solves"]) == ("feasible", 1390.0, 2)


def test_a_search_that_was_killed_is_known_as_far_as_it_got():
    rows = sample("pyvrp-time-limit")
    found = read(rows[: rows.index(b"\nSearch terminated")])
    assert not found.over
    # Its last row: `H     712      4s |        32600  Y        32600  Y        31854  Y`
    assert (found.metrics["objective"], found.metrics["iterations"], found.metrics["time"]) == (31854.0, 712, 4.0)
    assert found.series["objective"][0] == (0.0, 32594.0)
    lines = sample("routing-solution-limit").splitlines(keepends=True)
    found = read(b"".join(line for line in lines if b" search " not in line and b"Solution #23" not in line))
    assert not found.over
    # Its last line: `Solution #22 (428, ..., time = 34 ms, branches = 144, ...`, after one with `minimum = 438`
    assert (found.metrics["objective"], found.metrics["nodes"]) == (428.0, 144)
    values = [value for _, value in found.series["objective"]]
    assert (values[0], values[-1]) == (588.0, 428.0)
    assert values == sorted(values, reverse=True)


# -- series ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "first", "last", "bounds"),
    [
        # As the first and last rows of each log have it.
        ("highs-mip-time-limit", (0.1, 131305.61037), (3.0, 12715.892379), (10482.79528, 10615.688702)),
        ("cpsat-time-limit", (0.15, 1483.0), (2.83, 1390.0), (836.0, 1170.0)),
        ("cpsat-maximum", (0.01, 183.0), (0.01, 183.0), (183.0, 183.0)),
        ("scip-mip-gap-limit", (0.0, 89348.4), (1.1, 13177.39), (0.0, 10566.40)),
        ("gurobi-mip-time-limit", (0.0, 7286.0), (2.0, 47.0), (0.0, 0.0)),
        ("cbc-mip-time-limit", (0.16, 13783.514), (3.87, 12062.559), (10593.306, 10593.336)),
        ("highs-mip-maximum", (0.0, 50.0), (0.1, 83.0), (102.0, 83.0)),
        ("cbc-mip-maximum", (0.02, 21545.0), (0.15, 21545.0), (21747.313, 21733.39)),
    ],
)
def test_objective_and_bound_over_time(name, first, last, bounds):
    series = read(sample(name)).series
    assert (series["objective"][0], series["objective"][-1]) == (first, last)
    assert (series["bound"][0][1], series["bound"][-1][1]) == bounds
    for points in series.values():
        assert [time for time, _ in points] == sorted(time for time, _ in points)


def test_incumbents_only_get_better():
    for name in ("highs-mip-time-limit", "scip-mip-time-limit", "gurobi-mip-node-limit", "cpsat-time-limit"):
        values = [value for _, value in read(sample(name)).series["objective"]]
        # Gurobi prints the same value with more digits when it is new.
        assert all(after <= before * (1 + 1e-6) for before, after in pairwise(values)), name


def test_an_lp_has_no_series():
    for name in ("highs-lp-optimal", "gurobi-lp-barrier", "cbc-lp-optimal"):
        assert read(sample(name)).series == {}


def test_a_long_search_has_few_points():
    rows = "".join(f"#{n} {n / 100:.2f}s best:{10**6 - n} next:[5,{10**6 - n - 1}] worker\n" for n in range(50_000))
    points = read(b"Starting CP-SAT solver v9\n" + rows.encode()).series["objective"]
    assert len(points) <= 240
    assert (points[0], points[-1]) == ((0.0, 1e6), (499.99, 1e6 - 49_999))


def test_when_the_middle_of_a_log_is_missing_points_of_another_solve_are_dropped():
    first, last = sample("highs-mip-time-limit"), sample("highs-mip-optimal")
    cut = first[: first.index(b"\nSolving report")] + b"\n" + last[last.index(b" R       0") :]
    found = read(cut)
    assert found.metrics["objective"] == 3089
    assert {value for _, value in found.series["objective"]} == {3347.0, 3089.0}


# -- what stands between a solver's lines ---------------------------------------------------------------------


def test_what_the_program_prints_after_a_solve_is_not_the_solvers():
    mine = b"""
Status            failed
Model status        : Unbounded
Objective value     :  1.0
Objective value: 1
Lower bound: 1
objective: 1
best_bound: 1
status: INFEASIBLE
Primal Bound       : 1
Dual Bound         : 1
  Primal bound      1
  Dual bound        1
  Nodes             12
"""
    for name in SAMPLES:
        assert read(sample(name) + mine) == read(sample(name)), name


def test_prints_between_the_lines_change_nothing():
    for name in SAMPLES:
        lines = sample(name).splitlines(keepends=True)
        noisy = b"".join(line + b"step 12: cost | 5.0 | 10% done in 3.0s\n" for line in lines)
        assert read(noisy) == read(sample(name)), name


@pytest.mark.parametrize(
    "log",
    [
        b"",
        b"\n" * 100,
        b"Status            Optimal\nobjective: 12\nSCIP\nGurobi\n",
        b"Running HiGHS 1.16.0\n",
        b"I am Running HiGHS and SCIP Status and CpSolverResponse and Cbc00 today\n",
        b"Gurobi Optimizer version 13.0.3\n\nLicence expired\n",
        b"Optimize a model with 3 vehicles\nResult - 42 km\nObjective value: 42\n",
    ],
)
def test_a_log_without_a_solve_says_nothing(log):
    assert read(log) is None


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e+30", "-", "--", "9" * 50, "Large", "1e999"])
def test_what_is_no_finite_number_is_left_out(value):
    log = sample("highs-mip-optimal").replace(b"Primal bound      3089", f"Primal bound      {value}".encode())
    found = read(log).metrics
    assert "objective" not in found
    assert found["status"] == "optimal"


def test_numbers_of_a_thousand_digits_are_none():
    log = sample("gurobi-mip-optimal").replace(b"Explored 1 nodes", b"Explored " + b"1" * 900 + b" nodes")
    assert "nodes" not in read(log).metrics
