"""Which run the running code is part of: recursion, nesting, threads, tasks, and contexts that outlive a run."""

import asyncio
import concurrent.futures
import contextvars
import threading

from nxtrack import current_run, track


@track
def search(depth, other=None):
    run = current_run()
    print("depth", depth)
    if depth:
        (other or search)(depth - 1)
    assert current_run() is run
    return run.id


def test_recursion_is_one_run(only):
    identity = search(5)
    assert only().id == identity
    assert only().logs == "".join(f"depth {depth}\n" for depth in range(5, -1, -1))


def test_mutual_recursion_is_a_run_for_each_function(recorded):
    @track
    def even(number):
        return number == 0 or odd(number - 1)

    @track
    def odd(number):
        return number != 0 and even(number - 1)

    assert even(6)
    assert [run.source.rpartition(".")[2] for run in recorded()] == ["even", "odd"]


def test_another_call_after_the_first_is_another_run(recorded):
    search(0)
    search(0)
    assert len(recorded()) == 2


def test_recursion_after_an_exception(recorded):
    @track
    def solve(depth):
        if depth == 1:
            raise ValueError
        if depth == 2:
            try:
                solve(1)
            except ValueError:
                return solve(0)
        return depth

    assert solve(2) == 0
    assert [run.output for run in recorded()] == [{"solution": 0}]


def test_a_thread_of_a_solver_is_in_no_run(recorded):
    seen = []

    @track
    def inner():
        seen.append(current_run().id)

    @track
    def outer():
        thread = threading.Thread(target=lambda: (seen.append(current_run()), inner()))
        thread.start()
        thread.join()

    outer()
    assert seen[0] is None
    assert len(recorded()) == 2


def test_a_thread_with_the_context_of_its_run(only):
    @track
    def solve(depth):
        context = contextvars.copy_context()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert pool.submit(context.run, current_run).result() is current_run()
            pool.submit(context.run, print, "from the thread").result()
            if depth:
                pool.submit(context.run, solve, depth - 1).result()

    solve(1)
    assert only().logs == "from the thread\n" * 2


def test_the_same_function_in_threads_is_a_run_each(recorded):
    barrier = threading.Barrier(8)

    @track
    def solve(number):
        barrier.wait()
        identity = current_run().id
        barrier.wait()
        return current_run().id == identity

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert list(pool.map(solve, range(8))) == [True] * 8
    assert len(recorded()) == 8


def test_tasks_of_a_run_are_part_of_it(only):
    @track
    async def solve(depth):
        run = current_run()
        print("depth", depth)
        if depth:
            await asyncio.gather(solve(depth - 1), asyncio.create_task(solve(depth - 1)))
        assert current_run() is run
        return depth

    assert asyncio.run(solve(3)) == 3
    assert only().logs.count("depth") == 15


def test_a_task_that_outlives_its_run(recorded):
    async def linger(seen):
        seen.append(current_run())
        await asyncio.sleep(0.01)
        print("late")
        seen.append(current_run())
        search(0)

    @track
    async def solve(seen):
        return asyncio.create_task(linger(seen)), await asyncio.sleep(0)

    async def main():
        seen = []
        task, _ = await solve(seen)
        await task
        return seen

    first, second = asyncio.run(main())
    assert first.status == "succeeded"
    assert second is None
    assert len(recorded()) == 2
    assert "late" not in recorded()[0].logs


def test_a_task_that_outlives_an_inner_run_is_in_the_outer_one():
    async def linger():
        await asyncio.sleep(0.01)
        return current_run()

    async def main():
        with track() as outer:
            with track():
                task = asyncio.create_task(linger())
            assert await task is outer

    asyncio.run(main())


def test_a_callback_of_the_loop_has_the_run_it_was_made_in():
    async def main():
        seen = asyncio.get_running_loop().create_future()
        with track() as run:
            asyncio.get_running_loop().call_soon(lambda: seen.set_result(current_run()))
            assert await seen is run

    asyncio.run(main())


def test_a_context_of_its_own():
    with track() as run:
        assert contextvars.copy_context().run(current_run) is run
        assert contextvars.Context().run(current_run) is None
        with track() as inner:
            assert current_run() is inner
    assert current_run() is None


def test_a_run_entered_in_a_context_that_is_left(recorded):
    tracker = track()
    context = contextvars.copy_context()
    run = context.run(tracker.__enter__)
    assert current_run() is None
    assert context.run(current_run) is run
    with track() as other:
        assert current_run() is other
    tracker.__exit__(None, None, None)
    assert context.run(current_run) is None
    assert [run.status for run in recorded()] == ["succeeded"] * 2
