"""What becomes of a run: its status, its input and output, its log, and what is left out of them."""

import datetime as dt
import re
import sys
import time

import numpy as np
import pytest

from nxtrack import configure, current_run, track
from nxtrack.tracking.recording import MAX_ERROR, failure


class Mute(Exception):
    def __str__(self):
        raise ValueError("no text")


class Odd:
    def __eq__(self, other):
        raise ValueError("not comparable")

    __hash__ = None


class Code(int):
    def __eq__(self, other):
        raise ValueError("not comparable")

    __hash__ = None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("text"), "ValueError: text"),
        (ValueError(), "ValueError"),
        (ValueError(""), "ValueError"),
        (KeyError("depot"), "KeyError: 'depot'"),
        (OSError(2, "No such file", "x"), "FileNotFoundError: [Errno 2] No such file: 'x'"),
        (Mute(), "Mute"),
        (ValueError("a\udcffb"), "ValueError: a\\udcffb"),
        (ValueError("line\nline"), "ValueError: line\nline"),
        (SystemExit(), None),
        (SystemExit(None), None),
        (SystemExit(0), None),
        (SystemExit(False), None),
        (SystemExit(1), "SystemExit: 1"),
        (SystemExit(True), "SystemExit: True"),
        (SystemExit(0.0), "SystemExit: 0.0"),
        (SystemExit("no licence"), "SystemExit: no licence"),
        (SystemExit(np.array([0, 1])), "SystemExit: [0 1]"),
        (SystemExit(Code(0)), None),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (StopIteration(5), "StopIteration: 5"),
        (ExceptionGroup("two", [ValueError("a"), KeyError("b")]), "ExceptionGroup: two (2 sub-exceptions)"),
        (BaseException("base"), "BaseException: base"),
    ],
    ids=lambda value: repr(value)[:30] if not isinstance(value, Mute) else "mute",
)
def test_the_status_of_a_run(error, message, recorded):
    @track
    def solve():
        raise error

    with pytest.raises(type(error)) as caught:
        solve()
    assert caught.value is error
    with pytest.raises(type(error)) as caught, track():
        raise error.with_traceback(None)
    assert caught.value is error
    for number, run in enumerate(recorded()):
        expected = None if number and isinstance(error, GeneratorExit) else message
        assert (run.status, run.error) == ("succeeded" if expected is None else "failed", expected)
        if expected is None:
            assert run.logs == ""
        else:
            assert "Traceback (most recent call last)" in run.logs or "Exception Group Traceback" in run.logs
            assert "nxtrack/tracking" not in run.logs
    assert failure(None) is None


def test_system_exit_of_an_odd_code(only):
    with pytest.raises(SystemExit), track():
        raise SystemExit(Odd())
    assert only().error.startswith("SystemExit: <")


def test_the_traceback_is_the_end_of_the_log(only):
    def inner():
        raise ValueError("no solution")

    @track
    def solve():
        print("solving")
        print("half a line", end="")
        inner()

    with pytest.raises(ValueError, match="no solution"):
        solve()
    lines = only().logs.splitlines()
    assert lines[:2] == ["solving", "half a lineTraceback (most recent call last):"]
    assert [line.split()[-1] for line in lines[2:] if line.startswith("  File")] == ["solve", "inner"]
    assert lines[-1] == "ValueError: no solution"


def test_the_traceback_without_capture(only):
    with pytest.raises(ValueError, match="x"), track(capture="off"):
        print("unseen")
        raise ValueError("x")
    assert only().logs.startswith("Traceback")


def test_a_very_long_message_is_cut(only):
    with pytest.raises(ValueError), track():
        raise ValueError("x" * 10_000)
    assert len(only().error) == MAX_ERROR
    assert len(only().logs) > 10_000


def test_the_input_is_what_it_was_before(only):
    @track
    def solve(problem):
        problem["jobs"].clear()
        problem["new"] = 1
        return problem

    problem = {"jobs": [1, 2]}
    assert solve(problem) is problem
    assert only().input == {"jobs": [1, 2]}
    assert only().output == {"jobs": [], "new": 1}


@pytest.mark.parametrize(
    ("result", "output"),
    [
        (None, None),
        ({"a": 1}, {"a": 1}),
        ([1], {"solution": [1]}),
        (0, {"solution": 0}),
        ({}, {}),
        ("", {"solution": ""}),
    ],
)
def test_the_output(result, output, only):
    assert track(lambda: result)() is result
    assert only().output == output


def test_an_assigned_output_wins(recorded):
    @track
    def solve(output):
        current_run().output = output
        return "returned"

    assert [solve(output) for output in ({"a": 1}, 5, None)] == ["returned"] * 3
    assert [run.output for run in recorded()] == [{"a": 1}, {"solution": 5}, None]


def test_a_failed_run_keeps_its_assigned_output(only):
    with pytest.raises(ValueError), track() as run:
        run.output = {"best": 5}
        raise ValueError
    assert only().output == {"best": 5}
    assert only().error == "ValueError"


def test_a_run_can_be_failed_without_exception(recorded):
    @track
    def solve(message):
        current_run().fail(message)
        return 5

    solve("infeasible")
    solve("")
    solve(ValueError("x"))
    solve("\udcff")
    assert [(run.status, run.error) for run in recorded()] == [
        ("failed", "infeasible"),
        ("failed", ""),
        ("failed", "x"),
        ("failed", "\\udcff"),
    ]
    assert recorded()[0].output == {"solution": 5}
    assert recorded()[0].logs == ""


def test_a_message_given_wins_over_the_exception(only):
    with pytest.raises(ValueError), track() as run:
        run.fail("licence")
        raise ValueError("x")
    assert only().error == "licence"
    assert only().logs.endswith("ValueError: x\n")


def test_the_duration(only):
    track(lambda: time.sleep(0.05))()
    assert 50 <= only().duration_ms < 1000


def test_processing(only):
    @track(process_input=lambda problem: {"size": len(problem)}, process_output=lambda result: {"best": result[0]})
    def solve(problem):
        return problem

    problem = [3, 4]
    assert solve(problem) is problem
    assert (only().input, only().output) == ({"size": 2}, {"best": 3})


def test_nothing_is_not_processed(only):
    track(process_output=lambda result: result.nothing)(lambda: None)()
    assert only().output is None


def test_processing_an_assigned_output(only):
    with track(process_output=sorted) as run:
        run.output = [2, 1]
    assert only().output == {"solution": [1, 2]}


def fails(value):
    raise LookupError("no such key")


def test_a_failing_process_input_costs_the_input(only, warned):
    @track(process_input=fails, name="kept")
    def solve(problem):
        return problem * 2

    assert solve(2) == 4
    run = only()
    assert (run.input, run.output, run.status, run.name) == (None, {"solution": 4}, "succeeded", "kept")
    assert run.notes == ["The input could not be kept: no such key."]
    assert len(warned()) == 1
    assert "input of" in warned()[0]


def test_a_failing_process_output_costs_the_output(recorded, warned):
    @track(process_output=fails)
    def solve(problem):
        return problem * 2

    assert [solve(2), solve(3)] == [4, 6]
    for run in recorded():
        assert (run.state, run.status, run.error, run.output) == ("ready", "succeeded", None, None)
        assert run.notes == ["The output could not be kept: no such key."]
    assert len(warned()) == 1


def test_ctrl_c_while_processing_the_output(only):
    def interrupted(result):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track(process_output=interrupted)(lambda: 5)()
    assert current_run() is None
    run = only()
    assert (run.status, run.died) == ("failed", True)


def test_ctrl_c_before_the_solver_is_called(only):
    called = []

    def interrupted(problem):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        track(process_input=interrupted)(called.append)(5)
    with pytest.raises(KeyboardInterrupt), track(process_input=interrupted, input=5):
        called.append(6)
    assert called == []
    assert current_run() is None


def test_redaction_everywhere(only):
    secret = re.compile(r"sk-\d+")

    @track(redact=["password", secret], options=["token", "password"])
    def solve(problem, token, password):
        run = current_run()
        print("printed sk-1")
        run.log("logged sk-2")
        run.input = {"key": "sk-3", "password": "x"}
        run.options = {"token": "sk-4", "password": "y", "n": 5}
        run.log_asset("asset sk-5", {"password": "z", "also": "sk-6"})
        run.output = {"found": ["sk-7"], "password": 1}
        raise ValueError("failed with sk-8")

    with pytest.raises(ValueError, match="sk-8"):
        solve({"password": "a"}, "sk-9", "b")
    run = only()
    assert run.input == {"key": "***", "password": "***"}
    assert run.options == {"token": "***", "password": "***", "n": "5"}
    assert run.output["found"] == ["***"]
    assert run.output["password"] == "***"
    assert run.assets == [{"name": "asset ***", "content": {"password": "***", "also": "***"}, "content_type": "json"}]
    assert run.error == "ValueError: failed with ***"
    assert "sk-" not in run.logs.replace('sk-8")', "")
    assert run.logs.startswith("printed ***\nlogged ***\nTraceback")


def test_redacted_options_at_the_start(recorded):
    @track(redact="token", options=["token"])
    def solve(problem, token):
        assert recorded()[0].options == {"token": "***"}

    solve(5, token="x")
    assert recorded()[0].options == {"token": "***"}


@pytest.mark.parametrize("answer", [None, [1], "text", fails], ids=["none", "list", "text", "fails"])
def test_a_redaction_that_answers_anything(answer, only):
    """A function meant for the input gets the options too."""

    @track(redact=lambda document: answer(document) if callable(answer) else answer, options=["limit"])
    def solve(problem, limit):
        current_run().options = {"limit": 6}
        return {"a": 1}

    assert solve(5, 5) == {"a": 1}
    assert only().status == "succeeded"
    assert "limit" not in only().options


def test_sampling(recorded):
    solve = track(sample_rate=0.5)(lambda: current_run().status)
    assert {solve() for _ in range(200)} == {"running"}
    assert 50 < len(recorded()) < 150
    assert track(sample_rate=0)(lambda: 5)() == 5
    assert len(recorded()) < 150


@pytest.mark.parametrize("way", ["environment", "configure", "enabled", "sampling"])
def test_a_run_that_is_not_recorded_takes_everything(way, monkeypatch, tmp_path, capsys):
    arguments = {"enabled": {"enabled": False}, "sampling": {"sample_rate": 0}}.get(way, {})
    if way == "environment":
        monkeypatch.setenv("NXTRACK_MODE", "disabled")
    if way == "configure":
        configure(mode="disabled")

    def use(run):
        assert run.id
        assert run.status == "running"
        assert (run.input, run.options) == ([1], {"limit": 5})
        run.name = run.description = "x"
        assert (run.name, run.description) == ("x", "x")
        run.options = {"a": 1}
        assert run.options == {"a": 1}
        run.input = 6
        run.output = 5
        assert (run.input, run.output) == (6, 5)
        run.log_metric("gap", 0.5, step=1)
        run.log_metrics({"gap": 0.5})
        run.log_asset("x", {})
        run.log("x")
        run.fail("x")
        print("printed")

    @track(options=["limit"], **arguments)
    def solve(problem, limit):
        use(current_run())
        return problem

    assert solve([1], 5) == [1]
    with track(input=[1], options={"limit": 5}, **arguments) as run:
        use(run)
    assert run.status == "failed"
    with pytest.raises(TypeError, match="missing"):
        solve()
    assert not (tmp_path / "spool").exists()
    assert capsys.readouterr().out == "printed\nprinted\n"


def test_a_recorded_run_inside_one_that_is_not(recorded, monkeypatch):
    @track(enabled=False)
    def outer():
        print("outer")
        with track():
            print("inner")

    outer()
    assert [run.logs for run in recorded()] == ["inner\n"]


def test_a_run_inside_one_without_capture_has_its_text_alone(recorded):
    with track(name="outer"):
        print("1")
        with track(name="inner", capture="off"):
            print("2")
        print("3")
    assert [(run.name, run.logs) for run in recorded()] == [("outer", "1\n2\n3\n"), ("inner", "")]


def test_settings_that_cannot_be_used(only, warned, monkeypatch):
    monkeypatch.setenv("NXTRACK_CAPTURE", "bogus")
    monkeypatch.setenv("NXTRACK_DURABILITY", "eternal")
    for _ in range(3):
        track(lambda: print("captured all the same"))()
        break
    assert only().logs == "captured all the same\n"
    assert len(warned()) == 1
    assert "NXTRACK_CAPTURE is 'bogus'" in warned()[0] or "NXTRACK_DURABILITY is 'eternal'" in warned()[0]


def test_settings_of_the_call_win(recorded, monkeypatch):
    monkeypatch.setenv("NEXTMV_APP_ID", "of-environment")
    monkeypatch.setenv("NEXTMV_INSTANCE_ID", "instance")
    monkeypatch.setenv("NXTRACK_STREAMS", "stderr")

    def solve():
        print("out")
        print("err", file=sys.stderr)

    track(solve)()
    track(app_id="of-call", instance_id="other", streams="stdout")(solve)()
    first, second = recorded()
    assert (first.app_id, first.instance_id, first.logs) == ("of-environment", "instance", "err\n")
    assert (second.app_id, second.instance_id, second.logs) == ("of-call", "other", "out\n")


def test_unencodable_values(only):
    class Problem:
        def __repr__(self):
            raise RuntimeError

        def __getattr__(self, name):
            raise RuntimeError(name)

    problem = Problem()
    circular = [problem]
    circular.append(circular)
    assert track(lambda _: circular)(problem) is circular
    assert only().input["type"].endswith("Problem")
    assert only().status == "succeeded"


def test_large_values_stand_beside_the_run(only):
    problem = {"distances": [[0.5] * 200] * 200}
    assert track(lambda given: given)(problem) is problem
    assert only().input == only().output == problem


def test_values_of_all_makes(only):
    @track(options=["when", "size"])
    def solve(problem, when, size):
        return {"routes": np.arange(3), "at": dt.date(2026, 1, 2)}

    solve(np.eye(2), dt.date(2026, 1, 1), np.float32(0.5))
    assert only().input == [[1, 0], [0, 1]]
    assert only().options == {"when": '"2026-01-01"', "size": "0.5"}
    assert only().output == {"routes": [0, 1, 2], "at": "2026-01-02"}


def test_a_log_that_grows_too_long_is_cut_and_says_so(only):
    configure(max_log=20)

    @track
    def solve():
        print("head" + "x" * 50)
        print("more, and the tail")
        raise ValueError("at the end")

    with pytest.raises(ValueError, match="at the end"):
        solve()
    run = only()
    head, told, tail = run.logs.split("\n", 2)
    assert (head, told) == ("headxxxxxx", "[nxtrack: bytes of the log that are left out here: 64]")
    assert tail.startswith("Traceback (most recent call last):\n")
    assert tail.endswith("ValueError: at the end\n")
    assert "The log is not whole: it is longer than NXTRACK_MAX_LOG allows." in run.notes
