"""Owns the tracked function: it looks, types, pickles and copies like the function it stands for."""

from __future__ import annotations

import copy
import functools
import inspect
import sys
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import wrapt

from nxtrack.tracking import calls, state
from nxtrack.tracking.binding import Binder
from nxtrack.tracking.files import of_plan
from nxtrack.tracking.plan import Plan, make, option_names
from nxtrack.tracking.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable

    FunctionWrapper = wrapt.FunctionWrapper[..., Any]
    BoundFunctionWrapper = wrapt.BoundFunctionWrapper[..., Any]
else:
    from wrapt import BoundFunctionWrapper, FunctionWrapper


_DESCRIPTORS: Any = (classmethod, staticmethod)
_INTERLEAVED: Any = (calls.coroutine, calls.async_generator)


class Tracked:
    """What is known of one tracked function: how to record its calls."""

    def __init__(self, function: Any, plan: Plan) -> None:
        """Checks that what the plan names is there.

        Raises:
            TypeError: It is no function, or a name is none of its parameters.
        """
        inner: Any = getattr(function, "__func__", function) if isinstance(function, _DESCRIPTORS) else function
        if isinstance(inner, type):
            raise TypeError(f"track takes a function, not the class {inner.__qualname__}; decorate its methods instead")
        if not callable(inner):
            raise TypeError(f"track takes a function, not {type(inner).__name__}; keyword arguments need their names")
        self.plan = plan
        self._run = calls.kind_of(inner)
        input_name = plan.arguments.get("input")
        if input_name is not None and not isinstance(input_name, str):
            raise TypeError("input of a decorator takes the name of a parameter")
        self._folders = tuple(self._parameter(name) for name in ("input_dir", "output_dir"))
        self.binder = Binder(
            inner, input_name or self._folders[0], option_names(plan.arguments.get("options")), aside=self._folders[1]
        )
        self._source = source_of(inner)
        self._names = getattr(inner, "__name__", None), getattr(inner, "__qualname__", None)

    def _parameter(self, argument: str) -> str | None:
        name = self.plan.arguments.get(argument)
        if name is not None and not isinstance(name, str):
            raise TypeError(f"{argument} of a decorator takes the name of a parameter, which holds a path")
        return name

    def call(self, function: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
        """Calls the function inside a recording; a recursive call is part of the run that it is made in."""
        if self._run is calls.plain:
            if state.within(self) is not None:
                return function(*args, **kwargs)  # From here, as each frame more makes recursion shallower.
            return calls.plain(self._recording(instance, args, kwargs), function, args, kwargs)
        running = self._run(functools.partial(self._make, instance, args, kwargs), function, args, kwargs)
        if None not in self._names:
            running.__name__, running.__qualname__ = self._names
        return running

    def _make(self, instance: Any, args: Any, kwargs: Any) -> Recording | None:
        return None if state.within(self) is not None else self._recording(instance, args, kwargs)

    def _recording(self, instance: Any, args: Any, kwargs: Any) -> Recording:
        bind = functools.partial(self.binder.bind, args, kwargs, bound=instance is not None)
        interleaved = self._run in _INTERLEAVED
        if self._folders == (None, None):
            return Recording(self.plan, self._source, bind, self, interleaved=interleaved)
        paths = functools.partial(self.binder.values, self._folders, args, kwargs, bound=instance is not None)
        files = of_plan(self.plan, paths)
        return Recording(self.plan, self._source, bind, self, files=files, interleaved=interleaved)


def source_of(function: Any) -> str:
    """Returns what a function is called in messages: `routing.solve`."""
    name = getattr(function, "__qualname__", type(function).__name__)
    return f"{module_name(getattr(function, '__module__', None))}.{name}"


def module_name(module: str | None) -> str:
    """Returns what a module is called in messages; the main program goes by its file's name."""
    if module in {"__main__", "__mp_main__"}:
        file = getattr(sys.modules.get("__main__"), "__file__", None)
        return PurePath(file).stem if file and not file.startswith("<") else "program"
    return module or "?"


def _asked_by_cloudpickle() -> bool:
    """Says whether cloudpickle is looking at us: it would take a proxy for the plain function behind it."""
    frame: Any = inspect.currentframe()
    caller = frame.f_back.f_back
    # By any part of the name, as joblib, ray and Spark carry copies: `ray.cloudpickle.cloudpickle`.
    return caller is not None and "cloudpickle" in str(caller.f_globals.get("__name__")).split(".")


class BoundTrackedFunction(BoundFunctionWrapper):
    """A tracked method, as its instance or class gives it."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """See `TrackedFunction.__class__`."""
        return BoundTrackedFunction if _asked_by_cloudpickle() else type(self.__wrapped__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles as its instance or class and its name, as a plain method does."""
        return getattr, (self._owner(), self.__wrapped__.__name__)

    def __copy__(self) -> BoundTrackedFunction:
        """Returns itself, as copying a method does."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Copies the instance, as deep-copying a method does."""
        return getattr(copy.deepcopy(self._owner(), memo), self.__wrapped__.__name__)

    def _owner(self) -> Any:
        # A static method, and a method that its class was asked for, are bound to nothing.
        return getattr(self.__wrapped__, "__self__", self._self_owner)


class TrackedFunction(FunctionWrapper):
    """A function whose calls are recorded."""

    __bound_function_wrapper__ = BoundTrackedFunction

    def __init__(self, function: Any, tracked: Tracked) -> None:
        super().__init__(function, tracked.call)
        self._self_tracked = tracked

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The class of the function behind, as with any proxy; only cloudpickle is told the truth.

        It would otherwise pickle the function behind by value, and the runs of its workers would not be recorded.
        """
        return TrackedFunction if _asked_by_cloudpickle() else type(self.__wrapped__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickles by name, as functions do, where the name leads here.

        What is behind a tracker of something that is no function, or that goes untracked under its own name, is
        pickled and tracked anew; so is what cloudpickle takes by value, of `__main__` or local.
        """
        name = getattr(self.__wrapped__, "__qualname__", None)
        found = None if name is None else _found(self.__wrapped__.__module__, name)
        by_value = _asked_by_cloudpickle() and self.__wrapped__.__module__ in {"__main__", "__mp_main__"}
        if found is self and not by_value:
            return name
        lost = inspect.isfunction(self.__wrapped__) and found is not self.__wrapped__
        if lost and not _asked_by_cloudpickle():
            return name  # Of a local function, say: pickle tells what is wrong with it.
        return _rebuild, (self.__wrapped__, self._self_tracked.plan.arguments)

    def __copy__(self) -> TrackedFunction:
        """Returns itself, as copying a function does."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Returns itself, as copying a function does; of something else, a tracked copy."""
        copied = copy.deepcopy(self.__wrapped__, memo)
        return self if copied is self.__wrapped__ else _rebuild(copied, self._self_tracked.plan.arguments)


def _found(module: str | None, name: str) -> Any:
    """Returns what is to be found under a function's name, or None."""
    found: Any = sys.modules.get(module or "")
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def tracked_function(function: Any, arguments: dict[str, Any]) -> Any:
    """Returns a function whose calls are recorded.

    Raises:
        TypeError: An argument is of the wrong type, or names no parameter of the function.
        ValueError: An argument has a value that cannot be used.
    """
    return TrackedFunction(function, Tracked(function, make(arguments)))


def _rebuild(function: Any, arguments: dict[str, Any]) -> Any:
    """Makes a tracked function anew in the process that cloudpickle brought it to."""
    return tracked_function(function, arguments)
