"""Spools of a test's own, programs that run beside it, and a disk that is full."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import textwrap
import time

import pytest

from nxtrack.spool import claims, ids, owner
from nxtrack.spool.records import End, Output, Start, now
from nxtrack.spool.store import Spool
from nxtrack.spool.writer import Content

PROLOGUE = """
import json, os, signal, subprocess, sys, threading, time
from nxtrack.spool import claims, ids, layout, owner, recovery, retention, system, writer
from nxtrack.spool.records import *
from nxtrack.spool.store import Spool
from nxtrack.spool.writer import Content

def begin(spool, content=b'{"n":1}', durability="process", **more):
    start = Start(id=ids.new_id(), at=now(), owner=owner.this_process(), **more)
    return spool.begin(start, content and Content(content), durability)

def say(*words):
    print(*words, flush=True)

root = sys.argv[1]
store = Spool(root)
"""


@pytest.fixture
def store(tmp_path):
    """A spool of the test's own, not yet made."""
    return Spool(str(tmp_path / "spool"))


@pytest.fixture
def begin(store):
    """Begins runs of this process: `begin()`, `begin(content, owner=..., id=...)`."""

    def start(content=b'{"n":1}', *, durability="process", spool=None, **fields):
        fields = {"id": ids.new_id(), "at": now(), "owner": owner.this_process()} | fields
        given = None if content is None else Content(content)
        return (spool or store).begin(Start(**fields), given, durability)

    return start


@pytest.fixture
def ready(begin):
    """Makes finished runs, and returns their ids."""

    def make(content=b'{"n":1}', output=b'{"x":2}', **fields):
        run = begin(content, **fields)
        run.finish(run.payload(Output, Content(output)), End(status="succeeded", at=now(), duration_ms=5))
        return run.run_id

    return make


@pytest.fixture
def aged():
    """Returns ids of runs that began so many seconds ago: `aged(60)`."""

    def make(seconds):
        milliseconds = int((time.time() - seconds) * 1000)
        number, text = milliseconds << 80, ""
        for shift in range(125, -1, -5):
            text += ids._ALPHABET[number >> shift & 31]
        return text[:10] + ids.new_id()[10:]

    return make


@pytest.fixture
def settled(store, ready, aged):
    """Makes a large run in a state: `settled("synced")`; with `age`, one that began so many seconds ago."""

    def make(state, *, age=None, content=b'"' + b"x" * 300_000 + b'"'):
        fields = {} if age is None else {"id": aged(age)}
        run_id = ready(content, **fields)
        claims.claim(store, run_id, "ready").settle(state)
        return run_id

    return make


@pytest.fixture
def ended():
    """The last record of a run that succeeded."""
    return End(status="succeeded", at=now(), duration_ms=5)


@pytest.fixture
def start_program(store):
    """Starts a program beside the test: `start_program(text, *arguments)`; `store` is the test's own spool there."""
    with contextlib.ExitStack() as stack:

        def start(text, *arguments, root=None, prefix=(), **options):
            source = PROLOGUE + textwrap.dedent(text)
            line = [*prefix, sys.executable, "-c", source, root or store.root, *map(str, arguments)]
            process = subprocess.Popen(
                line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
            )
            stack.callback(process.__exit__, None, None, None)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def run_program(start_program):
    """Runs a program to its end and returns what it printed."""

    def run(text, *arguments, status=0, **options):
        process = start_program(text, *arguments, **options)
        out, err = process.communicate(timeout=60)
        assert process.returncode == status, err
        return out

    return run


@pytest.fixture
def hurried():
    """Has threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def disk():
    """Mounts small disks: `disk("64k")`; they are as full as a real one gets."""
    with contextlib.ExitStack() as stack:

        def mount(size, **options):
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nxtrack-disk-"))
            words = ",".join([f"size={size}", "mode=0700", *(f"{name}={value}" for name, value in options.items())])
            made = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", words, "tmpfs", folder], capture_output=True, text=True, check=False
            )
            if made.returncode:
                pytest.skip(f"mounting a small disk needs root: {made.stderr.strip()}")
            stack.callback(subprocess.run, ["umount", "-l", folder], check=True)
            return folder

        yield mount


@pytest.fixture
def fill():
    """Fills a disk to its last byte."""

    def filled(folder, leave=0):
        path = os.path.join(folder, "ballast")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            with contextlib.suppress(OSError):
                while os.write(descriptor, b"x" * 4096):
                    pass
            if leave:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - leave)
        finally:
            os.close(descriptor)
        return path

    return filled
