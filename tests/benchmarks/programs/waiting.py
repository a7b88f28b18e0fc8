"""Fills a spool with runs that wait, as fast as the spool takes them. Usage: waiting.py NUMBER."""

from __future__ import annotations

import os
import sys

from nxtrack.spool import ids, owner
from nxtrack.spool.records import End, Output, Start, now
from nxtrack.spool.store import spool
from nxtrack.spool.writer import Content

runs = spool(os.environ["NXTRACK_DIR"])
content = Content(b'{"text":"' + b"i" * 1000 + b'"}')
process = owner.this_process()
for _ in range(int(sys.argv[1])):
    start = Start(id=ids.new_id(), at=now(), owner=process, source="solve", app_id="benchmarks")
    run = runs.begin(start, content, "process")
    run.finish(run.payload(Output, content), End(status="succeeded", at=now(), duration_ms=1))
print("true")
