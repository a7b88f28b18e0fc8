"""The public types, for mypy and pyright in their strict modes: decorated callables keep their exact type.

`assert_type` is checked by the type checkers and does nothing at run time; run as tests, the same lines show that
what they say is so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, assert_type

from nxtrack import Run, configure, current_run, track

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine

    from nxtrack import flush
    from nxtrack.delivery.report import FlushReport

T = TypeVar("T")


@track
def bare(problem: dict[str, int], *, time_limit: float = 10) -> list[int]:
    return list(problem.values())


@track(app_id="routing", input="problem", options=["time_limit"], redact="password", sample_rate=0.5)
def with_arguments(problem: int, time_limit: float = 10) -> str:
    return str(problem)


@track()
def generic(value: T) -> list[T]:
    return [value]


@track
async def coroutine(problem: int) -> str:
    return str(problem)


@track
def generator(problem: int) -> Generator[int, str, bool]:
    yield problem
    return True


@track(name="anytime")
def iterator(problem: int) -> Iterator[int]:
    yield problem


@track
async def async_generator(problem: int) -> AsyncGenerator[int, str]:
    yield problem


@track(process_output=len)
async def async_iterator(problem: int) -> AsyncIterator[int]:
    yield problem


class Solver:
    """Has methods of all kinds."""

    factor: int = 2

    @track
    def solve(self, problem: int) -> int:
        """Solves."""
        return problem * self.factor

    @track(options=["time_limit"])
    def tuned(self, problem: int, time_limit: float) -> float:
        """Solves in time."""
        return problem * time_limit

    @classmethod
    @track
    def make(cls, problem: int) -> Solver:
        """Makes one."""
        return cls()

    @track
    @classmethod
    def make_outside(cls, problem: int) -> Solver:
        """Makes one, decorated the other way round."""
        return cls()

    @staticmethod
    @track
    def free(problem: int) -> str:
        """Belongs to nobody."""
        return str(problem)

    @track
    @staticmethod
    def free_outside(problem: int) -> str:
        """Belongs to nobody, decorated the other way round."""
        return str(problem)

    @track
    async def wait(self, problem: int) -> int:
        """Solves in the end."""
        return problem

    @property
    @track
    def value(self) -> int:
        """Is a property."""
        return self.factor


def test_functions() -> None:
    assert_type(bare({"a": 1}, time_limit=5), list[int])
    assert_type(with_arguments(5), str)
    assert_type(generic("x"), list[str])
    assert_type(generic(5), list[int])
    kept: Callable[[int], str] = with_arguments
    assert_type(kept(5), str)
    assert bare({"a": 1}) == [1]


def test_what_a_type_checker_refuses() -> None:
    if TYPE_CHECKING:
        bare([1])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        bare({}, limit=5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
        with_arguments("x")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
        track(5)  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
        track(app="x")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
        track(bare, app_id="x")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]


def test_coroutines() -> None:
    kept: Callable[[int], Coroutine[Any, Any, str]] = coroutine

    async def main() -> None:
        assert_type(await coroutine(5), str)
        assert_type(await kept(5), str)
        assert_type(await Solver().wait(5), int)
        async for value in async_iterator(5):
            assert_type(value, int)

    asyncio.run(main())


def test_generators() -> None:
    assert_type(generator(5), Generator[int, str, bool])
    assert_type(iterator(5), Iterator[int])
    assert_type(async_iterator(5), AsyncIterator[int])
    if TYPE_CHECKING:
        assert_type(async_generator(5), AsyncGenerator[int, str])
    for value in iterator(5):
        assert_type(value, int)


def test_methods() -> None:
    solver = Solver()
    assert_type(solver.solve(5), int)
    assert_type(Solver.solve(solver, 5), int)
    assert_type(solver.tuned(5, time_limit=2.5), float)
    assert_type(Solver.make(5), Solver)
    assert_type(solver.make(5), Solver)
    assert_type(Solver.make_outside(5), Solver)
    assert_type(Solver.free(5), str)
    assert_type(solver.free_outside(5), str)
    assert_type(solver.value, int)


def test_with_blocks() -> None:
    with track(app_id="routing", input={"a": 1}, options={"limit": 5}, name="what-if") as run:
        assert_type(run, Run)
        assert_type(run.name, str | None)
        run.output = {"a": 1}
        run.name = "other"
        run.options = {"limit": 6}
        run.log_metric("gap", 0.5)
        run.log_metric("gap", 1, step=2)
        run.log_metrics({"a": 1, "b": 2.5})
        run.log_asset("map", object(), visual={"schema": "geojson"})
        run.log("text")
        assert_type(run.id, str)
        assert_type(run.status, str)
        assert_type(run.options, dict[str, Any])
        assert_type(current_run(), Run | None)


def test_an_exception_in_a_with_block_goes_on() -> None:
    """A type checker must not think that what follows a with-block may follow an exception in it."""

    def solve(values: Mapping[str, int]) -> int:
        with track():
            return values["a"]

    assert_type(solve({"a": 1}), int)


def test_the_rest() -> None:
    configure(durability="process", settle=5)
    if TYPE_CHECKING:
        assert_type(flush(app_id="routing", timeout=5, limit=10), FlushReport)
        assert_type(flush().pending, int)
