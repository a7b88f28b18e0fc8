"""Every kind of function: what it gives, how it is driven, and the one run that is recorded of it."""

import asyncio
import contextlib
import functools
import gc
import inspect
import sys
import traceback
import weakref

import pytest

from nxtrack import current_run, track


def outline(runs):
    return [(run.status, run.error, run.output) for run in runs]


# -- plain functions ---------------------------------------------------------------------------------------


class Broken(Exception):
    pass


def test_an_exception_is_the_very_one(only):
    cause, context = KeyError("cause"), ValueError("context")
    error = Broken("no solution")
    error.add_note("a note")

    @track
    def solve():
        try:
            raise context
        except ValueError:
            raise error from cause

    with pytest.raises(Broken) as caught:
        solve()
    assert caught.value is error
    assert error.__cause__ is cause
    assert error.__context__ is context
    assert error.__suppress_context__
    assert error.__notes__ == ["a note"]
    assert (error.args, context.__context__, cause.__context__) == (("no solution",), None, None)
    last = traceback.extract_tb(error.__traceback__)[-1]
    assert (last.name, last.filename) == ("solve", __file__)
    assert only().error == "Broken: no solution"
    assert only().logs.endswith("Broken: no solution\na note\n")
    assert "KeyError: 'cause'" in only().logs
    assert "nxtrack/tracking" not in only().logs


def test_an_exception_keeps_nothing_alive():
    """The exception gone, the solver's locals are gone, without the help of the garbage collector."""

    class Large: ...

    seen = []

    @track
    def solve(problem):
        large = Large()
        seen.append(weakref.ref(large))
        raise Broken

    @track
    def steps(problem):
        large = Large()
        seen.append(weakref.ref(large))
        yield 1
        raise Broken

    @track
    def thrown(problem):
        large = Large()
        seen.append(weakref.ref(large))
        yield 1

    @track
    async def wait(problem):
        large = Large()
        seen.append(weakref.ref(large))
        raise Broken

    def fails(action):
        try:
            action()
        except Broken:
            return
        pytest.fail("no exception")

    def throw():
        running = thrown(Large())
        next(running)
        running.throw(Broken("from outside"))

    gc.collect()
    gc.disable()
    try:
        for action in (
            lambda: solve(Large()),
            lambda: list(steps(Large())),
            throw,
            lambda: wait(Large()).send(None),
        ):
            fails(action)
        assert [large() for large in seen] == [None] * 4
    finally:
        gc.enable()


def test_a_run_keeps_nothing_alive():
    """Nor does a run that went well: inputs are large."""

    class Large: ...

    @track
    def solve(problem):
        print("solving")
        return 5

    @track
    def steps(problem):
        yield 5

    gc.collect()
    gc.disable()
    try:
        for call in (solve, lambda problem: list(steps(problem))):
            large = Large()
            seen = weakref.ref(large)
            call(large)
            del large
            assert seen() is None
        large = Large()
        seen = weakref.ref(large)
        with track(input=large) as run:
            run.output = large
        del large, run
        assert seen() is None
    finally:
        gc.enable()


def test_the_result_is_the_very_one(only):
    result = object()
    assert track(lambda: result)() is result
    assert only().output == {"solution": {"type": "object"}}


def test_a_callable_object(only):
    class Solver:
        def __call__(self, problem):
            """Solves."""
            return problem * 2

    solver = track(Solver())
    assert solver(4) == 8
    assert only().source.endswith("Solver")


def test_a_plain_function_that_gives_a_coroutine_is_plain(recorded):
    async def inner():
        return 1

    solve = track(lambda: inner())  # noqa: PLW0108
    assert asyncio.run(solve()) == 1
    assert [run.status for run in recorded()] == ["succeeded"]


def test_recursion_goes_almost_as_deep_as_without(only):
    """One frame a level is ours, and what C code needs to call it."""

    def depth(call):
        deepest = 0

        def down(level):
            nonlocal deepest
            deepest = level
            inner(level + 1)

        inner = call(down)
        with pytest.raises(RecursionError):
            inner(0)
        return deepest

    def wrapped(function):
        @functools.wraps(function)
        def call(*args, **kwargs):
            return function(*args, **kwargs)

        return call

    assert depth(track) > 0.6 * depth(wrapped)
    assert only().error.startswith("RecursionError: maximum recursion depth exceeded")


# -- generators --------------------------------------------------------------------------------------------


@track
def anytime(values, result=None):
    """Yields better and better solutions."""
    yield from values
    return result


def test_a_generator(recorded):
    running = anytime([1, 2, 3])
    assert recorded() == []
    assert inspect.isgenerator(running)
    assert list(running) == [1, 2, 3]
    assert list(running) == []
    assert outline(recorded()) == [("succeeded", None, {"solution": 3})]
    assert recorded()[0].input == {"values": [1, 2, 3], "result": None}


def test_what_a_generator_returns_wins(only):
    def consumer():
        return (yield from anytime([1], {"objective": 5}))

    running = consumer()
    assert next(running) == 1
    with pytest.raises(StopIteration) as stop:
        next(running)
    assert stop.value.value == {"objective": 5}
    assert only().output == {"objective": 5}


def test_a_generator_that_was_never_asked_is_no_run(recorded):
    running = anytime([1])
    running.close()
    anytime([2])
    assert recorded() == []


def test_a_generator_without_values(only):
    assert list(anytime([])) == []
    assert only().output is None
    assert only().status == "succeeded"


@track
def talking():
    heard = []
    try:
        while True:
            try:
                heard.append((yield list(heard)))
            except KeyError as error:
                heard.append(repr(error))
    finally:
        heard.append("closed")
        print(current_run().id, heard)


def test_send_throw_and_close(only):
    running = talking()
    assert next(running) == []
    assert running.send("a") == ["a"]
    error = KeyError("b")
    assert running.throw(error) == ["a", "KeyError('b')"]
    assert current_run() is None
    running.close()
    running.close()
    run = only()
    assert run.output == {"solution": ["a", "KeyError('b')"]}
    assert run.logs == f"{run.id} ['a', \"KeyError('b')\", 'closed']\n"
    assert run.status == "succeeded"


def test_sending_before_the_start_fails_as_it_would(recorded):
    with pytest.raises(TypeError, match="can't send non-None value to a just-started generator"):
        talking().send(1)
    assert recorded() == []


def test_an_exception_thrown_in_is_the_very_one(only):
    running = anytime([1, 2])
    next(running)
    error = Broken("from outside")
    with pytest.raises(Broken) as caught:
        running.throw(error)
    assert caught.value is error
    assert (error.__context__, error.__cause__) == (None, None)
    assert outline([only()]) == [("failed", "Broken: from outside", {"solution": 1})]


def test_stop_iteration_thrown_in(only):
    def undecorated():
        yield 1

    told = []
    for function in (undecorated, track(undecorated)):
        running = function()
        next(running)
        with pytest.raises(RuntimeError) as caught:
            running.throw(StopIteration(5))
        told.append(str(caught.value))
    assert told == ["generator raised StopIteration"] * 2
    assert only().error == "RuntimeError: generator raised StopIteration"


def test_early_break(only):
    for value in anytime(range(100)):
        if value == 3:
            break
    assert outline([only()]) == [("succeeded", None, {"solution": 3})]


def test_a_forgotten_generator_ends_its_run(only):
    running = anytime([1, 2])
    next(running)
    assert only().status is None
    del running
    assert only().status == "succeeded"


def test_a_generator_in_a_cycle_ends_its_run(only):
    box = []
    running = anytime([1, box])
    box.append(running)
    next(running)
    del running, box
    gc.collect()
    assert only().status == "succeeded"


def test_a_generator_that_fails_when_closed(only):
    @track
    def solve():
        try:
            yield 1
        finally:
            raise Broken("in finally")

    running = solve()
    next(running)
    with pytest.raises(Broken, match="in finally"):
        running.close()
    assert outline([only()]) == [("failed", "Broken: in finally", {"solution": 1})]


def test_a_generator_that_goes_on_when_closed():
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    told = []
    for function in (stubborn, track(stubborn)):
        running = function()
        next(running)
        with pytest.raises(RuntimeError) as caught:
            running.close()
        told.append((str(caught.value), list(running)))
    assert told == [("generator ignored GeneratorExit", [])] * 2


def test_a_generator_that_ends_well_when_closed(only):
    def polite():
        try:
            yield 1
        except GeneratorExit:
            return "the end"

    told = []
    for function in (polite, track(polite)):
        running = function()
        next(running)
        told.append(running.close())  # From Python 3.13 on, what it returned.
    assert told[0] == told[1]
    assert only().output == {"solution": "the end"}


def test_generator_exit_thrown_in_may_be_answered():
    def stubborn():
        try:
            yield 1
        except GeneratorExit:
            yield 2

    told = []
    for function in (stubborn, track(stubborn)):
        running = function()
        next(running)
        told.append(running.throw(GeneratorExit))
        told.append(list(running))
    assert told == [2, [], 2, []]


def test_current_run_is_only_that_of_the_code_that_runs():
    seen = []

    @track
    def solve(name):
        seen.append((name, current_run().input))
        yield 1
        seen.append((name, current_run().input))
        yield 2
        seen.append((name, current_run().input))

    first, second = solve("a"), solve("b")
    for running in (first, second, second, first, first, second):
        next(running, None)
        assert current_run() is None
    assert all(name == found for name, found in seen)
    assert len(seen) == 6


def test_a_recursive_generator_is_one_run(only):
    @track
    def search(depth):
        if depth:
            yield depth
            yield from search(depth - 1)

    assert list(search(4)) == [4, 3, 2, 1]
    assert only().output == {"solution": 1}


def test_a_generator_of_a_callable_and_a_partial(recorded):
    class Solver:
        def __call__(self, problem):
            yield problem

    assert list(track(Solver())(5)) == [5]
    assert list(track(functools.partial(anytime.__wrapped__, [6]))()) == [6]
    assert [run.output for run in recorded()] == [{"solution": 5}, {"solution": 6}]


def test_a_generator_as_context_manager(only):
    @contextlib.contextmanager
    @track
    def session():
        try:
            yield 5
        except Broken:
            return

    with session() as value:
        assert value == 5
        raise Broken
    assert only().status == "succeeded"


# -- coroutines --------------------------------------------------------------------------------------------


@track
async def wait(value):
    """Waits a little."""
    run = current_run()
    await asyncio.sleep(0)
    assert current_run() is run
    if isinstance(value, BaseException):
        raise value
    return value


def test_a_coroutine(recorded):
    waiting = wait(5)
    assert inspect.iscoroutine(waiting)
    assert recorded() == []
    assert asyncio.run(waiting) == 5
    assert outline(recorded()) == [("succeeded", None, {"solution": 5})]


def test_a_coroutine_never_awaited_is_no_run_and_is_told_by_its_name(recorded):
    with pytest.warns(RuntimeWarning, match="coroutine 'wait' was never awaited"):
        wait(5)  # Collected at once.
    assert recorded() == []


def test_what_runs_is_named_as_without():
    @track
    async def values():
        yield 1

    coroutine, generator, async_generator = wait(1), anytime([]), values()
    assert (coroutine.__name__, coroutine.__qualname__) == ("wait", "wait")
    assert generator.__name__ == "anytime"
    assert async_generator.__qualname__ == ("test_what_runs_is_named_as_without.<locals>.values")
    coroutine.close()


def test_an_exception_of_a_coroutine(only):
    error = Broken("no solution")
    with pytest.raises(Broken) as caught:
        asyncio.run(wait(error))
    assert caught.value is error
    assert only().error == "Broken: no solution"
    assert "nxtrack/tracking" not in only().logs


def test_cancellation(recorded):
    async def main():
        task = asyncio.create_task(wait_long())
        await asyncio.sleep(0)
        task.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait_long(), 0.01)

    @track
    async def wait_long():
        await asyncio.sleep(60)

    asyncio.run(main())
    assert [run.error for run in recorded()] == ["CancelledError: enough", "CancelledError"]


def test_a_coroutine_closed_before_its_end_has_failed(only):
    @track
    async def forever():
        await asyncio.get_running_loop().create_future()

    async def main():
        waiting = forever()
        waiting.send(None)
        waiting.close()

    asyncio.run(main())
    assert (only().status, only().error) == ("failed", "GeneratorExit")


def test_tasks_side_by_side(recorded):
    async def main():
        return await asyncio.gather(*(wait(number) for number in range(50)))

    assert asyncio.run(main()) == list(range(50))
    assert sorted(run.output["solution"] for run in recorded()) == list(range(50))
    assert {(run.input == run.output["solution"], run.status) for run in recorded()} == {(True, "succeeded")}


def test_an_async_callable_and_method(recorded):
    class Solver:
        async def __call__(self, problem):
            return problem

        @track
        async def solve(self, problem):
            return problem

        @classmethod
        @track
        async def make(cls, problem):
            return problem

        @track
        @staticmethod
        async def free(problem):
            return problem

    async def main():
        solver = Solver()
        return [
            await track(solver)(1),
            await solver.solve(2),
            await Solver.make(3),
            await solver.free(4),
            await track(functools.partial(Solver.__call__, solver))(5),
            await track(solver.__call__)(6),
        ]

    assert asyncio.run(main()) == [1, 2, 3, 4, 5, 6]
    assert [run.output["solution"] for run in recorded()] == [1, 2, 3, 4, 5, 6]
    assert [run.input for run in recorded()] == [1, 2, 3, 4, 5, 6]


def test_a_recursive_coroutine_is_one_run(only):
    @track
    async def search(depth):
        return 1 + await search(depth - 1) if depth else 0

    assert asyncio.run(search(5)) == 5
    assert only().output == {"solution": 5}


# -- async generators --------------------------------------------------------------------------------------


@track
async def stream(values, closing=None):
    run = current_run()
    try:
        for value in values:
            await asyncio.sleep(0)
            assert current_run() is run
            try:
                heard = yield value
            except KeyError as error:
                heard = repr(error)
            if heard:
                print("heard", heard)
    finally:
        if closing is not None:
            await asyncio.sleep(0.01)
            closing.append(current_run() is run)


def test_an_async_generator(only):
    async def main():
        running = stream([1, 2])
        assert inspect.isasyncgen(running)
        found = []
        async for value in running:
            assert current_run() is None
            found.append(value)
        return found

    assert asyncio.run(main()) == [1, 2]
    assert outline([only()]) == [("succeeded", None, {"solution": 2})]


def test_asend_athrow_and_aclose(only):
    closing = []

    async def main():
        running = stream([1, 2, 3, 4], closing)
        assert await anext(running) == 1
        assert await running.asend("a") == 2
        assert await running.athrow(KeyError("b")) == 3
        await running.aclose()
        await running.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(running)

    asyncio.run(main())
    assert only().logs == "heard a\nheard KeyError('b')\n"
    assert outline([only()]) == [("succeeded", None, {"solution": 3})]
    assert closing == [True]


def test_an_exception_thrown_into_an_async_generator(only):
    error = Broken("from outside")

    async def main():
        running = stream([1, 2])
        await anext(running)
        with pytest.raises(Broken) as caught:
            await running.athrow(error)
        assert caught.value is error

    asyncio.run(main())
    assert outline([only()]) == [("failed", "Broken: from outside", {"solution": 1})]


@pytest.mark.parametrize("keep", [True, False], ids=["kept", "dropped"])
def test_breaking_out_of_an_async_generator(keep, only, capsys):
    """Whether asyncio closes it at the end of the loop, or as soon as it is forgotten: once, and without a word."""
    closing, kept = [], []

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: kept.append(context))
        running = stream(range(100), closing)
        async for value in running:
            if value == 3:
                break
        if not keep:
            del running
            await asyncio.sleep(0.05)
        else:
            closing.append(running)

    asyncio.run(main())
    assert closing[-1] is True
    assert kept == []
    assert outline([only()]) == [("succeeded", None, {"solution": 3})]
    assert capsys.readouterr() == ("", "")


def test_a_task_cancelled_within_an_async_generator(only):
    async def consume():
        async for _ in stream([1]):
            await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.sleep(0.01)

    asyncio.run(main())
    assert outline([only()]) == [("succeeded", None, {"solution": 1})]


def test_a_cancelled_async_generator_step(only):
    @track
    async def slow():
        yield 1
        await asyncio.sleep(60)

    async def main():
        running = slow()
        await anext(running)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(running), 0.01)

    asyncio.run(main())
    assert outline([only()]) == [("failed", "CancelledError", {"solution": 1})]


def test_a_recursive_async_generator_is_one_run(only):
    @track
    async def search(depth):
        if depth:
            heard = yield depth
            assert heard is None
            async for value in search(depth - 1):
                yield value

    async def main():
        running = search(3)
        found = [value async for value in running]
        await running.aclose()
        return found

    assert asyncio.run(main()) == [3, 2, 1]
    assert only().output == {"solution": 1}


def test_the_hooks_of_async_generators_stay(only):
    async def main():
        before = sys.get_asyncgen_hooks()
        async for _ in stream([1]):
            assert sys.get_asyncgen_hooks() == before
        assert sys.get_asyncgen_hooks() == before

    asyncio.run(main())
    assert only().status == "succeeded"


def test_an_async_context_manager(only):
    @contextlib.asynccontextmanager
    @track
    async def session():
        yield 5

    async def main():
        async with session() as value:
            return value

    assert asyncio.run(main()) == 5
    assert only().status == "succeeded"
