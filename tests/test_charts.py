"""Lines in charts, of any length."""

from hypothesis import given
from hypothesis import strategies as st

from nxtrack.charts import MOST_POINTS, Points

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=2000) | st.lists(st.tuples(NUMBERS, st.integers(0, 1))))
def test_thinned_points_keep_their_order_and_their_ends(given_points):
    points = Points()
    for point in given_points:
        points.add(*point)
    kept = points.listed()
    assert bool(points) == bool(given_points)
    assert points.last == (given_points[-1] if given_points else None)
    assert len(kept) <= MOST_POINTS
    rest = iter(given_points)
    assert all(any(point == other for other in rest) for point in kept)
    if given_points:
        assert (kept[0], kept[-1]) == (given_points[0], given_points[-1])


def test_what_stays_at_a_value_is_two_points():
    points = Points()
    for place, value in enumerate([5, 5, 5, 5, 3, 3, 3, 4]):
        points.add(place, value)
    assert points.listed() == [(0, 5), (3, 5), (4, 3), (6, 3), (7, 4)]
