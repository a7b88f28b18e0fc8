"""Where solvers run by the standard library alone: pools whose workers end, are killed or fork; groups of tasks.

Each call is one run: none lost, none doubled, each with its own input, output and log.
"""

import asyncio
import importlib.util
import pickle
import sys

import cloudpickle
import pytest

from nxtrack import current_run, track

SOLVER = """
import concurrent.futures, multiprocessing, os, signal, sys
from nxtrack import current_run, track

@track(app_id="pools")
def solve(problem):
    print("solving", problem)
    if problem == 100:
        raise ValueError("no solution")
    if problem >= 200:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    assert current_run().input == problem
    return 2 * problem
"""

ENDING = """
if __name__ == "__main__":
    for place, method in enumerate(("spawn", "forkserver")):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context, max_tasks_per_child=2) as pool:
            for number in range(4 * place, 4 * place + 4):  # One by one: the pool itself may hang when more wait.
                assert pool.submit(solve, number).result() == 2 * number
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=1) as pool:
        assert pool.map(solve, range(8, 12), chunksize=1) == [16, 18, 20, 22]
        try:
            pool.apply(solve, (100,))
        except ValueError as error:
            assert str(error) == "no solution"
        pool.close()
        pool.join()
"""

KILLED = """
if __name__ == "__main__":
    for place, method in enumerate(("fork", "spawn", "forkserver")):
        context = multiprocessing.get_context(method)
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
            assert pool.submit(solve, place).result() == 2 * place
            try:
                pool.submit(solve, 200 + place).result()
            except concurrent.futures.process.BrokenProcessPool:
                pass
"""

PREFORKED = """
if __name__ == "__main__":
    solve(0)  # as a master does that tries what it has loaded
    workers = {}

    def fork(first):
        pid = os.fork()
        if pid == 0:
            for number in range(first, first + 4):
                solve(number if number != 6 else 200)
            sys.stdout.flush()
            os._exit(0)
        workers[pid] = first

    with track(input=300, app_id="pools") as run:  # whose master is in the middle of a run of its own
        for first in (1, 5, 9):
            fork(first)
        while workers:
            pid, status = os.wait()
            first = workers.pop(pid)
            if status:
                assert (first, os.waitstatus_to_exitcode(status)) == (5, -signal.SIGKILL)
                fork(20)
        run.output = 600
"""


def check(runs, solved, failed=(), killed=()):
    assert sorted(run.input for run in runs) == sorted([*solved, *failed, *killed])
    for run in runs:
        if run.input in killed:
            assert (run.status, run.died, run.error) == ("failed", True, "process died: killed while solving")
        elif run.input in failed:
            assert (run.status, run.error) == ("failed", "ValueError: no solution")
        else:
            assert (run.status, run.output) == ("succeeded", {"solution": 2 * run.input})
        if run.input != 300:
            assert run.logs.startswith(f"solving {run.input}\n")
            assert run.logs.count("solving") == 1


def test_workers_that_end_after_some_tasks(python, recorded):
    python(SOLVER + ENDING, NXTRACK_DURABILITY="process")
    check(recorded(), range(12), failed=[100])


def test_workers_that_are_killed(python, recorded):
    python(SOLVER + KILLED, NXTRACK_DURABILITY="process")
    check(recorded(), range(3), killed=[200, 201, 202])


def test_a_master_that_forks_its_workers(python, recorded):
    python(SOLVER + PREFORKED, NXTRACK_DURABILITY="process")
    check(recorded(), [0, 300, *range(1, 6), *range(9, 13), *range(20, 24)], killed=[200])


@track(app_id="tasks")
async def solve_slowly(problem):
    print("solving", problem)
    if problem == 3:
        raise ValueError("no solution")
    await asyncio.sleep(30 if problem > 3 else 0)
    return problem


@track(app_id="threads")
def solve(problem):
    print("solving", problem)
    assert current_run().input == problem
    return 2 * problem


def test_a_group_whose_tasks_are_cancelled(recorded):
    async def group():
        async with asyncio.TaskGroup() as tasks:
            for number in (1, 2, 4, 5, 3):
                tasks.create_task(solve_slowly(number))

    with pytest.raises(ExceptionGroup):
        asyncio.run(group())
    by = {run.input: run for run in recorded()}
    assert len(by) == len(recorded()) == 5
    assert {number: by[number].error for number in (3, 4, 5)} == {
        3: "ValueError: no solution",
        4: "CancelledError",
        5: "CancelledError",
    }
    for number in (1, 2):
        assert by[number].error in {None, "CancelledError"}
    for number, run in by.items():
        assert run.logs.startswith(f"solving {number}\n")
        assert run.logs.count("solving") == 1


def test_threads_that_tasks_wait_for(recorded):
    async def main():
        with track(input="around"):
            return await asyncio.gather(*(asyncio.to_thread(solve, number) for number in range(8)))

    assert asyncio.run(main()) == [2 * number for number in range(8)]
    runs = [run for run in recorded() if run.input != "around"]
    assert sorted(run.input for run in runs) == list(range(8))
    for run in runs:
        assert (run.output, run.logs) == ({"solution": 2 * run.input}, f"solving {run.input}\n")


def test_a_copy_of_cloudpickle_in_another_package(recorded, monkeypatch):
    """Ray, Spark and older joblib carry one; the wrapper would silently be lost on the way."""
    package = importlib.util.module_from_spec(importlib.util.spec_from_loader("carrier", None))
    monkeypatch.setitem(sys.modules, "carrier", package)
    spec = importlib.util.spec_from_file_location("carrier.cloudpickle", cloudpickle.cloudpickle.__file__)
    copied = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "carrier.cloudpickle", copied)
    spec.loader.exec_module(copied)

    @track(app_id="local")
    def local(problem):
        return problem

    assert pickle.loads(copied.dumps(local))(5) == 5
    assert [(run.app_id, run.input) for run in recorded()] == [("local", 5)]
