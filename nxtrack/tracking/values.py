"""Owns the way of a solver's values to the JSON bytes that are uploaded: encoding, the output rule, redaction.

Encoding never fails. What msgspec writes by itself goes through at its speed; types it does not know are converted
by `nxtrack.tracking.hooks`; what is tangled, too deep or otherwise refused is walked by `nxtrack.tracking.plain`;
and what even that cannot write becomes a summary of its type and size. Notes tell what was altered.

Known limits, for the sake of speed: a dict such as `{1: ..., "1": ...}` is written with the same key twice, the JSON in
a `msgspec.Raw` is trusted as long as it is one line, and a structure that shares its parts so that it has exponentially
many paths is written out in full.
"""

from __future__ import annotations

import math
import re
import sys
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard, cast

import msgspec

from nxtrack.spool.masks import MASK
from nxtrack.spool.writer import Content
from nxtrack.tracking import hooks
from nxtrack.tracking.logmask import LogMask
from nxtrack.tracking.notes import Notes, bounded, summary, type_name
from nxtrack.tracking.plain import Plain, TangledError, count_nonfinite, distinct

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Content", "Redaction", "RedactionSpec", "as_output", "encode", "redacted"]

_Function: TypeAlias = Callable[[object], object]
RedactionSpec: TypeAlias = "str | re.Pattern[str] | _Function"

# msgspec recurses in C, up to Python's recursion limit and with up to 400 bytes of stack a level. With a limit so high
# that the usual stack of 8 MB might not do, the careful walk is taken. Python 3.12 and later limit C by itself.
_SAFE_RECURSION: Final = 10_000 if sys.version_info < (3, 12) else sys.maxsize
_MOST_UNWRAPPED: Final = 64
_N, _U, _L, _NEWLINE = b"nul\n"

# How to walk, the next when the one before was not enough: (write each container once, deepest level).
_ATTEMPTS: Final = ((False, 200), (True, 200), (True, 20))


def encode(value: object) -> Content:
    """Encodes any value as JSON, and never fails.

    Lossless forms of well-known types (a numpy array as lists, a path as text, bytes as base64) get no note; what
    is altered or dropped does.

    Args:
        value: Anything a solver takes or returns. It is only read; iterators are left unread.

    Returns:
        The JSON and the notes.
    """
    try:
        session = _idle.pop()
    except IndexError:
        session = _Session()
    try:
        if "nextmv" in sys.modules:
            value = _unwrapped(value)
        if sys.getrecursionlimit() > _SAFE_RECURSION:
            return _encode_carefully(value)
        data = session.encode(value)
        # To look for one byte, as an int, takes next to no time: numbers hold none of these letters, and the names of
        # fields seldom all. To look for the word takes a third of the time that encoding took, from the end a tenth.
        if _N in data and _U in data and _L in data and data.rfind(b"null") >= 0:
            session.seen().nonfinite += count_nonfinite(value)
        if _NEWLINE in data or not data:  # only a msgspec.Raw can bring either
            return _encode_carefully(value)
        return Content(data, session.notes.sentences() if session.notes else ())
    except MemoryError:
        return _summarised(value)
    except BaseException as fault:
        if not hooks.is_fault(fault):
            raise
        # Whatever it is, the careful walk finds its way around it.
        return _encode_carefully(value, once=isinstance(fault, RecursionError))
    finally:
        session.notes = None
        _idle.append(session)


class _Unsettled(Exception):
    """The value has to be walked with care."""


class _Session:
    """What one call of the encoder learns from its hook."""

    def __init__(self) -> None:
        self.notes: Notes | None = None  # most values need none, and making them takes time
        self.encode = msgspec.json.Encoder(enc_hook=self.hook).encode

    def seen(self) -> Notes:
        """Gives the notes, made when they are first needed."""
        if self.notes is None:
            self.notes = Notes()
        return self.notes

    def hook(self, value: object) -> object:
        """Converts what msgspec does not know.

        Raises:
            _Unsettled: When another thread could change a list that msgspec is in the middle of (it would read
                freed memory), or a key of a dict became a dict, which may be that of another key as well.
        """
        if self.notes is None and _others_run():
            raise _Unsettled
        notes = self.seen()
        kind = type(value)
        if kind is tuple or kind is bool or value is None or kind is frozenset:
            # These msgspec writes by itself, except as keys.
            notes.add("key", kind)
            return _KEY_ENCODER.encode(value).decode()
        if kind is dict or kind is list:
            raise _Unsettled
        plain = hooks.convert(value, notes)
        kind = type(plain)
        if kind is float:
            notes.nonfinite += not math.isfinite(cast("float", plain))
        elif (kind is list or kind is dict) and not hooks.surely_finite(value):
            notes.nonfinite += count_nonfinite(plain)
        return plain


_idle: Final[list[_Session]] = []
"""Sessions that are over: to make one takes longer than to encode a small value."""


def _key_part(value: object) -> object:
    if isinstance(plain := hooks.convert(value, Notes()), str | int | float):
        return plain
    raise _Unsettled


_KEY_ENCODER: Final = msgspec.json.Encoder(enc_hook=_key_part)


def _others_run() -> bool:
    """Whether threads of the program run beside this one; nxtrack's own do not touch the program's values."""
    if threading.active_count() == 1:
        return False
    here = threading.get_ident()
    return any(one.ident != here and not one.name.startswith("nxtrack") for one in threading.enumerate())


def _encode_carefully(value: object, *, once: bool = False) -> Content:
    for each_once, deepest in _ATTEMPTS[once:]:
        notes = Notes()
        try:
            plain = Plain(notes, once=each_once, deepest=deepest).convert(value)
            return Content(msgspec.json.encode(plain), notes.sentences())
        except (TangledError, RecursionError):
            continue
        except Exception:  # noqa: BLE001 such as a MemoryError
            break
    return _summarised(value)


def _summarised(value: object) -> Content:
    notes = Notes()
    notes.add("whole", type(value))
    return Content(msgspec.json.encode(summary(value)), notes.sentences())


def _unwrapped(value: object) -> object:
    """Replaces `nextmv.Input` and `nextmv.Output`, at the top or in a dict of arguments.

    They are dataclasses, which msgspec would write field by field.
    """
    whole: Any = value
    if type(whole) is not dict:
        return hooks.nextmv_fields(value)
    parts = cast("dict[object, object]", whole)
    if len(parts) <= _MOST_UNWRAPPED and any(map(hooks.is_nextmv_record, list(parts.values()))):
        return {key: hooks.nextmv_fields(part) for key, part in list(parts.items())}
    return value


def as_output(value: object) -> object:
    """Gives a returned value the form the platform expects of an output.

    Args:
        value: What the solver returned, or what was set as the run's output.

    Returns:
        None for None (there is no output), a dict or another mapping with text keys as it is, a `nextmv.Output` as
        its dict, and `{"solution": value}` for anything else.
    """
    if value is None or issubclass(type(value), dict):
        return value
    if hooks.is_nextmv_record(value, name="Output"):
        return hooks.nextmv_fields(value)
    try:
        mapping = issubclass(type(value), Mapping) and all(isinstance(key, str) for key in cast("Any", value))
    except Exception:  # noqa: BLE001 a metaclass or an iterator of the user's
        mapping = False
    return value if mapping else {"solution": value}


def _in_text(name: str) -> re.Pattern[str]:
    """Returns what finds a name and its value in a text, as in `token=abc`, `"token": "abc"` and `Token: abc`."""
    value = r"""(?:"[^"\n]*"|'[^'\n]*'|[^\s,;"'}\])]+)"""
    return re.compile(rf"""(?<![\w-])["']?{re.escape(name)}["']?[ \t]*[:=][ \t]*{value}""", re.IGNORECASE)


class Redaction:
    """What must not leave the machine, made once when a function is decorated.

    Functions come first, so that no name and no pattern gets past by way of what they return.

    Attributes:
        names: Keys whose value is masked at any depth, folded for comparing without case.
        patterns: What is masked wherever it matches, in text values and in keys.
        functions: Each gets the decoded document and returns what to keep of it. A line of a log is one as well.
        is_set: There is something to redact.
        in_logs: What else is masked in the text of a log: the patterns, and names with the value that follows them.
    """

    __slots__ = ("_concerned", "functions", "in_logs", "is_set", "names", "patterns")

    def __init__(
        self,
        *,
        names: frozenset[str] = frozenset(),
        patterns: tuple[re.Pattern[str], ...] = (),
        functions: tuple[_Function, ...] = (),
    ) -> None:
        self.names = frozenset(name.casefold() for name in names)
        self.patterns = patterns
        self.in_logs = (*patterns, *map(_in_text, sorted(self.names)))
        self.functions = functions
        self.is_set = bool(names or patterns or functions)
        self._concerned: dict[tuple[str, ...], bool] = {}

    @property
    def for_recovery(self) -> tuple[re.Pattern[str] | None, ...]:
        """What another process needs to mask a log; None stands for functions, which it cannot have."""
        return (*self.in_logs, None) if self.functions else self.in_logs

    @classmethod
    def of(cls, spec: RedactionSpec | Sequence[RedactionSpec] | Redaction | None) -> Redaction:
        """Builds a redaction from the `redact` option.

        Args:
            spec: A key, a compiled pattern, a function, or a list, tuple or set of those; None for nothing.

        Raises:
            TypeError: When it is none of these.
        """
        if isinstance(spec, Redaction):
            return spec
        several = isinstance(spec, list | tuple | set | frozenset)
        items = cast("Sequence[object]", spec if several else () if spec is None else (spec,))
        names: list[str] = []
        patterns: list[re.Pattern[str]] = []
        functions: list[_Function] = []
        for item in items:
            if isinstance(item, str) and item:
                names.append(item)
            elif _is_text_pattern(item):
                patterns.append(item)
            elif callable(item):
                functions.append(item)
            else:
                given = "an empty text" if item == "" else type_name(cast("Any", type(item)))
                raise TypeError(
                    "redact takes the name of a key, a compiled pattern for text, a function, "
                    f"or a sequence of those, not {given}"
                )
        return cls(names=frozenset(names), patterns=tuple(patterns), functions=tuple(functions))

    def concerns(self, names: tuple[str, ...]) -> bool:
        """Says whether keys of these names, or their values, might be masked; of a function nobody knows."""
        if not self.is_set:
            return False
        known = self._concerned.get(names)
        if known is None:
            changed = self.mask(dict.fromkeys(names, 0)) != dict.fromkeys(names, 0)
            known = self._concerned[names] = bool(self.functions) or changed
        return known

    def text(self, text: str) -> str:
        """Masks what the patterns match in a text, such as a line of a log."""
        for pattern in self.patterns:
            text = pattern.sub(MASK, text)
        return text

    def of_log(self) -> LogMask:
        """Returns what masks the log of one run."""
        return LogMask(self)

    def log_text(self, text: str) -> str:
        """Masks what must not be in a log, but for what functions are to find; see `LogMask`."""
        for pattern in self.in_logs:
            text = pattern.sub(MASK, text)
        return text

    def mask(self, document: object) -> object:
        """Masks names and patterns in a decoded JSON document, in place where that can be."""
        top: list[object] = [document]
        waiting: list[Any] = [top]
        while waiting:
            part = waiting.pop()
            for place, value in self._places(part):
                if isinstance(place, str) and place.casefold() in self.names:
                    part[place] = MASK
                elif isinstance(value, str):
                    part[place] = self.text(value)
                elif isinstance(value, dict | list):
                    waiting.append(value)
        return top[0]

    def _places(self, part: Any) -> list[tuple[Any, object]]:
        if not _is_dict(part):
            return list(enumerate(cast("list[object]", part)))
        self._mask_keys(part)
        return list(part.items())

    def _mask_keys(self, part: dict[str, object]) -> None:
        if not self.patterns or all(self.text(key) == key for key in part):
            return
        entries = list(part.items())
        part.clear()
        counts: dict[str, int] = {}
        for key, value in entries:
            named = key.casefold() in self.names
            part[distinct(key if named else self.text(key), counts)] = value


def _is_text_pattern(item: object) -> TypeGuard[re.Pattern[str]]:
    return isinstance(item, re.Pattern) and isinstance(cast("Any", item).pattern, str)


def _is_dict(part: object) -> TypeGuard[dict[str, object]]:
    return isinstance(part, dict)


def redacted(encoded: Content, redact: Redaction) -> Content:
    """Masks what must not leave the machine, and never fails.

    Args:
        encoded: A value as `encode` gave it.
        redact: What to mask. When one of its functions raises, nothing of the value is kept.

    Returns:
        The masked JSON, with the notes there were and those of the masking.
    """
    if not redact.is_set:
        return encoded
    added = Notes()
    try:
        document: object = msgspec.json.decode(encoded.data)
        for function in redact.functions:
            document = function(document)
        if redact.functions:
            again = encode(document)
            if document is None and encoded.data != b"null":
                added.add("nothing")
            encoded = Content(again.data, (*encoded.notes, *again.notes))
            document = msgspec.json.decode(again.data)
        data = msgspec.json.encode(redact.mask(document))
    except Exception as fault:  # noqa: BLE001 a function of the user's, or a pattern
        added.add("redaction", type(fault))
        data = msgspec.json.encode({"redaction": "failed", "size": len(encoded.data)})
    return Content(data, bounded((*encoded.notes, *added.sentences())))
