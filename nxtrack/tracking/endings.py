"""Owns the calls by which a program ends its process at once: what has to be done first is done then.

`os._exit` and `os.abort` run no code of anybody's, and `os.exec*` goes on with another program in the same process,
which would write to wherever the descriptors lead.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_CALLS = ("_exit", "abort", "execv", "execve")
"""What all others of `os`, such as `os.execlp`, come to."""


def before(first: Callable[[], None], still_there: Callable[[], None]) -> None:
    """Has the calls do something first.

    Args:
        first: What; never raises.
        still_there: Called when the process goes on all the same, as another program cannot be started.
    """
    for name in _CALLS:
        if (call := getattr(os, name, None)) is not None:
            setattr(os, name, _with(call, first, still_there))


def _with(call: Callable[..., Any], first: Callable[[], None], still_there: Callable[[], None]) -> Callable[..., Any]:
    @functools.wraps(call)
    def ending(*args: Any, **kwargs: Any) -> Any:
        first()
        try:
            return call(*args, **kwargs)
        finally:
            still_there()

    return ending
