"""The client against real servers on loopback: what it sends, what it makes of answers and of none."""

from __future__ import annotations

import contextlib
import errno
import gzip
import importlib.metadata
import io
import logging
import socket
import ssl
import threading
import time
import traceback
import tracemalloc
from pathlib import Path

import msgspec
import pytest
import trustme

from nxtrack.cloud import wire
from nxtrack.cloud.client import Client
from nxtrack.cloud.messages import NewRun, RunCreated
from nxtrack.cloud.transport import Timeouts
from nxtrack.errors import (
    AccessRefused,
    AnswerLost,
    CloudError,
    NotFound,
    NotReached,
    QuotaUsedUp,
    RateLimited,
    Redirected,
    Rejected,
    UploadExpired,
)

RUN = "/v1/applications/a/runs"
SECRET = "X-Amz-Signature=0123456789abcdef%2Fsecret&X-Amz-Credential=AKIA0123456789"
PIECES = ["0123456789abcdef", "AKIA0123456789"]


def answering(status=200, body=b'{"run_id": "r"}', **headers):
    def behave(line):
        while line.hear() is not None:
            line.answer(status, body, **headers)

    return behave


def saying(raw):
    def behave(line):
        line.hear()
        line.say(raw)

    return behave


def post(client, **options):
    return client.call("POST", RUN, answer=RunCreated, body=NewRun(name="n"), **options)


def failure(action, *arguments, **options):
    with pytest.raises(CloudError) as caught:
        action(*arguments, **options)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert str(error).endswith(".")
    assert "\n" not in str(error)
    return error


# --- What goes out


def test_a_post(serve, connect, key):
    server = serve(answering())
    assert post(connect(server.url), query={"instance_id": "a b&c"}) == RunCreated(run_id="r")
    (heard,) = server.heard
    assert (heard.method, heard.target) == ("POST", f"{RUN}?instance_id=a+b%26c")
    assert heard.body == b'{"name":"n"}'
    assert heard.headers["authorization"] == f"Bearer {key}"
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["user-agent"].startswith("nxtrack")
    assert heard.headers["content-length"] == "12"


def test_a_post_without_a_body_says_so(serve, connect):
    server = serve(answering())
    connect(server.url).call("POST", RUN, answer=RunCreated)
    assert server.heard[0].headers["content-length"] == "0"
    assert "transfer-encoding" not in server.heard[0].headers


def test_an_endpoint_with_a_path(serve, connect):
    server = serve(answering())
    post(connect(f"{server.url}/gateway"))
    assert server.heard[0].target == f"/gateway{RUN}"


def test_a_body_that_is_no_json_is_never_sent(serve, connect):
    server = serve(answering())
    error = failure(connect(server.url).call, "POST", RUN, answer=RunCreated, body=NewRun(name="\ud800"))
    assert type(error) is Rejected
    assert error.status == 0
    assert not server.heard


def test_before_each_request_to_the_platform_and_only_those(serve, connect):
    server = serve(answering())
    calls = []
    client = connect(server.url, before_request=lambda: calls.append(len(server.heard)))
    post(client)
    client.put(f"{server.url}/k", io.BytesIO(b"x"), 1)
    client.request("GET", f"{server.url}/k", limit=100)
    client.fetch("GET", RUN)
    assert calls == [0, 3]


def test_what_before_request_raises_goes_through_and_nothing_is_sent(serve, connect):
    def stop():
        raise KeyError("enough")

    server = serve(answering())
    with pytest.raises(KeyError, match="enough"):
        post(connect(server.url, before_request=stop))
    assert not server.heard


def test_no_cookie_comes_back(serve, connect):
    server = serve(answering(Set_Cookie="session=1; Path=/"))
    client = connect(server.url)
    post(client)
    post(client)
    assert "cookie" not in server.heard[1].headers


def test_the_version_is_told(monkeypatch, serve, connect):
    monkeypatch.setattr("importlib.metadata.version", lambda name: f"9.8 of {name}")
    server = serve(answering())
    post(connect(server.url))
    assert server.heard[0].headers["user-agent"] == "nxtrack/9.8 of nxtrack"

    faults = iter([importlib.metadata.PackageNotFoundError("nxtrack"), OSError(errno.EIO, "Input/output error")])

    def absent(name):
        raise next(faults)

    monkeypatch.setattr("importlib.metadata.version", absent)
    for number in (1, 2):
        post(connect(server.url))
        assert server.heard[number].headers["user-agent"] == "nxtrack"


# --- ~/.netrc, proxies, certificates


def test_netrc_is_never_consulted(serve, connect, key, monkeypatch, tmp_path):
    netrc = Path("~/.netrc").expanduser()
    netrc.write_text("machine 127.0.0.1 login thief password s3cret\ndefault login thief password s3cret\n")
    netrc.chmod(0o600)
    server = serve(answering())
    client = connect(server.url)
    for _ in range(2):
        post(client)
        client.put(f"{server.url}/k?{SECRET}", io.BytesIO(b"x"), 1)
        client.request("GET", f"{server.url}/k?{SECRET}", limit=100)
        monkeypatch.setenv("NETRC", str(netrc))
    sent = [heard.headers.get("authorization") for heard in server.heard]
    assert sent == [f"Bearer {key}", None, None] * 2


def test_a_forwarding_proxy_is_used_and_gets_the_whole_target(serve, connect, monkeypatch):
    proxy = serve(answering())
    monkeypatch.setenv("http_proxy", f"http://user:word@127.0.0.1:{proxy.port}")
    client = connect("http://platform")
    post(client)
    client.put(f"http://store/k%20y?{SECRET}", io.BytesIO(b"x"), 1)
    assert [heard.target for heard in proxy.heard] == [f"http://platform{RUN}", f"http://store/k%20y?{SECRET}"]
    assert proxy.heard[0].headers["proxy-authorization"].startswith("Basic ")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = serve(answering())
    post(connect(server.url))
    assert len(server.heard) == 1


def test_a_forwarding_proxy_that_wants_a_password(serve, connect, monkeypatch):
    proxy = serve(answering(407, b""))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
    assert type(failure(post, connect("http://platform"))) is NotReached


def test_a_proxy_that_is_not_there(connect, monkeypatch, closed_port):
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port}")
    error = failure(post, connect("https://platform"))
    assert type(error) is NotReached
    assert str(error) == "Could not reach https://platform (through the proxy: connection refused)."


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "the proxy refused with 407"),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", "the proxy refused with 502"),
        (b"garbage\r\n\r\n", "no HTTP"),
        (b"", "without an answer"),
    ],
)
def test_a_tunnel_that_does_not_stand(serve, connect, monkeypatch, answer, reason):
    proxy = serve(saying(answer))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    error = failure(post, connect("https://platform"))
    assert type(error) is NotReached
    assert reason in str(error)
    assert proxy.heard[0].method == "CONNECT"


def test_a_tunnel_that_hangs(serve, connect, monkeypatch):
    proxy = serve(lambda line: line.server.stopping.wait(20))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    error = failure(post, connect("https://platform", timeout=Timeouts(connect=0.2)))
    assert type(error) is NotReached
    assert "timed out" in str(error)


def pump(source, sink):
    with contextlib.suppress(OSError):
        while block := source.recv(2**16):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)


def tunnelling(port):
    """A proxy whose first tunnel stands, and no other."""

    def behave(line):
        line.hear()
        if line.server.accepted > 1:
            line.say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            return
        line.say(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with socket.create_connection(("127.0.0.1", port)) as far:
            other = threading.Thread(target=pump, args=(far, line.sock))
            other.start()
            pump(line.sock, far)
            other.join()

    return behave


def test_through_a_tunnel(serve, connect, authority, monkeypatch):
    """TLS through a proxy's tunnel: the CONNECT does not count as the request, and the tunnel is kept."""
    server = serve(answering(), authority.server)
    proxy = serve(tunnelling(server.port))
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    client = connect(f"https://platform.example:{server.port}")
    post(client)
    post(client)
    assert [heard.target for heard in proxy.heard] == [f"platform.example:{server.port}"]
    assert len(server.heard) == 2
    assert (client.requests_sent, client.connections_opened) == (2, 1)
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0.0)
    assert type(failure(post, client)) is NotReached  # the same connection, opened anew, gets no tunnel
    assert len(server.heard) == client.requests_sent == 2


@pytest.mark.parametrize("proxy", ["http://[::1", "gopher://x:1", "socks5://127.0.0.1:1", "http://:0", "http://"])
def test_proxies_that_make_no_sense(connect, monkeypatch, proxy):
    monkeypatch.setenv("all_proxy", proxy)
    monkeypatch.setenv("https_proxy", proxy)
    error = failure(post, connect("https://127.0.0.1:1"))
    assert type(error) is NotReached


class Authority:
    """A certificate authority, and a server's TLS context."""

    def __init__(self, folder):
        authority = trustme.CA()
        self.bundle = str(folder / "authority.pem")
        authority.cert_pem.write_to_path(self.bundle)
        self.server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1", "platform.example").configure_cert(self.server)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_tls(serve, connect, authority, monkeypatch):
    server = serve(answering(), authority.server)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    client = connect(server.url)
    post(client)
    post(client)
    client.put(f"{server.url}/k?{SECRET}", io.BytesIO(b"x" * 10**6), 10**6)
    assert server.accepted == 1
    assert server.heard[2].target == f"/k?{SECRET}"


def test_a_certificate_that_is_not_trusted(serve, connect, authority):
    server = serve(answering(), authority.server)
    error = failure(post, connect(server.url))
    assert type(error) is NotReached
    assert "its TLS certificate is not trusted: " in str(error)
    assert not server.heard


def test_a_certificate_of_another_name(serve, connect, authority, monkeypatch):
    monkeypatch.setenv("CURL_CA_BUNDLE", authority.bundle)
    server = serve(answering(), authority.server)
    error = failure(post, connect(f"https://127.0.0.2:{server.port}"))
    assert type(error) is NotReached


def test_a_server_that_speaks_no_tls(serve, connect):
    server = serve(lambda line: line.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"))
    error = failure(post, connect(f"https://127.0.0.1:{server.port}"))
    assert type(error) is NotReached
    assert "TLS failed" in str(error)


def test_a_handshake_that_hangs_or_breaks(serve, connect):
    hanging = serve(lambda line: line.server.stopping.wait(20))
    client = connect(f"https://127.0.0.1:{hanging.port}", timeout=Timeouts(connect=0.2))
    assert "timed out" in str(failure(post, client))
    breaking = serve(lambda line: (line.sock.recv(1), line.reset()))
    assert type(failure(post, connect(f"https://127.0.0.1:{breaking.port}"))) is NotReached
    assert client.requests_sent == 0


def test_a_certificate_bundle_that_is_not_there(serve, connect, authority, monkeypatch, tmp_path):
    server = serve(answering(), authority.server)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "absent.pem"))
    error = failure(post, connect(server.url))
    assert type(error) is NotReached
    assert "REQUESTS_CA_BUNDLE" in str(error)
    (tmp_path / "absent.pem").write_text("no certificate")
    assert type(failure(post, connect(server.url))) is NotReached


def test_tls_that_breaks_after_the_request_is_ambiguous(serve, connect, authority, monkeypatch):
    def behave(line):
        line.hear()
        raw = socket.socket(fileno=line.sock.detach())  # what follows is not encrypted
        raw.sendall(b"\x17\x03\x03\x00\x05hello" * 3)
        raw.close()

    monkeypatch.setenv("REQUESTS_CA_BUNDLE", authority.bundle)
    server = serve(behave, authority.server)
    assert type(failure(post, connect(server.url))) is AnswerLost


# --- Never sent


def test_connection_refused(connect, closed_port):
    error = failure(post, connect(f"http://127.0.0.1:{closed_port}"))
    assert type(error) is NotReached
    assert str(error) == f"Could not reach http://127.0.0.1:{closed_port} (connection refused)."


def test_a_name_that_does_not_resolve(connect):
    error = failure(post, connect("https://nothing.invalid"))
    assert str(error) == "Could not reach https://nothing.invalid (name not resolved)."
    assert type(error) is NotReached


def test_connections_that_are_not_accepted_time_out(connect):
    with socket.socket() as listener, contextlib.ExitStack() as stack:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # fills the queue of connections that nobody accepts
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                waiting.connect(listener.getsockname())
        client = connect(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=Timeouts(connect=0.3, read=0.3))
        error = failure(post, client)
    assert type(error) is NotReached
    assert "timed out" in str(error)


@pytest.mark.parametrize("host", ["a" * 64, "xn--" + "a" * 80, "a..b", "*"])
def test_addresses_that_are_none(connect, host):
    assert type(failure(post, connect(f"https://{host}"))) is NotReached


def test_a_client_that_is_closed(serve, key):
    server = serve(answering())
    with Client(key, server.url) as client:
        post(client)
    error = failure(post, client)
    assert type(error) is NotReached
    assert "the client is closed" in str(error)


# --- Sent, and no usable answer


def half_close(line):
    line.hear()
    line.sock.shutdown(socket.SHUT_WR)
    line.server.stopping.wait(1)


AMBIGUOUS = {
    "reset after the request": lambda line: (line.hear(), line.reset()),
    "reset before the body was read": lambda line: (line.hear(body=False), line.reset()),
    "closed": lambda line: line.hear(),
    "half closed": half_close,
    "garbage": saying(b"SSH-2.0-OpenSSH_9\r\n\r\n"),
    "bad status": saying(b"HTTP/1.1 abc OK\r\n\r\n"),
    "endless line": saying(b"HTTP/1.1 200 " + b"x" * 10**5),
    "many headers": saying(b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n"),
    "cut headers": saying(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "cut body": saying(b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"run_id": "r"}'),
    "cut chunk": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n99\r\n{"),
    "bad chunk": saying(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{"),
    "bad gzip": saying(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope"),
    "no JSON": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope"),
    "no UTF-8": saying(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"run_id":"\xff"}'),
    "deep": saying(b"HTTP/1.1 200 OK\r\nContent-Length: 100009\r\n\r\n" + b'{"x":' + b"[" * 100004),
    "wrong type": saying(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"run_id": 5}'),
    "nothing": saying(b"HTTP/1.1 204 No Content\r\n\r\n"),
    "500": answering(500, b"<title>oops</title>"),
    "408": answering(408),
    "100 and no more": saying(b"HTTP/1.1 100 Continue\r\n\r\n"),
    "101": saying(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
}


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("behaviour", AMBIGUOUS)
def test_ambiguous(serve, connect, behaviour, method):
    """The request is seen once by the server, and the error says that it may have been done."""
    server = serve(AMBIGUOUS[behaviour])
    client = connect(server.url)
    error = failure(client.call, method, RUN, answer=RunCreated, body=NewRun(name="n"))
    assert type(error) is AnswerLost
    assert "may have" in str(error)
    assert len(server.heard) == 1
    assert server.accepted == 1
    assert client.requests_sent == 1


def test_an_answer_that_does_not_come(serve, connect):
    server = serve(lambda line: (line.hear(), line.server.stopping.wait(20)))
    error = failure(post, connect(server.url, timeout=Timeouts(read=0.2)))
    assert type(error) is AnswerLost
    assert "timed out" in str(error)
    assert len(server.heard) == 1


def test_an_answer_that_stops_halfway(serve, connect):
    def behave(line):
        line.hear()
        line.say(b'HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n{"run_id"')
        line.server.stopping.wait(20)

    error = failure(post, connect(serve(behave).url, timeout=Timeouts(read=0.2)))
    assert type(error) is AnswerLost
    assert "timed out" in str(error)


def test_a_trickle_ends(serve, connect):
    def behave(line):
        line.hear()
        line.say(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        while not line.server.stopping.wait(0.05):
            line.say(b" ")

    start = time.monotonic()
    error = failure(post, connect(serve(behave).url, timeout=Timeouts(read=2, answer=0.3)))
    assert type(error) is AnswerLost
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_that_is_too_long(serve, connect, packed):
    body = b'{"run_id": "' + b"r" * 10**6 + b'"}'
    extra = {"Content_Encoding": "gzip"} if packed else {}
    server = serve(answering(200, gzip.compress(body) if packed else body, **extra))
    client = connect(server.url)
    assert len(post(client).run_id) == 10**6
    error = failure(post, client, limit=10**5)
    assert type(error) is AnswerLost
    assert "100000 bytes" in str(error)
    assert len(post(client).run_id) == 10**6


def test_a_body_that_is_not_taken_stalls_no_longer_than_the_read_timeout(serve, connect):
    server = serve(lambda line: (line.hear(body=False), line.server.stopping.wait(20)))
    client = connect(server.url, timeout=Timeouts(connect=20, read=0.3))
    start = time.monotonic()
    assert type(failure(client.put, f"{server.url}/k", io.BytesIO(b"x" * 10**8), 10**8)) is AnswerLost
    assert time.monotonic() - start < 5


# --- Refusals


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Rejected),
        (401, AccessRefused),
        (402, QuotaUsedUp),
        (403, AccessRefused),
        (404, NotFound),
        (413, Rejected),
        (422, Rejected),
        (429, RateLimited),
    ],
)
def test_refusals(serve, connect, status, kind, key):
    server = serve(answering(status, msgspec.json.encode({"error": f"no, {key}\n\x1b[31m"}), Retry_After="7"))
    client = connect(server.url)
    error = failure(post, client)
    assert type(error) is kind
    assert error.status == status
    assert error.detail == "no, *** [31m"
    assert error.detail in str(error)
    if isinstance(error, RateLimited):
        assert error.retry_after == 7
        assert "7 s" in str(error)
    failure(post, client)
    assert server.accepted == 1  # the connection is still good


def test_retry_after_as_a_date(serve, connect):
    server = serve(answering(429, b"", Retry_After="Sun, 06 Nov 1994 08:49:47 GMT"))
    error = failure(post, connect(server.url, clock=lambda: 784111777.0))
    assert error.retry_after == 10


def test_an_error_body_without_end_is_read_in_part(serve, connect):
    def behave(line):
        line.hear()
        line.say(b"HTTP/1.1 400 Bad\r\nContent-Length: 99999999\r\n\r\n")
        with contextlib.suppress(OSError):
            while True:
                line.say(b"x" * 2**16)

    error = failure(post, connect(serve(behave).url))
    assert type(error) is Rejected
    assert len(error.detail) == 300


def test_an_error_body_that_breaks_off_leaves_the_status(serve, connect):
    server = serve(saying(b"HTTP/1.1 422 No\r\nContent-Length: 99\r\n\r\nwrong fo"))
    error = failure(post, connect(server.url))
    assert type(error) is Rejected
    assert error.detail == "wrong fo"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(serve, connect, status):
    elsewhere = serve(answering())
    for place in (f"{elsewhere.url}/x", "http://[::1", "//"):
        server = serve(answering(status, b"", Location=place))
        client = connect(server.url)
        error = failure(post, client)
        assert type(error) is Redirected
        assert error.status == status
        assert "redirect" in str(error)
        error = failure(client.put, f"{server.url}/k?{SECRET}", io.BytesIO(b"x"), 1)
        assert type(error) is Redirected
        assert len(server.heard) == 2
    assert not elsewhere.heard


# --- Connections


def test_connections_are_kept(serve, connect):
    server = serve(answering())
    client = connect(server.url)
    for _ in range(5):
        post(client)
        client.put(f"{server.url}/k", io.BytesIO(b"x"), 1)
    assert server.accepted == client.connections_opened == 1
    assert client.requests_sent == 10


def test_a_connection_that_the_server_closed_meanwhile_is_not_used(serve, connect):
    def behave(line):
        line.hear()
        line.answer(200, b'{"run_id": "r"}')

    server = serve(behave)
    client = connect(server.url)
    for _ in range(3):
        post(client)
        time.sleep(0.1)
    assert server.accepted == 3
    assert len(server.heard) == 3


def test_a_connection_that_idled_long_is_not_used(serve, connect, monkeypatch):
    server = serve(answering())
    client = connect(server.url)
    post(client)
    monkeypatch.setattr(wire, "IDLE_SECONDS", 0.1)
    post(client)
    time.sleep(0.15)
    post(client)
    post(client)
    assert server.accepted == 2


def test_threads_share_the_connections(serve, connect, caplog):
    server = serve(answering())
    client = connect(server.url, connections=4)
    errors = []

    def work():
        try:
            for _ in range(20):
                post(client)
        except BaseException as error:
            errors.append(error)

    for _ in range(3):
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert len(server.heard) == client.requests_sent == 240
    assert server.accepted == client.connections_opened <= 4
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


# --- Uploads and downloads


@pytest.mark.parametrize("size", [0, 1, 2**18, 2**18 + 1, 3 * 10**6])
def test_an_upload(serve, connect, size):
    server = serve(answering(200, b""))
    content = bytes(range(256)) * (size // 256 + 1)
    source = io.BytesIO(b"before" + content + b"beyond")
    source.seek(6)
    connect(server.url).put(f"{server.url}/a%20b/c d?{SECRET}", source, size, content_type="text/plain")
    (heard,) = server.heard
    assert heard.method == "PUT"
    assert heard.target == f"/a%20b/c%20d?{SECRET}"
    assert heard.body == content[:size]
    assert heard.headers["content-length"] == str(size)
    assert heard.headers["content-type"] == "text/plain"
    assert "transfer-encoding" not in heard.headers
    assert "authorization" not in heard.headers
    assert source.tell() == 6 + size


class Zeros(io.RawIOBase):
    """A source that costs no memory, and remembers the largest block asked for."""

    largest = 0

    def read(self, size=-1):
        self.largest = max(self.largest, size)
        return memoryview(self.block)[:size]

    block = bytes(2**18)


def test_a_large_upload_costs_no_memory(serve, connect):
    server = serve(answering(200, b""))
    source = Zeros()
    client = connect(server.url, timeout=Timeouts())
    client.put(f"{server.url}/k", io.BytesIO(b"x"), 1)
    tracemalloc.start()
    try:
        client.put(f"{server.url}/k", source, 500 * 10**6)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert server.heard[1].headers["content-length"] == "500000000"
    assert server.heard[1].size == 500 * 10**6
    assert peak < 2**23
    assert source.largest == 2**18


def test_a_source_that_ends_early_closes_the_connection(serve, connect):
    server = serve(answering(200, b""))
    client = connect(server.url)
    with pytest.raises(ValueError, match="ended after 5 of 9 bytes") as caught:
        client.put(f"{server.url}/k?{SECRET}", io.BytesIO(b"short"), 9)
    assert PIECES[0] not in "".join(traceback.format_exception(caught.value))
    client.put(f"{server.url}/k", io.BytesIO(b"whole"), 5)
    assert server.accepted == 2


def test_a_size_below_zero_is_a_mistake(serve, connect):
    server = serve(answering(200, b""))
    with pytest.raises(ValueError, match="-1 bytes"):
        connect(server.url).put(f"{server.url}/k", io.BytesIO(b"x"), -1)
    assert not server.heard


def test_a_source_that_cannot_be_read_is_no_network_error(serve, connect):
    class Broken(io.RawIOBase):
        def read(self, size=-1):
            raise OSError(5, "Input/output error")

    server = serve(answering(200, b""))
    with pytest.raises(OSError, match="Input/output error") as caught:
        connect(server.url).put(f"{server.url}/k?{SECRET}", Broken(), 9)
    assert caught.value.__context__ is None


def test_a_success_before_all_was_sent_is_none(serve, connect):
    def behave(line):
        line.hear(body=False)
        line.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.answer(200)
        line.sock.shutdown(socket.SHUT_RD)
        line.file.close()

    server = serve(behave)
    error = failure(connect(server.url).put, f"{server.url}/k", Zeros(), 10**9)
    assert type(error) is AnswerLost


def test_a_success_whose_body_breaks_off_is_one(serve, connect):
    server = serve(saying(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"))
    connect(server.url).put(f"{server.url}/k", io.BytesIO(b"x"), 1)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, b"<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>", UploadExpired),
        (400, b"<Error><Code>ExpiredToken</Code></Error>", UploadExpired),
        (400, b"<Error><Code>EntityTooLarge</Code></Error>", Rejected),
        (411, b"", Rejected),
        (413, b"", Rejected),
        (404, b"", Rejected),
        (429, b"", RateLimited),
        (503, b"<Error><Code>SlowDown</Code></Error>", RateLimited),
        (500, b"", AnswerLost),
        (503, b"", AnswerLost),
    ],
)
def test_refusals_of_the_store(serve, connect, status, body, kind):
    server = serve(answering(status, body))
    client = connect(server.url)
    assert type(failure(client.put, f"{server.url}/k?{SECRET}", io.BytesIO(b"x"), 1)) is kind
    assert type(failure(client.request, "GET", f"{server.url}/k?{SECRET}", limit=10)) is kind


@pytest.mark.parametrize(
    "url", ["", "k", "ftp://h/k", "https://u:p@h/k", "https:///k", "https://h:x/k", "https://[::1"]
)
def test_presigned_addresses_that_are_none(connect, url):
    error = failure(connect("https://nowhere").put, url, io.BytesIO(b"x"), 1)
    assert type(error) is NotReached


# --- Secrets


def everything(error: BaseException) -> str:
    """All that a logger, a debugger's report or a crash reporter of the exception chain would show."""
    parts = []
    links: list[BaseException | None] = [error]
    while links:
        link = links.pop()
        if link is not None:
            parts += ["".join(traceback.format_exception(link)), repr(link), str(link), repr(vars(link))]
            links += [link.__cause__, link.__context__]
    return "\n".join(parts)


ECHO = b"<Error><Code>SignatureDoesNotMatch</Code><Message>0123456789abcdef/secret 0123456789abcdef%2Fsecret</Message>"


def echoing(status):
    """Repeats secrets as a store might; the platform never had those."""

    def behave(line):
        while (heard := line.hear()) is not None:
            line.answer(status, ECHO if "/k?" in heard.target else heard.headers["authorization"].encode())

    return behave


@pytest.mark.parametrize(
    "behave",
    [
        echoing(403),
        echoing(500),
        answering(302, b"", Location=f"/elsewhere?{SECRET}"),
        answering(200, b"x" * 100),
        saying(b"HTTP/1.1 200 OK\r\nno header\r\n\r\n"),
        saying(b"garbage\r\n"),
        lambda line: (line.hear(), line.reset()),
        lambda line: (line.hear(), line.server.stopping.wait(5)),
        None,
    ],
)
def test_no_error_and_no_log_shows_a_secret(serve, connect, key, caplog, behave):
    caplog.set_level(logging.DEBUG)
    url = "http://127.0.0.1:1" if behave is None else serve(behave).url
    client = connect(url, timeout=Timeouts(connect=1, read=0.3))
    shown = [repr(client)]
    for action in (
        lambda: client.put(f"{url}/k?{SECRET}", io.BytesIO(b"x" * 10**5), 10**5),
        lambda: client.request("GET", f"{url}/k?{SECRET}", limit=10),
        lambda: post(client),
    ):
        try:
            action()
        except CloudError as error:
            shown.append(everything(error))
    shown += [record.getMessage() for record in caplog.records]
    text = "\n".join(shown)
    for secret in (key, *PIECES):
        assert secret not in text
