"""Logs that are cut, garbled, hostile or huge: read in time, and never with anything but sense or nothing."""

import math
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nxtrack.solverlogs import read

LOGS = {path.stem: path.read_bytes() for path in Path(__file__).parent.glob("*.log")}
NAMES = st.sampled_from(sorted(LOGS))
STATUSES = {
    *("optimal", "feasible", "infeasible", "unbounded", "infeasible_or_unbounded", "interrupted", "error", "unknown"),
    *("time_limit", "node_limit", "gap_limit", "solution_limit", "iteration_limit", "memory_limit"),
    *("objective_limit", "other_limit"),
}
STARTS = """Running HiGHS 1
Starting CP-SAT solver v9
Welcome to the CBC MILP Solver
Gurobi Optimizer version 13
presolving:
 time | node  |LP iter|  dualbound   | primalbound  |
Solving report
CpSolverResponse summary:
Result -
SCIP Status        : problem is solved [
Cbc0012I Integer solution of
#1 0.1s best:1 next:[
PyVRP v0
H 1 1s |
Search terminated in 1s after 1
I0000 00:00:1 1 search.cc:1] Solution #1 (1
I0000 00:00:1 1 search.cc:1] End search (time = 1 ms, branches = 1
""".splitlines()


def sensible(found):
    """Checks what must hold of anything that is read."""
    if found is None:
        return
    assert found.metrics["solver"] == found.solver
    assert found.metrics["status"] in STATUSES
    for name, value in found.metrics.items():
        if name in {"objective", "bound", "gap", "time"}:
            assert type(value) is float
            assert math.isfinite(value)
            assert name not in {"gap", "time"} or value >= 0
        elif name in {"nodes", "iterations", "solves"}:
            assert type(value) is int
            assert 0 <= value <= 10**32
        else:
            assert name in {"solver", "status"}
    for name, points in found.series.items():
        assert name in {"objective", "bound"}
        assert 1 <= len(points) <= 240
        assert all(math.isfinite(number) for point in points for number in point)


@given(NAMES, st.integers(0, 20_000), st.integers(0, 20_000))
def test_cut_anywhere(name, start, end):
    sensible(read(LOGS[name][start:end]))


@given(NAMES, NAMES, st.integers(0, 20_000), st.integers(0, 20_000))
def test_the_head_of_one_and_the_tail_of_another(first, second, head, tail):
    sensible(read(LOGS[first][:head] + b"\n" + LOGS[second][-tail:]))


@given(NAMES, st.lists(st.tuples(st.integers(0, 20_000), st.binary(max_size=12)), max_size=20))
def test_garbled(name, changes):
    log = bytearray(LOGS[name])
    for place, data in changes:
        log[place : place + len(data)] = data
    sensible(read(bytes(log)))


@given(NAMES, st.randoms(use_true_random=False))
def test_lines_in_any_order(name, random):
    lines = LOGS[name].splitlines()
    random.shuffle(lines)
    sensible(read(b"\n".join(lines)))


@given(st.lists(st.sampled_from(STARTS) | st.text(max_size=60), max_size=12), st.sampled_from(["\n", "", " "]))
def test_anything_that_begins_like_a_log(parts, between):
    sensible(read(between.join(parts).encode("utf-8", "surrogatepass")))


# Each of these would take minutes if a pattern went back and forth, or a line were looked at more than once.
REPEATED = [
    " ",
    "a",
    "a ",
    "1",
    "1 ",
    "-",
    "|",
    ": ",
    "(",
    "0%",
    "1s",
    "  Status  ",
    "Model ",
    "#1 ",
    "H ",
    "\r",
    "\n",
    ",",
]


@pytest.mark.parametrize("start", STARTS, ids=[start.strip()[:12] for start in STARTS])
def test_hostile_lines_take_linear_time(start):
    began = time.process_time()
    for part in REPEATED:
        line = (start + part * 100_000)[:100_000].encode()
        sensible(
            read(
                b"Running HiGHS\nStarting CP-SAT solver\nCbc00\nSCIP Status\nGurobi Optimizer version\n"
                b"PyVRP v\n] Start search (\n" + line
            )
        )
        many = (start + (part * 1000)[:900] + "\n") * 100
        sensible(read(many.encode()))
    assert time.process_time() - began < 5


@pytest.mark.parametrize("line", [b"\n", b"a\n", b"presolve\n", b"#1 0.1s\n", b"  Status  \n"])
def test_a_huge_number_of_lines_is_read_in_time(line):
    began = time.process_time()
    sensible(read(b"Running HiGHS\nStarting CP-SAT solver\n" + line * (1_000_000 // len(line))))
    assert time.process_time() - began < 3


@settings(max_examples=20)
@given(st.binary(min_size=1, max_size=30))
def test_a_huge_log_of_anything_is_read_in_time(chunk):
    log = chunk * (2_000_000 // len(chunk))
    began = time.process_time()
    sensible(read(log))
    assert time.process_time() - began < 3


def test_a_huge_log_without_a_solver_is_refused_by_a_glance():
    log = b"vehicle 12: depot 4, load 3.5, 10% done in 3.0s\n" * 80_000
    began = time.process_time()
    assert read(log) is None
    assert time.process_time() - began < 0.5
