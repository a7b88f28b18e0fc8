"""Payloads between files and the object store, over connections that break, URLs that expire, and stores that err."""

from __future__ import annotations

import io
import os
import random
import re
import stat
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nxtrack.cloud import transfers
from nxtrack.cloud.messages import UploadURL
from nxtrack.cloud.retries import Patience
from nxtrack.errors import AnswerLost, NotReached, RateLimited, Rejected, TooLarge, UploadExpired

CONTENT = random.Random(7).randbytes(1_500_000)
LIMIT = 10_000_000
QUICK = Patience(backoff=0.001)
EXPIRED = b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"


@dataclass
class Store:
    """What an object store does that keeps one object and hands it out as S3 does, until it is told otherwise.

    Attributes:
        cuts: After how many bytes of the body each of the next answers breaks; None: it does not.
        valid: Which tokens of URLs are valid; all when it is None.
        ranges: Whether parts are handed out.
        tag: The `ETag`, or "" for none.
        asked: The `Range` of each request that came.
        kept: What was uploaded.
    """

    content: bytes = CONTENT
    cuts: list[int | None] = field(default_factory=list)
    valid: set[str] | None = None
    ranges: bool = True
    tag: str = '"v1"'
    length: bool = True
    first: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    kept: list[bytes] = field(default_factory=list)

    def __call__(self, line):
        while True:
            heard = line.hear(body=False)
            if heard is None:
                return
            (self.take if heard.method == "PUT" else self.give)(line, heard)

    def expired(self, heard):
        return self.valid is not None and heard.target.partition("?")[2] not in self.valid

    def give(self, line, heard):
        self.asked.append(heard.headers.get("range", ""))
        if self.expired(heard):
            line.answer(403, EXPIRED)
            return
        if self.first:
            status, body, headers = self.first.pop(0)
            line.answer(status, body, **headers)
            return
        part, head = self.content, {}
        wanted = re.fullmatch(r"bytes=(\d+)-", heard.headers.get("range", ""))
        whole = not (self.ranges and wanted and heard.headers.get("if-range") in {None, self.tag})
        if not whole:
            start = int(wanted[1])
            if start >= len(self.content):
                line.answer(416)
                return
            part = self.content[start:]
            head["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        if self.tag:
            head["ETag"] = self.tag
        if self.length:
            head["Content-Length"] = str(len(part))
        else:
            head["Connection"] = "close"
        line.say(f"HTTP/1.1 {200 if whole else 206} OK\r\n".encode())
        line.say("".join(f"{name}: {value}\r\n" for name, value in head.items()).encode() + b"\r\n")
        cut = self.cuts.pop(0) if self.cuts else None
        line.say(part[:cut])
        if cut is not None or not self.length:
            line.sock.close()
            raise OSError

    def take(self, line, heard):
        size = int(heard.headers["content-length"])
        if self.expired(heard):
            line.answer(403, EXPIRED)
            raise OSError
        cut = self.cuts.pop(0) if self.cuts else None
        if cut is not None and cut < size:
            line.file.read(cut)
            line.reset()
            raise OSError
        self.kept.append(line.file.read(size))
        line.answer(200)


class Urls:
    """Gives URLs of a server, each with another token."""

    def __init__(self, server):
        self.url = server.url
        self.given = 0

    def __call__(self):
        self.given += 1
        return f"{self.url}/object?token{self.given}"

    def upload(self):
        return UploadURL(upload_id=str(self.given + 1), upload_url=self())


@dataclass
class Payload:
    content: bytes = CONTENT
    opened: int = 0

    @property
    def size(self):
        return len(self.content)

    @contextmanager
    def open(self):
        self.opened += 1
        yield io.BytesIO(self.content)


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "downloads"
    made.mkdir()
    return made


@pytest.fixture
def get(serve, connect, folder):
    """Downloads what a store has; gives what came of it, and who gave the URLs."""

    def run(store, *, to=None, limit=LIMIT, progress=None, patience=QUICK):
        urls = Urls(serve(store))
        try:
            return transfers.download(
                connect(urls.url, patience=patience), to or folder / "out", ask=urls, limit=limit, progress=progress
            ), urls
        finally:
            assert not list(folder.glob(".nxtrack-*"))

    return run


@pytest.fixture
def put(serve, connect):
    def run(store, payload=None, *, progress=None, patience=QUICK):
        urls = Urls(serve(store))
        client = connect(urls.url, patience=patience)
        place = transfers.upload(client, payload or Payload(), ask=urls.upload, progress=progress)
        return place, urls

    return run


def test_a_download_is_there_when_it_is_whole(get, folder):
    seen = []
    size, urls = get(Store(), progress=lambda done, total: seen.append((done, total, os.listdir(folder))))
    assert (folder / "out").read_bytes() == CONTENT
    assert (size, urls.given) == (len(CONTENT), 1)
    assert {total for _, total, _ in seen} == {len(CONTENT)}
    assert [done for done, _, _ in seen] == sorted(done for done, _, _ in seen)
    assert (seen[0][0], seen[-1][0]) == (0, len(CONTENT))
    assert all("out" not in names for *_, names in seen)


@pytest.mark.parametrize("content", [b"", b"x"])
def test_the_smallest_downloads(get, folder, content):
    assert get(Store(content))[0] == len(content)
    assert (folder / "out").read_bytes() == content


def test_a_download_goes_on_where_it_broke_off(get, folder):
    store = Store(cuts=[100_000] * 10)
    _, urls = get(store)
    assert (folder / "out").read_bytes() == CONTENT
    assert urls.given == 1
    begins = [int(asked.removeprefix("bytes=").removesuffix("-") or 0) for asked in store.asked]
    assert len(begins) == 11
    assert begins == sorted(begins)
    assert begins[-1] == 1_000_000


@pytest.mark.parametrize("store", [{"ranges": False}, {"tag": ""}, {"tag": 'W/"weak"'}], ids=str)
def test_a_download_begins_anew_where_it_cannot_go_on(get, folder, store):
    store = Store(cuts=[100_000, 200_000], **store)
    seen = []
    get(store, progress=lambda done, _: seen.append(done))
    assert (folder / "out").read_bytes() == CONTENT
    assert seen.count(0) == 3


def test_a_download_that_never_gets_further_ends(get, folder):
    """Else a store without ranges that always breaks off would be asked for ever."""
    store = Store(cuts=[100_000] * 100, ranges=False)
    with pytest.raises(AnswerLost, match="the answer broke off"):
        get(store)
    assert len(store.asked) == QUICK.attempts
    assert os.listdir(folder) == []


def test_other_content_under_the_same_url_is_not_joined(get, folder):
    class Changing(Store):
        def give(self, line, heard):
            if len(self.asked) == 1:
                self.content, self.tag = bytes(reversed(CONTENT)), '"v2"'
            super().give(line, heard)

    get(Changing(cuts=[500_000]))
    assert (folder / "out").read_bytes() == bytes(reversed(CONTENT))


def part(begin, size=None, tag='"v1"', **more):
    """A 206 that is not what was asked for."""
    total = len(CONTENT) if size is None else size
    head = {"Content_Range": f"bytes {begin}-{len(CONTENT) - 1}/{total}"} | ({"ETag": tag} if tag else {}) | more
    return 206, CONTENT[begin:], head


@pytest.mark.parametrize(
    "wrong",
    [
        part(400_000),
        part(600_000),
        part(500_000, size=len(CONTENT) + 1),
        part(500_000, tag='"v2"'),
        part(500_000, tag=""),
        part(500_000, Content_Encoding="gzip"),
        (206, CONTENT[500_000:], {"ETag": '"v1"'}),
        (206, CONTENT[500_000:], {"ETag": '"v1"', "Content_Range": "bytes */*"}),
        (416, b"", {}),
        (412, b"", {}),
        (204, b"", {}),
        (500, b"", {}),
    ],
    ids=lambda wrong: f"{wrong[0]} {sorted(wrong[2].values())}",
)
def test_a_part_that_does_not_fit_is_not_taken(get, folder, wrong):
    class Wrong(Store):
        def give(self, line, heard):
            if heard.headers.get("range"):
                self.first, self.wrong = ([wrong], True) if not hasattr(self, "wrong") else ([], True)
            super().give(line, heard)

    store = Wrong(cuts=[500_000])
    get(store)
    assert store.wrong
    assert (folder / "out").read_bytes() == CONTENT


def test_a_part_that_was_not_asked_for_is_not_taken(get, folder):
    store = Store(first=[part(500_000)])
    get(store)
    assert store.asked == ["", ""]
    assert (folder / "out").read_bytes() == CONTENT


def test_an_expired_url_is_asked_for_again(get, folder):
    """In the middle of a download, too, which then goes on."""
    store = Store(cuts=[400_000, 400_000], valid={"token2"})
    _, urls = get(store)
    assert (folder / "out").read_bytes() == CONTENT
    assert urls.given == 2
    assert store.asked == ["", "", "bytes=400000-", "bytes=800000-"]


def test_a_url_that_is_never_valid_ends_the_download(get, folder):
    store = Store(valid=set())
    with pytest.raises(UploadExpired, match="403"):
        get(store)
    assert len(store.asked) == QUICK.attempts


def test_too_much_is_refused_before_its_first_byte(get, folder):
    seen = []
    (folder / "out").write_text("before")
    with pytest.raises(TooLarge) as caught:
        get(Store(), limit=len(CONTENT) - 1, progress=lambda done, _: seen.append(done))
    assert (caught.value.size, caught.value.limit) == (len(CONTENT), len(CONTENT) - 1)
    assert seen == []
    assert (folder / "out").read_text() == "before"


def test_exactly_as_much_as_may_be(get, folder):
    assert get(Store(), limit=len(CONTENT))[0] == len(CONTENT)


def chunked(line, blocks):
    line.say(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for block in blocks:
        line.say(f"{len(block):x}\r\n".encode() + block + b"\r\n")


def test_too_much_is_cut_off_where_the_size_was_not_told(get, folder):
    def behave(line):
        line.hear()
        chunked(line, [b"x" * 65536] * 1000)

    seen = []
    with pytest.raises(TooLarge):
        get(behave, limit=1_000_000, progress=lambda done, _: seen.append(done))
    assert max(seen) <= 1_000_000
    assert os.listdir(folder) == []


def test_a_chunked_download_that_breaks_off_begins_anew(get, folder):
    answers = []

    def behave(line):
        line.hear()
        answers.append(1)
        chunked(line, [CONTENT[:70_000]] if len(answers) == 1 else [CONTENT[:70_000], CONTENT[70_000:], b""])

    assert get(behave)[0] == len(CONTENT)
    assert (folder / "out").read_bytes() == CONTENT


def test_where_the_end_cannot_be_told_from_a_break_nothing_is_taken(get, folder):
    def behave(line):
        line.hear()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n" + CONTENT)

    for store in (Store(length=False), behave):
        with pytest.raises(AnswerLost, match="did not tell where the download ends"):
            get(store)
    assert os.listdir(folder) == []


def test_what_was_stored_compressed_is_bounded_decompressed(get, folder):
    import gzip

    packed = gzip.compress(b"0" * 5_000_000)

    def behave(line):
        while line.hear():
            line.answer(200, packed, Content_Encoding="gzip", ETag='"v1"')

    with pytest.raises(TooLarge):
        get(behave, limit=4_999_999)
    assert get(behave, limit=5_000_000)[0] == 5_000_000
    assert (folder / "out").read_bytes() == b"0" * 5_000_000


def test_a_refusal_ends_the_download(get, folder):
    with pytest.raises(Rejected, match="404"):
        get(Store(first=[(404, b"", {})]))
    store = Store(first=[(503, b"<Error><Code>SlowDown</Code></Error>", {"Retry_After": "3600"})])
    with pytest.raises(RateLimited):
        get(store)
    assert store.asked == [""]
    assert os.listdir(folder) == []


def test_a_store_that_is_not_there(connect, folder):
    with pytest.raises(NotReached, match="connection refused"):
        transfers.download(
            connect("http://127.0.0.1:1", patience=QUICK), folder / "out", ask=lambda: "http://127.0.0.1:1/x", limit=1
        )
    assert os.listdir(folder) == []


def test_an_interrupted_download_leaves_nothing(get, folder):
    def interrupt(done, _):
        if done > 500_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(Store(), progress=interrupt)
    assert os.listdir(folder) == []


def test_what_stood_under_the_name_is_replaced_with_its_permissions(get, folder):
    os.umask(mask := os.umask(0o022))
    (folder / "kept").write_text("before")
    (folder / "kept").chmod(0o640)
    (folder / "link").symlink_to("kept")
    get(Store(), to=folder / "link")
    get(Store(), to=folder / "new")
    assert (folder / "link").is_symlink()
    assert (folder / "kept").read_bytes() == CONTENT
    assert stat.S_IMODE((folder / "kept").stat().st_mode) == 0o640
    assert stat.S_IMODE((folder / "new").stat().st_mode) == 0o666 & ~mask


def test_a_pipe_gets_the_bytes(get, folder):
    os.mkfifo(folder / "pipe")
    came = []
    reader = threading.Thread(target=lambda: came.append((folder / "pipe").read_bytes()))
    reader.start()
    get(Store(cuts=[700_000], ranges=False), to=folder / "pipe")
    reader.join(20)
    assert came == [CONTENT]


@pytest.mark.parametrize("to", ["no/such/folder", "."])
def test_a_target_that_cannot_be_made_is_told_before_anything_is_asked(get, folder, to):
    store = Store()
    with pytest.raises(OSError, match=r"No such file|Is a directory"):
        get(store, to=folder / to)
    assert store.asked == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_is_no_fault_of_the_network(get, folder):
    store = Store()
    with pytest.raises(OSError, match="No space left"):
        get(store, to="/dev/full")
    assert store.asked == [""]


def test_into_a_file_from_where_it_stands(serve, connect):
    urls = Urls(serve(Store(cuts=[100_000], ranges=False)))
    file = io.BytesIO(b"head" + b"old" * 1_000_000)
    file.seek(4)
    assert transfers.download_into(connect(urls.url, patience=QUICK), file, ask=urls, limit=LIMIT) == len(CONTENT)
    assert file.getvalue() == b"head" + CONTENT


def test_an_upload_has_its_size_told_first(put):
    seen, store, payload = [], Store(), Payload()
    place, urls = put(store, payload, progress=lambda done, total: seen.append((done, total)))
    assert store.kept == [CONTENT]
    assert (place.upload_id, urls.given, payload.opened) == ("1", 1, 1)
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))


def test_an_empty_upload(put):
    store = Store()
    put(store, Payload(b""))
    assert store.kept == [b""]


def test_an_upload_is_repeated_with_a_new_url(put):
    store = Store(cuts=[0, 1000, 700_000])
    place, urls = put(store)
    assert store.kept == [CONTENT]
    assert (place.upload_id, urls.given) == ("4", 4)


def test_an_upload_to_an_expired_url_is_repeated(put):
    """Also when the store closes the connection under the bytes that are still coming."""
    store = Store(valid={"token3"})
    place, _ = put(store, Payload(CONTENT * 4))
    assert place.upload_id == "3"
    assert store.kept == [CONTENT * 4]


def test_an_upload_that_always_breaks_ends(put):
    with pytest.raises(AnswerLost):
        put(Store(cuts=[0] * 100))


def test_an_upload_that_is_refused_ends(put):
    def refuse(line):
        while line.hear():
            line.answer(413, b"<Error><Code>EntityTooLarge</Code><Message>no</Message></Error>")

    with pytest.raises(Rejected, match="EntityTooLarge"):
        put(refuse)


def test_a_payload_that_became_shorter_is_no_fault_of_the_network(put):
    class Shrinking(Payload):
        size = len(CONTENT) + 1

    payload = Shrinking()
    with pytest.raises(ValueError, match="ended after"):
        put(Store(), payload)
    assert payload.opened == 1


def test_no_url_is_told_in_an_error(get, put):
    for failing in (lambda: get(Store(valid=set())), lambda: put(Store(valid=set())), lambda: put(Store(cuts=[0] * 9))):
        with pytest.raises(Exception) as caught:
            failing()
        error = caught.value
        while error is not None:
            assert "token" not in f"{error!r} {error}"
            error = error.__cause__ or error.__context__


FAULTS = st.one_of(
    st.integers(0, 60_000).map(lambda at: ("cut", at)),
    st.just(("expire", 403)),
    st.sampled_from([500, 503, 408, 429]).map(lambda status: ("status", status)),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    faults=st.lists(FAULTS, max_size=12),
    size=st.integers(0, 200_000),
    ranges=st.booleans(),
    tag=st.sampled_from(['"v1"', "", 'W/"v1"']),
)
def test_a_download_is_whole_or_not_there(serve, connect, tmp_path_factory, *, faults, size, ranges, tag):
    """The law of downloads: the very bytes, or an error and nothing under the name, or beside it."""
    content = random.Random(size).randbytes(size)
    folder = tmp_path_factory.mktemp("law")

    class Scripted(Store):
        def give(self, line, heard):
            kind, value = script.pop(0) if script else ("", 0)
            if kind in {"expire", "status"}:
                self.asked.append(heard.headers.get("range", ""))
                line.answer(value, EXPIRED)
                return
            self.cuts = [value] if kind == "cut" else []
            super().give(line, heard)

    script, store = list(faults), Scripted(content, ranges=ranges, tag=tag)
    server = serve(store)
    client = connect(server.url, patience=QUICK)
    try:
        got = transfers.download(client, folder / "out", ask=Urls(server), limit=LIMIT)
    except (AnswerLost, UploadExpired, RateLimited):
        assert len(faults) >= QUICK.attempts
        assert os.listdir(folder) == []
    else:
        assert got == size
        assert os.listdir(folder) == ["out"]
        assert (folder / "out").read_bytes() == content
    finally:
        client.close()
        server.stop()
    assert len(store.asked) <= len(faults) + 1
