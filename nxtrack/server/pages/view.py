"""What the address of the history says, and the addresses of the links on it."""

from __future__ import annotations

import base64
import binascii
import contextlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Literal, cast, get_args
from urllib.parse import urlencode

import msgspec

from nxtrack.server.data.listing import By, Filter, Key, Order, Place, Sign, Term

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.datastructures import QueryParams

    from nxtrack.server.signing import Signer

STATUSES = ("succeeded", "failed", "running", "queued", "canceled")
"""Every status a run may have, in the order in which they are offered."""
SPANS = {"1h": ("Last hour", 3_600), "24h": ("Last day", 86_400), "7d": ("Last week", 604_800)}
"""The spans of time up to now that have a link: what it says, and seconds."""
_LONGEST = 200
_LONGEST_PLACE = 4_000
_MOST_WORDS = 8
_MICRO = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORD = re.compile(r'"([^"]*)"|(\S+)')
_TERM = re.compile(r"([^<>=]+)(<=|>=|=|<|>)(.+)")
_ZONE = re.compile(r"(Z|[+-]\d\d:?\d\d)$")

Direction = Literal["after", "before"]


class Unreadable(Exception):  # an answer to the reader, not an error of the tree
    """A part of the address that cannot be used, in one sentence."""

    status = HTTPStatus.BAD_REQUEST


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The state of the history: all of it stands in the address, and nowhere else."""

    application: str = ""
    status: str = ""
    q: str = ""
    start: str = ""
    end: str = ""
    within: str = ""
    experiment: str = ""
    metric: str = ""
    sort: By = "time"
    dir: Literal["asc", "desc", ""] = ""
    place: Place | None = None
    direction: Direction = "after"

    @property
    def descending(self) -> bool:
        """Whether the largest, or newest, comes first: so it is unless names are sorted."""
        return (self.dir or natural(self.sort)) == "desc"

    @property
    def narrowed(self) -> bool:
        """Whether anything but the application leaves runs out."""
        return any((self.status, self.q, self.start, self.end, self.within, self.experiment))

    def wanted(self, now: int) -> Filter:
        """Which runs are meant; `now` in microseconds since 1970."""
        words, terms = _searched(self.q)
        since = _moment(self.start, end=False) if self.start else None
        if self.within:
            since = now - SPANS[self.within][1] * 1_000_000
        return Filter(
            application=self.application or None,
            status=self.status or None,
            experiment=self.experiment or None,
            words=words,
            terms=terms,
            since=since,
            until=_moment(self.end, end=True) if self.end else None,
        )

    def order(self, metric: str) -> Order:
        """The order, given the metric that is shown; without one there is no order by it."""
        by: By = "time" if self.sort == "metric" and not metric else self.sort
        return Order(by=by, descending=self.descending, metric=metric or None)

    def link(self, **changes: str) -> str:
        """The address of the first page of this state, with some of it changed."""
        return _address(replace(self, place=None, **changes))  # type: ignore[arg-type]  # a template gives strings

    def turn(self, sort: By, metric: str = "") -> str:
        """The address that sorts by this, or turns the order when that is how it is sorted."""
        same = self.sort == sort and (sort != "metric" or not metric or metric == self.metric or not self.metric)
        turned = {"desc": "asc", "asc": "desc"}[self.dir or natural(sort)] if same else ""
        return self.link(sort=sort, metric=metric or self.metric, dir="" if turned == natural(sort) else turned)

    def sorted_by(self, sort: By) -> str | None:
        """The value of `aria-sort` for a column."""
        if self.sort != sort:
            return None
        return "descending" if self.descending else "ascending"

    def page_link(self, signer: Signer, place: Place, direction: Direction) -> str:
        """The address of the page after, or before, a place: signed, so that only such places are looked up."""
        key = base64.urlsafe_b64encode(msgspec.json.encode(place.key)).decode().rstrip("=")
        token = f"{key}.{signer.token(self._purpose(direction, key), place.number)}"
        return _address(self, {direction: token})

    def _purpose(self, direction: Direction, key: str) -> str:
        return f"history\n{direction}\n{self.sort}\n{self.metric}\n{key}"

    def at(self, signer: Signer, token: str, direction: Direction) -> View:
        """This state at the page that a link from `page_link` leads to.

        Raises:
            Unreadable: No such link was given out.
        """
        key, _, signed = token[:_LONGEST_PLACE].partition(".")
        number = signer.number(self._purpose(direction, key), signed)
        if number is None:
            raise Unreadable("This link to a page is not one that this list gave out: begin at its first page.")
        try:
            value = msgspec.json.decode(base64.urlsafe_b64decode(key + "=" * (-len(key) % 4)), type=Key)
        except (binascii.Error, ValueError) as error:  # pragma: no cover  # it was signed, so it is ours
            raise Unreadable("This link to a page cannot be read.") from error
        return replace(self, place=Place(value, number), direction=direction)


def read(query: QueryParams, signer: Signer) -> View:
    """The state that a query says. A choice that there is not is left out; long texts are cut.

    Raises:
        Unreadable: A time, or the link to a page, cannot be used.
    """
    sort, turn, within, status = (query.get(name, "") for name in ("sort", "dir", "within", "status"))

    def text(name: str) -> str:
        return query.get(name, "").strip()[:_LONGEST]

    view = View(
        application=text("application"),
        q=text("q"),
        experiment=text("experiment"),
        metric=text("metric"),
        status=status if status in STATUSES else "",
        start=text("from"),
        end=text("to"),
        # A form that sends both was given the times by hand.
        within=within if within in SPANS and not (text("from") or text("to")) else "",
        sort=sort if sort in get_args(By) else "time",  # type: ignore[arg-type]  # just looked up
        dir=turn if turn in {"asc", "desc"} else "",  # type: ignore[arg-type]  # as above
    )
    view.wanted(0)
    for direction in get_args(Direction):
        if token := query.get(direction):
            return view.at(signer, token, direction)
    return view


def natural(sort: str) -> Literal["asc", "desc"]:
    """The direction of an order that nobody turned."""
    return "asc" if sort in {"name", "status"} else "desc"


def _searched(text: str) -> tuple[tuple[str, ...], tuple[Term, ...]]:
    """The words of a search, and its conditions such as `gap<0.05`; what stands in double quotes is one word."""
    words: list[str] = []
    terms: list[Term] = []
    for quoted, plain in _WORD.findall(text)[:_MOST_WORDS]:
        term = _term(plain)
        if term is not None:
            terms.append(term)
        elif quoted or plain:
            words.append(quoted or plain)
    return tuple(words), tuple(terms)


def _term(text: str) -> Term | None:
    """The condition that a word is; None for any other word, to which one that compares with no number belongs."""
    found = _TERM.fullmatch(text)
    if found is None:
        return None
    name, sign, value = found.groups()
    number = None
    with contextlib.suppress(ValueError):
        number = float(value)
    if number is None and sign != "=":
        return None
    return Term(name, cast("Sign", sign), value, number)


def _address(view: View, more: Mapping[Direction, str] | None = None) -> str:
    said = {
        "application": view.application,
        "status": view.status,
        "q": view.q,
        "from": view.start,
        "to": view.end,
        "within": view.within,
        "experiment": view.experiment,
        "metric": view.metric,
        "sort": view.sort if view.sort != "time" else "",
        "dir": view.dir if view.dir != natural(view.sort) else "",
    }
    given = {name: value for name, value in said.items() if value}
    return "/?" + urlencode([*given.items(), *(more or {}).items()])


def _moment(text: str, *, end: bool) -> int:
    """A time in UTC as a form gives it, in microseconds since 1970; the end of a day, minute or second is within."""
    try:
        at = datetime.fromisoformat(text)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        return (at + (_open(text) if end else timedelta()) - _EPOCH) // _MICRO
    except (ValueError, OverflowError) as error:
        shown = text[:40]
        raise Unreadable(
            f"The time {shown} cannot be read: write it like 2027-01-15 or 2027-01-15T08:00, in UTC."
        ) from error


def _open(text: str) -> timedelta:
    """As much as a time leaves open: the rest of its day, minute or second."""
    plain = _ZONE.sub("", text)
    if "T" not in plain and " " not in plain:
        return timedelta(days=1)
    return timedelta(minutes=1) if plain.count(":") < 2 else timedelta(seconds=1)  # noqa: PLR2004  # hh:mm:ss
