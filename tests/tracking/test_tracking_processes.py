"""Whole programs: killed, forked, interrupted, ended in the middle; and what importing nxtrack does to one."""

import os
import signal
import subprocess
import sys
import time

import pytest

from nxtrack.spool.recovery import recover
from nxtrack.spool.store import Spool

# -- killed ------------------------------------------------------------------------------------------------

KILLED = """
    import os, signal, sys, threading
    from nxtrack import current_run, track

    @track(app_id="routing", input="problem", options=["limit"])
    def solve(problem, limit):
        run = current_run()
        run.name = "before the kill"
        run.description = "described"
        run.options = {"limit": 6}
        run.log_metric("gap", 0.5, step=1)
        run.log_metrics({"gap": 0.25})
        run.log_asset("map", {"x": 1})
        run.output = {"lost": True}
        run.log("logged")
        print("printed, without newline", end="")
        sys.stderr.write("!")
        problem.clear()
        os.kill(os.getpid(), SIGNAL)
        threading.Event().wait()

    solve([1, 2, 3], limit=5)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT, signal.SIGTERM])
def test_a_killed_process_leaves_its_run(python, only, tmp_path, number):
    python(KILLED.replace("SIGNAL", str(int(number))), status=-number)
    for recovered in (False, True):
        if recovered:
            assert len(recover(Spool(str(tmp_path / "spool"))).recovered) == 1
        run = only()
        assert (run.state, run.status, run.died) == ("ready", "failed", not recovered)
        assert run.error == "process died: killed while solving"
        assert (run.input, run.options, run.app_id) == ([1, 2, 3], {"limit": "6"}, "routing")
        assert (run.name, run.description) == ("before the kill", "described")
        assert run.metrics == [("gap", 0.5, 1), ("gap", 0.25, None)]
        assert run.output["metrics"] == {"gap": 0.25}
        assert run.output["assets"][0]["name"] == "map"
        assert run.logs == "logged\nprinted, without newline!"


def test_os_exit_in_the_middle_of_a_run(python, only):
    python(
        """
        import os
        from nxtrack import track
        with track():
            print("last words")
            os._exit(3)
        """,
        status=3,
    )
    assert (only().status, only().logs) == ("failed", "last words\n")


def test_ctrl_c(tmp_path, only):
    program = tmp_path / "program.py"
    # In short sleeps, as CPython may note the signal and begin a long one nevertheless.
    program.write_text(
        "import time\nfrom nxtrack import track\nwith track():\n    print('ready', flush=True)\n"
        "    for _ in range(3000):\n        time.sleep(0.02)\n"
    )
    with subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert (only().status, only().error, only().died) == ("failed", "KeyboardInterrupt", False)


INTERRUPTED = """
    import gc, os, random, signal, sys, time
    from nxtrack import current_run, track
    from nxtrack.tracking import state, streams

    @track
    def solve(problem):
        print("x")
        return problem

    @track
    def steps(problem):
        yield problem
        yield problem

    tracker = track(input=1)

    def block():
        with tracker as run:
            run.output = 5

    def handler(*_):
        raise KeyboardInterrupt

    gc.disable()
    solve(1)
    block()
    list(steps(1))
    streams_before = sys.stdout, sys.stderr
    signal.signal(signal.SIGALRM, handler)
    interrupted = wrong = 0
    end = time.monotonic() + 2
    while time.monotonic() < end:
        action = random.choice([lambda: solve(2), block, lambda: list(steps(3))])
        try:
            signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 6e-4))
            action()
            signal.setitimer(signal.ITIMER_REAL, 0)
        except KeyboardInterrupt:
            interrupted += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
        if current_run() or streams._sinks or (sys.stdout, sys.stderr) != streams_before or tracker._entered:
            wrong += 1
            state.become(None)
            streams._sinks.clear()
            tracker._entered.clear()
            sys.stdout, sys.stderr = streams_before
    assert interrupted > 100, interrupted
    print(interrupted, wrong, file=sys.stderr)
    assert solve(7) == 7
"""


def test_interrupts_at_any_moment(python, tmp_path, monkeypatch):
    """A signal may come between any two instructions of ours: hardly ever may it leave the process changed."""
    for name in ("COVERAGE_PROCESS_CONFIG", "COVERAGE_PROCESS_START"):  # whose own code would be interrupted
        monkeypatch.delenv(name, raising=False)
    done = python(INTERRUPTED)
    interrupted, wrong = map(int, done.stderr.split("\n")[-2].split())
    assert wrong <= interrupted / 50
    spool = Spool(str(tmp_path / "spool"))
    runs = [spool.read(entry) for entry in spool.entries("ready")]
    assert {bytes(run.input.data) for run in runs if run.input} <= {b"1", b"2", b"3", b"7"}
    assert bytes(runs[-1].input.data) == b"7"


# -- forked ------------------------------------------------------------------------------------------------


def test_a_child_never_ends_its_parents_run(python, recorded):
    python(
        """
        import os, sys
        from nxtrack import current_run, track

        @track
        def solve(problem):
            print("solving", problem)
            pid = os.fork()
            if pid == 0:
                assert current_run() is None
                print("child outside of runs")
                if problem == 1:
                    solve(2)
                return "child"
            os.waitpid(pid, 0)
            print("parent")
            return "parent"

        with track(name="block") as run:
            if solve(1) == "child":
                with track(name="of the child"):
                    print("inside")
                sys.exit(3)
            run.output = 5
        """,
        NXTRACK_CAPTURE="sys",
    )
    runs = recorded()
    assert {run.status for run in runs} == {"succeeded"}
    assert len(runs) == 5  # the child's block is also its own child's
    by = {run.name or run.input: run for run in runs}
    assert by[1].output == {"solution": "parent"}
    assert by[1].logs == "solving 1\nparent\n"
    assert by[2].logs == "solving 2\nparent\n"
    assert (by["block"].output, by["block"].logs) == ({"solution": 5}, "")
    assert by["of the child"].logs == "inside\n"


def test_a_child_in_another_context_than_it_was_forked_in(python, recorded):
    """The fork happens inside a context; the child then goes on outside of it, where the run was current too."""
    python("""
        import contextvars, os, sys
        from nxtrack import current_run, track

        @track
        def solve(problem):
            if problem == 1:
                pid = contextvars.copy_context().run(os.fork)
                if pid:
                    os.waitpid(pid, 0)
                else:
                    assert current_run() is None
                    solve(2)
                    os._exit(0)

        solve(1)
        """)
    assert [run.input for run in recorded()] == [1, 2]


def test_a_child_that_dies_is_not_its_parents_death(python, only):
    python("""
        import os, signal, time
        from nxtrack import track
        with track(name="parent") as run:
            pid = os.fork()
            if pid == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            os.waitpid(pid, 0)
            run.log("alive")
        """)
    assert (only().status, only().logs) == ("succeeded", "alive\n")


def test_a_parent_killed_while_its_child_lives(tmp_path, python, only):
    done = python(
        """
        import os, signal, sys, time
        from nxtrack import track
        with track(input=5):
            pid = os.fork()
            if pid == 0:
                time.sleep(30)
                os._exit(0)
            print(pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        """.replace("time.sleep(30)", "[os.close(n) for n in (0, 1, 2)]; time.sleep(30)"),
        status=-signal.SIGKILL,
    )
    try:
        assert (only().status, only().died, only().input) == ("failed", True, 5)
    finally:
        os.kill(int(done.stdout), signal.SIGKILL)


FORKS = """
    import os, signal, sys, threading, time
    from nxtrack import current_run, track

    class Bare:  # Python's own streams have locks that a child never gets, if a thread held them at the fork.
        def write(self, text):
            return os.write(1, text.encode())

        def flush(self):
            pass

    sys.stdout = Bare()

    @track
    def solve(problem):
        print("solving", problem)
        return problem

    stop = False
    solve("thread")

    def work():
        while not stop:
            solve("thread")

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    hung = 0
    for number in range(40):
        pid = os.fork()
        if pid == 0:
            signal.alarm(30)
            assert current_run() is None
            solve(number)
            with track(input=number):
                print("child", number)
            os._exit(0)
        hung += os.waitpid(pid, 0)[1] != 0
    stop = True
    for thread in threads:
        thread.join()
    assert hung == 0, hung
"""


def test_children_do_not_hang_on_locks_of_their_parents_threads(python, recorded):
    python(FORKS, NXTRACK_STREAMS="stdout,stderr", NXTRACK_DURABILITY="process", timeout=100)
    runs = [run for run in recorded() if run.input != "thread"]
    assert len(runs) == 80
    assert {run.status for run in recorded()} == {"succeeded"}
    for run in runs:
        assert run.logs in {f"solving {run.input}\n", f"child {run.input}\n"}


# -- the end of the program --------------------------------------------------------------------------------


def test_generators_that_are_still_open_at_the_end(python, recorded):
    done = python("""
        import asyncio
        from nxtrack import track

        @track
        def steps(name):
            try:
                yield 1
            finally:
                print("closing", name)

        def block():
            with track(input="block"):
                yield 1

        class Holder:
            pass

        held = steps("global")
        next(held)
        holder = Holder()
        holder.holder = holder
        holder.steps = steps("cycle")
        next(holder.steps)
        block_held = block()
        next(block_held)
        tracker = track(input="tracker")
        def shared():
            with tracker:
                yield 1
        shared_held = shared()
        next(shared_held)
        """)
    assert done.stderr == ""
    runs = {run.input: run for run in recorded()}
    assert set(runs) == {"global", "cycle", "block", "tracker"}
    assert runs["global"].status == runs["block"].status == runs["tracker"].status == "succeeded"


def test_a_daemon_thread_at_the_end(python, recorded):
    started = time.monotonic()
    done = python("""
        import threading, time
        from nxtrack import track

        @track
        def solve(problem):
            started.set()
            time.sleep(60)

        started = threading.Event()
        threading.Thread(target=solve, args=(1,), daemon=True).start()
        started.wait()
        """)
    assert time.monotonic() - started < 20
    assert done.stderr == ""
    assert [(run.input, run.status, run.died) for run in recorded()] == [(1, "failed", True)]


def test_runs_at_exit(python, recorded):
    done = python("""
        import atexit, threading
        from nxtrack import track

        @track
        def solve(problem):
            print("solving", problem)

        atexit.register(solve, "at exit")

        class Late:
            def __del__(self):
                solve("in __del__")

        late = Late()
        """)
    assert done.stderr == ""
    assert {run.input for run in recorded()} >= {"at exit"}
    assert all(run.status == "succeeded" for run in recorded())


# -- importing ---------------------------------------------------------------------------------------------


def test_importing_nxtrack_loads_little_and_changes_nothing(python):
    done = python(
        """
        import logging, os, signal, sys, threading, warnings
        before = (sys.stdout, sys.stderr, sys.excepthook, signal.getsignal(signal.SIGINT), threading.active_count(),
                  sys.unraisablehook, threading.excepthook, logging.getLogger().handlers[:], warnings.showwarning)
        forks, hooks = [], []
        os.register_at_fork, sys.addaudithook = forks.append, hooks.append
        environment, modules = dict(os.environ), set(sys.modules)
        import nxtrack
        nxtrack.track, nxtrack.current_run, nxtrack.flush, nxtrack.configure
        assert nxtrack.current_run() is None
        after = (sys.stdout, sys.stderr, sys.excepthook, signal.getsignal(signal.SIGINT), threading.active_count(),
                 sys.unraisablehook, threading.excepthook, logging.getLogger().handlers[:], warnings.showwarning)
        assert before == after
        assert (forks, hooks) == ([], [])
        assert environment == dict(os.environ)
        loaded = {name.partition(".")[0] for name in set(sys.modules) - modules}
        print(sorted(loaded & set(sys.argv[1].split())))
        """,
        "requests urllib3 rich typer starlette uvicorn jinja2 sqlite3 numpy pandas yaml platformdirs nextmv pydantic "
        "ssl http asyncio msgspec wrapt",
    )
    assert done.stdout == "[]\n"
    assert done.stderr == ""


def test_decorating_loads_no_more_than_tracking_needs(python):
    done = python(
        """
        import sys
        modules = set(sys.modules)
        from nxtrack import track

        @track
        def solve(problem):
            return problem

        solve(5)
        loaded = {name.partition(".")[0] for name in set(sys.modules) - modules}
        print(sorted(loaded & set(sys.argv[1].split())))
        """,
        "requests urllib3 rich typer starlette uvicorn jinja2 sqlite3 numpy pandas yaml nextmv pydantic http",
    )
    assert done.stdout == "[]\n"
