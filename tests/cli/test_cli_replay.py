"""`nxtrack replay`: a function run again on what was captured of a run."""

import json
import sys
import textwrap

import pytest

from nxtrack.spool.store import Spool

MODULE = """
    import asyncio, dataclasses, os, sys, time
    from nxtrack import current_run, track

    FACTOR = 2

    @dataclasses.dataclass
    class Problem:
        stops: list[int]
        depot: str = "north"

    @track
    def single(problem):
        print("solving", problem)
        return {"stops": problem, "total": FACTOR * sum(problem)}

    @track(options=["limit", "label", "deep", "none"])
    def several(stops, depots, limit=10, label="x", deep=None, none: str | None = None):
        current_run().log_metric("seconds", time.time())
        return {"stops": stops, "depots": depots, "options": [limit, label, deep, none], "factor": FACTOR}

    @track(input="problem", options=["limit"])
    def chosen(problem: Problem, depots=("a",), limit: float = 1):
        return [problem.stops, problem.depot, len(depots), limit * FACTOR]

    @track
    def mapped(problem, *more, **rest):
        return [problem, more, rest]

    @track
    def collected(*stops):
        return sum(stops)

    @track
    def failing(problem):
        raise ValueError("no solution", problem, FACTOR)

    @track
    async def waiting(problem):
        await asyncio.sleep(0)
        return problem * FACTOR

    @track
    def stepping(problem):
        for number in range(problem):
            yield number * FACTOR

    @track
    async def stepping_slowly(problem):
        for number in range(problem):
            yield number * FACTOR

    @track(enabled=False)
    def untracked(problem):
        return {"stops": problem, "total": FACTOR * sum(problem)}

    class Model:
        @track
        def solve(self, problem):
            return problem * FACTOR

        @track
        @classmethod
        def make(cls, problem):
            return [cls.__name__, problem * FACTOR]

        @track
        @staticmethod
        def free(problem):
            return problem * FACTOR

    model = Model()

    @track
    def assigned(problem):
        current_run().output = {"values": [0.1, 0.2 + FACTOR * 1e-9, 5], "name": "plan"}
        current_run().log_metric("nodes", FACTOR)
        current_run().log_asset("map", {"time": time.time()})
        print("on stdout")
        os.write(1, b"past Python\\n")

    def plain(problem):
        return {"stops": problem, "total": FACTOR * sum(problem)}

    def other(stops, depots, limit, label="x"):
        return {"limit": limit, "label": label}

    def needy(stops, depots, horizon):
        return None

    def positional(first, second, /):
        return None
"""

CALLS = """
    solve.single([1, 2])
    solve.several([1], ["a"], limit=5, label="7", deep={"a": [1.5]})
    solve.chosen(solve.Problem([3], "south"), limit=2)
    solve.mapped(1)
    solve.mapped({"problem": 1})
    solve.mapped(1, 2, 3, key="v")
    solve.collected(1, 2, 3)
    for function in (solve.failing, lambda problem: solve.single(problem, 2)):
        try:
            function([1])
        except (ValueError, TypeError):
            pass
    asyncio.run(solve.waiting(4))
    list(solve.stepping(3))
    async def drain():
        [number async for number in solve.stepping_slowly(3)]
    asyncio.run(drain())
    solve.Model().solve(1)
    solve.Model.make(1)
    solve.Model.free(1)
    solve.assigned(1)
"""

NAMES = ["single", "several", "chosen", "mapped", "mapped", "mapped", "collected", "failing", "single", "waiting"]
NAMES += ["stepping", "stepping_slowly", "model.solve", "Model.make", "Model.free", "assigned"]


@pytest.fixture
def replayed(tmp_path, monkeypatch, call):
    """Records all the calls with one version of the module; gives their ids, and replays with another."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    source = textwrap.dedent(MODULE)

    def load(factor=2):
        sys.modules.pop("solve", None)
        (tmp_path / "solve.py").write_text(source.replace("FACTOR = 2", f"FACTOR = {factor}"))

    load()
    exec(textwrap.dedent(f"import asyncio, solve\n{textwrap.dedent(CALLS)}"), {})
    spool = Spool(str(tmp_path / "spool"))
    ids = [entry.run_id for entry in spool.entries()]
    assert len(ids) == len(NAMES)

    def replay(run_id, name, *more, factor=2):
        load(factor)
        status, out, err = call("replay", run_id, name, "--json", *more)
        assert [entry.run_id for entry in spool.entries()] == ids, "a replay adds no run"
        return status, json.loads(out) if out else None, err

    yield ids, replay
    sys.modules.pop("solve", None)


def test_unchanged_functions_give_the_same(replayed):
    ids, replay = replayed
    for run_id, name in zip(ids, NAMES, strict=True):
        status, found, err = replay(run_id, f"solve:{name}")
        assert found, (name, err)
        assert (status, found["same"], found["changes"]) == (0, True, []), (name, found)


def test_changed_functions_give_something_else(replayed):
    ids, replay = replayed
    by = dict(zip(NAMES, ids, strict=True))
    for name, path in {
        "chosen": ["solution[3]"],
        "waiting": ["solution"],
        "stepping": ["solution"],
        "stepping_slowly": ["solution"],
        "model.solve": ["solution"],
        "Model.make": ["solution[1]"],
        "Model.free": ["solution"],
        "several": ["factor"],
        "failing": [],
    }.items():
        status, found, _ = replay(by[name], f"solve:{name}", factor=3)
        assert (status, found["same"]) == (1, False)
        assert [change["path"] for change in found["changes"]] == path
    assert found["error"] == {
        "old": "ValueError: ('no solution', [1], 2)",
        "new": "ValueError: ('no solution', [1], 3)",
    }


def test_functions_of_other_names_and_ways(replayed, tmp_path):
    ids, replay = replayed
    assert replay(ids[0], "solve:plain")[0] == 0
    assert replay(ids[0], "solve:untracked")[0] == 0
    assert replay(ids[0], "solve.py:single")[0] == 0
    assert replay(ids[0], f"{tmp_path}/solve.py:plain", factor=3)[1]["changes"] == [
        {"path": "total", "kind": "changed", "old": "6", "new": "9"}
    ]
    status, found, _ = replay(ids[1], "solve:other")
    assert status == 1
    added = {change["path"]: (change["kind"], change["new"]) for change in found["changes"]}
    assert (added["limit"], added["label"]) == (("added", "5"), ("added", '"7"'))
    assert added["factor"] == ("removed", None)


def test_numbers_within_a_tolerance_and_ignored_places(replayed):
    ids, replay = replayed
    status, found, err = replay(ids[-1], "solve:assigned", factor=3)
    assert (status, [change["path"] for change in found["changes"]]) == (1, ["values[1]"])
    assert found["metrics"] == [{"name": "nodes", "old": 2, "new": 3, "change": 1.0}]
    assert "on stdout" in err
    assert replay(ids[-1], "solve:assigned", "--tolerance", "1e-6", factor=3)[0] == 0
    assert replay(ids[-1], "solve:assigned", "--ignore", "values", factor=3)[0] == 0
    assert replay(ids[-1], "solve:assigned", "--ignore", "values[0]", factor=3)[0] == 1


def test_the_page(replayed, call):
    ids, replay = replayed
    replay(ids[0], "solve:single")
    status, out, err = call("replay", ids[0][:20], "solve:failing")
    assert (status, err) == (1, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["Run", ids[0], "replayed", "by", "solve:failing."]
    assert ["status", "succeeded", "failed"] in lines
    assert "Error when captured: none\nError when replayed: ValueError: ('no solution', [1, 2], 2)\n" in out
    assert 'Output differs in 1 place:\n  ±  the whole output  {"stops":[1,2],"total":6} → null\n' in out
    assert out.endswith("\nDifferent.\n")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("solve", "names no function"),
        ("nowhere:solve", "could not be imported: ModuleNotFoundError"),
        ("solve:nothing", "solve has no nothing."),
        ("solve:Model", "is no function"),
        ("solve:FACTOR", "is no function"),
        ("solve:Model.solve", "name it by an instance"),
        ("nowhere.py:solve", "There is no file nowhere.py."),
        ("solve:positional", "does not name its arguments"),
        ("broken.py:solve", "could not be imported: SyntaxError"),
        ("leaving.py:solve", "could not be imported: SystemExit: 3"),
    ],
)
def test_what_cannot_be_replayed(replayed, tmp_path, name, said):
    (tmp_path / "broken.py").write_text("def")
    (tmp_path / "leaving.py").write_text("raise SystemExit(3)")
    ids, replay = replayed
    status, found, err = replay(ids[0], name)
    assert (status, found) == (2, None)
    assert said in err
    assert err.count("\n") == 1


def test_arguments_that_the_run_does_not_hold(replayed):
    ids, replay = replayed
    status, _, err = replay(ids[1], "solve:positional")
    assert status == 2
    assert "It does not take stops, depots, which the run's input holds." in err
    status, _, err = replay(ids[1], "solve:needy")
    assert status == 2
    assert "It also takes horizon, which the run does not hold: give a default." in err


def test_runs_that_cannot_be_replayed_and_altered_inputs(call, tmp_path, monkeypatch, solved):
    from nxtrack import track

    monkeypatch.chdir(tmp_path)
    (tmp_path / "same.py").write_text("def same(problem):\n    return problem\n")
    with track(input=1) as run:
        assert "has not ended yet" in call("replay", run.id, "same.py:same")[2]
    with track() as run:
        pass
    assert call("replay", run.id, "same.py:same") == (2, "", f"Run {run.id} has no input to replay.\n")
    (run_id,) = solved(data={"gap": float("nan")}, output={"gap": None})
    status, out, _ = call("replay", run_id, "same.py:same")
    assert status == 0
    assert "Note: the input was altered when it was captured: 1 value that is not finite became null.\n" in out


def test_what_c_prints_stays_off_stdout(replayed, process, tmp_path):
    ids, replay = replayed
    replay(ids[-1], "solve:assigned")
    done = process("replay", ids[-1], "solve:assigned", "--json")
    assert json.loads(done.stdout)["same"]
    assert "on stdout" in done.stderr
    assert "past Python" in done.stderr


def test_it_needs_no_server(replayed, python):
    """Differences are told by the code that the local platform tells them by, whose packages are an extra."""
    ids, replay = replayed
    replay(ids[0], "solve:single")
    python(
        f"""
        import sys
        for name in ("jinja2", "starlette", "uvicorn", "markupsafe"):
            sys.modules[name] = None
        from nxtrack.cli.main import main
        sys.exit(main(["replay", {ids[0]!r}, "solve:single"]))
        """
    )
