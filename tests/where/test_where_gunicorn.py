"""gunicorn: a master that has solved already, when it loaded the application, forks workers that solve."""

import textwrap

import pytest

pytest.importorskip("gunicorn")

APPLICATION = """
    import os, signal, threading
    from nxtrack import current_run, track

    @track(app_id="gunicorn")
    def solve(problem):
        print("solving", problem)
        if problem == 200:
            os.kill(os.getpid(), signal.SIGKILL)
        assert current_run().input == problem
        return 2 * problem

    solve(1000)  # when it is loaded, before there are workers

    def application(environ, start_response):
        number = solve(int(environ["QUERY_STRING"]))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(number).encode()]
"""

PROGRAM = """
    import concurrent.futures, http.client, os, signal, socket, subprocess, sys, time, urllib.request
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    os.set_inheritable(listening.fileno(), True)
    master = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", "--preload", "--workers=2", "--bind", f"fd://{listening.fileno()}",
         "--log-level=warning", "--worker-tmp-dir=/tmp", *sys.argv[1:], "application"],
        close_fds=False,
    )

    def ask(number):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/?{number}", timeout=40) as answer:
            return int(answer.read())

    try:
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(24))) == [2 * number for number in range(24)]
        try:
            ask(200)
        except (http.client.HTTPException, OSError):
            pass
        else:
            raise AssertionError("it was killed")
        assert [ask(number) for number in range(24, 28)] == [48, 50, 52, 54]
    finally:
        master.send_signal(signal.SIGTERM)
        master.wait(30)
"""


@pytest.mark.parametrize("kind", ["sync", "gthread"])
def test_a_master_that_forks(python, one_run_per_call, tmp_path, kind):
    (tmp_path / "application.py").write_text(textwrap.dedent(APPLICATION))
    threads = "--threads=4" if kind == "gthread" else "--threads=1"
    python(PROGRAM, f"--worker-class={kind}", threads, PYTHONWARNINGS="ignore")
    by = {run.input: run for run in one_run_per_call([*range(28), 1000], failed=[200])}
    assert (by[200].died, by[200].error) == (True, "process died: killed while solving")
