"""Whole frames, sectors and files that are gone, doubled, mixed up, or garbage."""

from __future__ import annotations

import gzip
import os
import random
import shutil
import zlib
from functools import partial
from itertools import permutations
from typing import TYPE_CHECKING

from faults.bench import Bench, Solve, Trial
from faults.files.apart import commands
from faults.files.damage import (
    Damage,
    content_of,
    delivering,
    files,
    flush_out,
    hit,
    killed,
    look_into,
    overwrite,
    proxy_of,
    ready,
)
from faults.tally import Kind, spread
from support.proxy import POST_RUN

if TYPE_CHECKING:
    from collections.abc import Callable

    from faults.files.damage import Begin, Change

BLOCK = 4096


# -- whole frames --


def _lines(change: Callable[[list[bytes]], object]) -> Change:
    def changed(content: bytes) -> bytes:
        lines = content.splitlines(keepends=True)
        change(lines)
        return b"".join(lines)

    return changed


def _swap(one: int, other: int, lines: list[bytes]) -> None:
    lines[one], lines[other] = lines[other], lines[one]


def _frame_damages(strange: list[bytes], number: int, most: int) -> list[Damage]:
    """Returns what can be done to the frames of a file of `number` frames, of which the first `most` are never the
    last of a sound file."""
    damages = []
    for at in range(number):
        if at < most:
            damages.append(Damage(f"frame {at} cut out", _lines(lambda lines, at=at: lines.pop(at))))
        damages.append(Damage(f"frame {at} doubled", _lines(lambda lines, at=at: lines.insert(at, lines[at]))))
        for other, line in enumerate(strange):
            text = f"of another run, its frame {other}, "
            damages += [
                Damage(text + f"for {at}", _lines(lambda lines, at=at, line=line: lines.__setitem__(at, line))),
                Damage(text + f"before {at}", _lines(lambda lines, at=at, line=line: lines.insert(at, line))),
            ]
    damages += [
        Damage(f"frames {one} and {other} swapped", _lines(partial(_swap, one, other)))
        for one, other in permutations(range(number), 2)
        if one < other
    ]
    return damages


def _frames(bench: Bench, size: int) -> None:
    """Whole frames, each sound by itself, are cut out, doubled, swapped, or come from another run's file: the run must
    be set aside and told, whether it waits or is in delivery, and whether the platform has it or not."""
    with proxy_of(bench) as proxy:
        ways = (
            ready,
            delivering(proxy, taken=True),
            delivering(proxy, taken=False),
            delivering(proxy, taken=True, posted=True),
        )
        for begin in ways:
            with bench.trial() as trial:
                begin(trial, [Solve(1000)])
                strange = content_of(files(trial)[0]).splitlines(keepends=True)
            damages = _frame_damages(strange, len(strange), len(strange) - (begin is not ready))
            hit(bench, spread(damages, max(1, size // len(ways))), begin, url=proxy.url)


def _other_files(bench: Bench, size: int) -> None:
    """A run's file is that of another run, or bears another id or state: it is set aside and told, or taken for what
    it says; nothing is sent twice, or as another's."""
    states = ("active", "ready", "unconfirmed", "synced", "rejected")
    with proxy_of(bench) as proxy:
        ways = (
            ready,
            delivering(proxy, taken=True),
            delivering(proxy, taken=False),
            delivering(proxy, taken=True, posted=True),
        )
        cases = [(begin, state) for begin in ways for state in states]
        for number in range(size):
            begin, state = cases[number // 4 % len(cases)]
            _other_file(bench, begin, (_replaced, _copied, _renamed, _moved)[number % 4], state, proxy.url)


def _replaced(_: Trial, path: str, other: str, state: str) -> str:
    overwrite(path, content_of(other))
    return "replaced"


def _copied(_: Trial, path: str, other: str, state: str) -> str:
    """The file of another run stands there under a new id."""
    folder, name = os.path.split(path)
    overwrite(os.path.join(folder, f"{name[:25]}{'Z' if name[25] != 'Z' else 'Y'}.{state}"), content_of(other))
    return "stranger"


def _renamed(_: Trial, path: str, other: str, state: str) -> str:
    """A run's file bears a new id, and the run's own is gone."""
    folder, name = os.path.split(path)
    os.rename(path, os.path.join(folder, f"{name[:25]}{'Z' if name[25] != 'Z' else 'Y'}.{name[27:]}"))
    return "replaced"


def _moved(_: Trial, path: str, other: str, state: str) -> str:
    """A run's file bears another state."""
    os.rename(path, path.rpartition(".")[0] + "." + state)
    return state


def _other_file(bench: Bench, begin: Begin, deed: Callable[[Trial, str, str, str], str], state: str, url: str) -> None:
    with bench.trial() as trial:
        solves = [Solve(number) for number in range(3)]
        begin(trial, solves)
        _, path, other = files(trial)
        what = deed(trial, path, other, state)
        bench.tally.injections += 1
        # What its name says is delivered or rejected is so, as only its owner can have named it.
        solves[1].spared = "set aside" if what == "replaced" else what if what in {"synced", "rejected"} else ""
        if bench.tally.injections % 5 == 0:
            look_into(trial)
        report = flush_out(trial, url)
        told = what == "replaced" or (what == "stranger" and state in {"active", "ready", "unconfirmed"})
        if report.damaged != told:
            found = f"{begin.__name__}, {deed.__name__} to {state}: {report.damaged} told as damaged: {report.problems}"
            bench.tally.found("wrong", f"{trial.application}: {found}")
        trial.judge(*solves)


def _restored(bench: Bench, size: int) -> None:
    """An older copy of the spool is copied over it, after its runs were delivered or rejected: none is sent twice, not
    even when the rejected ones are sent back, as the newer file of each still stands there."""
    for number in range(size):
        with bench.trial() as trial, proxy_of(bench) as proxy:
            solves = [Solve(index) for index in range(4)]
            (ready, killed, delivering(proxy, taken=False))[number % 3](trial, solves)
            for solve in solves:
                solve.ended = number % 3 != 1
            copy = trial.folder / "copy"
            shutil.copytree(trial.spool, copy)
            if number % 2:
                proxy.fail("POST", POST_RUN, times=number % 5, skip=number % 4, status=400, body=b'{"error":"no"}')
            flush_out(trial, proxy.url)
            proxy.faults.clear()
            shutil.copytree(copy, trial.spool, dirs_exist_ok=True)
            bench.tally.injections += 1
            flush_out(trial, proxy.url)
            for _, status, text in commands(trial, ["retry", "--all"]):
                if status not in {0, 1, 2}:  # That there are two files of a run may be told.
                    bench.tally.found("wrong", f"{trial.application}: retry ended with {status}: {text[-200:]}")
            flush_out(trial, proxy.url)
            trial.judge(*solves)


# -- garbage --


def _sealed(bodies: list[bytes]) -> bytes:
    """Returns frames with these bodies and with checksums that are right."""
    checksum, frames = 0, []
    for body in bodies:
        checksum = zlib.crc32(body, checksum)
        frames.append(b"%08x %b\n" % (checksum, body))
    return b"".join(frames)


def _fill(start: int, length: int, byte: Callable[[int], bytes]) -> Change:
    def change(content: bytes) -> bytes:
        place = start % max(1, len(content))
        taken = min(length, len(content) - place)
        return content[:place] + byte(taken) + content[place + taken :]

    return change


def _whole_garbage(chance: random.Random) -> list[Damage]:
    zeros, noise = bytes, chance.randbytes
    deep = [b'{"t":"input","data":' + b"[" * depth + b"]" * depth + b"}" for depth in (20_000, 200_000)]
    return [
        Damage("empty", lambda _: b""),
        Damage("all zeros", lambda content: zeros(len(content))),
        Damage("all noise", lambda content: noise(len(content))),
        Damage("zeros, and a newline", lambda content: zeros(len(content)) + b"\n"),
        Damage("a megabyte of zeros behind it", lambda content: content + zeros(1 << 20), aside=False),
        Damage("a megabyte of noise behind it", lambda content: content + noise(1 << 20), aside=False),
        Damage("a line of 8 MiB behind it", lambda content: content + b"x" * (8 << 20) + b"\n"),
        Damage("a line of 8 MiB before it", lambda content: b"x" * (8 << 20) + b"\n" + content),
        Damage("a million empty lines behind it", lambda content: content + b"\n" * 1_000_000),
        Damage("CRLF", lambda content: content.replace(b"\n", b"\r\n")),
        Damage("CR", lambda content: content.replace(b"\n", b"\r")),
        Damage("a byte order mark", lambda content: b"\xef\xbb\xbf" + content),
        Damage("UTF-16", lambda content: content.decode().encode("utf-16")),
        Damage("gzip", gzip.compress),
        Damage("upper case", bytes.upper),
        Damage("written twice", lambda content: content * 2),
        Damage("without checksums", _lines(lambda lines: lines.__setitem__(slice(None), [line[9:] for line in lines]))),
        *(Damage(f"nested {len(body) // 2} deep", partial(_replace_input, body)) for body in deep),
    ]


def _replace_input(body: bytes, content: bytes) -> bytes:
    """Gives a file another input, with checksums that are right."""
    bodies = [line[9:] for line in content.splitlines()]
    return _sealed([bodies[0], body, *bodies[2:]])


def _garbage(bench: Bench, size: int) -> None:
    """A file, a sector or a block of a run's file is zeros or noise, as after a power cut, or no frames at all: the run
    is set aside and told, or arrives as it was, once."""
    chance = random.Random(8)
    damages = _whole_garbage(chance)
    large = partial(Solve, size=3 * BLOCK)  # Its input and its output stand in its own file, over several blocks.
    with proxy_of(bench) as proxy:
        ways = (ready, delivering(proxy, taken=True), delivering(proxy, taken=False, unconfirmed=True))
        for begin in ways[:2]:
            hit(bench, spread(damages, size // 3), begin, url=proxy.url)
        for begin in ways:
            holes = [
                Damage(f"{length} bytes of {name} at {start}", _fill(start, length, byte), aside=False)
                for length in (1, 512, BLOCK)
                for start in range(0, 7 * BLOCK, length if length > 1 else 3 * BLOCK + 7)
                for name, byte in (("zeros", bytes), ("noise", chance.randbytes))
            ]
            hit(bench, spread(holes, size // 5), begin, make=large, url=proxy.url)


def _zeroed_tail(bench: Bench, size: int) -> None:
    """The end of a run's file is zeros from some byte on, as a power cut leaves it: the run is set aside and told, or
    arrives as it was, once; whether it was posted is not taken for known."""
    with proxy_of(bench) as proxy:
        for begin in (ready, delivering(proxy, taken=True), delivering(proxy, taken=False)):
            with bench.trial() as trial:
                begin(trial, [Solve(1)])
                length = len(content_of(files(trial)[0]))
            places = spread(range(length), max(1, size // 3))
            hit(
                bench,
                [Damage(f"zeros from {place} on", _fill(place, length, bytes), aside=False) for place in places],
                begin,
                url=proxy.url,
            )


def _newer(bench: Bench, size: int) -> None:
    """A run holds a frame that this version does not know: it is left alone, and told; the others arrive."""
    bodies = [
        b'{"t":"hologram","data":1}',
        b'{"t":"end","status":"paused"}',
        b"{}",
        b"[]",
        b"null",
        b'{"t":7}',
        b"\xff",
        b"",
    ]
    for number in range(size):
        with bench.trial() as trial:
            solves = [Solve(0), Solve(1, spared="left alone"), Solve(2)]
            trial.record(*solves)
            path = files(trial)[1]
            content = _replace_input(bodies[number % len(bodies)], content_of(path))
            overwrite(path, content)
            bench.tally.injections += 1
            if number % 5 == 0:
                look_into(trial, os.path.basename(path).partition(".")[0])
            report = trial.flush()
            told = any("newer" in sentence for sentence in report.problems)
            if not told or report.pending != 1 or report.damaged or content_of(path) != content:
                bench.tally.found("wrong", f"{trial.application}: {bodies[number % len(bodies)]!r}: {report.problems}")
            trial.judge(*solves)


KINDS: tuple[Kind, ...] = (
    Kind("whole frames cut out, doubled, swapped, from another run", _frames, quick=8, full=400),
    Kind("another run's file, another id, another state", _other_files, quick=4, full=80),
    Kind("an older copy of the spool copied over it", _restored, quick=3, full=40),
    Kind("sectors, blocks and files of garbage", _garbage, quick=10, full=200),
    Kind("the end of a run's file zeroed", _zeroed_tail, quick=6, full=150),
    Kind("frames of a newer version", _newer, quick=3, full=16),
)
