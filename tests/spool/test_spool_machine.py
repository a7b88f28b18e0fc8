"""The spool against a model in memory, with crashes of solvers and flushers, and lost answers, as ordinary steps.

The model of the platform counts what it was sent: whatever crashes when, it takes each run at most once, and in the
end exactly once.
"""

import contextlib
import dataclasses
import os
import random
import shutil
import tempfile

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from nxtrack.spool import claims, ids, owner, recovery, retention
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import (
    Absent,
    End,
    Metric,
    Output,
    Posted,
    Posting,
    Rejected,
    Start,
    Unsent,
    Update,
    Uploaded,
    now,
)
from nxtrack.spool.store import Spool
from nxtrack.spool.writer import INLINE_BYTES, Content

PLACE = "there"

payloads = st.one_of(
    st.none(),
    st.sampled_from([b"{}", b'{"a":\n1}', b'"\xc3\xa4"']),
    st.integers(INLINE_BYTES - 3, INLINE_BYTES + 3).map(lambda size: b'"' + b"x" * (size - 2) + b'"'),
)
torn = st.sampled_from([b"", b"0", b'00000000 {"t":"posted","run_id":"x"'])


@dataclasses.dataclass
class Run:
    """What the spool must know of a run."""

    state: str  # as the spool's, and `dead`: its process died and nobody has looked yet
    input: bytes | None
    output: bytes | None = None
    name: str | None = None
    status: str = "failed"
    metrics: list = dataclasses.field(default_factory=list)
    log: bytes = b""
    uploads: dict = dataclasses.field(default_factory=dict)
    posting: bool = False
    posted: bool = False
    rejected: bool = False


class SpoolMachine(RuleBasedStateMachine):
    live = Bundle("live")
    claimed = Bundle("claimed")

    def __init__(self):
        super().__init__()
        self.folder = tempfile.mkdtemp(prefix="nxtrack-machine-")
        self.store = Spool(os.path.join(self.folder, "spool"))
        self.runs = {}
        self.pruned = set()
        self.held = {}
        self.writers = []
        self.taken = {}  # what the platform took, by id
        self.random = random.Random(0)

    def teardown(self):
        try:
            self.deliver_everything()
        finally:
            for claim in self.held.values():
                claim.release()
            for writer in self.writers:
                writer.close()
            shutil.rmtree(self.folder)

    @initialize()
    def prepare(self):
        self.store.prepare()

    # -- the tracked process --

    @rule(target=live, content=payloads, durable=st.booleans())
    def begin(self, content, durable):
        start = Start(id=ids.new_id(), at=now(), owner=owner.this_process())
        given = None if content is None else Content(content)
        writer = self.store.begin(start, given, "power" if durable else "process")
        self.writers.append(writer)
        self.runs[writer.run_id] = Run("active", content)
        return writer

    # How text is made readable is for `test_spool_logtext` to show.
    @rule(writer=live, data=st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20).map(str.encode))
    def log(self, writer, data):
        writer.log(data)
        self.runs[writer.run_id].log += data

    @rule(writer=live, values=st.lists(st.integers(), min_size=1, max_size=3))
    def metrics(self, writer, values):
        writer.append(*[Metric(name="m", value=value) for value in values])
        self.runs[writer.run_id].metrics += values

    @rule(writer=live, name=st.text(max_size=5))
    def update(self, writer, name):
        writer.append(Update(name=name))
        self.runs[writer.run_id].name = name

    @rule(writer=consumes(live), content=payloads, status=st.sampled_from(["succeeded", "failed"]))
    def finish(self, writer, content, status):
        records = [] if content is None else [writer.payload(Output, Content(content))]
        writer.finish(*records, End(status=status, at=now(), duration_ms=1))
        run = self.runs[writer.run_id]
        run.state, run.output, run.status = "ready", content, status

    @rule(writer=consumes(live), tail=torn)
    def kill_the_solver(self, writer, tail):
        os.write(writer._descriptor, tail)
        writer.close()
        self.runs[writer.run_id].state = "dead"

    @rule(writer=consumes(live), content=payloads)
    def kill_the_solver_before_its_rename(self, writer, content):
        records = [] if content is None else [writer.payload(Output, Content(content))]
        writer.append(*records, End(status="succeeded", at=now(), duration_ms=1))
        writer.close()
        run = self.runs[writer.run_id]
        run.state, run.output, run.status = "dead", content, "succeeded"

    # -- delivery --

    @rule()
    def recover(self):
        report = recovery.recover(self.store)
        dead = {run_id for run_id, run in self.runs.items() if run.state == "dead"}
        assert {run_id for run_id, _ in report.recovered} == dead
        assert not report.problems
        for run_id in dead:
            self.runs[run_id].state = "ready"

    @rule(target=claimed, data=st.data())
    def claim(self, data):
        waiting = sorted(run_id for run_id, run in self.runs.items() if run.state in {"ready", "unconfirmed"})
        if not waiting:
            return multiple()
        run_id = data.draw(st.sampled_from(waiting))
        claim = claims.claim(self.store, run_id, self.runs[run_id].state)
        assert (claim is None) == (run_id in self.held)
        if claim is None:
            return multiple()
        self.held[run_id] = claim
        self.same_journal(claim)
        return claim

    def same_journal(self, claim):
        run = self.runs[claim.run_id]
        assert {kind: found.upload_id for kind, found in claim.run.uploads.items()} == run.uploads
        assert (claim.run.posting is not None) == run.posting
        assert (claim.run.posted is not None) == run.posted
        assert (claim.run.rejected is not None) == run.rejected

    @rule(claim=claimed, kind=st.sampled_from(["input", "output", "logs"]), upload=st.text(min_size=1, max_size=4))
    def upload(self, claim, kind, upload):
        if self.is_held(claim):
            claim.checkpoint(Uploaded(artefact=kind, upload_id=upload, place=PLACE, moment=owner.moment()))
            self.runs[claim.run_id].uploads[kind] = upload

    @rule(claim=claimed, fate=st.sampled_from(["taken", "refused for now", "lost on the way", "answer lost"]))
    def post(self, claim, fate):
        run = self.runs[claim.run_id]
        if not self.is_held(claim) or run.posted or run.posting:
            return
        claim.checkpoint(Posting(place=PLACE, moment=owner.moment()), durable=True)
        run.posting = True
        if fate in {"taken", "answer lost"}:
            self.taken[claim.run_id] = self.taken.get(claim.run_id, 0) + 1
        if fate == "taken":
            self.journal_posted(claim)
        elif fate == "refused for now":
            claim.checkpoint(Unsent())
            run.posting = False

    def journal_posted(self, claim):
        claim.checkpoint(Posted(run_id="r", app_id="a", place=PLACE, at=now()))
        run = self.runs[claim.run_id]
        run.posted, run.posting = True, False

    @rule(claim=claimed)
    def reconcile(self, claim):
        run = self.runs[claim.run_id]
        if not self.is_held(claim) or not run.posting:
            return
        if claim.run_id in self.taken:
            self.journal_posted(claim)
        else:
            claim.checkpoint(Absent())
            run.posting = False

    def is_held(self, claim):
        return self.held.get(claim.run_id) is claim

    @rule(claim=consumes(claimed), tail=torn)
    def kill_the_flusher(self, claim, tail):
        if self.is_held(claim):
            os.write(claim._descriptor, tail)
            claim.release()
            del self.held[claim.run_id]

    @rule(claim=consumes(claimed), reject=st.booleans())
    def settle(self, claim, reject):
        if not self.is_held(claim):
            return
        run = self.runs[claim.run_id]
        if run.posted:
            run.state = "synced"
            claim.settle("synced")
        elif run.posting:
            run.state = "unconfirmed"
            claim.settle("unconfirmed")
        elif reject:
            run.state, run.rejected = "rejected", True
            claim.settle("rejected", Rejected(error="no", at=now()))
        else:
            run.state = "ready"
            claim.settle("ready")
        del self.held[claim.run_id]

    @rule(data=st.data())
    def retry(self, data):
        if not self.runs:
            return
        run_id = data.draw(st.sampled_from(sorted(self.runs)))
        run = self.runs[run_id]
        assert retention.retry(self.store, run_id) == (run.state == "rejected")
        if run.state == "rejected":
            run.state, run.rejected = "ready", False
            run.uploads.clear()

    @rule(rejected=st.booleans(), dry_run=st.booleans())
    def prune(self, rejected, dry_run):
        going = {"synced", "rejected"} if rejected else {"synced"}
        gone = {run_id for run_id, run in self.runs.items() if run.state in going}
        assert retention.prune(self.store, rejected=rejected, dry_run=dry_run).runs == len(gone)
        if not dry_run:
            for run_id in gone:
                del self.runs[run_id]
            self.pruned |= gone

    # -- what always holds --

    @invariant()
    def each_run_is_in_its_one_state(self):
        found = sorted(self.store.entries())
        assert found == sorted(
            Entry(run_id, *(("ready", True) if run.state == "dead" else (run.state, False)))
            for run_id, run in self.runs.items()
        )

    @invariant()
    def counts_are_right(self):
        summary = self.store.summary()
        states = ["ready" if run.state == "dead" else run.state for run in self.runs.values()]
        assert summary.counts == {state: states.count(state) for state in summary.counts}
        assert summary.died == sum(run.state == "dead" for run in self.runs.values())
        assert (summary.quarantined, summary.lost) == (0, 0)

    @invariant()
    def no_file_stays_behind(self):
        names = os.listdir(self.store.paths.payloads)
        assert {name.partition(".")[0] for name in names} <= self.runs.keys()

    @invariant()
    def the_platform_takes_each_run_at_most_once(self):
        assert set(self.taken.values()) <= {1}

    @invariant()
    def what_was_given_is_kept(self):
        if self.runs:
            run_id = self.random.choice(sorted(self.runs))
            run = self.runs[run_id]
            state = "ready" if run.state == "dead" else run.state
            self.same(self.store.read(Entry(run_id, state, died=run.state == "dead")), run)

    def same(self, found, run):
        def bytes_of(kind):
            source = self.store.artefact(found, kind)
            return None if source is None else source.read()

        assert bytes_of("input") == run.input
        assert (bytes_of("logs") or b"") == run.log
        assert [metric.value for metric in found.metrics] == run.metrics
        assert found.start.name == run.name
        if run.state != "active":
            assert found.end.status == run.status
            expected = run.output
            if expected is None and run.metrics:
                expected = msgspec.json.encode({"metrics": {"m": run.metrics[-1]}})
            assert bytes_of("output") == expected

    def deliver_everything(self):
        """In the end, a flusher that nothing befalls delivers what is left, as `nxtrack.delivery` does."""
        for claim in self.held.values():
            claim.release()
        self.held.clear()
        recovery.recover(self.store)
        for run in self.runs.values():
            if run.state == "dead":
                run.state = "ready"
        for entry in list(self.store.entries("ready", "unconfirmed")):
            claim = claims.claim(self.store, entry.run_id, entry.state)
            self.same_journal(claim)
            self.same(claim.run, self.runs[entry.run_id])
            self.held[entry.run_id] = claim
            self.reconcile(claim)
            if not self.runs[entry.run_id].posted:
                claim.checkpoint(Posting(place=PLACE, moment=owner.moment()))
                self.taken[entry.run_id] = self.taken.get(entry.run_id, 0) + 1
                self.journal_posted(claim)
            claim.settle("synced")
            del self.held[entry.run_id]
            self.runs[entry.run_id].state = "synced"
        for run_id, run in self.runs.items():
            assert self.taken.get(run_id, 0) == (run.state == "synced"), run_id
        assert set(self.taken.values()) <= {1}
        assert set(self.taken) <= set(self.runs) | self.pruned


TestSpoolMachine = SpoolMachine.TestCase
TestSpoolMachine.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_killed_for_real(store, start_program):
    """Solvers and flushers that are killed at random moments, until all is delivered: each run once."""
    solver = """
        number = 0
        while True:
            run = begin(store, b'{"number":%d}' % number)
            run.log(b"line\\n")
            run.append(Metric(name="m", value=number))
            os.write(1, (run.run_id + "\\n").encode())
            output = run.payload(Output, Content(b'"' + b"x" * 270_000 + b'"'))
            run.finish(output, End(status="succeeded", at=now(), duration_ms=1))
            number += 1
            time.sleep(0.001)
    """
    flusher = """
        platform = os.open(root + "/platform", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        while True:
            recovery.recover(store)
            for entry in list(store.entries("ready", "unconfirmed")):
                claimed = claims.claim(store, entry.run_id, entry.state)
                if claimed is None:
                    continue
                if claimed.run.posting:
                    taken = open(root + "/platform").read()
                    if entry.run_id in taken:
                        claimed.checkpoint(Posted(run_id="r", app_id="a", place="p", at=now()))
                    else:
                        claimed.checkpoint(Absent())
                if not claimed.run.posted:
                    claimed.artefact("input").read()
                    claimed.checkpoint(Posting(place="p", moment=owner.moment()))
                    os.write(platform, (entry.run_id + "\\n").encode())
                    claimed.checkpoint(Posted(run_id="r", app_id="a", place="p", at=now()))
                claimed.settle("synced")
            if "once" in sys.argv:
                break
    """
    store.prepare()
    chance = random.Random(1)
    begun = []
    for _ in range(6):
        programs = [start_program(text) for text in (solver, solver, flusher, flusher)]
        first = programs[0].stdout.readline()
        deadline = 0.02 + chance.random() * 0.15
        with contextlib.suppress(Exception):
            programs[2].wait(deadline)
        for program in programs:
            program.kill()
        for program in programs:
            out, err = program.communicate()
            assert "Error" not in err, err
            begun += out.split()
        begun.append(first.strip())
    last = start_program(flusher, "once")
    assert last.communicate(timeout=60)[1] == ""
    with open(os.path.join(store.root, "platform")) as file:
        taken = file.read().split()
    assert len(taken) == len(set(taken))
    assert {run_id for run_id in begun if ids.is_id(run_id)} <= set(taken)
    assert len(taken) > 20
    summary = store.summary()
    assert summary.counts["synced"] == len(taken)
    assert summary.quarantined == 0
    # What else there is was killed before its first frame, so that its solver was never called.
    assert {entry.state for entry in store.entries()} <= {"synced", "active"}
    for entry in store.entries("active"):
        assert os.stat(store.paths.run(entry.run_id, "active")).st_size == 0
