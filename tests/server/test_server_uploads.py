"""The object store's part: what it takes, what it refuses, and what it hands out."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from urllib.parse import urlsplit
from xml.etree import ElementTree as ET

import pytest
from starlette.requests import Request

from nxtrack.server.data.files import Payloads
from nxtrack.server.endpoints import objects
from nxtrack.server.refusals import ObjectRefusal
from nxtrack.server.signing import Signer


def error_of(answer):
    """The code and message of an object store's refusal."""
    assert answer.headers["content-type"].startswith("application/xml")
    root = ET.fromstring(answer.content)
    assert root.tag == "Error"
    return root.findtext("Code"), root.findtext("Message")


def raw(url, head, body=b"", *, close=False):
    """Sends bytes as they are, and gives the connection."""
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=10)
    connection.sendall(head.format(path=f"{parts.path}?{parts.query}", host=parts.netloc).encode() + body)
    if close:
        connection.close()
    return connection


def first_line(connection):
    with contextlib.closing(connection), connection.makefile("rb") as answer:
        return answer.readline().decode().strip()


def wait_until(check, seconds=5.0):
    end = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.01)


def test_an_upload_comes_back_byte_for_byte(api):
    data = b'{ "a" : [1.0, 1e2,\t"\\u00e9 \xc3\xa9"] }\n'
    run_id = api.track(data=data, output=data)
    assert api.runs(f"/{run_id}/input").content == data
    assert api.runs(f"/{run_id}/output").content == data
    for kind in ("input", "output"):
        url = api.runs(f"/{run_id}/{kind}?format=url").json()["url"]
        assert api.session.get(url).content == data


@pytest.mark.parametrize("body", [{}, {"data": ""}, {"data": b"anything"}, {"json": {"a": 1}}])
def test_any_body_asks_for_an_upload_url(api, body):
    answer = api.runs("/uploadurl", method="POST", **body)
    assert answer.status_code == 200
    assert answer.json()["upload_url"].startswith(f"{api.url}/uploads/{answer.json()['upload_id']}?")


def test_the_url_goes_the_way_the_client_came(api):
    """A proxy, a name or a tunnel in front keeps the uploads that follow."""
    port = urlsplit(api.url).port
    answer = api.session.post(
        f"{api.url}/v1/applications/a/runs/uploadurl", headers=api.headers | {"Host": f"localhost:{port}"}
    )
    assert answer.json()["upload_url"].startswith(f"http://localhost:{port}/uploads/")


def test_authorization_is_refused(api):
    answer = api.put(api.upload_url()["upload_url"], b"{}", headers=api.headers)
    assert answer.status_code == 400
    code, message = error_of(answer)
    assert code == "InvalidArgument"
    assert "Authorization" in message


def test_chunked_encoding_is_refused(api):
    answer = api.put(api.upload_url()["upload_url"], iter([b"{}"]))
    assert (answer.status_code, error_of(answer)[0]) == (411, "MissingContentLength")


def test_a_missing_length_is_refused(api):
    url = api.upload_url()["upload_url"]
    assert first_line(raw(url, "PUT {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).startswith("HTTP/1.1 411")


def test_an_empty_upload_is_an_upload(api):
    assert api.upload(b"")


def test_every_changed_character_breaks_the_signature(api):
    url = api.upload_url()["upload_url"]
    start = url.index("/uploads/") + len("/uploads/")
    for place in range(start, len(url)):
        if url[place] in "?&=":
            continue
        changed = url[:place] + ("0" if url[place] != "0" else "1") + url[place + 1 :]
        answer = api.put(changed, b"{}")
        assert (answer.status_code, error_of(answer)[0]) == (403, "SignatureDoesNotMatch"), changed
    assert api.put(url, b"{}").status_code == 200


@pytest.mark.parametrize("query", ["", "?signature=", "?expires=1&signature=é", "?expires=9999999999"])
def test_an_unsigned_url_is_refused(api, query):
    path = urlsplit(api.upload_url()["upload_url"]).path
    assert api.put(f"{api.url}{path}{query}", b"{}").status_code == 403


def test_an_upload_url_cannot_be_read_from(api):
    answer = api.session.get(api.upload_url()["upload_url"])
    assert (answer.status_code, error_of(answer)[0]) == (405, "MethodNotAllowed")


def test_an_expired_url_is_refused(api, clock):
    url = api.upload_url()["upload_url"]
    clock.now += 15 * 60
    assert api.put(url, b"{}").status_code == 200
    clock.now += 1
    answer = api.put(url, b"{}")
    assert answer.status_code == 403
    assert error_of(answer) == ("AccessDenied", "Request has expired")


def test_an_expired_upload_id_is_refused(api, clock):
    """The guide: both URL and id are valid for 15 minutes."""
    upload = api.upload(b"{}")
    clock.now += 15 * 60 + 1
    answer = api.post({"upload_id": upload, "result": {"status": "succeeded"}})
    assert answer.status_code == 400
    assert "upload_id" in answer.json()["error"]
    assert "expired" in answer.json()["error"]


def test_old_uploads_are_swept(api, clock):
    """An hour after it expired, an upload that no run used leaves neither a row nor a file."""
    unused = api.upload(b"unused")
    run_id = api.track(data=b'{"used": 1}', output=None)
    payloads = api.data / "payloads"
    assert len([path for path in payloads.rglob("*") if path.is_file()]) == 2
    clock.now += 3 * 3600
    api.upload_url()
    assert len([path for path in payloads.rglob("*") if path.is_file()]) == 1
    assert "no upload" in api.post({"upload_id": unused, "result": {"status": "succeeded"}}).json()["error"]
    assert api.runs(f"/{run_id}/input").content == b'{"used": 1}'


def test_an_upload_that_was_swept_takes_no_bytes(api):
    signer = Signer((api.data / "secret").read_bytes(), api.clock)
    path = "/uploads/00000000-0000-0000-0000-000000000000"
    answer = api.put(f"{api.url}{path}?{signer.query('PUT', path, seconds=60)}", b"{}")
    assert (answer.status_code, error_of(answer)[0]) == (404, "NoSuchUpload")


def test_too_large_an_upload_is_refused_and_the_connection_stays_usable(start):
    api = start(limits={"upload": 1000})
    url = api.upload_url()["upload_url"]
    answer = api.put(url, b"x" * 1001)
    assert (answer.status_code, error_of(answer)[0]) == (413, "EntityTooLarge")
    assert api.put(url, b"x" * 1000).status_code == 200


def test_a_client_that_asks_first_is_refused_before_it_sends(start):
    """With `Expect: 100-continue`, as curl sends it, no byte of a refused body crosses the wire."""
    api = start(limits={"upload": 1000})
    head = "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"
    assert first_line(raw(api.upload_url()["upload_url"], head)).startswith("HTTP/1.1 413")


def test_a_body_cut_short_stores_nothing(api):
    made = api.upload_url()
    head = "PUT {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 3000000\r\n\r\n"
    connection = raw(made["upload_url"], head, b"x" * 2_000_000)
    partial = api.data / "partial"
    wait_until(lambda: list(partial.iterdir()))
    connection.close()
    wait_until(lambda: not list(partial.iterdir()))
    answer = api.post({"upload_id": made["upload_id"], "result": {"status": "succeeded"}})
    assert "nothing was PUT" in answer.json()["error"]
    assert not [path for path in (api.data / "payloads").rglob("*") if path.is_file()]


def test_a_body_of_another_length_is_refused(tmp_path):
    """Should a server in front ever pass on fewer bytes than were announced."""

    async def receive():
        return {"type": "http.request", "body": b"xyz", "more_body": False}

    request = Request({"type": "http", "method": "PUT", "headers": []}, receive)
    with Payloads(tmp_path).draft() as draft, pytest.raises(ObjectRefusal, match="Content-Length"):
        asyncio.run(objects._receive(request, draft, length=5, idle=1))
    assert not list((tmp_path / "partial").iterdir())


def test_a_second_put_replaces_but_never_changes_a_run(api):
    made = api.upload_url()
    api.put(made["upload_url"], b'"first"')
    body = {"upload_id": made["upload_id"], "result": {"status": "succeeded"}}
    first = api.post(body).json()["run_id"]
    api.put(made["upload_url"], b'"second"')
    second = api.post(body).json()["run_id"]
    api.put(made["upload_url"], b'"third"')
    api.put(made["upload_url"], b'"fourth"')
    assert api.runs(f"/{first}/input").json() == "first"
    assert api.runs(f"/{second}/input").json() == "second"
    # What was replaced and belongs to no run is gone.
    assert len([path for path in (api.data / "payloads").rglob("*") if path.is_file()]) == 3


@pytest.mark.parametrize(
    ("wanted", "status", "got"),
    [
        (None, 200, b'"0123456789"'),
        ("bytes=1-3", 206, b"012"),
        ("bytes=8-", 206, b'789"'),
        ("bytes=-4", 206, b'789"'),
        ("bytes=0-0,2-3", 200, b'"0123456789"'),
        ("bytes=99-", 416, b""),
    ],
)
def test_downloads_honour_one_range(api, wanted, status, got):
    run_id = api.track(output=b'"0123456789"')
    url = api.runs(f"/{run_id}?format=url").json()["output"]["url"]
    answer = api.session.get(url, headers={"Range": wanted} if wanted else {})
    assert (answer.status_code, answer.content) == (status, got)
    if status < 400:
        assert answer.headers["content-disposition"].startswith("attachment")
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_download_urls_expire_and_cannot_be_changed(api, clock):
    run_id = api.track()
    url = api.runs(f"/{run_id}/output?format=url").json()["url"]
    assert api.session.get(url, headers=api.headers).status_code == 400
    assert api.session.get(url.replace("/output?", "/input?")).status_code == 403
    assert api.session.get(url + "0").status_code == 403
    clock.now += 15 * 60 + 1
    answer = api.session.get(url)
    assert answer.status_code == 403
    assert error_of(answer) == ("AccessDenied", "Request has expired")


def test_a_download_of_a_deleted_run_is_gone(api):
    run_id = api.track()
    url = api.runs(f"/{run_id}/output?format=url").json()["url"]
    assert api.runs(f"/{run_id}", method="DELETE").status_code == 200
    answer = api.session.get(url)
    assert (answer.status_code, error_of(answer)[0]) == (404, "NoSuchKey")


def test_a_payload_that_goes_while_it_is_asked_for_is_no_fault(api):
    """As when one client deletes a run that another reads."""
    run_id = api.track()
    url = api.runs(f"/{run_id}/output?format=url").json()["url"]
    for path in (api.data / "payloads").rglob("*"):
        if path.is_file():
            path.unlink()
    answer = api.session.get(url)
    assert (answer.status_code, error_of(answer)[0]) == (404, "NoSuchKey")
    for path in ("", "/input", "/output"):
        answer = api.runs(f"/{run_id}{path}")
        assert (answer.status_code, "no longer there" in answer.json()["error"]) == (404, True)


def test_the_download_limit_is_a_setting(start):
    api = start(limits={"download": 10})
    run_id = api.track(output=b'"0123456789"')
    answer = api.runs(f"/{run_id}?format=url")
    assert answer.status_code == 413
    assert "12 bytes" in answer.json()["error"]


def test_text_and_archives_are_handed_out_as_what_they_are(api):
    formats = {"format": {"input": {"type": "text"}, "output": {"type": "multi-file"}}}
    run_id = api.track(data=b"a;b", output=b"\x1f\x8b\x00", configuration=formats, logs=b"hello")
    answer = api.session.get(api.runs(f"/{run_id}/input?format=url").json()["url"])
    assert (answer.text, answer.headers["content-type"]) == ("a;b", "text/plain; charset=utf-8")
    answer = api.runs(f"/{run_id}/output")
    assert answer.status_code == 400
    assert "?format=url" in answer.json()["error"]
    answer = api.session.get(api.runs(f"/{run_id}?format=url").json()["output"]["url"])
    assert answer.content == b"\x1f\x8b\x00"
    assert answer.headers["content-disposition"].endswith('-output.tar.gz"')
    answer = api.session.get(api.runs(f"/{run_id}/logs?format=url").json()["url"])
    assert (answer.text, answer.headers["content-type"]) == ("hello", "text/plain; charset=utf-8")


def test_a_full_disk_is_told_in_a_sentence(api, monkeypatch):
    def fail(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nxtrack.server.data.files.Draft.write", fail)
    answer = api.put(api.upload_url()["upload_url"], b"{}")
    assert answer.status_code == 503
    assert error_of(answer)[0] == "ServiceUnavailable"
    assert "No space left on device" in answer.text
    answer = api.post({"input": {}, "result": {"status": "succeeded"}})
    assert answer.status_code == 503
    assert "No space left on device" in answer.json()["error"]
    assert not list((api.data / "partial").iterdir())


def test_a_database_that_fails_leaves_no_file(api, monkeypatch):
    made = api.upload_url()

    def fail(self, name, artefact):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("nxtrack.server.data.store.Store.fill_upload", fail)
    assert api.put(made["upload_url"], b"{}").status_code == 503
    assert not [path for path in (api.data / "payloads").rglob("*") if path.is_file()]


def test_an_upload_swept_while_it_arrives_leaves_no_file(api, monkeypatch):
    made = api.upload_url()
    monkeypatch.setattr("nxtrack.server.data.store.Store.fill_upload", lambda self, name, artefact: None)
    assert api.put(made["upload_url"], b"{}").status_code == 404
    assert not [path for path in (api.data / "payloads").rglob("*") if path.is_file()]
