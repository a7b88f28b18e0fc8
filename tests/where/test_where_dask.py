"""dask: a local cluster whose workers are threads, or processes that get functions of the main program by value."""

import pytest

pytest.importorskip("distributed")

PROGRAM = """
    import os, signal, sys
    import dask
    from distributed import Client, KilledWorker, LocalCluster
    from nxtrack import current_run, track

    @track(app_id="dask")
    def solve(problem):
        print("solving", problem)
        if problem == 100:
            raise ValueError("no solution")
        if problem == 200:
            os.kill(os.getpid(), signal.SIGKILL)
        assert current_run().input == problem
        return 2 * problem

    def local():
        @track(app_id="dask")
        def solve(problem):
            print("solving", problem)
            return 2 * problem
        return solve

    class Model:
        @track(app_id="dask")
        def solve(self, problem):
            print("solving", problem)
            return 2 * problem

    if __name__ == "__main__":
        dask.config.set({"distributed.scheduler.allowed-failures": 0, "distributed.worker.preload": []})
        processes = sys.argv[1] == "processes"
        shape = {"n_workers": 2, "threads_per_worker": 2, "processes": processes, "dashboard_address": None}
        with LocalCluster(**shape) as cluster, Client(cluster) as client:
            for function, first in ((solve, 0), (local(), 8), (Model().solve, 16)):
                numbers = list(range(first, first + 8))
                assert client.gather(client.map(function, numbers)) == [2 * number for number in numbers]
            assert dask.compute(*(dask.delayed(solve)(number) for number in (24, 25))) == (48, 50)
            for number, raised in ((100, ValueError), *([(200, KilledWorker)] if processes else [])):
                try:
                    client.submit(solve, number).result()
                except raised:
                    pass
                else:
                    raise AssertionError(number)
"""


@pytest.mark.parametrize("kind", ["processes", "threads"])
def test_a_local_cluster(python, one_run_per_call, kind):
    python(PROGRAM, kind, PYTHONWARNINGS="ignore", timeout=80)
    runs = one_run_per_call(range(26), failed=[100, *([200] if kind == "processes" else [])])
    by = {run.input: run for run in runs}
    assert by[100].error == "ValueError: no solution"
    assert "ValueError: no solution" in by[100].logs
    if kind == "processes":
        assert (by[200].died, by[200].error) == (True, "process died: killed while solving")
