"""An output and what was logged beside it, as one."""

import math

import msgspec

from nxtrack.spool.pieces import MOST_SERIES, Pieces

ASSET = {"name": "map", "content": {}}


def pieces(metrics=(), assets=(), found=(), charts=()):
    made = Pieces()
    for metric in metrics:
        made.add_metric(*metric)
    made.assets += assets
    made.found.update(found)
    made.charts += charts
    return made


def lines(asset):
    """The lines of an asset's charts: name and points of each."""
    assert asset["content_type"] == "json"
    assert asset["visual"].keys() == {"schema", "type", "label"}
    assert asset["visual"]["schema"] == "chartjs"
    sets = [dataset for chart in asset["content"] for dataset in chart["data"]["datasets"]]
    return [(dataset["label"], [(point["x"], point["y"]) for point in dataset["data"]]) for dataset in sets]


def test_metrics_and_assets_in_the_output():
    logged = [("a", 1, None), ("b", 1, None)]
    assert pieces(logged).joined(None) == {"metrics": {"a": 1, "b": 1}}
    assert pieces(logged).joined({"metrics": {"a": 2}}) == {"metrics": {"a": 2, "b": 1}}
    assert pieces(logged, [b"x"]).joined({"metrics": [1], "assets": {}}) == {"metrics": [1], "assets": {}}
    assert pieces((), [b"x"]).joined({"assets": [1]}) == {"assets": [1, b"x"]}
    assert not pieces()


def test_what_was_found_gives_way_to_what_was_logged_and_returned():
    found = {"a": 0, "b": 0, "status": "optimal"}
    made = pieces([("b", 1, None)], found=found)
    assert made.joined({"metrics": {"a": 2}})["metrics"] == {"a": 2, "b": 1, "status": "optimal"}
    assert pieces(found=found).joined({"cost": 5}) == {"cost": 5, "metrics": found}
    assert pieces(found=found).joined({"metrics": "none"}) == {"metrics": "none"}


def test_what_was_found_does_not_hide_statistics():
    output = {"statistics": {"result": {"value": 5}}}
    assert pieces(found={"gap": 0}).joined(output) == output
    assert pieces([("a", 1, None)], found={"gap": 0}).joined(output)["metrics"] == {"a": 1, "gap": 0}
    assert pieces(found={"gap": 0}).joined(output | {"metrics": {}}) == output | {"metrics": {}}
    for none in (None, {}):
        assert pieces(found={"gap": 0}).joined({"statistics": none})["metrics"] == {"gap": 0}


def test_charts_take_no_place_among_assets_of_another_kind():
    chart = {"name": "Solver", "content": []}
    series = [("gap", 1.0, 0), ("gap", 0.5, 1)]
    for own in ([{"ticker": "X"}], ["truck"], {"truck": 1}, "none"):
        assert pieces(series, charts=[chart]).joined({"assets": own})["assets"] == own
    whole = pieces(charts=[chart]).joined({"assets": [ASSET]})
    assert whole["assets"] == [ASSET, chart]
    assert pieces(charts=[chart]).joined({"assets": []})["assets"] == [chart]


def test_a_series_becomes_a_chart():
    made = pieces([("gap", 0.5, 0), ("cost", 7, 1), ("gap", 0.25, 1.5), ("gap", 0.125, 2)])
    whole = made.joined({"x": 1})
    assert whole["metrics"] == {"gap": 0.125, "cost": 7}
    assert lines(whole["assets"][0]) == [("gap", [(0.0, 0.5), (1.5, 0.25), (2.0, 0.125)])]  # one point is no line


def test_the_output_that_was_given_is_not_changed():
    output = {"metrics": {"a": 1}, "assets": [ASSET]}
    pieces([("gap", 1, 0), ("gap", 2, 1)], [b"x"], {"status": "optimal"}).joined(output)
    assert output == {"metrics": {"a": 1}, "assets": [ASSET]}


def test_what_is_no_finite_number_is_no_point():
    values = [None, "text", True, math.nan, math.inf, 10**400]
    made = pieces([("a", value, 1) for value in values] + [("a", 1.0, step) for step in values])
    assert made.series == {}
    assert made.metrics == {"a": 1.0}


def test_many_series_and_many_points_stay_few():
    made = Pieces()
    for step in range(5000):
        made.add_metric(f"metric {step % 100}", step * step, step)
    for step in range(100_000):
        made.add_metric("metric 0", -step, step)
    whole = made.joined(None)
    assert len(whole["metrics"]) == 100
    assert len(lines(whole["assets"][0])) == MOST_SERIES
    assert len(msgspec.json.encode(whole)) < 200_000
