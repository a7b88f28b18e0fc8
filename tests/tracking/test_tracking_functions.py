"""A tracked function looks, pickles and copies like the function it stands for, and is tracked wherever it gets to."""

import asyncio
import concurrent.futures
import copy
import functools
import inspect
import math
import multiprocessing
import pickle
import types

import cloudpickle
import pytest

from nxtrack import track
from nxtrack.tracking.functions import Tracked, TrackedFunction, source_of


def bare(problem: dict[str, int], /, depots: "list[int]", *rest: int, time_limit: float = 10, **more: str) -> dict:
    """Solves a problem."""
    return {}


async def bare_async(problem: int) -> int:
    """Solves it in the end."""
    return problem


def bare_generator(problem: int):
    """Yields."""
    yield problem


async def bare_async_generator(problem: int):
    """Yields in the end."""
    yield problem


class Solver:
    """Has methods of all kinds."""

    def __init__(self, factor=1):
        self.factor = factor

    @track
    def solve(self, problem: int) -> int:
        """Solves."""
        return problem * self.factor

    @track
    @classmethod
    def make(cls, problem: int) -> str:
        """Makes."""
        return cls.__name__ * problem

    @classmethod
    @track
    def make_inside(cls, problem):
        return cls.__name__ * problem

    @track
    @staticmethod
    def free(problem):
        return problem

    @staticmethod
    @track
    def free_inside(problem):
        return problem

    @track
    async def solve_async(self, problem):
        return problem * self.factor

    @track
    def steps(self, problem):
        yield problem * self.factor

    @property
    @track
    def value(self):
        return self.factor

    def __call__(self, problem):
        return problem * self.factor

    def __eq__(self, other):
        return vars(self) == vars(other)

    __hash__ = None


class Child(Solver):
    @track
    def solve(self, problem):
        return super().solve(problem) + 1


@track(app_id="routing", input="problem", options=["time_limit"])
def solve(problem, time_limit=5):
    """Doubles."""
    print("solving", problem)
    return problem * 2


@track
async def solve_async(problem):
    return problem * 2


@track
def steps(problem):
    yield problem


def untracked(problem):
    return problem + 1


tracked_elsewhere = track(app_id="other")(untracked)
tracked_partial = track(functools.partial(untracked))
tracked_solver = track(Solver(3))
tracked_method = track(Solver(4).__call__)
tracked_builtin = track(math.floor)
tracked_lambda = track(lambda problem: problem)


@pytest.mark.parametrize("function", [bare, bare_async, bare_generator, bare_async_generator])
def test_it_looks_like_the_function(function):
    tracked = track(function)
    for name in ("__name__", "__qualname__", "__doc__", "__module__", "__annotations__", "__defaults__", "__dict__"):
        assert getattr(tracked, name) == getattr(function, name)
    assert tracked.__code__ is function.__code__
    assert tracked.__wrapped__ is function
    assert inspect.signature(tracked) == inspect.signature(function)
    assert inspect.getsource(tracked) == inspect.getsource(function)
    assert isinstance(tracked, types.FunctionType)
    assert callable(tracked)
    for check in (
        inspect.isfunction,
        inspect.isroutine,
        inspect.isgeneratorfunction,
        inspect.iscoroutinefunction,
        inspect.isasyncgenfunction,
        inspect.ismethod,
        inspect.isclass,
        asyncio.iscoroutinefunction,
    ):
        assert check(tracked) == check(function), check
    assert tracked == function
    assert hash(tracked) == hash(function)


def test_methods_look_like_methods():
    solver = Solver()
    assert inspect.ismethod(solver.solve)
    assert solver.solve.__self__ is solver
    assert solver.solve.__func__ is Solver.__dict__["solve"].__wrapped__
    assert str(inspect.signature(solver.solve)) == "(problem: int) -> int"
    assert str(inspect.signature(Solver.solve)) == "(self, problem: int) -> int"
    assert str(inspect.signature(Solver.make)) == "(problem: int) -> str"
    assert (solver.solve.__doc__, Solver.make.__doc__) == ("Solves.", "Makes.")
    assert solver.solve == solver.solve
    assert inspect.iscoroutinefunction(solver.solve_async)
    assert inspect.isgeneratorfunction(Solver.steps)
    assert isinstance(Solver.__dict__["make"], classmethod)


def test_attributes_go_to_the_function():
    tracked = track(bare)
    tracked.tag = 5
    assert bare.tag == 5
    del tracked.tag
    assert not hasattr(bare, "tag")


def test_methods_of_every_kind(recorded):
    solver = Solver(2)
    assert solver.solve(5) == 10
    assert Solver.solve(solver, 5) == 10
    assert (solver.make(1), Solver.make(1), Child.make(1)) == ("Solver", "Solver", "Child")
    assert (solver.make_inside(1), Child.make_inside(1)) == ("Solver", "Child")
    assert (solver.free(1), Solver.free(2), Solver.free_inside(3), solver.free_inside(4)) == (1, 2, 3, 4)
    assert asyncio.run(solver.solve_async(5)) == 10
    assert list(solver.steps(5)) == [10]
    assert solver.value == 2
    runs = recorded()
    assert len(runs) == 14
    assert {run.status for run in runs} == {"succeeded"}
    assert [run.input for run in runs] == [5, 5, 1, 1, 1, 1, 1, 1, 2, 3, 4, 5, 5, {}]
    assert runs[0].source == "tests.tracking.test_tracking_functions.Solver.solve"


def test_an_overridden_method_and_its_super_are_two_runs(recorded):
    assert Child(2).solve(5) == 11
    assert [run.source.rpartition("functions.")[2] for run in recorded()] == ["Child.solve", "Solver.solve"]


def test_a_tracked_method_of_two_instances_is_recursion_when_nested(only):
    class Tree:
        def __init__(self, *children):
            self.children = children

        @track
        def size(self):
            return 1 + sum(child.size() for child in self.children)

    assert Tree(Tree(), Tree(Tree())).size() == 4
    assert only().output == {"solution": 4}


def test_tracked_twice_is_two_runs(recorded):
    assert track(track(bare))({}, []) == {}
    assert len(recorded()) == 2


ROUND_TRIPS = [
    solve,
    solve_async,
    steps,
    tracked_elsewhere,
    tracked_partial,
    tracked_solver,
    tracked_method,
    tracked_builtin,
    Solver(3).solve,
    Solver.solve,
    Solver.make,
    Solver(3).make,
    Child.make,
    Solver.make_inside,
    Solver.free,
    Solver(3).free,
    Solver.free_inside,
    Solver(3).solve_async,
]


def called(function):
    result = function(Solver(7), 5) if "self" in inspect.signature(function).parameters else function(5)
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    return list(result) if inspect.isgenerator(result) else result


def same(value):
    return value


def of_pickle(protocol):
    return pytest.param(lambda value: pickle.loads(pickle.dumps(value, protocol)), id=f"pickle{protocol}")


@pytest.mark.parametrize("function", ROUND_TRIPS, ids=lambda function: getattr(function, "__qualname__", "other"))
@pytest.mark.parametrize(
    "move",
    [
        *map(of_pickle, range(pickle.HIGHEST_PROTOCOL + 1)),
        pytest.param(lambda value: pickle._loads(pickle._dumps(value)), id="python"),
        pytest.param(lambda value: pickle.loads(cloudpickle.dumps(value)), id="cloudpickle"),
        copy.copy,
        copy.deepcopy,
    ],
)
def test_it_stays_itself_on_the_way(function, move, recorded):
    moved = move(function)
    assert called(moved) == called(function)
    runs = recorded()
    assert len(runs) == 2
    assert (runs[0].source, runs[0].app_id) == (runs[1].source, runs[1].app_id)


def test_what_is_found_by_name_is_the_very_one():
    for move in (copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        assert move(solve) is solve
        assert move([solve, solve])[1] is solve
    assert copy.copy(Solver.solve).__wrapped__ is Solver.solve.__wrapped__


def test_a_deep_copy_of_a_method_has_an_instance_of_its_own():
    bound = Solver(3).solve
    moved = copy.deepcopy(bound)
    assert moved.__self__ == bound.__self__
    assert moved.__self__ is not bound.__self__
    assert copy.copy(bound).__self__ is bound.__self__


def test_what_plain_functions_cannot_tracked_ones_cannot_either():
    def local(problem): ...

    for function in (local, tracked_lambda.__wrapped__):
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(function)
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(track(function))


def test_cloudpickle_of_local_functions(recorded):
    depth = 3

    @track(app_id="local")
    def search(level):
        return 1 + search(level - 1) if level else depth

    moved = pickle.loads(cloudpickle.dumps(search))
    assert moved(2) == 5
    assert [(run.app_id, run.output) for run in recorded()] == [("local", {"solution": 5})]


def test_a_class_in_a_process_pool_of_any_kind(recorded):
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
            jobs = [solve, Solver(2).solve, Solver.make, tracked_elsewhere, tracked_solver]
            results = [job.result() for job in [pool.submit(function, 3) for function in jobs]]
        assert results == [6, 6, "SolverSolverSolver", 4, 9]
        with pytest.raises(TypeError), concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            pool.submit(solve, None).result()
    runs = recorded()
    assert len(runs) == 18
    assert [run.status for run in runs].count("failed") == 3
    assert {run.logs for run in runs if run.app_id == "routing" and run.status == "succeeded"} == {"solving 3\n"}


def test_a_multiprocessing_pool(recorded):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(solve, range(20)) == list(range(0, 40, 2))
        assert pool.starmap(solve, [(1, 2), (3, 4)]) == [2, 6]
        pool.close()
        pool.join()
    assert len({run.id for run in recorded()}) == 22
    assert {run.state for run in recorded()} == {"ready"}


def test_threads(recorded):
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert list(pool.map(solve, range(100))) == list(range(0, 200, 2))
    runs = recorded()
    assert len(runs) == 100
    for run in runs:
        assert run.output == {"solution": run.input * 2}
        assert run.logs == f"solving {run.input}\n"


MAIN = """
    import pickle, subprocess, sys
    import cloudpickle
    from nxtrack import track

    @track(app_id="main")
    def search(level):
        print("level", level)
        return 1 + search(level - 1) if level else 0

    class Solver:
        @track
        def solve(self, problem):
            return problem

        @track
        @staticmethod
        def free(problem):
            return problem

        @track
        @classmethod
        def make(cls, problem):
            return problem

    if __name__ == "__main__":
        jobs = [search, Solver().solve, Solver.solve, Solver.free, Solver().free, Solver.make, Solver().make]
        jobs.append(track(lambda problem: problem))
        data = cloudpickle.dumps(jobs)
        program = (
            "import pickle, sys; jobs = pickle.load(sys.stdin.buffer);"
            "[job(jobs[1].__self__, 2) if job is jobs[2] else job(2) for job in jobs]"
        )
        subprocess.run([sys.executable, "-c", program], input=data, check=True)
"""


def test_cloudpickle_of_what_stands_in_main(python, recorded):
    """As dask, ray and loky do it; the wrapper would silently be lost on the way."""
    python(MAIN)
    runs = recorded()
    assert len(runs) == 8
    assert [run.input for run in runs] == [2] * 8
    assert (runs[0].app_id, runs[0].output, runs[0].logs) == ("main", {"solution": 2}, "level 2\nlevel 1\nlevel 0\n")


POOLS = """
    import concurrent.futures, multiprocessing
    from nxtrack import track

    @track
    def solve(problem):
        print("solving", problem)
        return problem * 2

    if __name__ == "__main__":
        for method in ("fork", "spawn"):
            context = multiprocessing.get_context(method)
            with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
                assert list(pool.map(solve, range(4))) == [0, 2, 4, 6]
"""


def test_pools_of_what_stands_in_main(python, recorded):
    assert "Error" not in python(POOLS).stderr
    assert sorted(run.input for run in recorded()) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert {(run.source, run.logs) for run in recorded()} == {
        ("program.solve", f"solving {number}\n") for number in range(4)
    }


def test_sources():
    assert source_of(len) == "builtins.len"
    assert source_of(functools.partial(len)) == "functools.partial"
    assert source_of(type("Nameless", (), {"__module__": None, "__call__": len})()) == "?.Nameless"
    assert isinstance(object.__getattribute__(solve, "_self_tracked"), Tracked)
    assert type(solve) is TrackedFunction
