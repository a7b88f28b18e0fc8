"""Owns the way back from a recorded input and options to the arguments of a call: the reverse of `binding`."""

from __future__ import annotations

import inspect
import typing
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from nxtrack.documents import is_array, is_object, members_of
from nxtrack.errors import FunctionUnusable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_POSITIONAL, _KEYWORD = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
_UNFITTING = {"args", "kwargs"}
"""What the input is a dict of when the arguments did not fit the function, or nothing is known of its parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The arguments of a call.

    Attributes:
        notes: In which way they may not be what the recorded call was given.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    notes: list[str] = field(default_factory=list[str])


def unbind(
    signature: inspect.Signature | None,
    value: Any,
    options: Mapping[str, str],
    *,
    function: Callable[..., Any],
    input_name: str | None,
    option_names: Sequence[str],
) -> Call:
    """Returns the arguments that a run was recorded from.

    Args:
        signature: What the function takes, without an instance it is bound to; None where that is not known.
        value: The recorded input, decoded.
        options: The recorded options: texts, and JSON of what was none.
        function: The function, whose annotations tell what became plain JSON when it was recorded.
        input_name: The parameter that is the input; None when it is what is left.
        option_names: The parameters that are options.

    Raises:
        FunctionUnusable: The function does not take what was recorded, or more.
    """
    mapping: Mapping[str, Any] = members_of(value)
    unfitting = set(mapping) == _UNFITTING and not (signature and _UNFITTING & signature.parameters.keys())
    if unfitting and input_name is None:
        return Call(args=tuple(mapping["args"]), kwargs=dict(mapping["kwargs"]))
    if signature is None:
        return Call(args=(value,), kwargs={})
    parameters = signature.parameters
    if input_name is not None:
        found = {input_name: value}
    else:
        found = _by_name([found for name, found in parameters.items() if name not in option_names], value)
    hints: dict[str, Any] = {}
    with suppress(Exception):  # Annotations may name what is there for type checkers only.
        hints = typing.get_type_hints(inspect.unwrap(function))
    notes: list[str] = []
    for name in found:
        if name in hints and parameters[name].kind not in {_POSITIONAL, _KEYWORD}:
            found[name] = _restored(name, found[name], hints[name], notes)
    for name in option_names:
        if name in options:
            found[name] = _option(options[name], parameters[name], hints.get(name))
    return _call(signature, found, notes)


def _call(signature: inspect.Signature, found: Mapping[str, Any], notes: list[str]) -> Call:
    missing = [
        name
        for name, parameter in signature.parameters.items()
        if name not in found
        and parameter.default is inspect.Parameter.empty
        and parameter.kind not in {_POSITIONAL, _KEYWORD}
    ]
    if missing:
        raise FunctionUnusable(f"It also takes {', '.join(missing)}, which the run does not hold: give a default.")
    call = inspect.BoundArguments(
        signature, OrderedDict((name, found[name]) for name in signature.parameters if name in found)
    )
    call.apply_defaults()
    return Call(args=call.args, kwargs=call.kwargs, notes=notes)


def _by_name(parameters: list[inspect.Parameter], value: Any) -> dict[str, Any]:
    """Returns the arguments that an input was: the one there is as it is, else all of them by name."""
    named = [found.name for found in parameters if found.kind not in {_POSITIONAL, _KEYWORD}]
    rest = {found.kind: found.name for found in parameters if found.kind in {_POSITIONAL, _KEYWORD}}
    if not named and _POSITIONAL in rest and is_array(value):
        return {rest[_POSITIONAL]: tuple(value)}
    if len(named) == 1 and not (rest and _is_by_name(value, named[0], rest)):
        return {named[0]: value}
    if not is_object(value):
        takes = ", ".join(found.name for found in parameters) or "nothing"
        raise FunctionUnusable(f"It takes {takes}, and the run's input does not name its arguments.")
    given = dict(value)
    found = {name: given.pop(name) for name in named if name in given}
    if _POSITIONAL in rest and is_array(given.get(rest[_POSITIONAL])):
        found[rest[_POSITIONAL]] = tuple(given.pop(rest[_POSITIONAL]))
    if _KEYWORD in rest:
        found[rest[_KEYWORD]] = given | dict(members_of(given.pop(rest[_KEYWORD], None)))
    elif given:
        raise FunctionUnusable(f"It does not take {', '.join(given)}, which the run's input holds.")
    return found


def _is_by_name(value: Any, name: str, rest: Mapping[Any, str]) -> bool:
    """Whether an input is of several arguments by name, where some calls have just one, which may be a dict as well."""
    if not is_object(value) or name not in value:
        return False
    others = value.keys() - {name}
    return bool(others) and (_KEYWORD in rest or others == {rest[_POSITIONAL]})


def _restored(name: str, value: Any, hint: Any, notes: list[str]) -> Any:
    """Makes of plain JSON what the parameter is annotated with: a dataclass, a model, an array, a table."""
    try:
        return msgspec.convert(value, hint, strict=False, dec_hook=_made)
    except (msgspec.ValidationError, TypeError, ValueError, NotImplementedError) as error:
        if value is not None:
            notes.append(f"{name} is given as plain JSON: {str(error) or type(error).__name__}")
        return value


def _made(kind: Any, value: Any) -> Any:
    validate = getattr(kind, "model_validate", None)
    if validate is not None:
        return validate(value)
    if kind.__name__ == "ndarray" and kind.__module__ == "numpy":
        import numpy as np  # noqa: PLC0415  (the function's module has loaded it)

        return np.array(value)
    return kind(value)


def _option(text: str, parameter: inspect.Parameter, hint: Any) -> Any:
    """Returns the value of an option that was recorded as text: by its annotation, its default, else read as JSON."""
    if text == "null" and parameter.default is None:
        return None  # Which an annotation such as `str | None` would take for text.
    if hint is not None:
        with suppress(Exception):
            return msgspec.convert(text, hint, strict=False)
    if isinstance(parameter.default, str):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
