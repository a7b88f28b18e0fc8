"""Owns the live run as users see it: what a program may look at and change while its solver runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import msgspec

from nxtrack.spool.records import Asset, Input, Metric, Update
from nxtrack.tracking import values
from nxtrack.tracking.faults import absorbed
from nxtrack.tracking.state import UNSET, RunState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nxtrack.spool.writer import Content
    from nxtrack.tracking.values import Redaction


def utf8(value: object) -> str:
    """Returns a value as text that can be written down: lone surrogates, which no UTF-8 can hold, become escapes."""
    # By way of the class, as the text may be of an enum or another subclass with ideas of its own.
    return str.encode(value if isinstance(value, str) else str(value), "utf-8", "backslashreplace").decode()


def shown(text: object, redaction: Redaction) -> str | None:
    """Returns a name or description as it will be recorded, without what shall not be."""
    if text is None:
        return None
    return redaction.text(utf8(text)) if redaction.is_set else utf8(text)


def option_texts(options: Mapping[str, Any], redaction: Redaction) -> dict[str, str]:
    """Returns options as the platform takes them: text as it is, anything else as JSON ("Track runs", step 5)."""
    given = dict(options)
    if redaction.is_set:
        masked: Any = msgspec.json.decode(content_of(given, redaction).data)
        given = cast("dict[str, Any]", masked) if isinstance(masked, dict) else {}
    return {
        utf8(name): utf8(value) if isinstance(value, str) else values.encode(value).data.decode()
        for name, value in given.items()
    }


def content_of(value: Any, redaction: Redaction) -> Content:
    """Returns a value as it will be recorded."""
    encoded = values.encode(value)
    return values.redacted(encoded, redaction) if redaction.is_set else encoded


def recordable(name: str, value: Any, redaction: Redaction) -> tuple[str, Any]:
    """Returns the name and value, made of what JSON knows, of a metric as it will be recorded."""
    if redaction.is_set:
        # By name as well: what shall not be recorded may be told by the metric's own.
        masked: Any = msgspec.json.decode(content_of({name: value}, redaction).data)
        shown_ones = cast("dict[str, Any]", masked) if isinstance(masked, dict) else {}
        name, value = next(iter(shown_ones.items()), (name, None))
    if isinstance(value, dict | list):
        value = msgspec.json.encode(value).decode()
    return name, value


class Run:
    """A run while it is recorded. What is assigned is written to the spool at once, so that a kill does not lose it.

    A run that is not recorded (tracking is disabled, or the spool cannot be written) takes everything and keeps
    nothing, so that no program needs to ask.
    """

    __slots__ = ("_state",)

    def __init__(self, run_state: RunState) -> None:
        """Made by `track`; programs get it from `as run` or `current_run()`."""
        self._state = run_state

    def __repr__(self) -> str:
        """Shows what tells the run from others."""
        return f"<Run {self.id} {self.status}>"

    @property
    def id(self) -> str:
        """The run's id in the spool: 26 characters that sort by time."""
        return self._state.run_id

    @property
    def status(self) -> str:
        """`running`, then `succeeded` or `failed`."""
        return self._state.status

    @property
    def name(self) -> str | None:
        """The run's name on the platform."""
        return self._state.name

    @name.setter
    def name(self, value: str | None) -> None:
        self._state.name = value
        self._write_name(value)

    @property
    def description(self) -> str | None:
        """The run's description on the platform."""
        return self._state.description

    @description.setter
    def description(self, value: str | None) -> None:
        self._state.description = value
        self._write_description(value)

    @property
    def options(self) -> dict[str, Any]:
        """The run's options by name; assign a new dict to change them."""
        return self._state.options

    @options.setter
    def options(self, value: Mapping[str, Any]) -> None:
        self._write_options(value)

    @property
    def input(self) -> Any:
        """What the solver was given. Encoded when it is assigned, as solvers change their input."""
        return self._state.input

    @input.setter  # noqa: A003  (the platform's word)
    def input(self, value: Any) -> None:
        self._state.input = value
        self._write_input(value)

    @property
    def output(self) -> Any:
        """What the solver found; None until it is assigned. Wins over the return value; encoded when the run ends."""
        return None if self._state.output is UNSET else self._state.output

    @output.setter
    def output(self, value: Any) -> None:
        self._state.output = value

    @absorbed
    def log_metric(self, name: str, value: float | str | bool | None, step: float | None = None) -> None:  # noqa: FBT001
        """Logs a metric, such as a gap or an objective.

        Args:
            name: The metric's name; its last value becomes the run's.
            value: A number, as a rule. A number that is not finite becomes null, and a list or dict JSON text.
            step: Where in a series the value stands: an iteration, a time. What is no number is left out. A series of
                several values becomes a chart.
        """
        writer = self._state.writer
        if writer is None:
            return
        label, plain = recordable(utf8(name), msgspec.json.decode(values.encode(value).data), self._state.redaction)
        place = None if step is None else msgspec.json.decode(values.encode(step).data)
        if isinstance(place, bool) or not isinstance(place, int | float):
            place = None
        self._state.pieces.add_metric(label, plain, place)
        writer.append(Metric(name=label, value=plain, step=place))

    @absorbed
    def log_metrics(self, metrics: Mapping[str, float | str | bool | None]) -> None:
        """Logs several metrics by name."""
        for name, value in metrics.items():
            self.log_metric(name, value)

    @absorbed
    def log_asset(self, name: str, content: Any, visual: Mapping[str, Any] | None = None) -> None:
        """Logs something to look at beside the output.

        Args:
            name: The asset's name.
            content: Any value that can become JSON.
            visual: How the platform shall draw it: `{"schema": "chartjs" | "plotly" | "geojson", "label": ...}`.
        """
        writer = self._state.writer
        if writer is None:
            return
        asset: dict[str, Any] = {"name": str(name), "content": content, "content_type": "json"}
        if visual is not None:
            asset["visual"] = {"type": "custom-tab", **visual}
        raw = msgspec.Raw(content_of(asset, self._state.redaction).data)
        self._state.pieces.assets.append(raw)
        writer.append(Asset(data=raw))

    @absorbed
    def log(self, text: str) -> None:
        """Adds a line, or several, to the run's log, and prints nothing."""
        line = str(text)
        self._state.log((line if line.endswith("\n") else line + "\n").encode("utf-8", "backslashreplace"))

    def fail(self, message: str) -> None:
        """Makes the run a failed one, although no exception was raised.

        Args:
            message: Why; becomes the run's error message.
        """
        self._state.error = "failed"
        self._write_error(message)

    @absorbed
    def _write_error(self, message: str) -> None:
        self._state.error = utf8(message)

    @absorbed
    def _write_name(self, name: str | None) -> None:
        if self._state.writer is not None:
            self._state.writer.append(Update(name=shown(name, self._state.redaction) or ""))

    @absorbed
    def _write_description(self, description: str | None) -> None:
        if self._state.writer is not None:
            self._state.writer.append(Update(description=shown(description, self._state.redaction) or ""))

    @absorbed
    def _write_options(self, options: Mapping[str, Any]) -> None:
        self._state.options = dict(options)
        if self._state.writer is not None:
            self._state.writer.append(Update(options=option_texts(options, self._state.redaction)))

    @absorbed
    def _write_input(self, value: Any) -> None:
        writer = self._state.writer
        if writer is not None:
            writer.append(writer.payload(Input, content_of(value, self._state.redaction)))
