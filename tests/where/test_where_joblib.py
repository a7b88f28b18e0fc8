"""joblib: loky's workers, which get functions of the main program by value; threads; multiprocessing's pool."""

import pytest

pytest.importorskip("joblib")

PROGRAM = """
    import sys
    from joblib import Parallel, delayed
    from nxtrack import current_run, track

    @track(app_id="joblib")
    def solve(problem):
        print("solving", problem)
        assert current_run().input == problem
        return 2 * problem

    def local():
        @track(app_id="joblib")
        def solve(problem):
            print("solving", problem)
            return 2 * problem
        return solve

    class Model:
        @track(app_id="joblib")
        def solve(self, problem):
            print("solving", problem)
            return 2 * problem

    if __name__ == "__main__":
        backend, kind = sys.argv[1:]
        function = {"main": solve, "local": local(), "method": Model().solve}[kind]
        found = Parallel(n_jobs=2, backend=backend)(delayed(function)(number) for number in range(8))
        assert found == [2 * number for number in range(8)], found
"""


@pytest.mark.parametrize("kind", ["main", "local", "method"])
@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_every_backend(python, one_run_per_call, backend, kind):
    python(PROGRAM, backend, kind)
    one_run_per_call(range(8))


def test_a_pool_of_multiprocessing(python, one_run_per_call):
    """It pickles as the standard library does, which takes no local function, tracked or not."""
    python(PROGRAM, "multiprocessing", "main")
    one_run_per_call(range(8))


KILLED = """
    import os, signal, sys
    from joblib import Parallel, delayed
    from joblib.externals.loky.process_executor import TerminatedWorkerError
    from nxtrack import track

    @track(app_id="joblib")
    def solve(problem):
        print("solving", problem)
        if problem == 3:
            sys.stdout.flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return 2 * problem

    if __name__ == "__main__":
        try:
            Parallel(n_jobs=1, backend="loky")(delayed(solve)(number) for number in [3])
        except TerminatedWorkerError:
            pass
        assert Parallel(n_jobs=2, backend="loky")(delayed(solve)(number) for number in range(3)) == [0, 2, 4]
"""


def test_a_worker_that_is_killed(python, one_run_per_call):
    """joblib with one job solves in the program itself, so two jobs make a worker of it."""
    python(KILLED.replace("n_jobs=1", "n_jobs=2").replace("in [3]", "in [3, 3]").replace("[3, 3]", "[3]"))
    runs = one_run_per_call(range(3), failed=[3])
    (dead,) = (run for run in runs if run.input == 3)
    assert (dead.died, dead.error) == (True, "process died: killed while solving")
