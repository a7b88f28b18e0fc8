"""ray: tasks and actors in its workers, which get functions of the main program by value."""

import pytest

pytest.importorskip("ray")

PROGRAM = """
    import os, signal
    import ray
    from nxtrack import current_run, track

    @track(app_id="ray")
    def solve(problem):
        print("solving", problem)
        if problem == 100:
            raise ValueError("no solution")
        if problem == 200:
            os.kill(os.getpid(), signal.SIGKILL)
        assert current_run().input == problem
        return 2 * problem

    @ray.remote
    @track(app_id="ray")
    def decorated(problem):
        print("solving", problem)
        return 2 * problem

    @ray.remote
    class Actor:
        @track(app_id="ray")
        def solve(self, problem):
            print("solving", problem)
            return 2 * problem

    if __name__ == "__main__":
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)

        @track(app_id="ray")
        def local(problem):
            print("solving", problem)
            return 2 * problem

        remotes = [ray.remote(solve), decorated, ray.remote(local)]
        for place, remote in enumerate(remotes):
            numbers = list(range(4 * place, 4 * place + 4))
            assert ray.get([remote.remote(number) for number in numbers]) == [2 * number for number in numbers]
        actor = Actor.remote()
        assert ray.get([actor.solve.remote(number) for number in range(12, 16)]) == [24, 26, 28, 30]
        for number in (100, 200):
            try:
                ray.get(remotes[0].options(max_retries=0).remote(number))
            except ray.exceptions.RayError:
                pass
            except ValueError:
                pass
            else:
                raise AssertionError(number)
        ray.shutdown()
"""


def test_tasks_and_actors(python, one_run_per_call, tmp_path):
    python(PROGRAM, PYTHONWARNINGS="ignore", RAY_USAGE_STATS_ENABLED="0", timeout=100)
    by = {run.input: run for run in one_run_per_call(range(16), failed=[100, 200])}
    assert by[100].error == "ValueError: no solution"
    assert (by[200].died, by[200].error) == (True, "process died: killed while solving")
