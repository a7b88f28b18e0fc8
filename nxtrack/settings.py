"""What nxtrack is told from outside: the frozen settings, and the order in which their sources win.

Order: `configure()`, then the environment, then the default; an argument of a call wins over all of them where it is
taken. Credentials that are still missing are looked up in the profile file by `nxtrack.cloud.credentials`, which
only delivery asks: the tracked process never reads them.
"""

from __future__ import annotations

import dataclasses
import os
import re
import threading
from typing import TYPE_CHECKING, Any, Literal, get_args

from nxtrack.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Mode = Literal["offline", "online", "disabled"]
Capture = Literal["auto", "fd", "sys", "off"]
Stream = Literal["stderr", "stdout"]
Durability = Literal["power", "process"]
SolverMetrics = Literal["auto", "off"]
Ansi = Literal["keep", "strip"]

_DECIMAL_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_UNITS = _DECIMAL_UNITS | {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings in force, each with the environment variable that sets it.

    Attributes:
        mode: `offline` spools, `online` also delivers from a background thread, `disabled` does nothing
            (`NXTRACK_MODE`).
        dir: The spool's folder; empty for the platform's user state folder (`NXTRACK_DIR`).
        capture: How streams are captured: at descriptor level, as Python's streams, or whichever is safe
            (`NXTRACK_CAPTURE`).
        streams: Which streams go to the logs (`NXTRACK_STREAMS`).
        durability: `power` fsyncs a finished run, `process` does not (`NXTRACK_DURABILITY`).
        settle: Seconds a run whose POST went unanswered is given to show up in the platform's list before it may
            be posted again (`NXTRACK_SETTLE`).
        max_spool: Bytes that the spool may hold, or None for no limit: delivered runs give way, oldest first, and when
            those that wait hold more, new ones are refused (`NXTRACK_MAX_SPOOL`).
        max_log: Bytes of a run's log that are kept of its head and tail, or None for all (`NXTRACK_MAX_LOG`).
        ansi: `strip` leaves colours and other escape sequences out of logs (`NXTRACK_ANSI`).
        solver_metrics: `auto` reads a run's log for what a solver says of itself (`NXTRACK_SOLVER_METRICS`).
        jobs: Connections a flush works with (`NXTRACK_JOBS`).
        rate: Run posts a second, 0 for no limit; the platform documents 5 (`NXTRACK_RATE`).
        request_rate: API requests a minute, 0 for no limit; the platform documents 2000 (`NXTRACK_REQUEST_RATE`).
        backoff: Seconds before the first repetition of a request that failed; doubled for each further one
            (`NXTRACK_BACKOFF`).
        answer_wait: Seconds without a byte from the platform after which an answer counts as lost
            (`NXTRACK_ANSWER_WAIT`).
        exit_wait: Seconds that the end of a program waits for `online` delivery, at most (`NXTRACK_EXIT_WAIT`).
        api_key: The platform's API key (`NEXTMV_API_KEY`).
        endpoint: The platform's address (`NEXTMV_ENDPOINT`).
        profile: A named profile of `~/.nextmv/config.yaml` (`NEXTMV_PROFILE`).
        app_id: The application of runs that name none (`NEXTMV_APP_ID`).
        instance_id: The instance of runs that name none (`NEXTMV_INSTANCE_ID`).
    """

    mode: Mode = "offline"
    dir: str = ""
    capture: Capture = "auto"
    streams: tuple[Stream, ...] = ("stderr", "stdout")
    durability: Durability = "power"
    settle: float = 60.0
    max_spool: int | None = 10 * 10**9
    max_log: int | None = 50 * 10**6
    ansi: Ansi = "keep"
    solver_metrics: SolverMetrics = "auto"
    jobs: int = 8
    rate: float = 5.0
    request_rate: float = 2000.0
    backoff: float = 1.0
    answer_wait: float = 60.0
    exit_wait: float = 5.0
    api_key: str | None = dataclasses.field(default=None, repr=False)
    endpoint: str | None = None
    profile: str | None = None
    app_id: str | None = None
    instance_id: str | None = None


def parse_bytes(text: str) -> int:
    """Reads a size such as `50MB`, `1.5 GiB` or `4096`.

    Args:
        text: A number with an optional unit; KB, MB, GB are powers of 1000 and KiB, MiB, GiB of 1024.

    Returns:
        The size in bytes.

    Raises:
        ValueError: The text is no size.
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", text)
    if match is None or match[2].upper() not in _UNITS:
        raise ValueError("expected a size such as 50MB or 10GB")
    whole, _, part = match[1].partition(".")
    scale: int = 10 ** len(part)
    return int(whole + part) * _UNITS[match[2].upper()] // scale


def parse_streams(value: Any) -> tuple[Stream, ...]:
    """Reads which streams to capture: `"stderr,stdout"`, `"stderr"`, or a sequence of those names.

    Raises:
        ValueError: A name is neither `stderr` nor `stdout`.
    """
    names = value.split(",") if isinstance(value, str) else list(value)
    chosen = {str(name).strip() for name in names} - {""}
    if unknown := chosen - {"stderr", "stdout"}:
        raise ValueError(f"no such stream: {', '.join(sorted(unknown))}; there are stderr and stdout")
    return tuple(name for name in get_args(Stream) if name in chosen)


def parse_choice(value: Any, choices: tuple[str, ...]) -> str:
    """Returns `value` when it is one of `choices`, whatever its case.

    Raises:
        ValueError: It is none of them.
    """
    text = str(value).strip().lower()
    if text not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}")
    return text


def _limit(value: Any) -> int | None:
    text = str(value).strip().lower()
    return None if text in {"", "none", "unlimited"} else parse_bytes(text) or None


def _number(value: Any, lowest: float) -> float:
    number = float(value)
    if not lowest <= number < float("inf"):
        raise ValueError(f"expected a number from {lowest:g} up")
    return number


def _folder(value: str | os.PathLike[str]) -> str:
    # Absolute, so that a program that changes its folder goes on with the same spool.
    return os.path.abspath(os.path.expanduser(os.fspath(value)))  # noqa: PTH100, PTH111  (text in, text out)


def _text(value: Any) -> str | None:
    return str(value).strip() or None


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "mode": lambda value: parse_choice(value, get_args(Mode)),
    "dir": _folder,
    "capture": lambda value: parse_choice(value, get_args(Capture)),
    "streams": parse_streams,
    "durability": lambda value: parse_choice(value, get_args(Durability)),
    "settle": lambda value: _number(value, 0),
    "max_spool": _limit,
    "max_log": _limit,
    "ansi": lambda value: parse_choice(value, get_args(Ansi)),
    "solver_metrics": lambda value: parse_choice(value, get_args(SolverMetrics)),
    "jobs": lambda value: int(_number(value, 1)),
    "rate": lambda value: _number(value, 0),
    "request_rate": lambda value: _number(value, 0),
    "backoff": lambda value: _number(value, 0),
    "answer_wait": lambda value: _number(value, 0.01),
    "exit_wait": lambda value: _number(value, 0),
    "api_key": _text,
    "endpoint": _text,
    "profile": _text,
    "app_id": _text,
    "instance_id": _text,
}
_PLATFORM_NAMES = frozenset({"api_key", "endpoint", "profile", "app_id", "instance_id"})
_OF_FOLDERS = ("HOME", "XDG_STATE_HOME", "LOCALAPPDATA", "USERPROFILE")
"""What says where a user's state folder is."""
_VARIABLES = {name: ("NEXTMV_" if name in _PLATFORM_NAMES else "NXTRACK_") + name.upper() for name in _PARSERS}

_lock = threading.Lock()
_configured: dict[str, Any] = {}  # never changed but replaced, so that who reads sees all of one `configure` or nothing
_cache: tuple[object, dict[str, Any], Settings, tuple[str, ...]] | None = None


def _environment() -> tuple[Mapping[Any, Any], list[Any]]:
    """Returns the mapping behind `os.environ` and our variables' keys in it.

    Asking `os.environ` costs 0.6 µs a variable, and a tracked call must notice a changed variable: looking at the
    mapping it wraps costs 0.03 µs. Where there is no such mapping, `os.environ` itself serves.
    """
    wrapped: dict[Any, Any] | None = getattr(os.environ, "_data", None)
    names = [*_VARIABLES.values(), *_OF_FOLDERS]
    return (os.environ, names) if wrapped is None else (wrapped, [os.environ.encodekey(name) for name in names])


_data, _keys = _environment()
_folder_found: tuple[Settings, str] | None = None


def lenient() -> tuple[Settings, tuple[str, ...]]:
    """Returns the settings in force with the default in place of every value that cannot be used.

    For the tracked process, which nothing of ours may stop.

    Returns:
        The settings, the same object as long as nothing changes, and a sentence for each value that could not be used.
    """
    global _cache  # noqa: PLW0603  (the cache is this module's one piece of state besides `configure`)
    seen = tuple(map(_data.get, _keys))
    cached, configured = _cache, _configured
    if cached is not None and cached[1] is configured and cached[0] == seen:
        return cached[2], cached[3]
    values: dict[str, Any] = {}
    problems: list[str] = []
    for name, variable in _VARIABLES.items():
        text = os.environ.get(variable)
        if name not in configured and text is not None and text.strip():
            try:
                values[name] = _PARSERS[name](text)
            except ValueError as error:
                shown = "" if name == "api_key" else f" is {text[:80]!r}:"
                problems.append(f"{variable}{shown} {error}")
    settings = Settings(**(values | configured))
    _cache = (seen, configured, settings, tuple(problems))
    return settings, tuple(problems)


def current() -> Settings:
    """Returns the settings in force.

    Raises:
        SettingsError: An environment variable has a value that cannot be used; the message names it.
    """
    settings, problems = lenient()
    if problems:
        raise SettingsError(problems[0])
    return settings


def configure(**settings: object) -> None:
    """Sets what the environment sets, for this process; None gives a setting back to the environment.

    Args:
        **settings: Names and values of `Settings`, such as `dir="/var/spool/nxtrack"` or `durability="process"`.

    Raises:
        TypeError: There is no such setting.
        SettingsError: A value cannot be used; nothing is changed then.
    """
    global _configured  # noqa: PLW0603
    if unknown := sorted(settings.keys() - _PARSERS.keys()):
        raise TypeError(f"no such setting: {', '.join(unknown)}; there are {', '.join(_PARSERS)}")
    parsed: dict[str, Any] = {}
    for name, value in settings.items():
        try:
            if value is not None:
                parsed[name] = _PARSERS[name](value)
        except (TypeError, ValueError) as error:
            raise SettingsError(f"{name} cannot be set: {error}") from None
    with _lock:
        _configured = {name: value for name, value in _configured.items() if name not in settings} | parsed


def spool_dir(settings: Settings) -> str:
    """Returns the spool's folder: the setting, or the platform's user state folder for nxtrack."""
    global _folder_found  # noqa: PLW0603  (finding it takes as long as writing a run's end, and every call asks)
    found = _folder_found
    if found is not None and found[0] is settings:
        return found[1]
    if settings.dir:
        folder = os.path.abspath(settings.dir)  # noqa: PTH100
    else:
        import platformdirs  # noqa: PLC0415  (only who opens a spool needs it)

        folder = platformdirs.user_state_dir("nxtrack", appauthor=False)
    _folder_found = settings, folder
    return folder
