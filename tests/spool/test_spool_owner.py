"""Whose a run is: told by lock, boot, namespace, pid and start time, and never by the pid alone."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from nxtrack.spool import owner, system
from nxtrack.spool.records import Moment

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what /proc tells is Linux's")


@pytest.fixture
def child():
    """A live process and its owner record."""
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process, changed(pid=process.pid, started=system.process_started(process.pid))
    process.kill()
    process.communicate()


def changed(**fields):
    return msgspec.structs.replace(owner.this_process(), **fields)


def test_this_process_knows_itself():
    ours = owner.this_process()
    assert ours.pid == os.getpid()
    assert ours.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert ours.started > 0
    assert ours.pidns > 0
    assert ours.host
    assert not owner.is_gone(ours)
    assert not owner.is_foreign(ours)


def test_a_forked_child_does_not_go_by_its_parents_pid():
    owner.this_process()
    child = os.fork()
    if child == 0:
        os._exit(0 if owner.this_process().pid == os.getpid() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_a_live_process_is_not_gone(child):
    assert not owner.is_gone(child[1])


def test_a_dead_process_is_gone_even_before_it_is_waited_for(child):
    process, process_owner = child
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert "Z" in Path(f"/proc/{process.pid}/stat").read_text()
    assert owner.is_gone(process_owner)
    process.communicate()
    assert owner.is_gone(process_owner)


def test_a_pid_used_again_is_another_process(child):
    _, process_owner = child
    assert owner.is_gone(msgspec.structs.replace(process_owner, started=process_owner.started - 1))


def test_an_unknown_start_proves_nothing(child):
    assert not owner.is_gone(msgspec.structs.replace(child[1], started=0))


def test_another_boot_of_this_machine_is_gone():
    assert owner.is_gone(changed(boot="another"))
    assert not owner.is_foreign(changed(boot="another"))


@pytest.mark.parametrize(
    ("fields", "foreign", "gone"),
    [
        ({"boot": "another", "host": "another"}, True, False),
        ({"boot": "", "host": "another"}, True, False),
        # A container on this machine: another host's name, the same kernel; its pids mean nothing here.
        ({"host": "container"}, False, False),
        ({"pidns": 1}, False, False),
        ({"pidns": 1, "host": "container"}, False, False),
        ({"boot": ""}, False, True),
    ],
)
def test_who_is_foreign_and_who_is_gone(fields, foreign, gone):
    found = changed(pid=2**22 + 1, **fields)
    assert owner.is_foreign(found) == foreign
    assert owner.is_gone(found) == gone


def test_a_process_of_an_odd_name_is_understood(tmp_path):
    """The name stands in parentheses in the middle of the line, and may hold spaces and parentheses."""
    odd = tmp_path / ") Z 1 (x"
    odd.symlink_to("/bin/sleep")
    process = subprocess.Popen([odd, "60"])
    try:
        while ") Z 1" not in Path(f"/proc/{process.pid}/stat").read_text():
            time.sleep(0.001)
        started = system.process_started(process.pid)
        assert started >= system.process_started(os.getpid())
    finally:
        process.kill()
        process.wait()


def test_without_proc_a_live_process_is_not_taken_for_dead(run_program):
    """In a chroot without /proc, what cannot be seen there may live."""
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"hiding /proc needs root: {tried.stderr.strip()}")
    out = run_program(
        """
        child = subprocess.Popen(["sleep", "60"])
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/proc"], check=True)
        ours = owner.this_process()
        say(ours.boot == "", ours.pidns, ours.started, owner.is_gone(ours))
        other = msgspec.structs.replace(ours, pid=child.pid)
        say(owner.is_gone(other))
        child.kill()
        child.wait()
        say(owner.is_gone(other))
        say(owner.is_gone(msgspec.structs.replace(ours, pid=1)))
        """,
        prefix=["unshare", "-m", "--propagation", "private"],
    )
    assert out.splitlines() == ["True 0 0 False", "False", "True", "False"]


def test_without_a_machine_id_the_name_tells_machines_apart(run_program):
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, text=True, check=False)
    if tried.returncode or not Path("/etc/machine-id").exists():
        pytest.skip("hiding the machine id needs root, and that there is one")
    out = run_program(
        """
        subprocess.run(["mount", "--bind", "/dev/null", "/etc/machine-id"], check=True)
        say(owner.this_process().host == os.uname().nodename)
        """,
        prefix=["unshare", "-m", "--propagation", "private"],
    )
    assert out == "True\n"


def test_an_age_never_runs_backwards():
    at = datetime(2026, 1, 1, tzinfo=UTC)
    posted = Moment(at=at, boot="b", monotonic=100.0)
    assert posted.age(Moment(at=at - timedelta(days=1), boot="b", monotonic=130.0)) == 30.0
    assert posted.age(Moment(at=at + timedelta(seconds=7), boot="c", monotonic=1.0)) == 7.0
    assert posted.age(Moment(at=at - timedelta(days=1), boot="c", monotonic=999.0)) == 0.0
    assert posted.age(Moment(at=at, boot="b", monotonic=1.0)) == 0.0
    assert Moment(at=at).age(Moment(at=at + timedelta(seconds=1))) == 1.0
    assert owner.moment().boot == owner.this_process().boot
