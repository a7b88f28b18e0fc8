"""The with-block, and one tracker entered by many at once: nested, by threads, tasks and generators."""

import asyncio
import concurrent.futures
import contextlib
import gc
import threading

import pytest

from nxtrack import current_run, track


def test_a_with_block(only):
    with track(app_id="routing", input={"a": 1}, options={"limit": 5}, name="what-if") as run:
        print("solving")
        run.output = 5
    seen = only()
    assert (seen.app_id, seen.name, seen.input, seen.output) == ("routing", "what-if", {"a": 1}, {"solution": 5})
    assert (seen.options, seen.logs) == ({"limit": "5"}, "solving\n")
    assert seen.source == "tests.tracking.test_tracking_tracker.test_a_with_block"


@pytest.mark.parametrize("given", [None, 0, [], {}, False])
def test_whatever_is_given_is_the_input(given, recorded):
    with track(input=given) as run:
        assert run.input == given
    assert recorded()[0].input == given


def test_without_input_there_is_none(only):
    with track() as run:
        assert run.input is None
    assert only().input is None


@pytest.mark.parametrize("options", [["limit"], "limit", 5])
def test_options_of_a_with_block_are_values(options, recorded):
    with pytest.raises(TypeError, match="takes values by name"), track(options=options):
        pytest.fail("entered")
    assert recorded() == []


def test_one_tracker_for_both_uses(recorded):
    tracker = track(name="both")

    @tracker
    def solve():
        return 1

    with tracker:
        solve()
    assert [run.name for run in recorded()] == ["both", "both"]


def test_nested(recorded):
    tracker = track()
    with tracker as outer:
        with tracker as inner, contextlib.suppress(ValueError), tracker as innermost:
            assert current_run() is innermost
            raise ValueError
        assert current_run() is outer
    assert (outer.status, inner.status, innermost.status) == ("succeeded", "succeeded", "failed")
    assert len(recorded()) == 3


def test_a_with_block_in_a_tracked_function_is_a_run_of_its_own(recorded):
    @track
    def solve():
        with track(name="inner") as run:
            assert current_run() is run
            run.output = 1
        return 2

    solve()
    assert [run.output for run in recorded()] == [{"solution": 2}, {"solution": 1}]


def test_an_exit_stack(recorded):
    tracker = track()
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(tracker) for _ in range(3)]
        assert current_run() is runs[-1]
    with pytest.raises(ValueError), contextlib.ExitStack() as stack:
        runs.append(stack.enter_context(tracker))
        raise ValueError
    assert [run.status for run in runs] == ["succeeded"] * 3 + ["failed"]


def test_leaving_what_was_never_entered():
    assert track().__exit__(None, None, None) is None


def test_one_tracker_in_interleaved_generators(recorded):
    tracker = track()

    def steps(name):
        with tracker as run:
            run.name = name
            yield run
        yield None

    first, second, third = steps("first"), steps("second"), steps("third")
    runs = [next(first), next(second), next(third)]
    next(first)
    assert [run.status for run in runs] == ["succeeded", "running", "running"]
    with pytest.raises(ValueError):
        third.throw(ValueError("third"))
    assert [run.status for run in runs] == ["succeeded", "running", "failed"]
    second.close()
    first.close()
    assert [run.status for run in runs] == ["succeeded", "succeeded", "failed"]
    assert current_run() is None
    assert [(run.name, run.error) for run in recorded()] == [
        ("first", None),
        ("second", None),
        ("third", "ValueError: third"),
    ]


def test_entered_in_one_thread_and_left_in_another(only):
    """As web frameworks do with generators in a pool of threads."""

    def session():
        with track() as run:
            yield run

    running = session()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(next, running).result()
    running.close()
    assert run.status == only().status == "succeeded"

    stack = contextlib.ExitStack()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        run = pool.submit(stack.enter_context, track()).result()
    stack.close()
    assert run.status == "succeeded"


def test_one_tracker_in_threads(recorded):
    tracker, barrier = track(), threading.Barrier(8)

    def work(number):
        barrier.wait()
        for _ in range(20):
            with contextlib.suppress(ValueError), tracker as run:
                assert current_run() is run
                run.name = str(number)
                print("number", number)
                if number % 2:
                    raise ValueError(number)

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    runs = recorded()
    assert len(runs) == 160
    for run in runs:
        assert run.error == (f"ValueError: {run.name}" if int(run.name) % 2 else None)
        assert run.logs.startswith(f"number {run.name}\n")


def test_one_tracker_in_tasks(recorded):
    tracker = track()

    async def work(number):
        with contextlib.suppress(ValueError), tracker as run:
            run.name = str(number)
            for _ in range(number % 5):
                await asyncio.sleep(0)
                assert current_run() is run
                print("number", number)
            if number % 2:
                raise ValueError(number)

    async def main():
        await asyncio.gather(*map(work, range(50)))

    asyncio.run(main())
    for run in recorded():
        number = int(run.name)
        assert run.error == (f"ValueError: {number}" if number % 2 else None)
        assert run.logs.startswith(f"number {number}\n" * (number % 5))
        assert "shared" not in run.notes


def test_a_generator_that_is_closed_ends_well_and_a_coroutine_does_not(recorded):
    def steps():
        with track():
            yield 1

    async def waits():
        with track():
            await asyncio.get_running_loop().create_future()

    async def values():
        with track():
            yield 1

    async def main():
        running = waits()
        running.send(None)
        running.close()
        running = values()
        await anext(running)
        await running.aclose()

    running = steps()
    next(running)
    running.close()
    asyncio.run(main())
    assert [run.error for run in recorded()] == [None, "GeneratorExit", None]


def test_a_with_block_in_a_forgotten_generator_ends(only):
    tracker = track()

    def steps():
        with tracker:
            yield 1

    running = steps()
    next(running)
    del running
    gc.collect()
    assert only().status == "succeeded"
    assert tracker._entered == []


def test_a_recursive_with_block_is_runs_of_its_own(recorded):
    tracker = track()

    def search(depth):
        with tracker as run:
            run.output = depth
            if depth:
                search(depth - 1)
            assert current_run() is run

    search(3)
    assert [run.output for run in recorded()] == [{"solution": depth} for depth in (3, 2, 1, 0)]


def test_at_module_level(python, recorded):
    python("""
        from nxtrack import track
        with track(name="script"):
            print("solving")
        """)
    assert [(run.name, run.source) for run in recorded()] == [("script", "program")]


def test_in_no_file_at_all(python, recorded):
    python("""
        import subprocess, sys
        program = "from nxtrack import track\\nwith track():\\n    print(1)\\ntrack(lambda: 5)()"
        subprocess.run([sys.executable, "-c", program], check=True)
        subprocess.run([sys.executable], input=program.encode(), check=True)
        """)
    assert {run.source for run in recorded()} == {"program", "program.<lambda>"}
