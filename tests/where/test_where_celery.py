"""Celery: a worker that forks its pool of processes, with a broker of files, maybe a new process for each task."""

import textwrap

import pytest

pytest.importorskip("celery")

TASKS = """
    import os, signal
    from celery import Celery
    from nxtrack import current_run, track

    app = Celery("tasks", broker="filesystem://", backend="file://" + os.path.abspath("results"))
    app.conf.update(
        broker_transport_options={
            "data_folder_in": os.path.abspath("queue"),
            "data_folder_out": os.path.abspath("queue"),
            "control_folder": os.path.abspath("control"),
            "processed_folder": os.path.abspath("processed"),
            "polling_interval": 0.05,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
    )

    @app.task
    @track(app_id="celery")
    def solve(problem):
        print("solving", problem)
        if problem == 100:
            raise ValueError("no solution")
        if problem == 200:
            os.kill(os.getpid(), signal.SIGKILL)
        assert current_run().input == problem
        return 2 * problem

    @app.task(bind=True)
    @track(app_id="celery")
    def solve_bound(self, problem):
        print("solving", problem)
        return 2 * problem
"""

PROGRAM = """
    import os, signal, subprocess, sys
    for folder in ("queue", "control", "processed", "results"):
        os.mkdir(folder)
    from celery.exceptions import WorkerLostError
    from tasks import solve, solve_bound
    worker = subprocess.Popen([sys.executable, "-m", "celery", "-A", "tasks", "worker", "--loglevel=warning",
        "--pool=prefork", "--concurrency=2", "--without-gossip", "--without-mingle", "--without-heartbeat",
        *sys.argv[1:]])
    try:
        tasks = [solve.delay(number) for number in range(8)] + [solve_bound.delay(number) for number in range(8, 12)]
        assert [task.get(timeout=40, interval=0.05) for task in tasks] == [2 * number for number in range(12)]
        # That it was lost is told 10 s later.
        for number, raised in ((100, ValueError), (200, WorkerLostError))[: 1 if sys.argv[1:] else 2]:
            try:
                solve.delay(number).get(timeout=40, interval=0.05)
            except raised:
                pass
            else:
                raise AssertionError(number)
        assert solve.delay(12).get(timeout=40, interval=0.05) == 24
    finally:
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
"""


@pytest.mark.parametrize("more", [[], ["--max-tasks-per-child=1"]], ids=["prefork", "one process a task"])
def test_a_worker_that_forks(python, one_run_per_call, tmp_path, more):
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASKS))
    python(PROGRAM, *more, PYTHONWARNINGS="ignore", C_FORCE_ROOT="1", timeout=100)
    by = {run.input: run for run in one_run_per_call(range(13), failed=[100] if more else [100, 200])}
    assert by[100].error == "ValueError: no solution"
    assert more or (by[200].died, by[200].error) == (True, "process died: killed while solving")
