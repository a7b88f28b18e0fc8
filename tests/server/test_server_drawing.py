"""Assets as plain SVG, metrics as series, and documents as trees."""

from __future__ import annotations

import base64
import json
import math
import re
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.pages import Markup

from nxtrack import solverlogs
from nxtrack.server.drawing.assets import draw, draw_series
from nxtrack.server.drawing.facts import flat, series
from nxtrack.server.drawing.trees import tree
from nxtrack.spool.pieces import Pieces

HOSTILE = "</title></svg><script>alert(1)</script>\"'&"
NUMBERS = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
# The words that the readers look for, with whatever may stand behind them.
WORDS = """
type data datasets labels label options scales plugins title text stacked indexAxis x y base orientation mode
layout barmode xaxis yaxis lon lat values dtype bdata r theta subplot nbinsx
features geometry geometries coordinates properties
"""
KINDS = """
bar line pie scatter doughnut scattergeo sankey histogram scatterpolar radar bubble polarArea
h stack overlay markers lines f8 AAAA 2024-01-01 y2
FeatureCollection Feature GeometryCollection Point LineString Polygon MultiPolygon MultiPoint
"""
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.sampled_from(KINDS.split()) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(WORDS.split()) | st.text(max_size=3), inner, max_size=6)
    ),
    max_leaves=40,
)
POINTS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=8)


def one(content, schema=None):
    (drawing,) = draw(content, schema)
    return drawing, checked(drawing)


def checked(drawing):
    """The SVG, with every number in it finite and within its box, or a little beside it."""
    page = Markup(str(drawing.svg))
    ((name, svg), *rest) = page.tags
    assert name == "svg"
    assert svg["role"] == "img"
    assert svg["aria-label"]
    _, _, width, height = map(float, svg["viewbox"].split())
    for tag, attributes in rest:
        assert tag in {"g", "line", "rect", "circle", "polygon", "polyline", "path", "text", "title"}
        for key, value in attributes.items():
            if key in {"x", "x1", "x2", "cx", "y", "y1", "y2", "cy", "width", "height", "r"}:
                assert -50 <= float(value) <= max(width, height) + 50, (tag, attributes)
            elif key in {"points", "d"}:
                numbers = [float(text) for text in re.findall(r"[^MLAZ,\s]+", value)]
                assert all(-50 <= number <= max(width, height) + 50 for number in numbers), value
    return page


def chartjs(kind, *datasets, labels=None, **options):
    data = {"datasets": list(datasets)} | ({"labels": labels} if labels else {})
    return {"type": kind, "data": data, "options": options}


def count(page, tag):
    return sum(name == tag for name, _ in page.tags)


def test_charts_of_a_solver_and_of_logged_series():
    log = Path(__file__).parents[1] / "solverlogs" / "gurobi-mip-node-limit.log"
    pieces = Pieces()
    pieces.add_reading(solverlogs.read(log.read_bytes()), lambda name, value: (name, value))
    for step in range(3):
        pieces.add_metric("gap", 0.5 / (step + 1), step)
        pieces.add_metric("cost", 10 - step, step)
    solver, series = json.loads(json.dumps(pieces.joined(None)["assets"]))
    drawing, page = one(solver["content"], solver["visual"]["schema"])
    assert not drawing.left_out
    assert [name for _, name in drawing.legend] == ["objective", "bound"]
    assert "seconds" in page.texts
    assert count(page, "polyline") == 2
    drawings = draw(series["content"], series["visual"]["schema"])
    assert [checked(drawing).texts.count("step") for drawing in drawings] == [1, 1]


def test_bars_of_chartjs():
    config = chartjs(
        "bar",
        {"label": "km", "data": [120, 80, None]},
        {"label": "t", "data": [20, -15, 33]},
        labels=["one", "two", "three"],
        plugins={"title": {"display": True, "text": "Routes"}},
        scales={"y": {"title": {"text": "km and t"}}},
    )
    drawing, page = one(config, "chartjs")
    assert drawing.title == "Routes"
    assert drawing.legend == [(0, "km"), (1, "t")]
    assert count(page, "rect") == 5
    for words in ("one", "two", "three", "km and t", "km: two, 80", "t: two, -15", "100"):
        assert words in page.texts
    tall = {attributes["height"] for tag, attributes in page.tags if tag == "rect"}
    assert len(tall) == 5


def test_stacked_bars_stand_on_each_other():
    stacked = chartjs(
        "bar", {"data": [3]}, {"data": [5]}, {"data": [-2]}, labels=["a"], scales={"x": {"stacked": True}}
    )
    _, page = one(stacked)
    boxes = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert len({box["x"] for box in boxes}) == 1
    first, second, below = ((float(box["y"]), float(box["height"])) for box in boxes)
    assert math.isclose(second[0] + second[1], first[0], abs_tol=0.11)
    assert math.isclose(below[0], first[0] + first[1], abs_tol=0.11)


def test_bars_that_float_and_lie():
    _, page = one(chartjs("bar", {"data": [[2, 5], [1, 4]]}, labels=["a", "b"], indexAxis="y"))
    first, second = (attributes for tag, attributes in page.tags if tag == "rect")
    assert first["width"] == second["width"]
    assert float(first["x"]) > float(second["x"])


def test_a_histogram_counts_its_samples():
    """100 samples: i of them are i, for i from 1 on, but for the last ones."""
    samples = [value for value in range(1, 13) for _ in range(value)] + [13] * 22
    drawing, page = one({"data": [{"type": "histogram", "x": samples, "nbinsx": 4, "name": "gap"}]}, "plotly")
    assert drawing.title == ""
    tips = [text for text in page.texts if text.startswith("gap: ")]
    # Bins from 0 to 15 by 5, the last closed: 1 to 4, 5 to 9, 10 to 13.
    assert tips == ["gap: 2.5, 10", "gap: 7.5, 35", "gap: 12.5, 55"]
    assert count(page, "rect") == 3


@pytest.mark.parametrize("values", [[5], [1.7e308], [5, 5, 5], [0.1, 0.1 + 1e-17], [-1e308, 1e308], list(range(5_000))])
def test_a_histogram_loses_no_sample(values):
    _, page = one({"data": [{"type": "histogram", "y": values}]}, "plotly")
    tips = [text for text in page.texts if re.fullmatch(r"\S+, [\d,]+", text)]
    assert sum(int(text.partition(", ")[2].replace(",", "")) for text in tips) == len(values)


def test_a_histogram_of_names():
    _, page = one({"data": [{"type": "histogram", "x": ["b", "a", "b"]}]}, "plotly")
    assert {"b, 2", "a, 1"} <= set(page.texts)


@pytest.mark.parametrize("schema", ["chartjs", "plotly"])
def test_a_radar_chart_goes_around_the_middle(schema):
    names = ["north", "east", "south", "2024-01-01"]
    if schema == "chartjs":
        content = chartjs("radar", {"label": "A", "data": [2, 4, 1, 4]}, {"label": "B", "data": [4] * 4}, labels=names)
    else:
        traces = [("A", [2, 4, 1, 4]), ("B", [4] * 4)]
        content = {"data": [{"type": "scatterpolar", "name": n, "r": r, "theta": names} for n, r in traces]}
    drawing, page = one(content, schema)
    assert drawing.round
    assert drawing.legend == [(0, "A"), (1, "B")]
    assert {"north", "east", "south", "2024-01-01", "A: north, 2", "B: south, 4"} <= set(page.texts)
    shapes = [a["points"] for tag, a in page.tags if tag == "polygon" and str(a.get("class")).startswith("zone")]
    around = [[tuple(map(float, spot.split(","))) for spot in shape.split()] for shape in shapes]
    (x, y), (right, _), (_, low), (left, _) = around[1]
    middle = (x, low / 2 + y / 2)
    assert math.isclose(right - x, low - middle[1], abs_tol=0.2)
    assert math.isclose(x - left, right - x, abs_tol=0.2)
    # Two is half as far from the middle as four.
    assert math.isclose(2 * (middle[1] - around[0][0][1]), middle[1] - y, abs_tol=0.3)


LABELS = st.lists(st.sampled_from(["a", "b", "c", "d", "2024-01-01"]) | NUMBERS, max_size=6)
VALUES = st.lists(NUMBERS | st.none() | st.text(max_size=2), max_size=8)
SHAPES = ["radar", "polarArea", "bubble", "bar", "line"]
DATASETS = st.lists(st.fixed_dictionaries({"data": VALUES, "type": st.sampled_from([*SHAPES, None])}), max_size=3)
TRACES = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["histogram", "scatterpolar", "bar", "scatter"]),
        "x": VALUES,
        "r": VALUES,
        "theta": LABELS,
        "nbinsx": NUMBERS | st.none(),
        "xaxis": st.sampled_from(["x", "x2"]),
    }
)


@given(
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(SHAPES),
            "data": st.fixed_dictionaries({"labels": LABELS, "datasets": DATASETS}),
        }
    )
    | st.fixed_dictionaries({"data": st.lists(TRACES, max_size=3)})
)
def test_charts_of_any_numbers_stay_in_their_frame(content):
    for drawing in draw(content, None):
        checked(drawing)


def test_bubbles_are_points_and_polar_areas_bars():
    _, page = one(chartjs("bubble", {"data": [{"x": 1, "y": 2, "r": 9}, {"x": 2, "y": 3, "r": 1}]}))
    assert count(page, "circle") == 2
    _, page = one(chartjs("polarArea", {"data": [1, 2]}, labels=["a", "b"]))
    assert count(page, "rect") == 2


@pytest.mark.parametrize("kind", ["line", "scatter"])
def test_points_of_chartjs(kind):
    drawing, page = one(
        chartjs(kind, {"label": "gap", "data": [{"x": 0.5, "y": 9}, {"x": 2, "y": 3}, {"x": 7, "y": "?"}]})
    )
    assert count(page, "circle") == 2
    assert count(page, "polyline") == (kind == "line")
    assert drawing.legend == [(0, "gap")]


def test_a_pie_has_its_shares_in_the_legend():
    drawing, page = one(chartjs("doughnut", {"data": [3, 1, 0]}, labels=["solve", "read"]))
    assert drawing.legend == [(0, "solve: 3 (75.0%)"), (1, "read: 1 (25.0%)")]
    assert count(page, "path") == 2
    assert count(one(chartjs("pie", {"data": [3]}))[1], "circle") == 1
    many, _ = one(chartjs("pie", {"data": list(range(1, 40))}))
    assert many.legend[-1][1].startswith("27 others")


def test_lines_of_plotly():
    figure = {
        "data": [
            {"type": "scatter", "mode": "lines", "name": "primal", "x": [0, 1, 2], "y": [9, 7, 6]},
            {"mode": "lines+markers", "name": "dual", "y": [1, 2, 5]},
            {"type": "sankey"},
        ],
        "layout": {
            "title": {"text": "Bounds <b>over</b> time"},
            "xaxis": {"title": "s"},
            "yaxis": {"title": {"text": "cost"}},
        },
    }
    drawing, page = one([figure], "plotly")
    assert drawing.title == "Bounds  over  time"
    assert drawing.legend == [(0, "primal"), (1, "dual")]
    assert drawing.left_out == ["Not drawn: sankey."]
    assert (count(page, "polyline"), count(page, "rect")) == (2, 3)
    assert {"s", "cost"} <= set(page.texts)


def test_each_pair_of_axes_of_plotly_is_a_chart():
    figure = {
        "data": [{"y": [1, 2]}, {"y": [1, 2], "xaxis": "x2", "yaxis": "y2"}],
        "layout": {"yaxis2": {"title": "second"}},
    }
    first, second = draw(figure, "plotly")
    assert "second" not in checked(first).texts
    assert "second" in checked(second).texts


def test_numbers_that_plotly_packs():
    packed = {"dtype": "f8", "bdata": base64.b64encode(struct.pack("<3d", 1, 2.5, math.nan)).decode()}
    _, page = one({"data": [{"type": "bar", "x": ["a", "b", "c"], "y": packed}], "layout": {}})
    assert count(page, "rect") == 2
    assert "b, 2.5" in page.texts
    assert draw({"data": [{"type": "bar", "y": {"dtype": "f8", "bdata": "AAA"}}]}, "plotly") == []


def test_a_schedule_of_plotly():
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": f"job {job}",
            "y": ["m 1", "m 2"],
            "x": [3, 4],
            "base": [job * 5, job * 6],
        }
        for job in range(3)
    ]
    drawing, page = one({"data": bars, "layout": {"barmode": "overlay"}})
    boxes = [attributes for tag, attributes in page.tags if tag == "rect"]
    assert len({box["y"] for box in boxes}) == 2
    assert len({box["x"] for box in boxes}) == 5
    assert len(drawing.legend) == 3


def test_times_stand_on_axes():
    _, days = one({"data": [{"x": ["2024-01-01", "2024-01-03", "2024-01-09"], "y": [1, 5, 3]}], "layout": {}})
    assert "2024-01-03" in days.texts
    line = {
        "type": "bar",
        "orientation": "h",
        "y": ["a", "b"],
        "base": ["2024-01-01T08:00", "2024-01-01T09:30"],
        "x": [3_600_000, 60_000],
    }
    _, hours = one({"data": [line], "layout": {}})
    assert "08:30:00" in hours.texts
    wide = [float(attributes["width"]) for tag, attributes in hours.tags if tag == "rect"]
    assert wide[0] / wide[1] == pytest.approx(60, rel=0.05)


def test_a_map():
    point = {
        "type": "Feature",
        "properties": {"name": "depot", "n": [1]},
        "geometry": {"type": "Point", "coordinates": [8, 50, 120]},
    }
    line = {"type": "LineString", "coordinates": [[8, 50], [9, 51]]}
    area = {
        "type": "Polygon",
        "coordinates": [[[8, 50], [9, 50], [9, 51], [8, 50]], [[8.4, 50.1], [8.6, 50.1], [8.6, 50.2]]],
    }
    several = {"type": "GeometryCollection", "geometries": [line, area]}
    _, page = one({"type": "FeatureCollection", "features": [point, several]}, "geojson")
    assert (count(page, "circle"), count(page, "path")) == (1, 2)
    assert "name: depot\nn: [1]" in page.texts
    dot = next(attributes for tag, attributes in page.tags if tag == "circle")
    bent = next(attributes["d"] for tag, attributes in page.tags if attributes.get("class", "").startswith("curve"))
    assert bent.startswith(f"M{float(dot['cx'])} {float(dot['cy'])}L")
    assert page.tags[0][1]["aria-label"] == "Map of 1 point, 1 line, 1 area, from 8, 50 to 9, 51"
    # A degree of longitude is shorter there.
    (x1, y1), (x2, y2) = (map(float, spot.split()) for spot in bent[1:].split("L"))
    assert (x2 - x1) / (y1 - y2) == pytest.approx(math.cos(math.radians(50.5)), rel=0.01)


@pytest.mark.parametrize(
    ("content", "schema"),
    [
        (None, None),
        ("words", "plotly"),
        (5, "chartjs"),
        ([], None),
        ({}, "geojson"),
        ({"a": 1}, None),
        ({"type": "radar", "data": {"datasets": [{"data": [1]}]}}, "chartjs"),
        ({"type": "sunburst", "data": {"labels": ["a"], "datasets": [{"data": [1]}]}}, "chartjs"),
        ({"data": [{"type": "scatterpolar", "r": [1, 2, 3], "theta": [0, 90, 180]}]}, "plotly"),
        ({"type": "bar", "data": {"datasets": [{"data": []}]}}, "chartjs"),
        ({"data": [{"type": "sankey"}], "layout": {}}, "plotly"),
        ({"type": "Polygon", "coordinates": []}, "geojson"),
        ({"type": "Point", "coordinates": ["8", "50"]}, "geojson"),
        ("[" * 5000, "plotly"),
    ],
)
def test_what_is_none_of_these_is_not_drawn(content, schema):
    assert draw(content, schema) == []


def test_a_document_written_as_a_text_is_drawn():
    assert draw(json.dumps({"type": "Point", "coordinates": [1, 2]}), None)


def test_nothing_in_an_asset_becomes_markup():
    trace = {"name": HOSTILE, "x": [HOSTILE, "b"], "y": [1, 2], "type": "bar"}
    figure = {"data": [trace], "layout": {"title": HOSTILE, "xaxis": {"title": HOSTILE}}}
    shape = {"type": "Feature", "properties": {HOSTILE: HOSTILE}, "geometry": {"type": "Point", "coordinates": [1, 2]}}
    pie = chartjs("pie", {"data": [1, 2]}, labels=[HOSTILE, HOSTILE], plugins={"title": {"text": HOSTILE}})
    for content in (figure, shape, pie):
        _, page = one(content)
        assert "alert(1)" in page.text + page.tags[0][1]["aria-label"]


@given(JSON, st.sampled_from(["chartjs", "plotly", "geojson", None]))
def test_any_document_is_drawn_or_not(content, schema):
    for drawing in draw(content, schema):
        checked(drawing)


@given(POINTS, st.sampled_from(["bar", "line", "scatter"]), st.booleans(), st.booleans())
def test_any_numbers_fit_in_a_chart(points, kind, stacked, lying):
    data = [{"data": [{"x": x, "y": y} for x, y in points]}] * 2
    options = {"scales": {"x": {"stacked": stacked}}, "indexAxis": "y" if lying else "x"}
    for drawing in draw(chartjs(kind, *data, **options), "chartjs"):
        checked(drawing)


@pytest.mark.parametrize("large", [1e308, 1e300, 2**60])
def test_large_numbers_stand_apart(large):
    points = [{"x": -large, "y": large}, {"x": 0, "y": 0}, {"x": large, "y": -large}]
    _, page = one(chartjs("scatter", {"data": points}))
    spots = [(float(dot["cx"]), float(dot["cy"])) for tag, dot in page.tags if tag == "circle"]
    assert spots == sorted(set(spots))
    assert len({y for _, y in spots}) == 3


@given(POINTS)
def test_any_numbers_fit_on_a_map(points):
    for drawing in draw({"type": "LineString", "coordinates": points}, "geojson"):
        checked(drawing)


@pytest.mark.parametrize(
    "content",
    [
        {"data": [{"y": list(range(50_000))}] * 60, "layout": {}},
        chartjs("bar", *[{"data": [1] * 50_000}] * 60, labels=[f"name {number}" for number in range(50_000)]),
        {"type": "MultiPoint", "coordinates": [[number, number] for number in range(50_000)]},
        {"type": "MultiPolygon", "coordinates": [[[[number, number]] * 4] for number in range(20_000)]},
        [{"type": "MultiPoint", "coordinates": [[1, 2]] * 20_000}] * 50,
    ],
    ids=range(5),
)
def test_large_assets_take_bounded_time_and_room(content):
    began = time.process_time()
    found = draw(content, None)
    assert found
    assert sum(len(drawing.svg) for drawing in found) < 2_000_000
    assert time.process_time() - began < 20


def test_metrics_are_flat():
    assert flat({"a": 1, "b": {"c": {"d": "x"}, "e": None}, "f": {}, "g": [1]}) == {
        "a": 1,
        "b.c.d": "x",
        "b.e": None,
        "f": {},
        "g": [1],
    }
    assert flat(None) == {}
    assert len(flat({str(number): number for number in range(5_000)})) == 300


@pytest.mark.parametrize(
    ("value", "points"),
    [
        ([3, 4], [(0, 3), (1, 4)]),
        ([[1, 3], [5, 4]], [(1, 3), (5, 4)]),
        ([{"step": 2, "value": 3}, {"step": 4, "value": 1}], [(2, 3), (4, 1)]),
        ([3], None),
        ([3, "x"], None),
        ([{"value": 1}, {"value": 2}], None),
        ("ab", None),
        ({"a": 1}, None),
    ],
)
def test_series(value, points):
    assert series(value) == points


def test_a_series_is_drawn():
    drawing = draw_series("gap", [(0, 3), (1, 4), (2, 4.5)])
    assert drawing.title == "gap"
    assert count(checked(drawing), "circle") == 3


def test_a_tree():
    page = Markup(str(tree({"a": [1, 2.5, None, True], "b": {"<c>": "</script>"}, "d": [], "e": [{"f": 1}]})))
    assert page.text == '{} 4 membersa [1, 2.5, null, true]b {} 1 member<c> "</script>"d []e [] 1 item0 {} 1 memberf 1'
    assert count(page, "details") == 4
    assert ("details", {"open": None}) in page.tags


def test_a_tree_shares_its_room():
    page = Markup(str(tree({"large": [{"a": number} for number in range(50_000)], "small": {"b": "seen"}})))
    assert '"seen"' in page.text
    assert "50,000 items" in page.text
    assert "… 49,800 more" in page.text
    assert len(page.tags) < 20_000


@pytest.mark.parametrize(
    "value",
    [
        [[[number] * 60 for _ in range(60)] for number in range(60)],
        "x" * 1_000_000,
        {"k" * 100_000: 1},
        list(range(100_000)),
    ],
    ids=range(4),
)
def test_large_trees_are_cut(value):
    assert len(tree(value)) < 1_500_000


def test_a_deep_tree_is_cut():
    value = []
    for _ in range(900):
        value = [value]
    assert count(Markup(str(tree(value))), "details") == 30


@given(JSON)
def test_any_document_is_a_tree(value):
    Markup(str(tree(value)))


def test_what_would_reorder_a_document_is_written_out():
    assert Markup(str(tree({"a\u202eb": "c\u2066d"}))).text == '{} 1 membera\\u202eb "c\\u2066d"'
