r"""Owns what is made of a log before people read it: UTF-8, progress bars as they stood last, licences masked.

The spool keeps a log as it was written. Whoever reads it, for a person or for the platform, gets it by way of this.
"""

from __future__ import annotations

import codecs
import io
import re
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from nxtrack.spool.logparts import left_out
from nxtrack.spool.masks import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 16
_LONGEST_LINE = 1 << 20
"""Characters of a line that are looked at together."""

_LICENCE_WORDS = ("icense", "WLS", "Username", "registered to", "TokenServer", "CloudPool", "CSAPISecret")
_LICENCE = re.compile(
    r"(?<=LicenseID to value )\S+|(?<=[Ll]icense )\d{4,}|(?<=LicenseID )\d+"
    r"|(?<=WLSAccessID to value )\S+|(?<=WLSSecret to value )\S+|(?<=WLSToken to value )\S+"
    r"|(?<=Username to value )\S+|(?<=registered to )[^\r\n]+"
    r"|(?<=TokenServer to value )\S+|(?<=CloudPool to value )\S+|(?<=CSAPISecret to value )\S+"
)
"""What Gurobi prints of whose licence it runs under."""
_LINE_END = "\n"

_NO_UTF8 = re.compile("[\udc80-\udcff]")
_ANSI = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # colours, moves of the cursor
    r"|[\]PX^_][^\x07\x1b\r\n]*(?:\x07|\x1b\\)"  # titles, links and other strings, which end on their line
    r"|[ -/]+[0-~]|[0-~])?"
)
"""Escape sequences, after ECMA-48."""
_LONGEST_PREFIX = 32
"""Characters before a licence by which it is known, at most."""
_HELD = 4096
"""Characters at the end of a long line that wait for what they may be the beginning of."""


class Part(NamedTuple):
    """A part of a log's file: where it begins and ends, and how many bytes behind it are left out."""

    begin: int
    end: int
    cut: int = 0


def _as_it_is(text: str) -> str:
    return text


def readable(
    file: BinaryIO, parts: tuple[Part, ...], *, plain: bool = False, mask: Callable[[str], str] = _as_it_is
) -> Iterator[bytes]:
    r"""Yields the parts of a log as UTF-8 text for people.

    Bytes that are no UTF-8 are escaped, as in `\xff`, and counted in a last line; of a line that a program wrote
    over and over the last state is kept; whose licence a solver runs under is masked.

    Args:
        file: The log's file.
        parts: What of it is to be read.
        plain: Leave out colours and other escape sequences.
        mask: What masks whole lines first, if that was not done before they were written.
    """
    escaped, last = 0, ""
    for part in parts:
        for lines in _whole_lines(_decoded(file, part)):
            text = _last_states(mask(lines))
            if _NO_UTF8.search(text):
                shown = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
                escaped += (len(shown) - len(text)) // 3  # of one character each become four
                text = shown
            text = _tidy(text, plain=plain)
            last = text or last
            yield text.encode()
        if part.cut:
            yield (b"" if last.endswith(_LINE_END) else b"\n") + left_out(part.cut)
    if escaped:
        line = f"[nxtrack: bytes that are no UTF-8, shown as \\xNN: {escaped:,}]\n"
        yield line.encode() if last.endswith(_LINE_END) else b"\n" + line.encode()


def _decoded(file: BinaryIO, part: Part) -> Iterator[str]:
    # What is no UTF-8 becomes surrogates, which UTF-8 cannot hold: so they can be told from all else.
    decode = codecs.getincrementaldecoder("utf-8")("surrogateescape").decode
    place = part.begin
    while place < part.end:
        file.seek(place)
        chunk = file.read(min(_CHUNK, part.end - place))
        if not chunk:
            break
        place += len(chunk)
        yield decode(chunk, place >= part.end)


def _whole_lines(chunks: Iterator[str]) -> Iterator[str]:
    """Yields text in pieces of whole lines, as far as lines are no longer than they should be."""
    rest = ""
    for chunk in chunks:
        text = rest + chunk
        end = text.rfind("\n") + 1
        if "\r" in chunk:  # Of a line that is written over and over, a state at a time is enough.
            text = text[:end] + _last_state(text[end:])
        if len(text) - end > _LONGEST_LINE:
            end = _seam(text)
        rest = text[end:]
        if end:
            yield text[:end]
    if rest:
        yield rest


def _seam(text: str) -> int:
    """Returns where a line that is too long may be cut: within nothing that is looked for."""
    seam = len(text) - _HELD
    for pattern, before in ((_LICENCE, _LONGEST_PREFIX), (_ANSI, 0)):
        for match in pattern.finditer(text, max(0, seam - _HELD)):
            if match.start() - before < seam < match.end():
                seam = max(1, match.start() - before)
    return seam


def _last_states(text: str) -> str:
    if "\r" in text:
        return "\n".join([_last_state(line) if "\r" in line else line for line in text.split("\n")])
    return text


def _tidy(text: str, *, plain: bool) -> str:
    if any(word in text for word in _LICENCE_WORDS):
        text = _LICENCE.sub(MASK, text)
    if plain and "\x1b" in text:
        text = _ANSI.sub("", text)
    return text


def _last_state(line: str) -> str:
    """Returns what a line shows that was written over: what stands behind its last carriage return."""
    shown = line.rstrip("\r")
    return shown.rpartition("\r")[2] + line[len(shown) : len(shown) + 1]


class LogText(io.RawIOBase):
    """The readable text of a log as a file."""

    def __init__(self, chunks: Iterator[bytes], close: Callable[[], object]) -> None:
        """Takes the text in chunks, and what closes the log's file."""
        self._chunks = chunks
        self._close = close
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """Says that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer; returns how many bytes it got."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        number = min(len(buffer), len(self._rest))
        buffer[:number] = self._rest[:number]
        self._rest = self._rest[number:]
        return number

    def close(self) -> None:
        """Closes the log's file."""
        self._close()
        super().close()
