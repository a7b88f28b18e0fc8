"""Answers that say nothing usable: raw bytes that stand in place of a platform's answer."""

from __future__ import annotations

import gzip
import json
from http import HTTPStatus

HTML = b"<html><head><title>Something went wrong</title></head><body>at the gateway</body></html>"

FAILURES = (
    500,
    501,
    502,
    503,
    504,
    505,
    507,
    508,
    511,
    520,
    521,
    522,
    523,
    524,
    525,
    526,
    527,
    530,
    599,
    600,
    999,
    408,
    425,
)
"""Statuses that leave open whether the request was done."""

REDIRECTS = (300, 301, 302, 303, 307, 308)


def answer(status: int, body: bytes = b"", **headers: str) -> bytes:
    """Returns a whole and well-formed answer."""
    known = status in {entry.value for entry in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase if known else 'Unheard Of'}"]
    fields = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines += [f"{name}: {value}" for name, value in fields.items() if value]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def failing() -> dict[str, bytes]:
    """Answers with a status that leaves everything open, by what they are."""
    bodies = [b"", HTML, b'{"error": "overloaded"}', b'{"run_id": "no-run-of-this-platform"}']
    found = {}
    for number, status in enumerate(FAILURES):
        for body in (bodies[number % 4], bodies[(number + 1) % 4]):
            found[f"{status} with {body[:20]!r}"] = answer(status, body)
    found["503 that asks to wait"] = answer(503, b"", Retry_After="3600")
    return found


def unusable() -> dict[str, bytes]:
    """Answers that call themselves a success and hold nothing to go by, or are no HTTP."""
    whole = b'{"run_id":"run-0123456789"}'
    packed = gzip.compress(whole)
    bodies = {
        "nothing": b"",
        "HTML": HTML,
        "no run_id": b'{"id": "x"}',
        "run_id null": b'{"run_id": null}',
        "run_id a number": b'{"run_id": 5}',
        "run_id empty": b'{"run_id": ""}',
        "run_id a list": b'{"run_id": ["x"]}',
        "a list": b"[]",
        "a text": b'"run-1"',
        "null": b"null",
        "garbage": bytes(range(256)),
        "JSON in part": whole[:-3],
        "two JSON values": whole + whole,
        "no UTF-8": b'{"run_id": "\xff\xfe"}',
        "deep": b"[" * 100_000,
        "10 MB": b" " * 10_000_000,
        "20 MB": b'{"run_id": "' + b"x" * 20_000_000 + b'"}',
    }
    found = {f"200 with {name}": answer(200, body) for name, body in bodies.items()}
    found |= {f"{status} with nothing": answer(status) for status in (201, 202, 204, 206, 299)}
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    length = {"Content_Length": ""}
    return found | {
        "a chunk of no length": chunked + b"zz\r\n" + whole + b"\r\n0\r\n\r\n",
        "a chunk of a negative length": chunked + b"-1\r\n" + whole + b"\r\n0\r\n\r\n",
        "a chunk that breaks off": chunked + b"ff\r\n" + whole,
        "chunks without an end": chunked + b"5\r\n" + whole[:5] + b"\r\n",
        "a length too long": answer(200, whole, Content_Length="99"),
        "a length too short": answer(200, whole, Content_Length="9"),
        "a length of 0": answer(200, whole, Content_Length="0"),
        "two lengths": answer(200, whole, Content_Length="9\r\nContent-Length: 27"),
        "gzip that is none": answer(200, whole, Content_Encoding="gzip"),
        "gzip that breaks off": answer(200, packed[:-9], Content_Encoding="gzip"),
        "gzip that is damaged": answer(200, packed[:12] + b"\0\0\0\0" + packed[16:], Content_Encoding="gzip"),
        "deflate that is none": answer(200, whole, Content_Encoding="deflate"),
        "no HTTP": b"\x15\x03\x01\x00\x02\x02\x28",
        "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
        "no status": b"HTTP/1.1\r\n\r\n",
        "a status of letters": b"HTTP/1.1 OK 200\r\n\r\n",
        "a status of one digit": b"HTTP/1.1 2 OK\r\n\r\n",
        "HTTP/0.9": whole,
        "1,000 headers": answer(200, whole[:-5], **{f"X{number}": "x" for number in range(1000)}),
        "a header of 100,000 bytes": answer(200, whole[:-5], X="x" * 100_000),
        "a head without an end": b"HTTP/1.1 200 OK\r\nContent-Le",
        "100 and nothing more": b"HTTP/1.1 100 Continue\r\n\r\n",
        "101": answer(101, **length),
        "103 and nothing more": b"HTTP/1.1 103 Early Hints\r\n\r\n",
        "nothing at all": b"",
    }


def redirects() -> dict[str, bytes]:
    """Answers that lead elsewhere, by where to."""
    places = ("/v1/elsewhere", "http://127.0.0.1:9/", "https://platform.invalid/v1", "")
    return {
        f"{status} to {place or 'nowhere'}": answer(status, Location=place)
        for number, status in enumerate(REDIRECTS)
        for place in (places[number % 4], places[(number + 1) % 4])
    }


def refusal(status: int, text: str, *, form: int = 0) -> bytes:
    """Returns a refusal that says `text`, as JSON in two forms, HTML, XML or plain text."""
    forms = (
        (json.dumps({"error": text}).encode(), "application/json"),
        (json.dumps({"message": text, "code": 7}).encode(), "application/json"),
        (f"<html><title>{text}</title><body>x</body></html>".encode(), "text/html"),
        (f"<Error><Code>Denied</Code><Message>{text}</Message></Error>".encode(), "application/xml"),
        (text.encode(), "text/plain"),
    )
    body, kind = forms[form % len(forms)]
    return answer(status, body, Content_Type=kind)
