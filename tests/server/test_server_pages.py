"""What all pages share: their headers, static files, colours, and how numbers are told to people."""

from __future__ import annotations

import re

import pytest

from nxtrack.server.pages.rendering import ago_text, duration_text, number_text, size_text


@pytest.mark.parametrize("path", ["/", "/history/points", "/?q=x", "/?from=yesterday", "/runs/a/nonesuch", "/compare"])
def test_every_page_is_strict_with_the_browser(shared, path):
    answer = shared.page(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert "unsafe" not in str(policy)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "same-origin"
    assert answer.headers["cache-control"] == "no-store"
    assert re.findall("<html[^>]*>", answer.text) == ['<html lang="en">']
    # Nothing inline, and nothing from elsewhere: it is to work without internet.
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|https?://(?!127\.0\.0\.1)(?!www\.w3\.org/2000/svg)", answer.text)
    assert all(tag.endswith(" defer>") for tag in re.findall("<script[^>]*>", answer.text))
    assert re.findall("<script[^>]*>(?!</script>)", answer.text) == []


@pytest.mark.parametrize(
    ("name", "media"),
    [
        ("style.css", "text/css; charset=utf-8"),
        ("history.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_static_files_are_asked_for_again_but_sent_once(shared, name, media):
    answer = shared.page(f"/static/{name}")
    assert answer.headers["content-type"] == media
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = shared.page(f"/static/{name}", headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/static/..%2fpages.py", "/static/nonesuch", "/static/", "/nonesuch"])
def test_only_what_is_static_is_static(shared, path):
    assert shared.page(path).status_code == 404


def luminance(colour):
    """The relative luminance of WCAG 2.2."""
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    parts = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one, other):
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def schemes(api):
    """The colours of the light and of the dark scheme, by their names."""
    light, dark = api.page("/static/style.css").text.split("@media", 1)
    return [dict(re.findall(r"--([a-z-]+): (#[0-9a-f]+)", scheme)) for scheme in (light, dark)]


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        *(
            (ink, paper)
            for ink in ("ink", "faint", "link", "bad", "good")
            for paper in ("paper", "card", "band", "hover")
        ),
        ("good", "good-band"),
        ("bad", "bad-band"),
        ("busy", "busy-band"),
        ("other", "other-band"),
        ("ink", "other-band"),
        ("ink", "busy-band"),
        ("faint", "busy-band"),
        ("faint", "good-band"),
        ("on-link", "link"),
    ],
)
def test_text_is_readable_in_both_schemes(shared, ink, paper):
    """WCAG 2.2, AA: a contrast of 4.5 to 1."""
    for scheme in schemes(shared):
        assert contrast(scheme[ink], scheme[paper]) >= 4.5


@pytest.mark.parametrize("paper", ["paper", "card"])
def test_controls_and_marks_are_seen_in_both_schemes(shared, paper):
    """WCAG 2.2, AA: 3 to 1 for what is no text."""
    for scheme in schemes(shared):
        for line in ("edge", "focus", "link", "bad", "other"):
            assert contrast(scheme[line], scheme[paper]) >= 3


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


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (1234567.5, "1,234,568"),
        (1234.5678, "1,234.57"),
        (0.0123456789, "0.0123457"),
        (-0.5, "-0.5"),
        (0.0, "0"),
        (1e-9, "1e-09"),
        (1.5e300, "1.5e+300"),
        pytest.param(10**400, "≈1e400", id="huge"),
        pytest.param(-(10**5000), "≈-1e5000", id="unspeakable"),
        (True, "True"),
        ("HiGHS", "HiGHS"),
    ],
)
def test_numbers_are_for_people(value, text):
    assert number_text(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "in the future"),
        (0, "just now"),
        (9, "just now"),
        (10, "10 s ago"),
        (119, "1 min ago"),
        (7200, "2 h ago"),
        (86_400 * 400, "1 y ago"),
    ],
)
def test_times_are_for_people(seconds, text):
    assert ago_text(1_000_000_000_000_000, 1_000_000_000_000_000 + seconds * 1_000_000) == text
