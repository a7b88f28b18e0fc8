"""Who is let in, and by which name."""

from __future__ import annotations

import gzip
import socket
from urllib.parse import urlsplit

import pytest

from nxtrack.errors import ServerError
from nxtrack.server.auth import KeyCheck, check_exposure, is_loopback
from nxtrack.server.options import ServeOptions

KEY = "s3cret"


@pytest.fixture
def locked(start):
    return start(key=KEY)


def test_any_key_opens_loopback(api):
    assert api.call("GET", "/applications").status_code == 200


@pytest.mark.parametrize("value", [None, "", "Bearer", "Bearer ", "Basic eDp5", "any"])
def test_no_key_is_refused_even_on_loopback(shared, value):
    answer = shared.session.get(
        f"{shared.url}/v1/applications", headers={} if value is None else {"Authorization": value}
    )
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert "no API key" in answer.json()["error"]


def test_a_configured_key_is_the_only_one(locked):
    assert locked.call("GET", "/applications").status_code == 401
    locked.key = "s3cret"
    assert locked.call("GET", "/applications").status_code == 200
    assert locked.track()
    locked.key = "s3cre"
    answer = locked.call("GET", "/applications")
    assert answer.status_code == 401
    assert "s3cre" not in answer.text


@pytest.mark.parametrize("path", ["/", "/runs/a/b"])
def test_pages_ask_for_a_configured_key(locked, path):
    answer = locked.page(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic ")
    for value in ("Basic !!!", "Basic /////w==", "Basic eDp5", "Digest x", "Bearer wrong"):
        assert locked.page(path, headers={"Authorization": value}).status_code == 401
    assert locked.page(path, auth=("anybody", "s3cret")).status_code in {200, 404}
    assert locked.page(path, headers={"Authorization": "Bearer s3cret"}).status_code in {200, 404}


def test_what_holds_nobodys_data_needs_no_key(locked):
    assert locked.page("/healthz").text == "ok\n"
    assert locked.page("/static/style.css").status_code == 200
    assert locked.page("/openapi.json").status_code == 200
    for path in ("/healthzz", "/openapi.json/", "/static"):
        assert locked.page(path).status_code == 401


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1", "127.8.9.1", "[::1]"])
def test_names_of_this_machine_are_answered(shared, host):
    port = urlsplit(shared.url).port
    for name in (host, f"{host}:{port}", f"{host}:80"):
        assert shared.page("/healthz", headers={"Host": name}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8770", "127.0.0.1.evil.example", "10.0.0.1"])
@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/applications", "/uploads/x", "/downloads/a/b/c"])
def test_other_names_are_refused(shared, host, path):
    """A web page whose name resolves to 127.0.0.1 must not read the runs (DNS rebinding)."""
    answer = shared.page(path, headers={"Host": host, "Authorization": "Bearer any"})
    assert answer.status_code == 421
    assert "localhost" in answer.json()["error"]


@pytest.mark.parametrize("host", ["", "a b", "127.0.0.1/x", "user@127.0.0.1", "127.0.0.1:port", "[::1", 'a"b'])
def test_a_broken_host_is_refused(shared, host):
    assert shared.page("/healthz", headers={"Host": host}).status_code == 400


def test_any_name_is_answered_beyond_loopback(start):
    """There a key guards the data, and the machine may have any name."""
    api = start(host="0.0.0.0", key="k")
    api.url = api.url.replace("0.0.0.0", "127.0.0.1")
    assert api.page("/healthz", headers={"Host": "solver.example:1"}).status_code == 200
    assert api.page("/", headers={"Host": "solver.example:1"}).status_code == 401


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("headers", FOREIGN, ids=lambda headers: next(iter(headers.values())))
def test_another_web_page_changes_nothing(shared, headers):
    """Its forms go where they like, with the user's sign-in and on loopback without any (CSRF)."""
    run_id = shared.track()
    for path in (f"/runs/{shared.app}/{run_id}/cancel", "/"):
        answer = shared.session.post(f"{shared.url}{path}", headers=headers, timeout=30)
        assert (answer.status_code, "another web page" in answer.text) == (403, True)
    # It may still lead there, and what needs a key goes by the key.
    assert shared.page("/", headers=headers).status_code == 200
    assert shared.call("GET", "/applications").status_code == 200


@pytest.mark.parametrize("headers", [{}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": ""}])
def test_pages_of_this_platform_may_change_things(shared, headers):
    if "Origin" in headers:
        headers = {"Origin": shared.url}
    answer = shared.session.post(f"{shared.url}/nonesuch", headers=headers, timeout=30)
    assert answer.status_code == 404


def test_a_web_page_cannot_send_a_key(shared):
    """What the browser asks before it does so gets no leave to (no CORS)."""
    answer = shared.session.options(
        f"{shared.url}/v1/applications/a/runs",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
        timeout=30,
    )
    assert answer.status_code == 401
    answer = shared.session.get(
        f"{shared.url}/v1/applications", headers=shared.headers | {"Origin": "https://evil.example"}, timeout=30
    )
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize("path", ["/v1/{}", "/uploads/{}", "/downloads/{}", "/nonesuch/{}", "/v1/applications/{}"])
def test_what_is_refused_is_never_taken_for_a_page(shared, path):
    answer = shared.page(path.format(HOSTILE), headers=shared.headers)
    assert answer.status_code >= 400
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-type"].partition(";")[0] in {"application/json", "application/xml", "text/plain"}


@pytest.mark.parametrize("length", ["9" * 5000, "-1", "1e3", "1, 2", "0x10", "99999999999999999999"])
def test_an_odd_length_is_refused(shared, length):
    url = urlsplit(shared.upload_url()["upload_url"])
    with socket.create_connection((url.hostname, url.port), timeout=10) as connection:
        head = f"PUT {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Length: {length}\r\n\r\n"
        connection.sendall(head.encode())
        status = int(connection.makefile("rb").readline().split()[1])
    assert status in {400, 413}


def test_a_compressed_body_is_never_unpacked(shared):
    """A bomb stays what it is: an upload keeps its bytes, and a request in that form is no JSON."""
    bomb = gzip.compress(b"0" * 10_000_000)
    headers = shared.headers | {"Content-Encoding": "gzip"}
    answer = shared.session.post(f"{shared.url}/v1/applications/a/runs", data=bomb, headers=headers, timeout=30)
    assert (answer.status_code, "not valid JSON" in answer.json()["error"]) == (400, True)
    url = shared.upload_url()["upload_url"]
    assert shared.put(url, bomb, headers={"Content-Encoding": "gzip"}).status_code == 200


@pytest.mark.parametrize("name", ["X-Forwarded-Host", "X-Forwarded-For", "Forwarded", "X-Forwarded-Prefix"])
def test_nobody_else_says_where_uploads_go(shared, name):
    answer = shared.session.post(
        f"{shared.url}/v1/applications/a/runs/uploadurl",
        headers=shared.headers | {name: "evil.example"},
        timeout=30,
    )
    assert answer.json()["upload_url"].startswith(f"{shared.url}/uploads/")


@pytest.mark.parametrize(("said", "scheme"), [("https", "https"), ("http", "http"), ("javascript", "http")])
def test_behind_a_proxy_that_speaks_tls_uploads_do_too(shared, said, scheme):
    answer = shared.session.post(
        f"{shared.url}/v1/applications/a/runs/uploadurl",
        headers=shared.headers | {"X-Forwarded-Proto": said},
        timeout=30,
    )
    assert urlsplit(answer.json()["upload_url"]).scheme == scheme


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "solver.example", ""])
def test_other_machines_need_a_key(host):
    with pytest.raises(ServerError, match="--key"):
        check_exposure(host, None)
    check_exposure(host, "k")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.1.1.1"])
def test_loopback_needs_none(host):
    check_exposure(host, None)
    assert is_loopback(host)


@pytest.mark.parametrize("key", ["", "  ", "two words", "clé", "a\n"])
def test_a_key_that_no_header_carries_is_a_mistake(key):
    with pytest.raises(ServerError, match="--key"):
        check_exposure("127.0.0.1", key)


def test_keys_are_kept_as_hashes_only():
    check = KeyCheck(KEY)
    assert check.accepts(KEY)
    assert not check.accepts(KEY + " ")
    assert not check.accepts("")
    assert KEY not in repr(vars(check))
    assert KEY not in repr(ServeOptions(key=KEY))
