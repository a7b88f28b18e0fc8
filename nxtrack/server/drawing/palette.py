"""The colours of a terminal: which of xterm's 256 a colour is, and their style sheet, readable on light and on dark."""

from __future__ import annotations

from functools import cache, lru_cache

Colour = tuple[int, int, int]

COLOURS = 256
# What the page has behind logs: `--console` of run.css, light and dark.
LIGHT_PAPER: Colour = (0xFF, 0xFF, 0xFF)
DARK_PAPER: Colour = (0x0D, 0x11, 0x16)
# WCAG 2.2, 1.4.3: 4.5 to 1 for text; a little more, since both papers may change by a shade.
CONTRAST = 5.0

_WHITE: Colour = (255, 255, 255)
_BLACK: Colour = (0, 0, 0)
# The first sixteen have no fixed values; these are Visual Studio Code's.
_FIRST = (0x000000, 0xCD3131, 0x0DBC79, 0xE5E510, 0x2472C8, 0xBC3FBC, 0x11A8CD, 0xE5E5E5)
_BRIGHT = (0x666666, 0xF14C4C, 0x23D18B, 0xF5F543, 0x3B8EEA, 0xD670D6, 0x29B8DB, 0xFFFFFF)
# xterm's 256colres.pl: a cube of 6 x 6 x 6, then 24 greys.
_STEPS = (0, 95, 135, 175, 215, 255)
_CUBE = 16
_GREYS = 232


@cache
def colours() -> tuple[Colour, ...]:
    """The 256 colours of xterm, by their numbers."""
    first = [(code >> 16, code >> 8 & 255, code & 255) for code in _FIRST + _BRIGHT]
    cube = [(red, green, blue) for red in _STEPS for green in _STEPS for blue in _STEPS]
    greys = [(level, level, level) for level in range(8, 248, 10)]
    return (*first, *cube, *greys)


@lru_cache(maxsize=4096)
def nearest(red: int, green: int, blue: int) -> int:
    """The number of the colour of the cube, or the grey, that is nearest to a true colour of 0 to 255 each."""
    steps = [min(range(6), key=lambda step: abs(_STEPS[step] - part)) for part in (red, green, blue)]
    in_cube = _CUBE + 36 * steps[0] + 6 * steps[1] + steps[2]
    level = min(23, max(0, round(((red + green + blue) / 3 - 8) / 10)))
    return min(in_cube, _GREYS + level, key=lambda number: _distance(colours()[number], (red, green, blue)))


def contrast(one: Colour, other: Colour) -> float:
    """The contrast of WCAG 2.2: 1 for the same colour, 21 for black on white."""
    dark, light = sorted((_luminance(one), _luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def readable(colour: Colour, paper: Colour) -> Colour:
    """The colour, or the nearest mixture of it with black or white that is readable on the paper."""
    towards = _BLACK if _luminance(paper) > 0.5 else _WHITE  # noqa: PLR2004
    low, high = 0, 64
    while low < high:
        middle = (low + high) // 2
        if contrast(_mixed(colour, towards, middle / 64), paper) >= CONTRAST:
            high = middle
        else:
            low = middle + 1
    return _mixed(colour, towards, low / 64)


@cache
def stylesheet() -> bytes:
    """The rules for text in each colour (`.f0` to `.f255`) and on each (`.g0` to `.g255`, in black or white)."""
    rules = ["/* xterm's colours; those of text are mixed with black or white until they are readable. */"]
    for number, colour in enumerate(colours()):
        light, dark = (_css(readable(colour, paper)) for paper in (LIGHT_PAPER, DARK_PAPER))
        ink = max(_BLACK, _WHITE, key=lambda ink: contrast(ink, colour))  # used at once
        rules.append(f".f{number}{{color:{light};color:light-dark({light},{dark})}}")
        rules.append(f".g{number}{{background:{_css(colour)};color:{_css(ink)}}}")
    return "\n".join(rules).encode()


def _mixed(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (round(one + (two - one) * share) for one, two in zip(colour, other, strict=True))
    return red, green, blue


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4  # noqa: PLR2004
        for part in (number / 255 for number in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _distance(one: Colour, other: Colour) -> int:
    return sum((mine - its) ** 2 for mine, its in zip(one, other, strict=True))


def _css(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
