"""Files of the spool that somebody or something changed: bits, bytes, frames, whole files."""

from __future__ import annotations

import os
import random
from functools import partial
from typing import TYPE_CHECKING

from faults.bench import DIED, Bench, Solve, Trial
from faults.files import foreign, garbage
from faults.files.damage import (
    Damage,
    content_of,
    delivering,
    end_of_run,
    files,
    flip,
    flush_out,
    frame_ends,
    hit,
    killed,
    look_into,
    proxy_of,
    ready,
    refused,
    synced,
)
from faults.tally import Kind, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from faults.files.damage import Begin, Change

LARGE = 300_000
"""Bytes of an input and an output that stand in files of their own."""


def _mixed(number: int) -> Solve:
    return Solve(number, error="no way" if number % 2 else "")


def _length(bench: Bench, begin: Begin, make: Callable[[int], Solve] = Solve) -> int:
    """Returns how long the file of a run is, in the state that `begin` leaves it in."""
    with bench.trial() as trial:
        begin(trial, [make(1)])
        return len(content_of(files(trial)[0]))


def _bits(length: int, size: int, seed: int) -> list[tuple[int, int]]:
    """Returns places and bits: every byte in turn, each time another bit of it."""
    chance = random.Random(seed)
    bits = [chance.sample(range(8), 8) for _ in range(length)]
    rounds = -(-size // length)
    return spread([(place, bits[place][turn]) for turn in range(min(rounds, 8)) for place in range(length)], size)


def _flips(places: Iterable[tuple[int, int]]) -> list[Damage]:
    return [Damage(f"bit {bit} of byte {place}", flip(place, bit)) for place, bit in places]


def _waiting(bench: Bench, size: int) -> None:
    """One bit of a run that waits is another one; the run must be set aside, told, and never delivered."""
    hit(bench, _flips(_bits(_length(bench, ready), size, 1)), ready)


def _in_delivery(bench: Bench, size: int) -> None:
    """One bit of a run whose flusher was killed right after its POST is another one: whether the platform has it or
    not, it must be set aside and told, and never be posted again."""
    with proxy_of(bench) as proxy:
        states = [(taken, unconfirmed) for taken in (True, False) for unconfirmed in (True, False)]
        for number, (taken, unconfirmed) in enumerate(states):
            begin = delivering(proxy, taken=taken, unconfirmed=unconfirmed)
            places = _bits(_length(bench, begin), max(1, size // len(states)), number)
            hit(bench, _flips(places), begin, url=proxy.url)


def _settled(bench: Bench, size: int) -> None:
    """One bit of a run that is delivered or rejected is another one: flush, list, retry and clean go on with the
    others, nothing is sent again, and a rejected run that is damaged stays where it is."""
    for delivered in (True, False):
        begin = synced if delivered else partial(refused, bench)
        places = _bits(_length(bench, begin), max(1, size // 2), int(delivered))
        for number in range(0, len(places), 8):
            _settled_batch(bench, begin, places[number : number + 8], delivered=delivered)


def _settled_batch(bench: Bench, begin: Begin, places: list[tuple[int, int]], *, delivered: bool) -> None:
    from faults.files.apart import commands

    with bench.trial() as trial:
        solves = [Solve(number) for number in range(len(places) + 1)]
        begin(trial, solves)
        hits = dict(zip(files(trial), places, strict=False))
        for path, (place, bit) in hits.items():
            content = flip(place, bit)(content_of(path))
            with open(path, "wb") as file:
                file.write(content)
            hits[path] = content
            bench.tally.injections += 1
        look_into(trial, *(os.path.basename(path).partition(".")[0] for path in list(hits)[:2]))
        flush_out(trial)
        for solve in solves[: len(places)] if not delivered else ():
            solve.spared = "rejected"
        for command, status, text in commands(
            trial, ["retry", "--all"], ["clean"], ["clean", "--rejected", "--dry-run"]
        ):
            expected = 0 if delivered or command[0] == "clean" else 1
            if status != expected:
                bench.tally.found("wrong", f"{trial.application}: {command} ended with {status}: {text[-300:]}")
        flush_out(trial)
        left = [] if delivered else [content_of(path) for path in hits if os.path.exists(path)]
        if left != ([] if delivered else list(hits.values())):
            bench.tally.found("wrong", f"{trial.application}: rejected runs that are damaged did not stay as they were")
        trial.judge(*solves)


def _sidecars(bench: Bench, size: int) -> None:
    """One bit of a large input or output, in a file of its own, is another one: the run must be set aside and told."""
    chance = random.Random(4)
    places = [(chance.randrange(LARGE), chance.randrange(8)) for _ in range(size - 4)]
    places += [(0, 0), (0, 7), (LARGE * 2, 0), (LARGE * 2, 7)]
    hit(bench, _flips(places[-size:]), ready, target=partial(_sidecar, chance), make=partial(Solve, size=LARGE))


def _sidecar(chance: random.Random, trial: Trial, damage: Damage) -> str:
    """Returns the path of a large payload of the run that is hit."""
    run_id = os.path.basename(damage.path).partition(".")[0]
    folder = os.path.join(trial.spool, "payloads")
    return os.path.join(
        folder, chance.choice([f for f in sorted(os.listdir(folder)) if f.startswith(run_id) and f.endswith("json")])
    )


def _log(trial: Trial, damage: Damage) -> str:
    return os.path.join(trial.spool, "payloads", os.path.basename(damage.path).partition(".")[0] + ".log")


def _logs(bench: Bench, size: int) -> None:
    """One bit of the log of a run that ended is another one: the run must be set aside and told."""
    places = _bits(340, size, 5)
    hit(bench, _flips(places), ready, target=_log, make=_mixed)


def _cut(length: int) -> Damage:
    return Damage(f"cut to {length} bytes", _head(length))


def _cut_waiting(bench: Bench, size: int) -> None:
    """A run that waits is cut off, at every length: it must be set aside and told."""
    for number, error in enumerate(("", "no way")):
        make = partial(Solve, error=error)
        share = size // 2 if number else size - size // 2
        hit(bench, [_cut(length) for length in spread(range(_length(bench, ready, make) - 1), share)], ready, make=make)


def _cut_dead(bench: Bench, size: int) -> None:
    """The file of a process that was killed is cut off, at every length: what was written whole must arrive as that of
    a process that died; a file without its first frame is not delivered, and not removed untold either."""
    for begin, share in ((killed, size // 2), (_ended, size - size // 2)):
        with bench.trial() as trial:
            begin(trial, [Solve(1)])
            content = content_of(files(trial)[0])
        lengths = spread(range(len(content) - 1), share)
        for number in range(0, len(lengths), 10):
            _cut_dead_batch(bench, begin, lengths[number : number + 10])


def _ended(trial: Trial, solves: list[Solve]) -> None:
    """Leaves runs whose process wrote their end and was killed before it marked them."""
    trial.record(*solves)
    for path in files(trial):
        os.chmod(path, 0o600)


def _cut_dead_batch(bench: Bench, begin: Begin, lengths: list[int]) -> None:
    with bench.trial() as trial:
        solves = [Solve(number, ended=False) for number in range(len(lengths) + 2)]
        begin(trial, solves)
        paths = files(trial)
        for solve, path, length in zip(solves[1:-1], paths[1:-1], lengths, strict=True):
            ends = frame_ends(content_of(path))
            os.truncate(path, length)
            if length < ends[0]:
                os.utime(path, (0, 0))  # No process is about to begin it.
            bench.tally.injections += 1
            # Cut right before a newline it is damaged; before its input, nothing says which run it was.
            solve.spared = "set aside" if length + 1 in ends or length < ends[1] else ""
            solve.begun = length >= ends[0]
        report = flush_out(trial)
        tell = bench.tally.found
        nameless = 0
        for solve, path, length in zip(solves[1:-1], paths[1:-1], lengths, strict=True):
            name = os.path.basename(path)
            aside = os.path.exists(os.path.join(trial.spool, "quarantine", name))
            told = any(name.partition(".")[0] in sentence for sentence in report.problems)
            if aside != told or (not solve.begun and not aside):
                tell("wrong", f"{trial.application}: cut to {length} bytes: set aside {aside}, told {told}")
            nameless += solve.begun and bool(solve.spared) and not aside
        arrived = trial.judge(*solves, others=nameless)
        if sum(run.error == DIED and run.input == {} for run in arrived) != nameless:
            tell("wrong", f"{trial.application}: {nameless} runs that lost their input did not arrive as died")


def _cut_in_delivery(bench: Bench, size: int) -> None:
    """The journal of a run in delivery is cut off, at every length: the run is set aside or arrives, once.

    A run that the platform has is cut no shorter than its announcement that it is posted, but for that frame's
    newline: it is written before the POST goes out, so a killed flusher never leaves less of it.
    """
    with proxy_of(bench) as proxy:
        begin = delivering(proxy, taken=False)
        with bench.trial() as trial:
            begin(trial, [Solve(1)])
            content = content_of(files(trial)[0])
        lengths = spread(range(len(content)), size // 2)
        # Ids and times differ by some bytes from run to run, so only what is far from a frame's end is sure.
        damages = [Damage(f"cut to {n} bytes", _head(n), aside=n < end_of_run(content) - 30) for n in lengths]
        hit(bench, damages, begin, url=proxy.url)
        begin = delivering(proxy, taken=True, posted=True)
        with bench.trial() as trial:
            begin(trial, [Solve(1)])
            ends = frame_ends(content_of(files(trial)[0]))
        damages = [
            Damage(f"cut at byte {n} of its outcome", partial(_cut_outcome, n), aside=n == -1)
            for n in spread(range(-1, ends[-1] - ends[-2] - 1), size // 4)
        ]
        damages += [_cut(n) for n in spread(range(ends[3] - 30), size // 4)]
        hit(bench, damages, begin, url=proxy.url)


def _head(length: int) -> Change:
    return lambda content: content[:length]


def _cut_outcome(offset: int, content: bytes) -> bytes:
    return content[: frame_ends(content)[-2] + offset]


def _cut_sidecars(bench: Bench, size: int) -> None:
    """A large input or output, or the log of a run that ended, is cut off or gone: the run is set aside and told."""
    chance = random.Random(5)
    large = [0, 1, LARGE - 1, *(chance.randrange(LARGE) for _ in range(size // 2 - 3))]
    make = partial(Solve, size=LARGE)
    hit(bench, [_cut(length) for length in large], ready, target=partial(_sidecar, chance), make=make)
    hit(bench, [_cut(length % 19) for length in range(size // 2)], ready, target=_log)


def _bytes(bench: Bench, size: int) -> None:
    """A byte is inserted or removed, at every place, waiting or in delivery: the run is set aside and told, or
    arrives as it was, once."""
    chance = random.Random(6)
    with proxy_of(bench) as proxy:
        ways = (ready, delivering(proxy, taken=True), delivering(proxy, taken=False, unconfirmed=True))
        for begin in ways:
            length = _length(bench, begin)
            damages = []
            for place in spread(range(length + 1), max(1, size // (2 * len(ways)))):
                byte = bytes([chance.choice([0, 10, 32, 48, 125, chance.randrange(256)])])
                damages += [
                    Damage(f"{byte!r} inserted at {place}", partial(_insert, place, byte), aside=False),
                    Damage(f"byte {place} removed", partial(_remove, place), aside=False),
                ]
            hit(bench, damages, begin, url=proxy.url)


def _insert(place: int, byte: bytes, content: bytes) -> bytes:
    return content[:place] + byte + content[place:]


def _remove(place: int, content: bytes) -> bytes:
    place = min(place, len(content) - 1)
    return content[:place] + content[place + 1 :]


KINDS: tuple[Kind, ...] = (
    Kind("a bit flipped, at every byte of a run that waits", _waiting, quick=10, full=1200),
    Kind("a bit flipped, at every byte of a run in delivery", _in_delivery, quick=8, full=1200),
    Kind("a bit flipped in a delivered or rejected run", _settled, quick=4, full=200),
    Kind("a bit flipped in a large payload", _sidecars, quick=10, full=200),
    Kind("a bit flipped in a log", _logs, quick=10, full=300),
    Kind("a waiting run cut off, at every length", _cut_waiting, quick=10, full=800),
    Kind("the run of a dead process cut off, at every length", _cut_dead, quick=10, full=500),
    Kind("a run in delivery cut off, at every length", _cut_in_delivery, quick=8, full=600),
    Kind("a payload or a log cut off", _cut_sidecars, quick=8, full=200),
    Kind("a byte inserted or removed, at every place of a run", _bytes, quick=12, full=600),
    *garbage.KINDS,
    *foreign.KINDS,
)
