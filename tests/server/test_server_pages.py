"""The pages for people."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest

from nxtrack.server.pages import duration_text, size_text

HOSTILE = "</title><script>alert(1)</script>\"'&"


class Seen(HTMLParser):
    """Which tags and links a page has."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "a":
            self.links.append(dict(attrs).get("href"))


def seen(answer, status=200):
    """What is on a page, after the checks that hold for each."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    page = Seen(answer.text)
    for tag, attributes in page.tags:
        assert tag not in {"script", "style", "img", "iframe"}
        assert not any(name.startswith("on") or name == "style" for name in attributes)
    assert [attributes for tag, attributes in page.tags if tag == "html"] == [{"lang": "en"}]
    return page


def test_an_empty_history_says_what_to_do(api):
    answer = api.page()
    seen(answer)
    assert "No runs yet" in answer.text
    assert "No runs like these" in api.page("/?status=failed").text


def test_the_history_lists_runs_of_all_applications(api):
    first = api.track(app="one", name="First", output=b'{"metrics": {"gap": 0.0123456789, "n": {"x": 3}}}')
    second = api.track(app="two", status="failed")
    answer = api.page()
    page = seen(answer)
    assert page.links.index(f"/runs/two/{second}") < page.links.index(f"/runs/one/{first}")
    assert "First" in answer.text
    assert "0.0123457" in answer.text
    assert "2027-01-15 08:00:00" in answer.text
    assert 'datetime="2027-01-15T08:00:00.000000Z"' in answer.text
    assert [attributes["scope"] for tag, attributes in page.tags if tag == "th"] == ["col"] * 7 + ["row"] * 2


def test_the_history_is_filtered(api):
    first = api.track(app="one")
    second = api.track(app="two", status="failed")
    for query, shown, hidden in (
        ("?application=one", first, second),
        ("?status=failed", second, first),
        ("?application=two&status=failed", second, first),
    ):
        text = api.page(f"/{query}").text
        assert shown in text
        assert hidden not in text
    assert "No runs like these" in api.page("/?application=one&status=failed").text


def test_the_history_is_paged(start):
    api = start(limits={"page": 2})
    made = [api.track() for _ in range(5)]
    page, shown = seen(api.page("/?application=routing")), []
    while True:
        shown += [link.rpartition("/")[2] for link in page.links if link.startswith("/runs/")]
        older = [link for link in page.links if "before=" in link]
        if not older:
            break
        page = seen(api.page(older[0]))
        assert "/?application=routing&status=" in page.links
    assert shown == made[::-1]
    assert "not one that this page gave out" in api.page("/?before=1-x").text


def test_a_run_shows_what_there_is(api):
    run_id = api.track(
        name="What-if",
        description="Without the depot",
        status="failed",
        data=b'{"a":[1]}',
        output=json.dumps(
            {"metrics": {"cost": 1234567.5}, "assets": [{"name": "Plan", "content": 1, "description": "All of it"}]}
        ).encode(),
        logs=b"Presolve <b>\n",
        options={"time_limit": "10"},
        batch_experiment_id="batch-1",
        result={"error_message": "ValueError: no", "execution_duration": 61_000},
    )
    answer = api.page(f"/runs/{api.app}/{run_id}")
    page = seen(answer)
    for text in ("What-if", "Without the depot", "failed", "ValueError: no", "time_limit", "batch-1", "1 min 01 s"):
        assert text in answer.text
    assert "1.23457e+06" in answer.text
    assert "&#34;a&#34;: [\n    1\n  ]" in answer.text
    assert "Presolve &lt;b&gt;" in answer.text
    downloads = [link for link in page.links if "/downloads/" in link]
    assert len(downloads) == 4
    assert [api.session.get(link).status_code for link in downloads] == [200] * 4


def test_a_bare_run_is_shown_too(api):
    run_id = api.post({"input": {}, "result": {"status": "succeeded"}}).json()["run_id"]
    answer = api.page(f"/runs/{api.app}/{run_id}")
    seen(answer)
    assert "Output" not in answer.text


def test_what_is_large_is_only_linked_to(start):
    api = start(limits={"download": 1_000_000})
    run_id = api.track(
        data=json.dumps("x" * 300_000).encode(),
        output=json.dumps("y" * 1_100_000).encode(),
        logs=b"log line\n" * 10_000,
    )
    answer = api.page(f"/runs/{api.app}/{run_id}")
    seen(answer)
    assert "xxx" not in answer.text
    assert "300.0 kB" in answer.text
    assert "too large to download" in answer.text
    assert "only the end is shown" in answer.text
    assert len(answer.content) < 100_000


def test_an_archive_is_not_shown_as_text(api):
    formats = {"format": {"input": {"type": "csv-archive"}, "output": {"type": "text"}}}
    run_id = api.track(data=b"\x1f\x8bAAAA", output=b"plain words", configuration=formats)
    text = api.page(f"/runs/{api.app}/{run_id}").text
    assert "AAAA" not in text
    assert "plain words" in text


def test_nothing_in_a_run_becomes_markup(api):
    run_id = api.track(
        name=HOSTILE,
        description=HOSTILE,
        status="failed",
        data=json.dumps({HOSTILE: HOSTILE}).encode(),
        output=json.dumps(
            {"metrics": {HOSTILE: HOSTILE}, "assets": [{"name": HOSTILE, "content": 1, "description": HOSTILE}]}
        ).encode(),
        logs=HOSTILE.encode(),
        options={HOSTILE: HOSTILE},
        batch_experiment_id=HOSTILE,
        result={"error_message": HOSTILE},
    )
    for path in ("/", f"/runs/{api.app}/{run_id}", f"/?application={HOSTILE}"):
        seen(api.page(path))


@pytest.mark.parametrize("path", ["/runs/a/nonesuch", "/runs/%20/x", "/runs/a/%20"])
def test_a_run_that_is_not_there(shared, path):
    answer = shared.page(path)
    seen(answer, 404)
    assert "There is no such run" in answer.text


def test_only_what_is_static_is_static(shared):
    answer = shared.page("/static/style.css")
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "prefers-color-scheme: dark" in answer.text
    assert shared.page("/static/..%2fpages.py").status_code == 404
    assert shared.page("/static/nonesuch").status_code == 404
    assert shared.page("/nonesuch").status_code == 404


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        ("ink", "paper"),
        ("ink", "band"),
        ("faint", "paper"),
        ("faint", "band"),
        ("link", "paper"),
        ("good", "good-band"),
        ("bad", "bad-band"),
        ("other", "other-band"),
    ],
)
def test_text_is_readable_in_both_schemes(shared, ink, paper):
    """WCAG 2.2, AA: a contrast of 4.5 to 1."""
    light, dark = shared.page("/static/style.css").text.split("@media", 1)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", scheme))
        one, other = sorted((luminance(colours[ink]), luminance(colours[paper])), reverse=True)
        assert (one + 0.05) / (other + 0.05) >= 4.5


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1000, "1.0 s"),
        (59_999, "59.9 s"),
        (60_000, "1 min 00 s"),
        (3_599_999, "59 min 59 s"),
        (11_520_000, "3 h 12 min"),
    ],
)
def test_durations_are_for_people(milliseconds, text):
    assert duration_text(milliseconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1_200, "1.2 kB"), (5_000_000, "5.0 MB"), (2 * 10**9, "2.0 GB")]
)
def test_sizes_are_for_people(count, text):
    assert size_text(count) == text
