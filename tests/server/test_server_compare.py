"""Two runs side by side."""

from __future__ import annotations

import json

import pytest
from support.pages import seen

HOSTILE = "</title><script>alert(1)</script>\"'&"
MINUS = "\N{MINUS SIGN}"


def compared(api, old, new, status=200):
    return seen(api.page("/compare", params={"a": f"{api.app}/{old}", "b": f"{api.app}/{new}"}), status)


def rows(page):
    """What the rows of all tables say, cell by cell."""
    found, inside = [], page.text
    for line in inside.split("\n"):
        words = line.strip()
        if words:
            found.append(words)
    return found


def track(api, *, cost=200, **more):
    output = {"solution": {"stops": [1, 2, cost]}, "metrics": {"cost": cost, "same": 5, "status": "optimal"}}
    return api.track(output=json.dumps(output).encode(), **more)


def test_what_differs_is_told(api):
    old = track(
        api,
        name="First",
        data=b'{"a": 1, "b": [1, 2]}',
        logs=b"one\ntwo\n\x1b[31mthree\x1b[0m\n",
        options={"limit": "10", "old": "x"},
    )
    new = track(
        api,
        cost=150,
        name="Second",
        data=b'{"a": 1, "b": [1, 9, 2]}',
        logs=b"one\n2\nthree\n",
        options={"limit": "20", "new": "y"},
        result={"execution_duration": 1500},
    )
    page = compared(api, old, new)
    told = rows(page)
    assert f"≠differscost200150{MINUS}50 ({MINUS}25.0%)" in told
    assert "samesame55" in told
    assert "samestatusoptimaloptimal" in told
    assert "≠differslimit1020" in told
    assert f"{MINUS}only in Aoldx" in told
    assert "+only in Bnewy" in told
    assert "≠differsDuration1.0 s1.5 s+500 ms (+50.0%)" in told
    assert "+only in Bb[1]9" in told
    assert "≠differssolution.stops[2]200150" in told
    assert {"- two", "+ 2", "one", "three"} <= set(told)
    assert {f"/runs/{api.app}/{old}", f"/runs/{api.app}/{new}"} <= set(page.links)
    swapped = rows(seen(api.page(next(link for link in page.links if link.startswith("/compare")))))
    assert "≠differscost150200+50 (+33.3%)" in swapped
    assert f"≠differsDuration1.5 s1.0 s{MINUS}500 ms ({MINUS}33.3%)" in swapped


def test_what_is_the_same_is_said_so(api):
    runs = [track(api, logs=b"same\n", options={"limit": "10"}) for _ in range(2)]
    page = compared(api, *runs)
    assert page.text.count("Identical in both runs.") == 3
    assert "differs" not in [text for text in page.texts if text == "differs"]
    again = compared(api, runs[0], runs[0])
    assert again.text.count("Identical in both runs.") == 3


def test_documents_that_differ_only_in_how_they_are_written(api):
    page = compared(api, api.track(data=b'{"a":1,"b":2}'), api.track(data=b'{"b": 2.0, "a": 1}'))
    assert "The same, apart from spaces and the order of members." in page.text


def test_what_one_run_lacks_is_said(api):
    old = api.track(output=None, status="failed", result={"error_message": "ValueError: no"})
    new = api.track(logs=b"one\n")
    page = compared(api, old, new)
    text = " ".join(page.text.split())
    assert "Only B has an output." in text
    assert "Only B has logs." in text
    assert "Neither run has metrics." in text
    assert "ValueError: no" in page.texts
    neither = compared(api, old, old)
    assert "Neither run has an output." in neither.text
    assert "Neither run has logs." in neither.text


def test_texts_and_archives(api):
    text = {"format": {"input": {"type": "csv-archive"}, "output": {"type": "text"}}}
    runs = [
        api.track(data=b"\x1f\x8b" + word, output=b"first\n" + word, configuration=text) for word in (b"one", b"two")
    ]
    page = compared(api, *runs)
    assert "not in a form that can be compared here" in page.text
    assert {"- one", "+ two"} <= set(rows(page))
    mixed = compared(api, runs[0], api.track())
    assert mixed.text.count("not in a form that can be compared here") == 2


def test_large_payloads_are_compared_in_part(api):
    old, new = (
        api.track(
            data=json.dumps([word] * 400_000).encode(),
            output=json.dumps([word] * 100_000).encode(),
            logs=b"".join(b"%s %d\n" % (word.encode(), number) for number in range(100_000)),
        )
        for word in ("aaaa", "bbbb")
    )
    answer = api.page("/compare", params={"a": f"{api.app}/{old}", "b": f"{api.app}/{new}"})
    page = seen(answer)
    assert "larger than the 2.1 MB that are compared here" in page.text
    assert "There is more to compare than is shown here." in page.text
    assert "Only a part of them was compared" in page.text
    assert len(answer.content) < 1_000_000


def test_runs_are_named_as_a_form_with_check_boxes_does(api):
    old, new = api.track(), api.track(app="other")
    seen(api.page(f"/compare?run={api.app}/{old}&run=other/{new}"))


@pytest.mark.parametrize("query", ["", "?run=a/b", "?run=a/b&run=a/c&run=a/d", "?a=a/b", "?a=&b="])
def test_two_runs_it_must_be(shared, query):
    assert "tick exactly two" in seen(shared.page(f"/compare{query}"), 400).text


@pytest.mark.parametrize(
    ("a", "b", "which"),
    [
        ("a/nonesuch", "", "the first one"),
        ("", "a/nonesuch", "the second one"),
        ("a", "../..", "the first and second one"),
        (HOSTILE, "a/%00", "the first and second one"),
    ],
)
def test_runs_that_are_not_there(shared, a, b, which):
    there = f"{shared.app}/{shared.track()}"
    page = seen(shared.page("/compare", params={"a": a or there, "b": b or there}), 404)
    assert f"There is no such run as {which}" in page.text


def test_nothing_in_two_runs_becomes_markup(api):
    runs = [
        api.track(
            name=HOSTILE + word,
            status="failed",
            data=json.dumps({HOSTILE: HOSTILE + word, HOSTILE + word: 1}).encode(),
            output=json.dumps({"metrics": {HOSTILE: HOSTILE + word}}).encode(),
            logs=f"{HOSTILE}{word}".encode(),
            options={HOSTILE: HOSTILE + word},
            result={"error_message": HOSTILE + word},
        )
        for word in ("one", "two")
    ]
    page = compared(api, *runs)
    assert page.text.count(HOSTILE) > 10
    assert not any(tag == "script" for tag, _ in page.tags)
