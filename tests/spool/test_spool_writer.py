"""A run while its process lives: what is acknowledged is in its file, whatever the disk and other threads do."""

import contextlib
import errno
import fcntl
import os
import resource
import shutil
import signal
import stat
import threading
import time
from pathlib import Path

import msgspec
import pytest

from nxtrack.errors import SpoolUnavailable
from nxtrack.spool import claims, frames, ids, logfile, owner, reader, system, writer
from nxtrack.spool.listing import Entry
from nxtrack.spool.records import End, Input, Metric, Output, Start, Update, now
from nxtrack.spool.store import Spool
from nxtrack.spool.writer import INLINE_BYTES, Content

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def text_of(size):
    return b'"' + b"x" * (size - 2) + b'"'


def read(store, run_id, state="active"):
    return store.read(Entry(run_id, state))


def open_files():
    return sorted(os.listdir("/proc/self/fd"))


@contextlib.contextmanager
def largest_file(size):
    """Has this process write no file beyond a size, as a quota would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_run_is_on_disk_before_its_solver_is_called(store, begin):
    run = begin(b'{"a":[1,2]}', source="routing.solve", app_id="routing", options={"k": "v"})
    found = read(store, run.run_id)
    assert found.start.source == "routing.solve"
    assert found.start.options == {"k": "v"}
    assert store.artefact(found, "input").read() == b'{"a":[1,2]}'
    assert found.end is None
    run.close()


def test_a_run_may_have_no_input(store, begin):
    run = begin(None)
    assert read(store, run.run_id).input is None
    run.close()


def test_a_finished_run_is_ready_with_all_it_was_given(store, begin, ended):
    before = open_files()
    run = begin(durability="power")
    run.append(Metric(name="gap", value=0.5), Update(name="what-if"))
    run.log(b"first\n")
    run.log(b"second\n")
    run.finish(run.payload(Output, Content(b'{"x":1}', ("note",))), ended)
    found = read(store, run.run_id, "ready")
    assert found.start.name == "what-if"
    assert found.output.notes == ("note",)
    assert found.end == ended
    assert store.artefact(found, "output").read() == b'{"x":1}'
    assert store.artefact(found, "logs").read() == b"first\nsecond\n"
    assert [*store.entries()] == [Entry(run.run_id, "ready")]
    assert open_files() == before


@pytest.mark.parametrize("durability", ["power", "process"])
def test_a_large_payload_is_a_file_of_its_own(store, begin, ended, durability):
    big = text_of(3_000_000)
    run = begin(big, durability=durability)
    run.finish(run.payload(Output, Content(text_of(1_000_000))), ended)
    found = read(store, run.run_id, "ready")
    assert found.input.file == f"{run.run_id}.0.json"
    assert found.output.file == f"{run.run_id}.1.json"
    assert store.artefact(found, "input").read() == big
    assert store.artefact(found, "output").size == 1_000_000


@pytest.mark.parametrize(("size", "apart"), [(INLINE_BYTES - 1, 0), (INLINE_BYTES, 0), (INLINE_BYTES + 1, 1)])
def test_the_threshold_is_where_it_is_said(store, begin, size, apart):
    run = begin(text_of(size))
    assert len(os.listdir(store.paths.payloads)) == apart
    assert store.artefact(read(store, run.run_id), "input").read() == text_of(size)
    run.close()


def test_json_of_several_lines_stands_apart(store, begin):
    run = begin(b'{\n"a": 1}')
    assert store.artefact(read(store, run.run_id), "input").read() == b'{\n"a": 1}'
    assert os.listdir(store.paths.payloads) == [f"{run.run_id}.0.json"]
    run.close()


def test_after_its_end_a_run_takes_nothing(store, begin, ended):
    run = begin()
    run.log(b"log")
    run.finish(ended)
    content = (store.paths.found(run.run_id, "ready"), store.paths.log(run.run_id))
    before = [Path(path).read_bytes() for path in content]
    # The numbers of the descriptors just closed are now these files'.
    others = [os.open(store.paths.root + f"/other{number}", os.O_RDWR | os.O_CREAT) for number in range(4)]
    run.log(b"late")
    run.append(Metric(name="late", value=1))
    run.finish(ended)
    run.close()
    late = run.payload(Output, Content(text_of(INLINE_BYTES + 1)))
    assert late.file
    assert [os.fstat(descriptor).st_size for descriptor in others] == [0] * 4
    assert [Path(path).read_bytes() for path in content] == before
    assert os.listdir(store.paths.payloads) == [f"{run.run_id}.log"]
    for descriptor in others:
        os.close(descriptor)


def test_threads_may_log_while_another_ends_the_run(store, begin, ended):
    """What a late thread writes is either in the run or nowhere, and never in a file that came after."""
    for number in range(30):
        run = begin(durability="process")
        go, done = threading.Barrier(5), []

        def work(run=run, go=go, done=done):
            go.wait()
            for value in range(40):
                run.append(Metric(name="m", value=value))
                run.log(b"line\n")
            done.append(1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        go.wait()
        if number % 3:
            time.sleep(0.001 * (number % 3))
        run.finish(ended)
        path = store.paths.root + f"/other{number}"
        others = [os.open(path, os.O_RDWR | os.O_CREAT) for _ in range(3)]
        for thread in threads:
            thread.join()
        assert done == [1] * 4
        assert os.stat(path).st_size == 0
        for descriptor in others:
            os.close(descriptor)
        content = Path(store.paths.found(run.run_id, "ready")).read_bytes()
        found = frames.decode(content)
        assert not found.damaged
        assert found.sound == len(content)
        assert found.records[-1] == ended
        log = store.artefact(reader.parse(run.run_id, content), "logs")
        assert log is None or set(log.read().splitlines()) == {b"line"}


@pytest.mark.no_cover  # Python 3.11 refuses a trace function while another thread installs one
def test_threads_may_write_large_payloads_at_once(store, begin, hurried):
    run = begin()
    go, made, wrong = threading.Barrier(8), [], []

    def work(number):
        data = b'"' + b"%d" % number * (INLINE_BYTES + 1) + b'"'
        go.wait()
        try:
            record = run.payload(Input, Content(data))
            run.append(record)
            made.append((record, data))
        except Exception as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=[number]) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    run.close()
    assert wrong == []
    assert len({record.file for record, _ in made}) == 8
    for record, data in made:
        assert Path(store.paths.payload(record.file)).read_bytes() == data
    last = store.artefact(read(store, run.run_id), "input").read()
    assert last in [data for _, data in made]


def test_a_signal_handler_may_log_while_its_thread_does(store, begin, ended):
    run = begin()
    run.log(b"")

    def note(_, frame):
        if frame.f_code.co_filename == writer.__file__:
            run.log(b"s\n")
            run.append(Metric(name="s", value=1))

    before = signal.signal(signal.SIGALRM, note)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        until = time.monotonic() + 0.2
        while time.monotonic() < until:
            run.append(Metric(name="m", value=1))
            run.log(b"m\n")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    run.finish(ended)
    found = read(store, run.run_id, "ready")
    assert {metric.name for metric in found.metrics} == {"s", "m"}
    lines = store.artefact(found, "logs").read().splitlines()
    assert lines.count(b"s") == sum(metric.name == "s" for metric in found.metrics)


def test_a_quota_reached_in_the_middle_of_a_frame_leaves_the_file_sound(store, begin, ended):
    run = begin()
    size = os.stat(store.paths.run(run.run_id, "active")).st_size
    with largest_file(size + 20):
        with pytest.raises(OSError) as caught:
            run.append(Metric(name="lost", value=1), Metric(name="also lost", value=2))
        assert caught.value.errno == errno.EFBIG
        assert os.stat(store.paths.run(run.run_id, "active")).st_size == size
    run.append(Metric(name="kept", value=3))
    run.finish(ended)
    assert [metric.name for metric in read(store, run.run_id, "ready").metrics] == ["kept"]


def test_an_interrupted_append_does_not_shift_what_a_failed_one_takes_back(store, begin, ended):
    """Ctrl-C right after the system took a frame: the next failure must not cut into that frame."""
    run = begin()

    class Interrupt(Exception):
        pass

    armed = []

    def interrupt(_, frame):
        if armed and frame.f_code.co_filename == writer.__file__:
            armed.clear()
            raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        with contextlib.suppress(Interrupt):
            armed.append(1)
            while True:
                run.append(Metric(name="m", value=1))
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)
    size = os.stat(store.paths.run(run.run_id, "active")).st_size
    with largest_file(size + 20), pytest.raises(OSError):
        run.append(Metric(name="lost", value=1))
    assert os.stat(store.paths.run(run.run_id, "active")).st_size == size
    run.append(Metric(name="kept", value=1))
    run.finish(ended)
    assert read(store, run.run_id, "ready").metrics[-1].name == "kept"


def test_a_full_disk_keeps_what_was_acknowledged(disk, fill, begin, ended):
    spool = Spool(disk("256k"))
    run = begin(spool=spool)
    run.append(Metric(name="kept", value=1))
    fill(spool.root)
    with pytest.raises(OSError) as caught:
        for _ in range(100):
            run.append(Metric(name="m" * 500, value=1))
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError):
        run.log(b"x" * 9000)
    found = read(spool, run.run_id)
    assert found.metrics[0].name == "kept"
    assert {len(metric.name) for metric in found.metrics[1:]} == {500}
    os.unlink(os.path.join(spool.root, "ballast"))
    run.finish(ended)
    assert read(spool, run.run_id, "ready").end == ended


def test_a_payload_that_does_not_fit_leaves_room_for_the_end(disk, begin, ended):
    """Half an output helps nobody, and would take the last bytes that the run's end needs."""
    spool = Spool(disk("256k"))
    run = begin(b'"' + b"x" * 3900 + b'"', spool=spool, durability="power")
    with pytest.raises(OSError) as caught:
        run.payload(Output, Content(text_of(400_000)))
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(spool.paths.payloads) == []
    big = msgspec.structs.replace(ended, notes=("x" * 5000,))
    run.finish(big)
    assert read(spool, run.run_id, "ready").end == big


def test_a_run_that_cannot_be_begun_leaves_nothing_behind(disk, begin):
    spool = Spool(disk("256k"))
    before = open_files()
    with pytest.raises(SpoolUnavailable, match="no space left on device"):
        begin(text_of(400_000), spool=spool)
    assert os.listdir(spool.paths.runs) == []
    assert os.listdir(spool.paths.payloads) == []
    assert open_files() == before


def test_what_cannot_be_made_durable_is_left_to_recovery(store, begin, ended):
    run = begin(text_of(INLINE_BYTES + 1), durability="power")
    os.unlink(store.paths.payload(f"{run.run_id}.0.json"))
    with pytest.raises(SpoolUnavailable):
        run.finish(ended)
    assert os.listdir(store.paths.runs) == [f"{run.run_id}.active"]
    assert [*store.entries()] == [Entry(run.run_id, "ready", died=True)]


def test_a_spool_that_went_away_is_told(store, begin, ended):
    run = begin()
    shutil.rmtree(store.root)
    before = open_files()
    with pytest.raises(SpoolUnavailable, match="no such file"):
        run.finish(ended)
    run.finish(ended)
    assert len(open_files()) == len(before) - 1


def is_locked(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def test_a_forked_child_lets_go_of_its_parents_runs(store, begin, ended):
    run = begin()
    run.log(b"parent\n")
    path = store.paths.run(run.run_id, "active")
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            run.log(b"child\n")
            run.append(Metric(name="child", value=1))
            run.finish(ended)
            status = 0 if run.detached and os.path.exists(path) and is_locked(path) else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert not run.detached
    assert is_locked(path)
    run.finish(ended)
    found = read(store, run.run_id, "ready")
    assert found.metrics == []
    assert store.artefact(found, "logs").read() == b"parent\n"


def test_a_child_that_lives_on_does_not_keep_the_lock(store, run_program, start_program):
    out = start_program(
        """
        run = begin(store)
        lives, tells = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tells, b".")
            time.sleep(60)
            os._exit(0)
        os.read(lives, 1)
        other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        say(run.run_id, child, other.pid)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    run_id, *children = out.stdout.readline().split()
    out.wait()
    try:
        assert not is_locked(store.paths.run(run_id, "active"))
    finally:
        for child in children:
            os.kill(int(child), signal.SIGKILL)


def test_a_fork_while_another_thread_writes_does_not_stop_the_child(store, run_program):
    """The lock of a run may be held by a thread that the child does not have."""
    out = run_program(
        """
        run = begin(store)
        stop = threading.Event()
        def work():
            while not stop.is_set():
                run.append(Metric(name="m", value=1))
                run.log(b"x" * 100)
        threads = [threading.Thread(target=work) for _ in range(3)]
        [thread.start() for thread in threads]
        wrong = 0
        for number in range(40):
            child = os.fork()
            if child == 0:
                signal.alarm(5)
                run.log(b"child")
                run.append(Metric(name="child", value=1))
                own = begin(store, b'{"child":1}')
                own.finish(End(status="succeeded", at=now(), duration_ms=1))
                os._exit(0)
            wrong += os.waitpid(child, 0)[1] != 0
        stop.set()
        [thread.join() for thread in threads]
        run.finish(End(status="succeeded", at=now(), duration_ms=1))
        say(wrong, run.run_id)
        """
    )
    wrong, run_id = out.split()
    assert wrong == "0"
    assert len([*store.entries("ready")]) == 41
    found = read(store, run_id, "ready")
    assert {metric.name for metric in found.metrics} == {"m"}
    assert b"child" not in store.artefact(found, "logs").read()


def test_files_are_private_whatever_the_umask(store, begin, ended):
    before = os.umask(0)
    try:
        run = begin(text_of(INLINE_BYTES + 1))
        run.log(b"x")
        run.finish(ended)
    finally:
        os.umask(before)
    for folder in store.paths:
        assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    files = [os.path.join(folder, name) for folder, _, names in os.walk(store.root) for name in names]
    assert len(files) >= 6
    # One bit more says that a run has ended.
    assert {stat.S_IMODE(os.stat(path).st_mode) & ~stat.S_ISVTX for path in files} == {0o600}


def test_a_file_that_is_there_is_never_written_over(store, begin):
    run = begin()
    run.close()
    start = Start(id=run.run_id, at=now(), owner=owner.this_process())
    with pytest.raises(SpoolUnavailable, match="exists"):
        store.begin(start, None, "process")
    planted = ids.new_id()
    os.symlink("/tmp/elsewhere", store.paths.run(planted, "active"))
    with pytest.raises(SpoolUnavailable):
        store.begin(Start(id=planted, at=now(), owner=owner.this_process()), None, "process")


def test_no_more_open_files(store, run_program):
    out = run_program(
        """
        import resource
        from nxtrack.errors import SpoolUnavailable
        kept = begin(store)
        used = len(os.listdir("/proc/self/fd")) - 1
        resource.setrlimit(resource.RLIMIT_NOFILE, (used, used))
        try:
            begin(store)
        except SpoolUnavailable as error:
            say(error)
        kept.finish(End(status="succeeded", at=now(), duration_ms=1))
        """
    )
    assert out == "too many open files\n"
    assert [entry.state for entry in store.entries()] == ["ready"]


def test_a_device_that_takes_nothing_is_told():
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError) as caught:
            logfile.write_all(descriptor, b"data")
        assert caught.value.errno == errno.ENOSPC
    finally:
        os.close(descriptor)


def test_what_the_system_takes_in_parts_is_written_whole():
    reading, writing = os.pipe()
    data = os.urandom(1_000_000)
    found = []

    def drain():
        with os.fdopen(reading, "rb") as file:
            found.append(file.read())

    thread = threading.Thread(target=drain)
    thread.start()
    logfile.write_all(writing, data)
    os.close(writing)
    thread.join()
    assert found == [data]


@pytest.mark.parametrize("can_give_back", [True, False])
def test_of_a_log_that_is_too_long_head_tail_and_what_goes_beyond_are_kept(begin, store, monkeypatch, can_give_back):
    if not can_give_back:
        monkeypatch.setattr(system, "give_back", lambda *_: False)
    most = 4 << 20
    run = begin(None, max_log=most)
    line = b"%09d\n"
    for number in range(0, 1_000_000, 1000):
        run.log(b"".join(line % (number + one) for one in range(1000)))
    assert run.log_cut == "it is longer than NXTRACK_MAX_LOG allows"
    run.log(b"Traceback\n", beyond=True)
    disk = os.stat(store.paths.log(run.run_id)).st_blocks * 512
    run.finish(End(status="failed", at=now(), duration_ms=1))
    claim = claims.claim(store, run.run_id, "ready")
    lines = claim.artefact("logs").read().splitlines()
    claim.release()
    assert disk < 3 * most
    assert lines[:2] == [b"000000000", b"000000001"]
    assert lines[-1] == b"Traceback"
    (cut,) = [number for number, line in enumerate(lines) if line.startswith(b"[nxtrack: bytes of the log")]
    assert (most // 2 - 5000) < 10 * cut <= most // 2
    assert (most // 2 - 5000) < 10 * (len(lines) - cut - 2) <= most // 2
    if can_give_back:
        assert lines[-2] == b"000999999"


def test_the_ends_of_a_log(begin, ended):
    run = begin()
    assert run.log_ends(10) == b""
    run.log(b"0123456789")
    assert [run.log_ends(most) for most in (10, 5, 4)] == [b"0123456789", b"0123456789", b"0123\n6789"]
    run.log(b"abc")
    assert [run.log_ends(most) for most in (100, 2)] == [b"0123456789abc", b"01\nbc"]
    run.finish(ended)
    assert run.log_ends(10) == b""


def test_a_folder_that_somebody_removed_is_made_again(store, begin):
    begin().close()
    for _ in range(2):
        shutil.rmtree(store.paths.payloads)
        run = begin()
        run.log(b"said\n")
        shutil.rmtree(store.paths.payloads)
        output = run.payload(Output, Content(text_of(INLINE_BYTES + 1)))
        run.finish(output, End(status="succeeded", at=now(), duration_ms=1))
        assert read(store, run.run_id, "ready").output.file in os.listdir(store.paths.payloads)


@contextlib.contextmanager
def signals(handler):
    """Has this thread interrupted by SIGUSR1 as often as a thread beside it can."""
    stop = threading.Event()

    def send():
        while not stop.is_set():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
            time.sleep(1e-5)

    before = signal.signal(signal.SIGUSR1, handler)
    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        stop.set()
        sender.join()
        signal.signal(signal.SIGUSR1, before)


def test_a_handler_may_append_amid_an_append_of_its_own_thread(store, begin, ended):
    """Each frame goes on from the one before, so no order may be lost to a signal."""
    run = begin()
    with signals(lambda *_: run.append(Metric(name="signal", value=1))):
        for number in range(3000):
            run.append(Metric(name="own", value=number))
    run.finish(ended)
    metrics = read(store, run.run_id, "ready").metrics
    assert [metric.value for metric in metrics if metric.name == "own"] == list(range(3000))
    assert sum(metric.name == "signal" for metric in metrics) > 3


@pytest.mark.parametrize("written", [False, True])
def test_an_append_that_is_interrupted_leaves_a_file_that_goes_on(store, begin, ended, monkeypatch, written):
    """A Ctrl-C may come on either side of the write."""
    run = begin()
    run.append(Metric(name="before", value=1))
    real = os.write

    def interrupted(descriptor, data):
        if written:
            real(descriptor, data)
        raise KeyboardInterrupt

    monkeypatch.setattr(writer.os, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.append(Metric(name="amid", value=1))
    monkeypatch.setattr(writer.os, "write", real)
    run.append(Metric(name="after", value=1))
    run.finish(ended)
    names = [metric.name for metric in read(store, run.run_id, "ready").metrics]
    assert names == ["before", *(["amid"] if written else []), "after"]


def test_a_file_that_a_jumped_clock_had_removed_before_its_lock_is_made_again(store, begin, ended, monkeypatch):
    real, taken = writer.system.try_lock, []

    def lock(descriptor):
        if not taken:
            os.unlink(os.readlink(f"/proc/self/fd/{descriptor}"))
        taken.append(descriptor)
        return real(descriptor)

    store.prepare()
    monkeypatch.setattr(writer.system, "try_lock", lock)
    run = begin()
    assert run.locked
    run.finish(ended)
    assert [entry.state for entry in store.entries()] == ["ready"]
