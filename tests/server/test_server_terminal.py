"""Logs as a terminal would show them."""

from __future__ import annotations

import io
import re
import time
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from rich.console import Console
from rich.progress import Progress
from support.pages import Markup

from nxtrack.server.drawing import palette
from nxtrack.server.drawing.terminal import html, plain, replay

ESC = "\x1b"
# What sequences are made of, so that random ones are often valid.
PARTS = [ESC, *"[]\x9b\x07\\;:12hmABCDGHJKXdsu78\r\n\b\t\x0b\x00a進\u0301&\u202e", "38", "48", "5", "999", "?25", "<b>"]
BYTES = st.binary(max_size=300).map(lambda data: data.decode(errors="replace"))
LOGS = BYTES | st.lists(st.sampled_from(PARTS), max_size=80).map("".join)


def screen(text, **more):
    return plain(replay(text, **more).lines)


def markup(text):
    return str(html(replay(text).lines))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", []),
        ("one\ntwo\n", ["one", "two"]),
        ("one\r\ntwo", ["one", "two"]),
        ("10%\r20%\r100%", ["100%"]),
        ("long line\rshort", ["shortline"]),
        ("long line\r\x1b[Kshort", ["short"]),
        ("abc\b\bX", ["aXc"]),
        ("\b\bX", ["X"]),
        ("a\tb", ["a       b"]),
        ("one\ntwo\x1b[A\rONE", ["ONE", "two"]),
        ("one\ntwo\nthree\x1b[2A\x1b[2K\rnew\x1b[2B!", ["new", "two", "thr!e"]),
        ("one\ntwo\nthree\x1b[F\x1b[J", ["one"]),
        ("one\x1b[1G\x1b[2C!", ["on!"]),
        ("ab\x1b7cd\x1b8X", ["abXd"]),
        ("ab\x1b[scd\x1b[uX", ["abXd"]),
        ("abcdef\x1b[4D\x1b[2X", ["ab  ef"]),
        ("old\x1b[2J\x1b[2;3Hnew", ["old", "", "  new"]),
        ("bell\x07 \x00null \x1b[?25lcursor\x1b[?2004h", ["bell null cursor"]),
        ("\x1b]0;a title\x07text", ["text"]),
        ("\x1b]8;;http://example.test\x1b\\link\x1b]8;;\x1b\\", ["link"]),
        ("\x1b]never ends\nnext", ["", "next"]),
        ("\x1bPdevice\x1b\\text", ["text"]),
        ("\x1b(Btext\x1b=", ["text"]),
        ("cut off \x1b[3", ["cut off"]),
        ("\u202etxet\u202c", ["txet"]),
        ("進捗\ra", ["a 捗"]),
        ("進捗\b\bX", ["進X"]),
        ("e\u0301\rE", ["E"]),
        ("e\u0301!", ["e\u0301!"]),
        ("trailing   ", ["trailing"]),
    ],
)
def test_what_is_left_on_the_screen(text, shown):
    assert screen(text) == shown


def test_a_bar_of_rich_leaves_its_last_state():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=60, color_system="truecolor", legacy_windows=False)
    with Progress(console=console, auto_refresh=False) as progress:
        tasks = [progress.add_task(f"task {number}", total=50) for number in range(3)]
        for step in range(50):
            progress.update(tasks[step % 3], advance=3)
            progress.refresh()
            if step % 20 == 0:
                console.print(f"[red]step {step}")
    lines = screen(out.getvalue())
    assert [line for line in lines if line.startswith("step")] == ["step 0", "step 20", "step 40"]
    assert [line.split()[:2] for line in lines if line.startswith("task")] == [
        ["task", str(number)] for number in range(3)
    ]
    assert len(lines) == 6


def test_bars_of_tqdm_leave_their_last_state():
    """As tqdm 4.67 writes two bars with `position=0` and `1`."""
    text = "".join(f"\router: {step}/3\n\rinner: {step}/3{ESC}[A" for step in range(4)) + "\n\n"
    assert screen(text) == ["outer: 3/3", "inner: 3/3"]


@pytest.mark.parametrize(
    ("codes", "classes"),
    [
        ("31", "f1"),
        ("91", "f9"),
        ("44", "g4"),
        ("104", "g12"),
        ("1", "bold"),
        ("1;4;31", "bold under f1"),
        ("38;5;208", "f208"),
        ("38:5:208", "f208"),
        ("38;2;255;0;0", "f196"),
        ("38:2::255:0:0", "f196"),
        ("38:2:255:0:0", "f196"),
        ("38;2;128;128;128", "f244"),
        ("48;5;17;1", "bold g17"),
        ("31;44", "g4"),
        ("7", "reverse"),
        ("7;31", "g1"),
        ("4:3", "under"),
        ("58;5;3;31", "f1"),
        ("38;5;999", "f255"),
        ("38;2", "f16"),
        ("3;9", "italic strike"),
    ],
)
def test_colours_and_styles_are_classes(codes, classes):
    assert markup(f"{ESC}[{codes}mx") == f'<span class="{classes}">x</span>'


@pytest.mark.parametrize("codes", ["", "0", "1;22", "4;4:0", "31;39", "44;49", "7;27", "38", "107;0", "999", "?1"])
def test_styles_end(codes):
    assert markup(f"{ESC}[{codes}mx") == "x"


def test_a_style_holds_over_lines_and_each_stretch_is_one_span():
    assert markup(f"{ESC}[31mred\nstill{ESC}[31m red{ESC}[m no") == (
        '<span class="f1">red</span>\n<span class="f1">still red</span> no'
    )


def test_a_line_is_not_padded_without_end():
    assert screen("y" * 60_000 + f"{ESC}[2Kx") == [" " * 200 + "x"]
    assert screen("\t" * 1_000 + "x")[0].endswith(" x")
    assert len(screen(f"{ESC}[99999Cx")[0]) == 201


def test_everything_is_escaped():
    assert markup(f"<b>&{ESC}[31m\"'<i>") == "&lt;b&gt;&amp;" + '<span class="f1">&#34;&#39;&lt;i&gt;</span>'


def test_the_end_of_what_is_long_is_kept():
    text = "".join(f"line {number}\n" for number in range(10_000))
    found = replay(text, most=1_000)
    assert found.cut
    assert plain(found.lines)[-1] == "line 9999"
    assert sum(map(len, plain(found.lines))) < 1_000
    assert not replay(text).cut
    one = replay("x" * 10_000, most=1_000)
    assert one.cut
    assert 500 < len(plain(one.lines)[0]) <= 1_000


@given(LOGS)
def test_any_text_becomes_harmless_html(text):
    found = replay(text)
    page = Markup(f"<pre>{html(found.lines)}</pre>")
    assert {tag for tag, _ in page.tags} <= {"pre", "span"}
    shown = page.text
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)
    assert shown == "\n".join(plain(found.lines))
    known = {"bold", "dim", "italic", "under", "strike", "reverse"}
    assert all(name in known or re.fullmatch(r"[fg](\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])", name) for name in page.classes)


@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "M", "Zl", "Zp", "Zs"]), max_size=60))
@example("\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}")
@example("\N{EMOJI MODIFIER FITZPATRICK TYPE-1-2}" * 3 + "ab")
def test_plain_text_stays_as_it_is(text):
    # More marks than these on one character are a joke.
    assume(not re.search("[\U0001f3fb-\U0001f3ff]{8}", text))
    assert "".join(screen(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        f"{ESC}[" * 60_000,
        f"{ESC}]" * 60_000,
        f"{ESC}]" + "a" * 120_000,
        f"{ESC}[" + "1" * 120_000,
        f"{ESC}[" + ";1" * 60_000 + "m",
        "y" * 60_000 + f"{ESC}[2Kx" * 12_000,
        f"{ESC}[999999999Cx\n" * 8_000,
        f"{ESC}[2J{ESC}[50Hx" * 9_000,
        "a" + "\u0301" * 60_000,
        "進a" * 40_000,
        "\n" * 120_000,
        "\t" * 120_000 + "x",
        "".join(f"{ESC}[38;2;{n % 256};{n // 256};7mx" for n in range(6_000)),
    ],
    ids=range(13),
)
def test_hostile_logs_take_bounded_time_and_room(text):
    began = time.process_time()
    found = replay(text, most=500_000)
    assert len(html(found.lines)) < 1_000_000
    # As a rule a tenth of it.
    assert time.process_time() - began < 10


def rules(name):
    found = re.findall(rf"^\.{name}(\d+)\{{(.*)\}}$", palette.stylesheet().decode(), re.MULTILINE)
    assert [int(number) for number, _ in found] == list(range(256))
    return [body for _, body in found]


def colour(text):
    digits = text.lstrip("#")
    return tuple(int(digits[place : place + 2], 16) for place in (0, 2, 4))


def test_every_colour_of_text_is_readable():
    """WCAG 2.2, AA: a contrast of 4.5 to 1, on what run.css has behind logs."""
    css = (Path(palette.__file__).parents[1] / "static" / "run.css").read_text(encoding="utf-8")
    papers = re.search(r"--console: light-dark\((#\w{6}), (#\w{6})\)", css).groups()
    assert tuple(map(colour, papers)) == (palette.LIGHT_PAPER, palette.DARK_PAPER)
    for body in rules("f"):
        inks = re.search(r"light-dark\((#\w{6}),(#\w{6})\)", body).groups()
        for ink, paper in zip(inks, papers, strict=True):
            assert palette.contrast(colour(ink), colour(paper)) >= 4.5
    for body in rules("g"):
        paper, ink = re.fullmatch(r"background:(#\w{6});color:(#\w{6})", body).groups()
        assert palette.contrast(colour(ink), colour(paper)) >= 4.5


def test_the_palette_is_that_of_xterm():
    colours = palette.colours()
    assert [colours[number] for number in (16, 208, 255)] == [(0, 0, 0), (255, 135, 0), (238, 238, 238)]


@given(*[st.integers(0, 255)] * 3)
def test_the_nearest_colour_is_the_nearest(red, green, blue):
    def distance(other):
        return sum((one - two) ** 2 for one, two in zip((red, green, blue), other, strict=True))

    nearest = palette.nearest(red, green, blue)
    assert distance(palette.colours()[nearest]) == min(distance(other) for other in palette.colours()[16:])
