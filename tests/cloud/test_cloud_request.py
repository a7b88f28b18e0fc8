"""Making a client, and the raw step: `Client.request`."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import pytest

import nxtrack
import nxtrack.cloud
from nxtrack.cloud import Application, Client, DownloadURL, Patience, UploadURL
from nxtrack.errors import (
    AccessRefused,
    AnswerLost,
    CredentialsMissing,
    NotFound,
    NotReached,
    RateLimited,
    Rejected,
    SettingsError,
    TooLarge,
    UploadExpired,
)

APPLICATIONS = "/v1/applications"
SIGNED = "/k?X-Amz-Signature=0123456789abcdef"


def saying(*answers):
    """Gives these (status, body, headers), in turn, the last one for ever; None drops the connection."""

    def behave(line):
        while line.hear() is not None:
            answer = answers[min(len(line.server.heard), len(answers)) - 1]
            if answer is None:
                return
            status, body, headers = (*answer, {})[:3]
            line.answer(status, body, **headers)

    return behave


OK = (200, b'{"a": [1]}')


# --- Where the key and the endpoint come from


def test_a_client_from_the_environment(serve, monkeypatch):
    server = serve(saying(OK))
    monkeypatch.setenv("NEXTMV_API_KEY", "from-environment")
    monkeypatch.setenv("NEXTMV_ENDPOINT", server.url)
    with Client() as client:
        assert client.endpoint == server.url
        client.request(method="GET", endpoint=APPLICATIONS)
    with Client(api_key="given") as client:
        client.request(method="GET", endpoint=APPLICATIONS)
    nxtrack.configure(api_key="configured")
    with Client(api_key="") as client:  # what `os.getenv` gives for an empty variable
        client.request(method="GET", endpoint=APPLICATIONS)
    sent = [heard.headers["authorization"] for heard in server.heard]
    assert sent == ["Bearer from-environment", "Bearer given", "Bearer configured"]


def test_profiles(monkeypatch):
    path = Path("~/.nextmv/config.yaml").expanduser()
    path.parent.mkdir()
    path.write_text("apikey: d\nstaging: {apikey: s, endpoint: staging.example.com}\nother: {apikey: o}\n")
    assert Client().endpoint == "https://api.cloud.nextmv.io"
    assert Client(profile="staging").endpoint == "https://staging.example.com"
    assert Client(profile="staging", endpoint="http://127.0.0.1:1").endpoint == "http://127.0.0.1:1"
    monkeypatch.setenv("NEXTMV_PROFILE", "other")  # for the profile's name the environment wins
    assert Client(profile="staging").endpoint == "https://api.cloud.nextmv.io"
    monkeypatch.setenv("NEXTMV_PROFILE", "none-such")
    with pytest.raises(SettingsError, match="no profile 'none-such'"):
        Client()


def test_no_key():
    with pytest.raises(CredentialsMissing, match="NEXTMV_API_KEY"):
        Client()
    with pytest.raises(CredentialsMissing, match="NEXTMV_API_KEY"):
        Application("routing")


def test_whoever_gives_everything_is_not_kept_from_it_by_the_environment(monkeypatch, connect):
    monkeypatch.setenv("NXTRACK_CAPTURE", "nonsense")
    assert connect("http://127.0.0.1:1").endpoint == "http://127.0.0.1:1"
    with pytest.raises(SettingsError, match="NXTRACK_CAPTURE"):
        Client("key", "http://127.0.0.1:1")


def test_a_client_that_is_let_go_closes_its_connections(serve):
    server = serve(saying(OK))
    client = Client("key", server.url)
    client.request("GET", APPLICATIONS)
    gone = weakref.ref(client)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del client
        gc.collect()
    assert gone() is None
    assert not caught


# --- What goes out, and what comes back


def test_a_request_and_its_answer(serve, connect, key):
    server = serve(saying((200, '{"a": "ü"}'.encode(), {"X_Kind": "b"})))
    client = connect(server.url)
    response = client.request(
        "get",
        "v1/applications",
        headers={"X-Id": "5", "AUTHORIZATION": "Bearer other"},
        query_params={"limit": 5, "a": "b c"},
    )
    assert (response.status_code, response.text, response.json()) == (200, '{"a": "ü"}', {"a": "ü"})
    assert response.content == '{"a": "ü"}'.encode()
    assert response.headers["x-kind"] == "b"
    assert "ü" not in repr(response)
    (heard,) = server.heard
    assert (heard.method, heard.target) == ("GET", "/v1/applications?limit=5&a=b+c")
    assert heard.headers["authorization"] == f"Bearer {key}"
    assert heard.headers["x-id"] == "5"


def test_bodies(serve, connect):
    server = serve(saying(OK))
    client = connect(server.url)
    client.request("POST", APPLICATIONS, payload={"id": "a"})
    client.request("POST", APPLICATIONS, data=b"\x00raw", headers={"Content-Type": "application/octet-stream"})
    client.request("POST", APPLICATIONS, data="ü")
    client.request("POST", APPLICATIONS)
    assert [heard.body for heard in server.heard] == [b'{"id":"a"}', b"\x00raw", "ü".encode(), b""]
    kinds = [heard.headers.get("content-type") for heard in server.heard]
    assert kinds == ["application/json", "application/octet-stream", "application/json", None]


def test_misuse(connect):
    client = connect("http://127.0.0.1:1")
    with pytest.raises(TypeError, match="not both"):
        client.request("POST", APPLICATIONS, data=b"", payload={})
    with pytest.raises(TypeError, match="no HTTP method"):
        client.request("GET /x HTTP/1.1\r\n", APPLICATIONS)
    with pytest.raises(Rejected, match="written as JSON"):
        client.request("POST", APPLICATIONS, payload=object())
    assert client.connections_opened == 0


def test_a_header_that_would_be_two_is_never_sent(serve, connect):
    server = serve(saying(OK))
    with pytest.raises(NotReached):
        connect(server.url).request("GET", APPLICATIONS, headers={"X-Id": "5\r\nX-Admin: 1"})
    assert not server.heard


def test_a_presigned_url_never_gets_the_key(serve, connect):
    platform, store = serve(saying(OK)), serve(saying(OK))
    client = connect(platform.url)
    for method in ("GET", "PUT", "POST"):
        client.request(method, store.url + SIGNED, headers={"Authorization": "Bearer mine"}, data=b"x")
    client.request("GET", f"{store.url.replace('http', 'HTTP')}{SIGNED}", query_params={"part": 2})
    client.request("GET", f"{platform.url}{SIGNED}")  # also where the platform's own address holds both
    heard = [*store.heard, *platform.heard]
    assert [one.target for one in heard] == [SIGNED] * 3 + [f"{SIGNED}&part=2", SIGNED]
    assert not any("authorization" in one.headers for one in heard)
    assert [one.body for one in store.heard] == [b"x", b"x", b"x", b""]


@pytest.mark.parametrize(("status", "error"), [(403, UploadExpired), (404, Rejected), (400, Rejected)])
def test_a_store_that_says_no_gives_nothing_away(serve, connect, status, error):
    store = serve(saying((status, b"<Error><Message>0123456789abcdef</Message></Error>")))
    with pytest.raises(error) as caught:
        connect("http://127.0.0.1:1").request("GET", store.url + SIGNED)
    assert "0123456789abcdef" not in str(caught.value)


def test_answers_are_bounded(serve, connect):
    server = serve(saying((200, b"x" * 1000)))
    client = connect(server.url)
    assert len(client.request("GET", APPLICATIONS, limit=1000).content) == 1000
    for endpoint in (APPLICATIONS, server.url + SIGNED):
        before = len(server.heard)
        with pytest.raises(TooLarge, match="longer than 999 bytes") as caught:
            client.request("GET", endpoint, limit=999)
        assert caught.value.limit == 999
        assert len(server.heard) == before + 1  # It would be as long the next time.
    with pytest.raises(AnswerLost, match=r"longer than 999 bytes.* may have done"):
        client.request("POST", APPLICATIONS, limit=999)


def test_an_answer_that_is_no_json(serve, connect):
    response = connect(serve(saying((200, b"\xff<html>"))).url).request("GET", APPLICATIONS)
    assert response.text == "\ufffd<html>"
    with pytest.raises(AnswerLost, match="no JSON"):
        response.json()


# --- What is sent again

PATIENT = Patience(backoff=0.01)


@pytest.mark.parametrize(
    ("method", "again"),
    [("GET", True), ("HEAD", True), ("PUT", True), ("POST", False), ("PATCH", False), ("DELETE", False)],
)
def test_what_may_have_been_done_is_only_repeated_where_that_does_no_harm(serve, connect, method, again):
    server = serve(saying(None, (503, b""), OK if method != "HEAD" else (200, b"")))
    client = connect(server.url, patience=PATIENT)
    if again:
        assert client.request(method, APPLICATIONS).status_code == 200
        assert len(server.heard) == 3
    else:
        with pytest.raises(AnswerLost):
            client.request(method, APPLICATIONS)
        assert len(server.heard) == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PATCH", "DELETE"])
def test_what_surely_had_no_effect_is_repeated(serve, connect, method):
    server = serve(saying((429, b"", {"Retry_After": "0"}), (429, b""), OK))
    client = connect(server.url, patience=PATIENT)
    assert client.request(method, APPLICATIONS, payload={"a": 1}).status_code == 200
    assert [heard.body for heard in server.heard] == [b'{"a":1}'] * 3


def test_there_is_an_end_to_it(serve, connect):
    server = serve(saying((429, b"", {"Retry_After": "0"})))
    with pytest.raises(RateLimited):
        connect(server.url, patience=PATIENT).request("GET", APPLICATIONS)
    assert len(server.heard) == 4
    refusing = serve(saying((404, b"")))
    with pytest.raises(NotFound):
        connect(refusing.url, patience=PATIENT).request("GET", APPLICATIONS)
    assert len(refusing.heard) == 1


def test_each_repetition_is_paced(serve, connect):
    server = serve(saying((429, b""), OK))
    paced = []
    connect(server.url, patience=PATIENT, before_request=lambda: paced.append(1)).request("GET", APPLICATIONS)
    assert len(paced) == 2


def test_a_key_that_is_refused(serve, connect, key):
    server = serve(saying((401, json.dumps({"error": f"bad key {key}"}).encode())))
    with pytest.raises(AccessRefused) as caught:
        connect(server.url).request("GET", APPLICATIONS)
    assert key not in str(caught.value)


# --- Messages as plain values


def test_messages_from_and_to_plain_values():
    assert DownloadURL.from_dict({"url": "https://x/y", "new": 1}).url == "https://x/y"
    place = UploadURL(upload_id="u", upload_url="https://x/y?sig=1")
    assert UploadURL.from_dict(place.to_dict()) == place
    for odd in ({}, {"url": 5}, [], "https://x", None):
        with pytest.raises(ValueError, match=r"required|Expected"):
            DownloadURL.from_dict(odd)


# --- The names of the room


def test_every_public_name_is_there_and_loaded_late():
    for name in nxtrack.cloud.__all__:
        assert getattr(nxtrack.cloud, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        nxtrack.cloud.Nonsense  # noqa: B018
    program = """
        import sys, nxtrack, nxtrack.cloud, nxtrack.cloud.messages
        from nxtrack.cloud import DownloadURL, PollingOptions
        assert not {"requests", "urllib3"} & sys.modules.keys(), "too early"
        from nxtrack.cloud import Application
        assert "requests" in sys.modules
    """
    program = "\n".join(line.strip() for line in program.splitlines())
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
