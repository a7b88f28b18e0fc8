"""Begins runs and is killed amid them. Usage: dead.py NUMBER."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys

import nxtrack

number = int(sys.argv[1])
_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
with contextlib.ExitStack() as stack:
    for _ in range(number):
        stack.enter_context(nxtrack.track(input={"text": "i" * 1000}, app_id="benchmarks", capture="off"))
    print("true", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
