"""Owns calling a function once more, tracked, with what was recorded of a call."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from nxtrack.tracking import calls
from nxtrack.tracking.binding import Binder
from nxtrack.tracking.functions import BoundTrackedFunction, TrackedFunction, tracked_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nxtrack.tracking.unbinding import Call

_VARIADIC = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})


class Again:
    """A function that is to be called once more, whether it is tracked or not."""

    def __init__(self, function: Callable[..., Any], options: Mapping[str, str]) -> None:
        """Finds out how its calls are recorded; the options are those of the run that is to be repeated."""
        kind: Any = type(function)
        self._function: Any = function
        self._options = options
        self._bound = False
        arguments: dict[str, Any] = {}
        if kind in {TrackedFunction, BoundTrackedFunction}:
            proxy: Any = function
            parent = proxy._self_parent if kind is BoundTrackedFunction else proxy  # noqa: SLF001
            tracked = parent._self_tracked  # noqa: SLF001
            self._binder: Binder = tracked.binder
            self._inner: Any = proxy.__wrapped__
            # Its instance; or its class, which a class method has been given by Python already.
            own: Any = getattr(self._inner, "__self__", None)
            self._bound = kind is BoundTrackedFunction and not (own is None and proxy._self_instance is None)  # noqa: SLF001
            arguments = tracked.plan.arguments
            if not tracked.plan.enabled or tracked.plan.sample_rate < 1:
                # So that this one call is recorded; the names of its parameters stay what they are.
                self._function = tracked_function(self._inner, {**arguments, "enabled": True, "sample_rate": None})
        else:
            self._inner = function
            names = _parameters(function) & options.keys()
            self._function = tracked_function(function, {"options": sorted(names)})
            self._binder = Binder(function, None, sorted(names))
        self.notes = [
            f"the function's {name} made of its {what} what was recorded, and does so again"
            for name, what in (("process_input", "arguments"), ("redact", "values"))
            if arguments.get(name)
        ]

    def arguments(self, value: Any) -> Call:
        """Returns the arguments that a recorded input stands for.

        Raises:
            FunctionUnusable: The function does not take what was recorded, or more.
        """
        return self._binder.unbind(value, self._options, function=self._inner, bound=self._bound)

    def call(self, call: Call) -> None:
        """Calls the function, to its end: a coroutine is awaited, and a generator asked for all it has."""
        result = self._function(*call.args, **call.kwargs)
        kind = calls.kind_of(self._inner)
        if kind is calls.coroutine:
            asyncio.run(result)
        elif kind is calls.async_generator:
            asyncio.run(_drain(result))
        elif kind is calls.generator:
            for _ in result:
                pass


async def _drain(steps: Any) -> None:
    async for _ in steps:
        pass


def _parameters(function: Callable[..., Any]) -> set[str]:
    try:
        found = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return set()
    return {name for name, parameter in found.items() if parameter.kind not in _VARIADIC}
