"""Owns what a `track(...)` was told: checked once, when decorating or entering, never when the solver runs.

And what follows from it and the settings for all of its runs: found out once, and again when a setting changes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, get_args

from nxtrack import settings, solverlogs
from nxtrack.spool import owner
from nxtrack.spool.records import Start, now
from nxtrack.spool.store import spool
from nxtrack.tracking.faults import warn_once
from nxtrack.tracking.run import shown
from nxtrack.tracking.values import Redaction

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.settings import Capture, Settings, Stream


@dataclass(slots=True, kw_only=True)
class Plan:
    """How runs are to be recorded; what is None is left to the settings.

    Attributes:
        arguments: The keyword arguments `track` was given, to make it anew in another process.
    """

    arguments: dict[str, Any]
    app_id: str | None
    name: str | None
    description: str | None
    instance_id: str | None
    batch_experiment_id: str | None
    capture: Capture | None
    streams: tuple[Stream, ...] | None
    redaction: Redaction
    process_input: Callable[[Any], Any] | None
    process_output: Callable[[Any], Any] | None
    sample_rate: float
    enabled: bool
    input_dir: Any
    output_dir: Any
    _known: tuple[Settings | None, Terms | None] = field(default=(None, None), init=False, repr=False, compare=False)

    def terms(self) -> Terms | None:
        """Returns what holds for a run that begins now; None when it is not to be recorded."""
        chosen, problems = settings.lenient()
        settled, terms = self._known
        if settled is not chosen:
            if problems:
                warn_once("settings", f"nxtrack goes on with defaults: {problems[0]}; the solver is not affected.")
            terms = Terms(self, chosen) if self.enabled and chosen.mode != "disabled" else None
            self._known = chosen, terms
        return terms


class Terms:
    """What holds for all runs of a plan for as long as no setting changes.

    Attributes:
        settings: The settings.
        spool: Where they are recorded.
        capture: How their text is captured.
        streams: Of which streams.
        start: What all their starts have in common.
    """

    __slots__ = ("capture", "settings", "spool", "start", "streams")

    def __init__(self, plan: Plan, chosen: Settings) -> None:
        """Puts together what the plan and the settings say; the plan wins."""
        self.settings = chosen
        self.spool = spool(settings.spool_dir(chosen))
        self.capture: Capture = plan.capture or chosen.capture
        self.streams: tuple[Stream, ...] = chosen.streams if plan.streams is None else plan.streams
        self.start = Start(
            id="",
            at=now(),
            owner=owner.this_process(),
            app_id=plan.app_id or chosen.app_id,
            instance_id=plan.instance_id or chosen.instance_id,
            name=shown(plan.name, plan.redaction),
            description=shown(plan.description, plan.redaction),
            batch_experiment_id=plan.batch_experiment_id,
            max_log=chosen.max_log,
            unread=chosen.solver_metrics == "off" or plan.redaction.concerns(solverlogs.NAMES),
            plain=chosen.ansi == "strip",
        )


def _text(arguments: dict[str, Any], name: str) -> str | None:
    value = arguments.get(name)
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} takes text, not {type(value).__name__}")
    # Texts of other makes, such as numpy's, and lone surrogates could not be written down.
    return None if value is None else str.encode(value, "utf-8", "backslashreplace").decode()


def _function(arguments: dict[str, Any], name: str) -> Callable[[Any], Any] | None:
    value = arguments.get(name)
    if value is not None and not callable(value):
        raise TypeError(f"{name} takes a function, not {type(value).__name__}")
    return value


def _path(arguments: dict[str, Any], name: str) -> Any:
    value = arguments.get(name)
    if not (value is None or hasattr(value, "__fspath__") or isinstance(value, str)):
        raise TypeError(f"{name} takes the path of a folder, or in a decorator the name of a parameter that holds it")
    return value


def _sample_rate(value: Any) -> float:
    if value is None:
        return 1.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"sample_rate takes a number from 0 to 1, not {type(value).__name__}")
    if not 0 <= value <= 1:
        raise ValueError(f"sample_rate takes a number from 0 to 1, not {value}")
    return float(value)


def _captured(arguments: dict[str, Any], name: str, parse: Callable[[Any], Any]) -> Any:
    value = arguments.get(name)
    if value is None:
        return None
    try:
        return parse(value)
    except TypeError:
        raise TypeError(f"{name} takes names, not {type(value).__name__}") from None
    except ValueError as error:
        raise ValueError(f"track cannot capture {value!r}: {error}") from None


def make(arguments: dict[str, Any]) -> Plan:
    """Checks the arguments of `track` that mean the same for a decorator and a with-block.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: An argument has a value that cannot be used.
    """
    enabled = arguments.get("enabled")
    for side in ("input", "output"):
        for other in (side, f"process_{side}"):
            if arguments.get(f"{side}_dir") is not None and arguments.get(other) is not None:
                raise TypeError(f"{side}_dir and {other} exclude each other")
    return Plan(
        arguments=arguments,
        app_id=_text(arguments, "app_id"),
        name=_text(arguments, "name"),
        description=_text(arguments, "description"),
        instance_id=_text(arguments, "instance_id"),
        batch_experiment_id=_text(arguments, "batch_experiment_id"),
        capture=_captured(arguments, "capture", lambda value: settings.parse_choice(value, get_args(settings.Capture))),
        streams=_captured(arguments, "streams", settings.parse_streams),
        redaction=Redaction.of(arguments.get("redact")),
        process_input=_function(arguments, "process_input"),
        process_output=_function(arguments, "process_output"),
        sample_rate=_sample_rate(arguments.get("sample_rate")),
        enabled=enabled is None or bool(enabled),
        input_dir=_path(arguments, "input_dir"),
        output_dir=_path(arguments, "output_dir"),
    )


_SEQUENCES: Any = (list, tuple, set, frozenset)


def option_names(options: Any) -> tuple[str, ...]:
    """Returns the names of the parameters that a decorator was told are options.

    Raises:
        TypeError: They are no sequence of names.
    """
    if options is None:
        return ()
    if not isinstance(options, _SEQUENCES):
        raise TypeError("options of a decorator takes a list of parameter names, such as ['time_limit']")
    names: list[Any] = list(options)
    if not all(isinstance(name, str) for name in names):
        raise TypeError("options of a decorator takes a list of parameter names, such as ['time_limit']")
    return tuple(names)
