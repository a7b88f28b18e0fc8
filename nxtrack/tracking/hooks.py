"""Owns what becomes of each type: a table from the names of types to the plain data they are written as.

Types of other packages are recognised by the names along their method resolution order, so that none of those
packages is ever imported. What each becomes:

    numpy scalar, array        its item, nested lists; masked entries and NaT are null, dates ISO text
    pandas DataFrame           a list of records, when the columns are texts and the index just counts the rows;
                               otherwise {"columns", "index", "data"}, which loses nothing
    pandas Series              a list when the index just counts; {index: value} when it is unique;
                               otherwise {"index", "data"}
    polars DataFrame, Series   a list of records, a list; a LazyFrame is not collected
    pydantic model             its own JSON form (`model_dump(mode="json")`, or `.dict()` of version 1)
    networkx graph             node-link data: {"directed", "multigraph", "graph", "nodes", "edges"}
    nextmv Input, Output, ...  their own `to_dict()`; options that were never read are given by their defaults
    path, Fraction             text; complex is [real, imaginary]
    Mapping, Sequence, Set     dict or list; iterators are left unread
    function, class, module    {"type", "name"}
    anything else              {"type", "attributes"}: the names of up to 20 public attributes, never a value
"""

from __future__ import annotations

import collections.abc
import copy
import dataclasses
import datetime as dt
import decimal
import math
import uuid
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, TypeAlias, cast

import msgspec

from nxtrack.tracking.notes import Notes, summary, type_name

Converter: TypeAlias = Callable[[Any, Notes], object]


def convert(value: object, notes: Notes) -> object:
    """Takes one step towards plain data.

    Returns:
        A value of another type that stands for this one; its parts may need steps of their own.

    Raises:
        Exception: Whatever the value's own methods raise.
    """
    return converter_of(value)(value, notes)


def converter_of(value: object) -> Converter:
    """Finds how values of this one's type are converted: by its own or a base's name, then by what it can do."""
    return _converter(cast("Any", type(value)))


@lru_cache(maxsize=512)
def _converter(kind: type[Any]) -> Converter:
    if kind in _NATIVE:
        return _native
    for base in kind.__mro__:
        name = f"{base.__module__.partition('.')[0]}.{base.__name__}"
        if found := _BY_NAME.get(name):
            return found
    if dataclasses.is_dataclass(kind) or hasattr(kind, "__attrs_attrs__"):
        return _record
    for able, found in _BY_ABILITY:
        if issubclass(kind, able):
            return found
    return opaque


def is_opaque(value: object) -> bool:
    """Whether nothing is known of a value's type, so that all of its kind look the same."""
    try:
        return converter_of(value) is opaque
    except Exception:  # noqa: BLE001 a metaclass may refuse to be hashed
        return True


def is_fault(error: BaseException) -> bool:
    """Whether an error is a failure of what was called, rather than meant for the program, as `SystemExit` is.

    Polars panics with an exception that is no `Exception`.
    """
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def is_nextmv_record(value: object, *, name: str | None = None) -> bool:
    """Whether a value is a `nextmv.Input` or `nextmv.Output`, or the one of them that is named."""
    kind = type(value)
    wanted = ("Input", "Output") if name is None else (name,)
    try:
        return any(base.__name__ in wanted and base.__module__.startswith("nextmv.") for base in kind.__mro__)
    except Exception:  # noqa: BLE001 a metaclass may raise anything
        return False


def nextmv_fields(value: object) -> object:
    """Gives the dict of a `nextmv.Input` or `nextmv.Output`, and anything else as it is."""
    if not is_nextmv_record(value):
        return value
    try:
        return _nextmv_record(value, Notes())
    except Exception:  # noqa: BLE001 it is of an unusual make: its fields as they are
        return {name: part for name, part in vars(value).items() if part is not None}


def opaque(value: object, notes: Notes) -> object:
    """Stands for a value of which nothing more is known than its type and what its attributes are called."""
    notes.about("summary", value)
    return summary(value)


def surely_finite(value: object) -> bool:
    """Whether a value is a numpy array of finite numbers only, which numpy knows sooner than a walk would."""
    if converter_of(value) is not _numpy_array:
        return False
    array: Any = value
    if array.dtype.kind != "f":
        return str(array.dtype.kind) in "biuSUMm"
    # NaN carries through both, and an infinity is one of them.
    return array.size == 0 or (math.isfinite(array.min()) and math.isfinite(array.max()))


# -- the standard library ----------------------------------------------------------------------------------


def _native(value: Any, _notes: Notes) -> object:
    return msgspec.to_builtins(value)


def _raw(value: Any, _notes: Notes) -> object:
    return msgspec.json.decode(value)


def _record(value: Any, _notes: Notes) -> dict[str, object]:
    """Names the fields as msgspec would: those that are set, and of an attrs object only the public ones."""
    kind = cast("Any", type(value))
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
    else:
        names = [str(field.name) for field in kind.__attrs_attrs__ if not field.name.startswith("_")]
    return {name: getattr(value, name) for name in names if hasattr(value, name)}


def _struct(value: Any, _notes: Notes) -> dict[str, object]:
    config = value.__struct_config__
    fields: dict[str, object] = {}
    if config.tag_field is not None:
        fields[config.tag_field] = config.tag
    for name, shown in zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True):
        if (part := getattr(value, name)) is not msgspec.UNSET:
            fields[shown] = part
    return fields


def _namespace(value: Any, _notes: Notes) -> dict[str, object]:
    return dict(cast("dict[str, object]", vars(value)))


def _complex(value: complex, notes: Notes) -> list[float]:
    notes.about("complex", value)
    return [value.real, value.imag]


def _unread(value: object, notes: Notes) -> object:
    """Leaves an iterator alone: what it holds belongs to the solver, and could be read only once."""
    notes.about("iterator", value)
    return summary(value)


def _named(value: Any, notes: Notes) -> object:
    notes.about("summary", value)
    module = value.__module__ if hasattr(value, "__module__") else None
    name = getattr(value, "__qualname__", value.__name__)
    full = f"{module}.{name}" if module and module != "builtins" else str(name)
    return {"type": type_name(cast("Any", type(value))), "name": full[:200]}


# -- numpy -------------------------------------------------------------------------------------------------


def _numpy_scalar(value: Any, notes: Notes) -> object:
    kind: str = value.dtype.kind
    if kind == "M":
        shown = str(value)
        return None if shown == "NaT" else shown
    if kind == "f":
        return _narrowed(value, float(value), notes)
    return complex(value) if kind == "c" else value.item()


def _numpy_array(value: Any, notes: Notes) -> object:
    kind: str = value.dtype.kind
    if kind == "M":
        shown = value.astype(str).astype(object)
        shown[value != value] = None  # NaT, as NaN, is unequal to itself  # noqa: PLR0124
        return shown.tolist()
    if kind == "m":
        return _numpy_durations(value, notes)
    if kind == "f" and value.dtype.itemsize > 8:  # noqa: PLR2004 bytes of a double
        doubles = value.astype(float)
        if ((doubles != value) & (value == value)).any():  # noqa: PLR0124 NaN is unequal to itself
            notes.about("rounded", value)
        return doubles.tolist()
    return value.tolist()


def _numpy_durations(value: Any, notes: Notes) -> object:
    """Gives `datetime.timedelta`s, which count microseconds, and None for NaT."""
    short = value.astype("m8[us]")
    if ((short != value) & (value == value)).any():  # noqa: PLR0124 NaT is unequal to itself
        notes.about("rounded", value)
    return short.tolist()


def _narrowed(value: Any, double: float, notes: Notes) -> float:
    if value.dtype.itemsize > 8 and value == value and value != double:  # noqa: PLR0124, PLR2004 as above
        notes.about("rounded", value)
    return double


# -- tables and graphs -------------------------------------------------------------------------------------


def _just_counts(index: Any) -> bool:
    return type(index).__name__ == "RangeIndex" and index.start == 0 and index.step == 1


def _pandas_frame(value: Any, _notes: Notes) -> object:
    names: list[Any] = value.columns.tolist()
    columns: list[list[object]] = [value.iloc[:, at].tolist() for at in range(len(names))]
    rows = zip(*columns, strict=True)
    texts = bool(names) and len(set(names)) == len(names) and all(type(name) is str for name in names)
    if texts and _just_counts(value.index):
        return [dict(zip(names, row, strict=True)) for row in rows]
    return {"columns": names, "index": value.index.tolist(), "data": [list(row) for row in rows]}


def _pandas_series(value: Any, _notes: Notes) -> object:
    if _just_counts(value.index):
        return value.tolist()
    index: list[Any] = value.index.tolist()
    if value.index.is_unique:
        return dict(zip(index, value.tolist(), strict=True))
    return {"index": index, "data": value.tolist()}


def _networkx_graph(value: Any, _notes: Notes) -> object:
    several = bool(value.is_multigraph())
    ends = ("source", "target", "key") if several else ("source", "target")
    links = value.edges(keys=True, data=True) if several else value.edges(data=True)
    return {
        "directed": bool(value.is_directed()),
        "multigraph": several,
        "graph": dict(value.graph),
        "nodes": [{**data, "id": node} for node, data in value.nodes(data=True)],
        "edges": [{**link[-1], **dict(zip(ends, link, strict=False))} for link in links],
    }


# -- pydantic and nextmv -----------------------------------------------------------------------------------


def _pydantic_model(value: Any, _notes: Notes) -> object:
    dump = getattr(value.__class__, "model_dump", None)
    if dump is None:
        return value.dict()
    try:
        return dump(value, mode="json", warnings=False)
    except (TypeError, ValueError):
        # A field of a type that pydantic cannot write: its Python form, whose parts are converted one by one.
        return dump(value, warnings=False)


def _nextmv_options(value: Any, _notes: Notes) -> dict[str, object]:
    """Reads options as they stand.

    Their own `to_dict` parses the command line when nothing was read yet, and may end the program doing so.
    """
    state = dict(object.__getattribute__(value, "__dict__"))
    declared = state.pop("options", ())
    if state.pop("PARSED", False):
        return state
    return {option.name.lstrip("-").replace("-", "_"): option.default for option in declared}


def _nextmv_record(value: Any, notes: Notes) -> object:
    """Converts a `nextmv.Input` or `nextmv.Output` by its `to_dict()`."""
    options = value.options
    bare = copy.copy(value)
    object.__setattr__(bare, "options", None)
    fields = dict(bare.to_dict())
    if options is not None:
        fields["options"] = options if isinstance(options, dict) else _nextmv_options(options, notes)
    return fields


# -- the table ---------------------------------------------------------------------------------------------

_NATIVE: Final = frozenset(
    (dt.datetime, dt.date, dt.time, dt.timedelta, decimal.Decimal, uuid.UUID, bytes, bytearray, memoryview)
)

# Called by way of the class, these see the contents whatever a subclass overrides.
_Dict, _List, _Tuple, _Set, _FrozenSet = cast("tuple[Any, ...]", (dict, list, tuple, set, frozenset))

# The key is a class's top-level package and its name: packages move their classes between modules.
# The first match along the method resolution order decides, so a subclass stands before its base.
_BY_NAME: Final[dict[str, Converter]] = {
    "builtins.str": lambda value, _: str.__str__(value),
    "builtins.int": lambda value, _: int.__int__(value),
    "builtins.float": lambda value, _: float.__float__(value),
    "builtins.complex": _complex,
    "builtins.bytes": lambda value, _: bytes(value),
    "builtins.dict": lambda value, _: _Dict.copy(value),
    "builtins.list": lambda value, _: _List.copy(value),
    "builtins.tuple": lambda value, _: list(_Tuple.__iter__(value)),
    "builtins.set": lambda value, _: list(_Set.__iter__(value)),
    "builtins.frozenset": lambda value, _: list(_FrozenSet.__iter__(value)),
    "builtins.function": _named,
    "builtins.builtin_function_or_method": _named,
    "builtins.method": _named,
    "builtins.type": _named,
    "builtins.module": _named,
    "datetime.datetime": lambda value, _: dt.datetime.isoformat(value),
    "datetime.date": lambda value, _: dt.date.isoformat(value),
    "datetime.time": lambda value, _: dt.time.isoformat(value),
    "datetime.timedelta": lambda value, _: dt.timedelta(value.days, value.seconds, value.microseconds),
    "decimal.Decimal": lambda value, _: decimal.Decimal(value),
    "uuid.UUID": lambda value, _: uuid.UUID(int=value.int),
    "enum.Enum": lambda value, _: value.value,
    "fractions.Fraction": lambda value, _: f"{value.numerator}/{value.denominator}",
    "pathlib.PurePath": lambda value, _: str(value),
    "argparse.Namespace": _namespace,
    "types.SimpleNamespace": _namespace,
    "msgspec.Struct": _struct,
    "msgspec.Raw": _raw,
    "msgspec.UnsetType": lambda _value, _: None,
    "numpy.float64": lambda value, _: float.__float__(value),
    "numpy.integer": lambda value, _: value.item(),
    "numpy.timedelta64": _numpy_durations,
    "numpy.generic": _numpy_scalar,
    "numpy.ndarray": _numpy_array,
    "numpy.MaskedArray": lambda value, _: value.tolist(),
    "pandas.DataFrame": _pandas_frame,
    "pandas.Series": _pandas_series,
    "pandas.Index": lambda value, _: value.tolist(),
    "pandas.ExtensionArray": lambda value, _: value.tolist(),
    "pandas.Timestamp": lambda value, _: value.isoformat(),
    "pandas.Timedelta": lambda value, _: value.isoformat(),
    "pandas.Period": lambda value, _: str(value),
    "pandas.Interval": lambda value, _: str(value),
    "pandas.NaTType": lambda _value, _: None,
    "pandas.NAType": lambda _value, _: None,
    "polars.DataFrame": lambda value, _: value.to_dicts(),
    "polars.Series": lambda value, _: value.to_list(),
    "pydantic.BaseModel": _pydantic_model,
    "networkx.Graph": _networkx_graph,
    "nextmv.BaseModel": lambda value, _: value.to_dict(),
    "nextmv.Options": _nextmv_options,
    "nextmv.Input": _nextmv_record,
    "nextmv.Output": _nextmv_record,
}

_BY_ABILITY: Final[tuple[tuple[type, Converter], ...]] = (
    (collections.abc.Iterator, _unread),
    (collections.abc.AsyncIterator, _unread),
    (collections.abc.Mapping, lambda value, _: dict(value)),
    (collections.abc.Sequence, lambda value, _: list(value)),
    (collections.abc.Set, lambda value, _: list(value)),
    (collections.abc.MappingView, lambda value, _: list(value)),
)
