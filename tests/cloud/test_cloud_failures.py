"""Every error of the libraries below, and every answer, becomes one of ours."""

from __future__ import annotations

import http.client
import inspect
import socket
import ssl

import pytest
import requests.exceptions
import urllib3.exceptions

from nxtrack.cloud.failures import (
    TRANSPORT_ERRORS,
    Answer,
    of_answer,
    of_store_answer,
    of_transport,
    one_line,
    read_answer,
    wait_seconds,
)
from nxtrack.cloud.wire import Stage
from nxtrack.errors import (
    AccessRefused,
    AnswerLost,
    NotFound,
    NotReached,
    QuotaUsedUp,
    RateLimited,
    Redirected,
    Refused,
    Rejected,
    UploadExpired,
)

SECRET = "X-Amz-Signature=0123456789abcdef"
URL = f"https://store.example.com/key?{SECRET}"

# What each exception means while nothing is known but that no connection was asked for yet. Whoever updates requests
# or urllib3 and finds a class missing here decides: may a request that ended in it have been sent?
UNSENT = {
    "requests": {
        "ConnectTimeout", "InvalidHeader", "InvalidJSONError", "InvalidProxyURL", "InvalidSchema", "InvalidURL",
        "JSONDecodeError", "MissingSchema", "URLRequired",
    },
    "urllib3": {
        "ClosedPoolError", "ConnectTimeoutError", "EmptyPoolError", "FullPoolError", "InvalidHeader",
        "LocationParseError", "LocationValueError", "NameResolutionError", "NewConnectionError", "ProxySchemeUnknown",
        "ProxySchemeUnsupported", "URLSchemeUnknown",
    },
    "http.client": set(),
}  # fmt: skip
MAYBE_SENT = {
    "requests": {
        "ChunkedEncodingError", "ConnectionError", "ContentDecodingError", "HTTPError", "ProxyError", "ReadTimeout",
        "RequestException", "RetryError", "SSLError", "StreamConsumedError", "Timeout", "TooManyRedirects",
        "UnrewindableBodyError",
    },
    "urllib3": {
        "BodyNotHttplibCompatible", "DecodeError", "HTTPError", "HeaderParsingError", "HostChangedError",
        "IncompleteRead", "InvalidChunkLength", "MaxRetryError", "PoolError", "ProtocolError", "ProxyError",
        "ReadTimeoutError", "RequestError", "ResponseError", "ResponseNotChunked", "SSLError", "TimeoutError",
        "TimeoutStateError", "UnrewindableBodyError",
    },
    "http.client": {
        "BadStatusLine", "CannotSendHeader", "CannotSendRequest", "HTTPException", "ImproperConnectionState",
        "IncompleteRead", "InvalidURL", "LineTooLong", "NotConnected", "RemoteDisconnected", "ResponseNotReady",
        "UnimplementedFileMode", "UnknownProtocol", "UnknownTransferEncoding",
    },
}  # fmt: skip
MODULES = {"requests": requests.exceptions, "urllib3": urllib3.exceptions, "http.client": http.client}


def exceptions_of(name: str) -> dict[str, type[Exception]]:
    package = name.partition(".")[0]
    return {
        kind.__name__: kind
        for kind in vars(MODULES[name]).values()
        if inspect.isclass(kind)
        and issubclass(kind, Exception)
        and not issubclass(kind, Warning)
        and kind.__module__.startswith(package)
    }


def make(kind: type[Exception]) -> Exception:
    """An instance as the library makes it at its worst: with the URL in it."""
    error = kind.__new__(kind)
    Exception.__init__(error, f"HTTPSConnectionPool: Max retries exceeded with url: {URL}")
    return error


ALL = [(name, kind) for name in MODULES for kind in exceptions_of(name).values()]


@pytest.mark.parametrize("name", MODULES)
def test_the_table_knows_every_exception(name):
    known = UNSENT[name] | MAYBE_SENT[name]
    assert exceptions_of(name).keys() == known
    assert not UNSENT[name] & MAYBE_SENT[name]


@pytest.mark.parametrize(("name", "kind"), ALL)
def test_every_exception_is_caught_and_translated(name, kind):
    error = make(kind)
    assert isinstance(error, TRANSPORT_ERRORS)
    before = of_transport(error, Stage.PREPARED, "https://api")
    assert type(before) is (NotReached if kind.__name__ in UNSENT[name] else AnswerLost)
    assert type(of_transport(error, Stage.CONNECTING, "https://api")) is NotReached
    after = of_transport(error, Stage.SENT, "https://api")
    assert type(after) is AnswerLost
    assert SECRET not in f"{before}{after}"
    assert str(before).endswith(".")


CERTIFICATE = ssl.SSLCertVerificationError(1, "certificate verify failed")
CERTIFICATE.verify_message = "self-signed certificate"
HANDSHAKE = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
HANDSHAKE.reason = "WRONG_VERSION_NUMBER"


def refused() -> urllib3.exceptions.NewConnectionError:
    error = urllib3.exceptions.NewConnectionError(None, "Failed to establish a new connection")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    return error


def unreachable() -> urllib3.exceptions.NewConnectionError:
    error = urllib3.exceptions.NewConnectionError(None, "Failed to establish a new connection")
    error.__cause__ = OSError(101, "Network is unreachable")
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (urllib3.exceptions.NameResolutionError("h", None, socket.gaierror(-2, "x")), "name not resolved"),
        (refused(), "connection refused"),
        (unreachable(), "network is unreachable"),
        (urllib3.exceptions.NewConnectionError(None, "x"), "no connection"),
        (urllib3.exceptions.ConnectTimeoutError(None, "x"), "timed out"),
        (urllib3.exceptions.SSLError(CERTIFICATE), "its TLS certificate is not trusted: self-signed certificate"),
        (urllib3.exceptions.SSLError(HANDSHAKE), "TLS failed: wrong version number"),
        (urllib3.exceptions.SSLError("x"), "TLS failed"),
        (urllib3.exceptions.ProxyError("x", refused()), "through the proxy: connection refused"),
        (OSError("Tunnel connection failed: 407 Say who"), "the proxy refused with 407"),
        (requests.exceptions.InvalidURL("x"), "the address is not valid"),
        (requests.exceptions.RequestException("x"), "no connection"),
    ],
)
def test_reasons_of_what_was_never_sent(error, reason):
    wrapped = requests.exceptions.ConnectionError(urllib3.exceptions.MaxRetryError(None, URL, error))
    for given in (error, wrapped):
        found = of_transport(given, Stage.CONNECTING, "https://api")
        assert str(found) == f"Could not reach https://api ({reason})."


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (http.client.RemoteDisconnected("Remote end closed"), "it closed the connection without an answer"),
        (ConnectionResetError(104, "Connection reset by peer"), "connection reset"),
        (BrokenPipeError(32, "Broken pipe"), "connection closed"),
        (http.client.BadStatusLine("SSH-2.0"), "what came back is no HTTP"),
        (http.client.IncompleteRead(b"x"), "the answer broke off"),
        (urllib3.exceptions.DecodeError("x"), "the answer cannot be decompressed"),
        (TimeoutError("timed out"), "timed out"),
        (OSError(5, "Input/output error"), "input/output error"),
    ],
)
def test_reasons_of_what_was_sent(error, reason):
    wrapped = requests.exceptions.ConnectionError(urllib3.exceptions.ProtocolError("Connection aborted.", error))
    for given in (error, wrapped):
        found = of_transport(given, Stage.SENT, "https://api")
        assert str(found) == f"No usable answer came from https://api ({reason}): it may have done what was asked."


def test_a_reason_that_nobody_thought_of_is_named():
    assert str(of_transport(UnicodeError("x"), Stage.CONNECTING, "it")) == "Could not reach it (UnicodeError)."


def test_chains_that_go_round_end():
    error = OSError("x")
    error.__context__ = other = ValueError("y")
    other.__context__ = error
    assert type(of_transport(error, Stage.SENT, "it")) is AnswerLost


EXPECTED = {
    101: AnswerLost, 301: Redirected, 302: Redirected, 304: Redirected, 307: Redirected, 308: Redirected, 400: Rejected,
    401: AccessRefused, 402: QuotaUsedUp, 403: AccessRefused, 404: NotFound, 405: Rejected, 407: NotReached,
    408: AnswerLost, 409: Rejected, 413: Rejected, 415: Rejected, 422: Rejected, 425: AnswerLost, 429: RateLimited,
    500: AnswerLost, 502: AnswerLost, 503: AnswerLost, 504: AnswerLost, 599: AnswerLost, 600: AnswerLost,
    999: AnswerLost,
}  # fmt: skip


@pytest.mark.parametrize("status", EXPECTED)
def test_answers_of_the_platform(status):
    error = of_answer(Answer(status, "because", retry_after=3), "https://api")
    assert type(error) is EXPECTED[status]
    if isinstance(error, Refused):
        assert error.status == status
        assert error.detail == "because"
    if isinstance(error, RateLimited):
        assert error.retry_after == 3
    else:
        assert str(status) in str(error)


STORE = EXPECTED | {401: UploadExpired, 403: UploadExpired, 404: Rejected}


@pytest.mark.parametrize("status", STORE)
def test_answers_of_the_store(status):
    error = of_store_answer(Answer(status, "because"), "the object store", size=7)
    assert type(error) is STORE[status]
    if status in {400, 413}:
        assert "7 bytes" in str(error)
    assert "7 bytes" not in str(of_store_answer(Answer(status, "because"), "the object store", size=None))


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "SlowDown", RateLimited),
        (503, "ServiceUnavailable", AnswerLost),
        (400, "ExpiredToken", UploadExpired),
        (400, "RequestTimeout", AnswerLost),
        (400, "EntityTooLarge", Rejected),
        (500, "InternalError", AnswerLost),
    ],
)
def test_codes_of_the_store(status, code, kind):
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>Said &amp; done</Message></Error>".encode()
    answer = read_answer(status, body, None, now=0, secrets=())
    assert answer.detail == f"{code} Said &amp; done"
    assert type(of_store_answer(answer, "the object store", size=1)) is kind


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"", ""),
        (b'{"error": "no such app"}', "no such app"),
        (b'{"message": "no\\nsuch\\u0000 \\u202eapp"}', "no such app"),
        (b'{"error": {"code": 5}}', '{"error": {"code": 5}}'),
        (b"{}", ""),
        (b"<html><head><title>502 Bad\n Gateway</title></head></html>", "502 Bad Gateway"),
        (b"\xff\x1b[31mred", "\ufffd [31mred"),
        (b"plain", "plain"),
        (b"x" * 1000, "x" * 299 + "…"),
        (b"the key is s3cret-key, use it", "the key is ***, use it"),
        (b"[" * 10000, "[" * 299 + "…"),
    ],
)
def test_details_are_one_printable_line_without_secrets(body, detail):
    assert read_answer(400, body, None, now=0, secrets=("s3cret-key",)).detail == detail


@pytest.mark.parametrize("key", ["k", "key", "-k+", "k.y"])
def test_a_short_key_is_a_secret_and_no_part_of_words(key):
    said = f'track it by keyk; "{key}", {key}'
    assert read_answer(400, said.encode(), None, now=0, secrets=(key,)).detail == 'track it by keyk; "***", ***'


def test_one_line_is_as_long_as_it_may_be():
    assert one_line("x" * 300) == "x" * 300


NOW = 784111777.0  # Sun, 06 Nov 1994 08:49:37 GMT


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("0", 0),
        ("7", 7),
        (" 1.5 ", 1.5),
        ("3601", 3600),
        ("999999999", 3600),
        ("9999999999", None),
        ("-3", None),
        ("nan", None),
        ("inf", None),
        ("soon", None),
        ("\u0661", None),
        ("Sun, 06 Nov 1994 08:49:47 GMT", 10),
        ("Sunday, 06-Nov-94 08:49:47 GMT", 10),
        ("Sun, 06 Nov 1994 08:49:07 GMT", None),
        ("Sun, 06 Nov 2094 08:49:37 GMT", 3600),
        ("Sun, 06 Nov 1994 99:49:37 GMT", None),
        ("Sun, 06 Nov 99999 08:49:37 GMT", None),
    ],
)
def test_retry_after(header, seconds):
    assert wait_seconds(header, NOW) == seconds
