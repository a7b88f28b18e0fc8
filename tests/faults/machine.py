"""The spool, its delivery and the real platform against what the user's processes did, with every fault a step.

Hypothesis chooses the steps. After each of them no run is on the platform twice, and every run that began stands in
the spool; after the last one, a flush that nothing befalls delivers what is left.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import ExitStack, suppress
from functools import wraps
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from faults.bench import MARKER, SOLVER, Bench, Solve
from faults.files.apart import Child
from faults.files.damage import content_of, flip, overwrite, proxy_of
from faults.mishaps import LIST, WIRE, Killer
from faults.tally import Kind
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from support.proxy import POST_RUN, Fault

import nxtrack
from nxtrack.errors import RunCorrupt
from nxtrack.spool import retention
from nxtrack.spool.layout import STATES
from nxtrack.spool.store import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from nxtrack.delivery.report import FlushReport

NEVER = 3600.0
"""A settling time that no trial lasts."""

faults = st.lists(
    st.tuples(st.sampled_from(sorted(WIRE)), st.integers(1, 4), st.integers(0, 3)), min_size=1, max_size=3
)
places = st.tuples(st.integers(0, 100), st.integers(0, 5000), st.integers(0, 7))


def step(**strategies: Any) -> Callable[[Callable[..., None]], Any]:
    """A rule that is noted, so that a finding tells what led to it."""

    def decorate(function: Callable[..., None]) -> Any:
        @wraps(function)
        def noted(self: FaultMachine, **given: Any) -> None:
            self.steps.append(f"{function.__name__}({', '.join(f'{name}={value}' for name, value in given.items())})")
            function(self, **given)

        return rule(**strategies)(noted)

    return decorate


class Live(NamedTuple):
    """A user's process that is in the middle of a solve, until something is written to its pipe."""

    child: Child
    pipe: int
    solve: Solve


class FaultMachine(RuleBasedStateMachine):
    """One example is one trial.

    Attributes:
        bench: Where the trials stand.
        strict: What is found is raised too, so that Hypothesis looks for the shortest way to it.
    """

    bench: ClassVar[Bench]
    strict: ClassVar[bool] = True

    def __init__(self) -> None:
        super().__init__()
        self._open = ExitStack()
        self.trial = self._open.enter_context(self.bench.trial())
        self.proxy = self._open.enter_context(proxy_of(self.bench))
        self.store = Spool(str(self.trial.spool))
        self.solves: dict[str, Solve] = {}  # by the ids of their runs
        self.live: list[Live] = []
        self.hit: set[str] = set()  # ids of runs whose files were changed
        self.settled: set[str] = set()  # ids of runs that `clean` may have removed
        self.steps: list[str] = []
        if self.strict:
            self.bench.tally.findings.clear()  # What was found before was raised before.

    def found(self, what: str, sentence: str) -> None:
        self.bench.tally.found(what, f"{self.trial.application}: {sentence}; after: {'; '.join(self.steps)}")

    def inject(self, happened: bool = True) -> None:
        self.bench.tally.injections += happened

    def states(self) -> dict[str, str]:
        """Returns the state of each run in the spool; of two files of one run, whose flusher was killed, the later."""
        found: dict[str, str] = {}
        with suppress(FileNotFoundError):
            names = [name.split(".") for name in os.listdir(self.trial.spool / "runs")]
            found = dict(sorted(names, key=lambda name: STATES.index(name[1])))
        return found

    # -- the user's processes --

    def _began(self, before: dict[str, str], *solves: Solve) -> None:
        new = sorted(self.states().keys() - before.keys())
        assert len(new) == len(solves), (new, solves)
        self.solves.update(zip(new, solves, strict=True))

    def _solve(self, *, fails: bool, large: bool) -> Solve:
        return Solve(len(self.solves), error="no way" if fails else "", size=270_000 if large else 0)

    @step(fails=st.booleans(), large=st.booleans(), number=st.integers(1, 3))
    def solve(self, fails: bool, large: bool, number: int) -> None:
        for _ in range(number):
            before, solve = self.states(), self._solve(fails=fails, large=large)
            self.trial.record(solve)
            self._began(before, solve)

    @step(large=st.booleans(), killed=st.booleans())
    def solve_on(self, large: bool, killed: bool) -> None:
        """A process that is in the middle of its solve when the next steps are taken; or is killed there."""
        before, solve = self.states(), self._solve(fails=False, large=large)
        (told, tell), (hear, pipe) = os.pipe(), os.pipe()
        child = Child(lambda: self._solve_in_child(solve, tell, hear))
        os.close(tell)
        os.close(hear)
        try:
            assert os.read(told, 1) == b"!"
        finally:
            os.close(told)
        self._began(before, solve)
        self.live.append(Live(child, pipe, solve))
        if killed:
            self._end(self.live.pop(), killed=True)

    def _solve_in_child(self, solve: Solve, tell: int, hear: int) -> None:
        signal.alarm(300)  # Should the suite be killed, this one goes too.
        nxtrack.configure(dir=self.store.root, app_id=self.trial.application, durability="process", capture="sys")
        names: dict[str, Any] = {}
        exec(SOLVER.replace("    if problem", "    wait()\n    if problem"), names)

        def wait() -> None:
            os.write(tell, b"!")
            assert os.read(hear, 1) == b"!"

        names["wait"] = wait
        nxtrack.track(names["solve"])(solve.problem)

    @step(which=st.integers(0, 10), killed=st.booleans())
    def end_of_solve(self, which: int, killed: bool) -> None:
        if self.live:
            self._end(self.live.pop(which % len(self.live)), killed=killed)

    def _end(self, live: Live, *, killed: bool) -> None:
        live.solve.ended = not killed
        if killed:
            live.child.kill()
            self.inject()
        else:
            os.write(live.pipe, b"!")
        os.close(live.pipe)
        ended = live.child.wait()
        if (ended is None) != killed or (ended is not None and ended.error):
            self.found("wrong", f"the user's process ended as {ended}")

    def _something(self) -> None:
        """Sees to it that there is something to deliver."""
        if not {"ready", "unconfirmed", "active"} & set(self.states().values()):
            before, solve = self.states(), self._solve(fails=False, large=False)
            self.trial.record(solve)
            self._began(before, solve)

    # -- flushes --

    def _flush(self, settle: float, jobs: int = 2) -> FlushReport | None:
        try:
            return self.trial.flush(self.proxy.url, settle=settle, jobs=jobs)
        except Exception as error:
            self.found("wrong", f"a flush raised {type(error).__name__}: {error}")
            return None
        finally:
            self._quiet()

    def _quiet(self) -> None:
        """Waits until the platform has got what a killed flusher had sent: that is what a settling time is for."""
        until = time.monotonic() + 20
        while time.monotonic() < until and any("process_request_thread" in t.name for t in threading.enumerate()):
            time.sleep(0.002)
        self.proxy.faults.clear()

    @step(jobs=st.integers(1, 4))
    def flush(self, jobs: int) -> None:
        self._flush(0.0, jobs)

    @step(faults=faults, settle=st.sampled_from([0.0, NEVER]), jobs=st.integers(1, 3))
    def flush_badly(self, faults: list[tuple[str, int, int]], settle: float, jobs: int) -> None:
        self._something()
        mine = [Fault(**WIRE[name], times=times, skip=skip) for name, times, skip in faults]
        self.proxy.faults += mine
        self._flush(settle, jobs)
        self.inject(any(fault.times < times for fault, (_, times, _) in zip(mine, faults, strict=True)))

    @step(times=st.integers(1, 3))
    def flush_with_a_list_that_lags(self, times: int) -> None:
        """Answers are lost, and the platform's list does not yet show what was taken."""
        self._something()
        page = self._page()
        lost = self.proxy.fail("POST", POST_RUN, times=times, forward=True)
        self.proxy.fail("GET", LIST, times=-1, status=200, body=page)
        self._flush(NEVER)
        self.inject(lost.times < times)

    @step(
        number=st.integers(1, 12), forward=st.booleans(), together=st.booleans(), faults=st.one_of(st.just([]), faults)
    )
    def flush_killed(self, number: int, forward: bool, together: bool, faults: list[tuple[str, int, int]]) -> None:
        """A flusher is killed at one of its requests, perhaps with another one beside it."""
        self._something()
        killer = Killer(number, forward=forward)
        self.proxy.faults += [killer, *(Fault(**WIRE[name], times=times, skip=skip) for name, times, skip in faults)]
        child = Child(lambda: self.trial.flush(self.proxy.url, settle=NEVER))
        killer.aim(child)
        try:
            if together:
                self._flush_beside()
        finally:
            ended = child.wait()
            self._quiet()
        if ended is not None and ended.error:
            self.found("wrong", f"a flush ended with {ended.error}")
        self.inject(killer.done)

    def _flush_beside(self) -> None:
        try:
            self.trial.flush(self.proxy.url, settle=NEVER)
        except Exception as error:
            self.found("wrong", f"a flush beside another raised {type(error).__name__}: {error}")

    @step(seconds=st.floats(0, 0.06))
    def flush_killed_anywhere(self, seconds: float) -> None:
        self._something()
        child = Child(lambda: self.trial.flush(self.proxy.url, settle=NEVER))
        time.sleep(seconds)
        child.kill()
        self.inject(child.wait() is None)
        self._quiet()

    # -- what people do --

    @step()
    def retry(self) -> None:
        for entry in list(self.store.entries("rejected")):
            try:
                retention.retry(self.store, entry.run_id)
            except RunCorrupt as error:
                if entry.run_id not in self.hit:
                    self.found("wrong", f"retry says of a sound run: {error}")

    @step(rejected=st.booleans())
    def clean(self, rejected: bool) -> None:
        before = self.states()
        retention.prune(self.store, rejected=rejected)
        for run_id in before.keys() - self.states().keys():
            self.settled.add(run_id)
            if before[run_id] == "rejected" and rejected:
                self.solves[run_id].spared = "rejected"
            elif before[run_id] != "synced":
                self.found("lost", f"clean removed {run_id}, which was {before[run_id]}")

    @step(place=places)
    def change_a_bit(self, place: tuple[int, int, int]) -> None:
        files = sorted(os.listdir(self.trial.spool / "runs")) if self.solves else []
        if files:
            name = files[place[0] % len(files)]
            path = str(self.trial.spool / "runs" / name)
            content = content_of(path)
            if content:
                overwrite(path, flip(place[1] % len(content), place[2])(content))
                self.hit.add(name.partition(".")[0])
                self.inject()

    # -- what always holds --

    def _page(self) -> bytes:
        """Returns the platform's list of the newest runs."""
        try:
            return self.bench.reader.get(f"/v1/applications/{self.trial.application}/runs")
        except AssertionError:
            return b'{"runs":[]}'  # Nothing ever came there.

    @invariant()
    def none_is_there_twice(self) -> None:
        if not self.steps or not self.steps[-1].startswith("flush"):
            return
        markers = MARKER.findall(self._page().decode())
        if len(markers) != len(set(markers)):
            self.found("doubled", "a run is on the platform more than once")
            self._stop()

    @invariant()
    def none_is_gone(self) -> None:
        here = self.states().keys() | self._aside() | self.settled
        if gone := self.solves.keys() - here:
            self.found("lost", f"{gone} are no longer in the spool")
            self._stop()

    @invariant()
    def only_what_was_changed_is_set_aside(self) -> None:
        if sound := self._aside() - self.hit:
            self.found("wrong", f"{sound} were set aside and are sound")
            self._stop()

    def _stop(self) -> None:
        if self.strict and self.bench.tally.findings:
            raise AssertionError(self.bench.tally.findings)

    def _aside(self) -> set[str]:
        folder = self.trial.spool / "quarantine"
        return {name.partition(".")[0] for name in os.listdir(folder)} if folder.exists() else set()

    def teardown(self) -> None:
        try:
            for live in self.live:
                self._end(live, killed=False)
            self.trial.drain(self.proxy.url, seconds=30)
            self._judge()
        finally:
            self._open.close()
        self._stop()

    def _judge(self) -> None:
        states, aside, tally = self.states(), self._aside(), self.bench.tally
        before = len(tally.findings)
        if (told := self.store.summary().quarantined) != len(aside):
            self.found("wrong", f"{len(aside)} runs were set aside, {told} are told")
        for run_id, solve in self.solves.items():
            if run_id in aside:
                solve.spared = "set aside"
            elif states.get(run_id) == "rejected":
                solve.spared = "rejected"
            elif states.get(run_id, "synced") != "synced" and run_id not in self.hit:
                self.found("lost", f"{run_id} stays {states[run_id]}")
        self.trial.judge(*self.solves.values())
        if len(tally.findings) > before and len(tally.findings) < 20:
            tally.findings.append(f"{self.trial.application}: steps: {'; '.join(self.steps)}")


def explore(bench: Bench, examples: int, number: int = 0, *, strict: bool = True) -> None:
    """Has Hypothesis run the machine on a bench."""
    machine = type("Machine", (FaultMachine,), {"bench": bench, "strict": strict})
    quiet = settings(
        max_examples=examples,
        stateful_step_count=20,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, *([Phase.shrink] if strict else [])],
    )
    run_state_machine_as_test(seed(number)(machine), settings=quiet)


def _machine(bench: Bench, size: int) -> None:
    """Solves, flushes, retries and cleaning in any order, with any fault between them: in the end each run is there
    once, as it was, or it is rejected, or it was changed and set aside."""
    number = 0
    while bench.tally.injections < size:
        number += 1
        explore(bench, 10 if size > 100 else 2, number, strict=False)


KINDS: tuple[Kind, ...] = (
    Kind("a state machine of solves, flushes, faults and crashes", _machine, quick=10, full=1500),
)
