"""Owns how a function is found by what is typed for it: `module:function` or `file.py:function`."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from nxtrack.cli.output import line
from nxtrack.errors import FunctionUnusable

if TYPE_CHECKING:
    from types import ModuleType

_FORM = "name it as `module:function`, `package.module:function` or `file.py:function`"


def load(name: str) -> Any:
    """Imports a function, as seen from the current folder.

    Raises:
        FunctionUnusable: The name has another form, its module cannot be imported, or has no such function.
    """
    module_name, colon, path = name.rpartition(":")
    if not colon or not module_name or not path:
        raise FunctionUnusable(f"{line(name)!r} names no function: {_FORM}.")
    folder = os.getcwd()  # noqa: PTH109
    if folder not in sys.path:
        sys.path.insert(0, folder)
    found: Any = _module(module_name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise FunctionUnusable(f"{line(module_name)} has no {line(path)}.") from None
    if isinstance(found, type) or not callable(found):
        raise FunctionUnusable(f"{line(name)} is no function: {_FORM}.")
    return found


def _module(name: str) -> ModuleType:
    try:
        return _from_file(name) if name.endswith(".py") else importlib.import_module(name)
    except (Exception, SystemExit) as error:
        # Whatever a module does when it is imported; its own mistakes are told by their last line.
        if isinstance(error, FunctionUnusable):
            raise
        text = line(f"{type(error).__name__}: {error}".rstrip(": "))
        raise FunctionUnusable(f"{line(name)} could not be imported: {text.rstrip('.')}.") from error


def _from_file(path: str) -> ModuleType:
    if not os.path.isfile(path):  # noqa: PTH113
        raise FunctionUnusable(f"There is no file {line(path)}.")
    folder, file = os.path.split(os.path.abspath(path))  # noqa: PTH100
    name = file.removesuffix(".py")
    if folder not in sys.path:
        sys.path.insert(0, folder)  # So that it finds its neighbours, as when it is run.
    known = sys.modules.get(name)
    if known is not None and os.path.realpath(getattr(known, "__file__", None) or "") == os.path.realpath(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FunctionUnusable(f"{line(path)} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # What its functions are pickled by, and dataclasses look for.
    spec.loader.exec_module(module)
    return module
