"""Many processes at once: each run is recorded whole, and claimed once."""

import json
import subprocess
import sys
import textwrap
from collections import Counter

import pytest

PROGRAM = '''
"""Eight processes record fifty runs each while two others claim whatever is ready."""

import json
import multiprocessing
import os
import sys
import time

from nxtrack.spool import claims, ids, owner, recovery
from nxtrack.spool.records import End, Metric, Output, Posted, Start, now
from nxtrack.spool.store import Spool, spool
from nxtrack.spool.writer import Content

RUNS = 50


def record(root, worker):
    store = spool(root)
    for number in range(RUNS):
        start = Start(id=ids.new_id(), at=now(), owner=owner.this_process())
        run = store.begin(start, Content(b'{"worker":%d,"number":%d}' % (worker, number)), "process")
        run.append(Metric(name="n", value=number))
        run.log(b"x" * number)
        size = 270_000 if number % 10 == 0 else 10
        output = run.payload(Output, Content(b'"' + b"y" * size + b'"'))
        run.finish(output, End(status="succeeded", at=now(), duration_ms=1))


def deliver(root, stop, found):
    store = spool(root)
    last = False
    while not last:
        last = stop.is_set()
        recovery.recover(store)
        for entry in list(store.entries("ready")):
            claimed = claims.claim(store, entry.run_id, "ready")
            if claimed is None:
                continue
            inputs = claimed.artefact("input").read().decode()
            whole = claimed.artefact("output").read()[-1:] == b'"' and len(claimed.run.metrics) == 1
            found.put((entry.run_id, inputs, whole, os.getpid()))
            claimed.settle("synced", Posted(run_id="r", app_id="a", place="p", at=now()))
    found.put(None)


if __name__ == "__main__":
    root, method = sys.argv[1:]
    context = multiprocessing.get_context(method)
    if method == "fork":
        # What the parent records while it forks stays the parent's.
        kept = spool(root).begin(Start(id=ids.new_id(), at=now(), owner=owner.this_process()), None, "process")
    stop, found = context.Event(), context.Queue()
    claimers = [context.Process(target=deliver, args=(root, stop, found)) for _ in range(2)]
    solvers = [context.Process(target=record, args=(root, number)) for number in range(8)]
    for process in claimers + solvers:
        process.start()
    for process in solvers:
        process.join()
    stop.set()
    seen, ends = [], 0
    while ends < 2:
        item = found.get(timeout=60)
        if item is None:
            ends += 1
        else:
            seen.append(item)
    for process in claimers:
        process.join()
    assert all(process.exitcode == 0 for process in claimers + solvers)
    if method == "fork":
        kept.finish(End(status="succeeded", at=now(), duration_ms=1))
    print(json.dumps(seen))
'''


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_each_run_of_many_processes_is_claimed_once(store, tmp_path, method):
    script = tmp_path / "many.py"
    script.write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script), store.root, method],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert len({run_id for run_id, *_ in seen}) == len(seen) == 400
    assert Counter(given for _, given, *_ in seen) == Counter(
        json.dumps({"worker": worker, "number": number}, separators=(",", ":"))
        for worker in range(8)
        for number in range(50)
    )
    assert all(whole for _, _, whole, _ in seen)
    summary = store.summary()
    assert summary.counts["synced"] == 400
    assert summary.counts["ready"] == (method == "fork")
    assert (summary.quarantined, summary.lost) == (0, 0)
