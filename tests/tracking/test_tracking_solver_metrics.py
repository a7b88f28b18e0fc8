"""A run whose log holds a solver's: metrics and charts, without a change to the program, and never in its way."""

import json
import signal
import sys
from pathlib import Path

import pytest

from nxtrack import configure, current_run, solverlogs, track
from nxtrack.spool import logparts

LOGS = Path(__file__).parents[1] / "solverlogs"
STATUS = {"highs-mip-optimal": "optimal", "gurobi-mip-time-limit": "time_limit", "scip-mip-infeasible": "infeasible"}


def log(name):
    return (LOGS / f"{name}.log").read_text(encoding="utf-8")


@track
def solve(name, result=None):
    print(log(name))
    return result


def charts(run):
    return {asset["name"]: asset["content"] for asset in (run.output or {}).get("assets", ())}


@pytest.mark.parametrize("name", STATUS)
def test_a_run_that_returns_nothing_has_the_solvers_metrics(name, only):
    solve(name)
    run = only()
    assert run.output["metrics"]["status"] == STATUS[name]
    assert (run.status, run.notes) == ("succeeded", [])
    assert {key: value for key, value, _ in run.metrics} == run.output["metrics"]  # so that `show` tells them


def test_the_solvers_metrics_beside_an_output(only):
    assert solve("highs-mip-optimal", {"plan": [1]}) == {"plan": [1]}
    output = only().output
    assert output["plan"] == [1]
    assert output["metrics"].keys() >= {"solver", "status", "objective", "bound", "gap", "nodes", "iterations", "time"}
    assert output["metrics"]["objective"] == 3089
    (chart,) = charts(only())["HiGHS progress"]
    ends = {line["label"]: line["data"][-1] for line in chart["data"]["datasets"]}
    assert ends == {"objective": {"x": 0.1, "y": 3089.0}, "bound": {"x": 0.1, "y": 3089.0}}


def test_what_is_returned_and_logged_wins(only):
    with track() as run:
        print(log("highs-mip-optimal"))
        run.log_metric("gap", "mine")
        run.log_metric("nodes", 12)
        run.output = {"metrics": {"nodes": 13, "objective": None}}
    found = only()
    assert {key: found.output["metrics"][key] for key in ("gap", "nodes", "objective", "status")} == {
        "gap": "mine",
        "nodes": 13,
        "objective": None,
        "status": "optimal",
    }
    assert [(name, value) for name, value, _ in found.metrics if name == "gap"] == [("gap", "mine")]


def test_a_run_that_fails_tells_infeasible_from_a_crash(recorded):
    @track
    def fail(name):
        print(log(name))
        raise RuntimeError

    for name in ("gurobi-lp-infeasible", "highs-mip-killed", "gurobi-mip-ctrl-c"):
        with pytest.raises(RuntimeError):
            fail(name)
    statuses = [(run.status, run.output["metrics"]["status"]) for run in recorded()]
    assert statuses == [("failed", "infeasible"), ("failed", "unknown"), ("failed", "interrupted")]


def test_logged_series_become_charts(only):
    with track() as run:
        for step in range(3):
            run.log_metric("gap", 1 / (step + 1), step=step)
        run.log_metric("cost", 5)
    (chart,) = charts(only())["Series of metrics"]
    assert [dataset["label"] for dataset in chart["data"]["datasets"]] == ["gap"]
    assert [point["x"] for point in chart["data"]["datasets"][0]["data"]] == [0, 1, 2]


def test_a_killed_run_has_its_charts_too(python, recorded):
    python(
        """
        import os, signal
        from nxtrack import track
        with track() as run:
            for step in range(5):
                run.log_metric("cost", 100 - step, step=step)
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        status=-9,
    )
    (run,) = recorded()
    assert run.died
    assert run.output["metrics"] == {"cost": 96}
    (chart,) = charts(run)["Series of metrics"]
    assert [point["y"] for point in chart["data"]["datasets"][0]["data"]] == [100, 99, 98, 97, 96]


def test_it_can_be_turned_off(only):
    configure(solver_metrics="off")
    solve("highs-mip-optimal")
    assert (only().output, only().metrics) == (None, [])


def test_a_run_without_a_solver_gets_nothing(recorded):
    @track
    def greedy(many):
        for number in range(many):
            print(f"vehicle {number}: Optimal, 10% in 3.0s")
        return {"routes": many}

    greedy(0)
    greedy(100)
    assert [(run.output, run.metrics) for run in recorded()] == [({"routes": 0}, []), ({"routes": 100}, [])]


def test_a_run_without_a_log_is_not_looked_at(monkeypatch, only):
    monkeypatch.setattr(logparts, "_read", lambda *_: pytest.fail("a log was read"))
    track(lambda: {"x": 1})()
    assert only().output == {"x": 1}


@pytest.mark.parametrize("fault", [ValueError("of ours"), OSError(5, "Input/output error"), RecursionError()])
def test_a_fault_of_ours_costs_nothing_but_the_metrics(fault, monkeypatch, only, warned):
    def read(_):
        raise fault

    monkeypatch.setattr(solverlogs, "read", read)
    assert solve("highs-mip-optimal", {"plan": 1}) == {"plan": 1}
    assert (only().status, only().output) == ("succeeded", {"plan": 1})
    assert only().logs == log("highs-mip-optimal") + "\n"
    (sentence,) = warned()
    assert sentence.startswith("nxtrack could not read solver metrics: ")


def test_of_a_long_log_the_beginning_and_the_end_are_read(monkeypatch, only):
    monkeypatch.setattr(solverlogs, "MOST_READ", 3000)
    with track():
        print(log("highs-mip-time-limit")[:2600])
        print("x" * 50_000)
        print("\n" + log("highs-mip-time-limit")[-1200:])
    metrics = only().output["metrics"]
    assert (metrics["status"], metrics["objective"], metrics["solves"]) == ("time_limit", 12715.8923791, 1)


def test_what_is_redacted_is_in_no_metric_and_no_chart(only):
    with track(redact=["objective", "cost"]) as run:
        print(log("highs-mip-optimal"))
        for step in range(3):
            run.log_metric("cost", 777 + step, step=step)
    found = only()
    assert found.output["metrics"]["objective"] == found.output["metrics"]["cost"] == "***"
    assert ("objective", "***", None) in found.metrics
    labels = [
        line["label"] for content in charts(found).values() for chart in content for line in chart["data"]["datasets"]
    ]
    assert labels == ["bound"]
    assert "777" not in str(found.output)


def test_a_redacting_function_may_make_anything_of_a_metric(only):
    def hide(value):
        return {"status": {"was": "text"}} if "status" in value else [1] if "bound" in value else value

    with track(redact=hide):
        print(log("scip-lp-optimal"))
    assert {("status", '{"was":"text"}', None), ("bound", None, None)} <= set(only().metrics)


def test_nested_runs_have_their_own(recorded):
    @track
    def inner():
        print(log("scip-mip-optimal"))

    @track
    def outer():
        print(log("highs-mip-infeasible"))
        inner()
        assert current_run().name is None

    outer()
    solvers = sorted((run.output["metrics"]["solver"], run.output["metrics"]["status"]) for run in recorded())
    assert solvers == [("HiGHS", "infeasible"), ("SCIP", "optimal")]


def test_an_output_of_the_nextmv_sdk(recorded):
    nextmv = pytest.importorskip("nextmv")

    @track
    def model(**fields):
        print(log("highs-mip-optimal"))
        return nextmv.Output(solution={"x": 1}, **fields)

    model()
    model(metrics={"objective": "mine"})
    first, second = recorded()
    assert (first.output["solution"], first.output["metrics"]["objective"]) == ({"x": 1}, 3089)
    assert (second.output["metrics"]["objective"], second.output["metrics"]["status"]) == ("mine", "optimal")
    assert charts(first).keys() == charts(second).keys() == {"HiGHS progress"}


KILLED = """
    import os, re, signal, sys
    from nxtrack import track

    with track({arguments}):
        with open(sys.argv[1], "rb") as file:
            os.write(1, file.read())
        os.kill(os.getpid(), signal.SIGKILL)
    """


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such descriptors")
@pytest.mark.parametrize(
    ("arguments", "setting", "status"),
    [
        ("redact=['password', re.compile('secret')]", "auto", "killed"),
        ("", "off", None),
        ("redact='Objective'", "auto", None),
        ("redact=re.compile('bound|gap')", "auto", None),
        ("redact=lambda value: value", "auto", None),
    ],
)
def test_a_killed_run_tells_of_its_solver_what_it_may(python, recovered, arguments, setting, status):
    file, program = LOGS / "highs-mip-killed.log", KILLED.format(arguments=arguments)
    python(program, str(file), status=-signal.SIGKILL, NXTRACK_SOLVER_METRICS=setting)
    found = recovered()
    assert ("log is left out" if "lambda" in arguments else "Running HiGHS") in found.logs
    assert (found.output or {}).get("metrics", {}).get("status") == status


def test_the_solver_itself(python):
    """What HiGHS prints in the version that is installed, read and compared with its API."""
    done = python("""
        import ctypes, json, sys
        import highspy

        def solve(build, **options):
            model = highspy.Highs()
            for name, value in options.items():
                model.setOptionValue(name, value)
            build(model)
            info = model.getInfo()
            ctypes.CDLL(None).fflush(None)  # what C printed waits in its own buffer
            print("MARK", flush=True)
            told = (info.objective_function_value, info.mip_dual_bound, info.mip_node_count)
            print(json.dumps([model.modelStatusToString(model.getModelStatus()), *told]), file=sys.stderr)

        def knapsack(model):
            xs = [model.addBinary() for _ in range(20)]
            model.addConstr(sum((7 * n % 19 + 3) * x for n, x in enumerate(xs)) <= 60)
            model.maximize(sum((5 * n % 17 + 4) * x for n, x in enumerate(xs)))

        def contradiction(model):
            x = model.addIntegral(lb=0)
            y = model.addIntegral(lb=0)
            model.addConstr(2 * x + 4 * y == 7)
            model.minimize(x + y)

        def blend(model):
            x, y = model.addVariable(lb=0), model.addVariable(lb=0)
            model.addConstr(x + 3 * y <= 10)
            model.addConstr(2 * x + y <= 9.5)
            model.maximize(3 * x + 2 * y)

        solve(knapsack, mip_rel_gap=0.0)
        solve(contradiction)
        solve(blend)
        """)
    truths = [json.loads(line) for line in done.stderr.splitlines()]
    found = [solverlogs.read(part.encode()).metrics for part in done.stdout.split("MARK")[:3]]
    knapsack, contradiction, blend = found
    assert [status for status, *_ in truths] == ["Optimal", "Infeasible", "Optimal"]
    assert [metrics["status"] for metrics in found] == ["optimal", "infeasible", "optimal"]
    assert [knapsack[name] for name in ("objective", "bound", "nodes")] == [pytest.approx(x) for x in truths[0][1:]]
    assert "objective" not in contradiction
    assert blend["objective"] == pytest.approx(truths[2][1]) == pytest.approx(15.3)
    assert solverlogs.read(done.stdout.encode()).metrics["solves"] == 3
