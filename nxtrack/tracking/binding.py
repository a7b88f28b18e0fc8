"""Owns what a call's arguments mean: which of them is the run's input, and which are its options."""

from __future__ import annotations

import inspect
from types import FunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nxtrack.tracking.unbinding import Call

_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Binder:
    """Takes the input and the options out of the arguments of a call.

    The input is the argument of the parameter named for it; else the one argument there is; else a dict of all by name.
    Parameters that took their default count as arguments, and variadic ones that took nothing do not; `self` and `cls`,
    and parameters that are options, are left out.
    """

    def __init__(
        self, function: Callable[..., Any], input_name: str | None, options: Sequence[str], *, aside: str | None = None
    ) -> None:
        """Looks at the function's signature once.

        Args:
            function: What is tracked, without the instance it may be bound to later.
            input_name: The parameter that is the input, or None.
            options: The parameters that are options.
            aside: A parameter that is neither, as it only says where the output goes.

        Raises:
            TypeError: A name is none of the function's parameters, or is named twice.
        """
        self._aside = () if aside is None else (aside,)
        if input_name is not None and input_name in options:
            raise TypeError(f"{input_name!r} is named both as input and as option")
        self._input_name = input_name
        self._options = tuple(options)
        try:
            signature = inspect.signature(_itself(function))
        except (TypeError, ValueError):
            signature = None
        if signature is None:
            if input_name is not None or options or aside is not None:
                raise TypeError(f"cannot find the parameters of {function!r}, so none can be named as input or option")
        else:
            named = [name for name, found in signature.parameters.items() if found.kind not in _VARIADIC]
            for name in (*(() if input_name is None else (input_name,)), *options, *self._aside):
                if name not in named:
                    raise TypeError(
                        f"{name!r} is no parameter of {_name(function)}; it has {', '.join(named) or 'none'}"
                    )
        self._receiver = None if signature is None else _receiver(function, signature)
        # A function that came with its instance, such as `model.solve`, has no parameter for it any more.
        shorter = None if signature is None else _without_first(signature)
        complete = getattr(function, "__self__", None) is not None
        self._signatures = {False: signature, True: signature if complete else shorter}
        self._single = {bound: self._only_parameter(found) for bound, found in self._signatures.items()}

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, bound: bool) -> tuple[Any, dict[str, Any]]:
        """Returns the input and the options of a call.

        Args:
            args: Positional arguments, without the instance of a bound call.
            kwargs: Keyword arguments.
            bound: The function was called as a method, so its first parameter is taken.
        """
        if self._single[bound] and len(args) == 1 and not kwargs:
            return args[0], {}  # The common call costs no binding.
        signature = self._signatures[bound]
        arguments = self._arguments(args, kwargs, bound=bound)
        if arguments is None or signature is None:
            return {"args": list(args), "kwargs": dict(kwargs)}, {}
        if not bound and self._receiver is not None:
            arguments.pop(self._receiver, None)
        options = {name: arguments.pop(name) for name in self._options if name in arguments}
        for name in self._aside:
            if name != self._input_name:
                arguments.pop(name, None)
        if self._input_name is not None:
            return arguments.get(self._input_name), options
        return _input_of(signature, arguments), options

    def unbind(self, value: Any, options: Mapping[str, str], *, function: Callable[..., Any], bound: bool) -> Call:
        """Returns the arguments of the call whose input and options were recorded; see `unbinding.unbind`.

        Raises:
            FunctionUnusable: The function does not take what was recorded, or more.
        """
        # Here, as no tracked call needs it.
        from nxtrack.errors import FunctionUnusable  # noqa: PLC0415
        from nxtrack.tracking.unbinding import unbind  # noqa: PLC0415

        signature = self._signatures[bound]
        if not bound and signature is not None and self._receiver in signature.parameters:
            raise FunctionUnusable("It is a method: name it by an instance, such as `module:model.solve`.")
        return unbind(
            signature, value, options, function=function, input_name=self._input_name, option_names=self._options
        )

    def values(
        self, names: Sequence[str | None], args: tuple[Any, ...], kwargs: Mapping[str, Any], *, bound: bool
    ) -> tuple[Any, ...]:
        """Returns the arguments of a call for some parameters; None where there is none."""
        arguments = self._arguments(args, kwargs, bound=bound) or {}
        return tuple(None if name is None else arguments.get(name) for name in names)

    def _arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, bound: bool) -> dict[str, Any] | None:
        """Returns the arguments of a call by name, defaults included; None when they do not fit."""
        signature = self._signatures[bound]
        try:
            if signature is None:
                return None
            call = signature.bind(*args, **kwargs)
        except TypeError:
            return None
        call.apply_defaults()
        return call.arguments

    def _only_parameter(self, signature: inspect.Signature | None) -> bool:
        if signature is None or self._options or self._aside:
            return False
        kinds = [parameter.kind for name, parameter in signature.parameters.items() if name != self._receiver]
        return len(kinds) == len(signature.parameters) and kinds in (
            [inspect.Parameter.POSITIONAL_ONLY],
            [inspect.Parameter.POSITIONAL_OR_KEYWORD],
        )


def _input_of(signature: inspect.Signature, arguments: dict[str, Any]) -> Any:
    """Returns the one argument there is, else all of them by name."""
    variadic = [found for found in signature.parameters.values() if found.kind in _VARIADIC]
    for parameter in variadic:
        if not arguments.get(parameter.name):
            arguments.pop(parameter.name, None)  # `*args` that took nothing are no argument.
    if len(arguments) == 1:
        (name,) = arguments
        if signature.parameters[name].kind is not inspect.Parameter.VAR_KEYWORD:
            return arguments[name]
    for parameter in variadic:
        extra: Any = arguments.get(parameter.name)
        if parameter.kind is inspect.Parameter.VAR_KEYWORD and extra and not extra.keys() & arguments.keys():
            del arguments[parameter.name]
            arguments |= extra
    return arguments


def _itself(function: Callable[..., Any]) -> Callable[..., Any]:
    """Returns what has the signature that the function has, whatever it says of itself.

    Frameworks that wrap methods later, such as ray's actors, set a `__signature__` with parameters of their own, which
    the function, when its code names all that it takes, does not have.
    """
    code: Any = getattr(function, "__code__", None)
    if not inspect.isfunction(function) or not hasattr(function, "__signature__") or hasattr(function, "__wrapped__"):
        return function
    if code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS):
        return function
    own = FunctionType(code, {}, function.__name__, function.__defaults__, function.__closure__)
    own.__kwdefaults__ = function.__kwdefaults__
    return own


def _without_first(signature: inspect.Signature) -> inspect.Signature:
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind not in _VARIADIC:
        del parameters[0]
    return signature.replace(parameters=parameters)


def _receiver(function: Callable[..., Any], signature: inspect.Signature) -> str | None:
    """Returns the parameter of a method that takes its instance or class, for calls that pass it as an argument.

    `Model.solve(self=model)` is such a call, and from Python 3.13 on any of a function under `classmethod`.
    """
    first = next(iter(signature.parameters), None)
    is_method = "." in _name(function).rpartition("<locals>.")[2]
    return first if is_method and first in {"self", "cls"} else None


def _name(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", function))
