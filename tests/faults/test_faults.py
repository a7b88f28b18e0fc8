"""Each kind of fault, a few injections of each; `python tests/faults` injects them all."""

from __future__ import annotations

import pytest
from faults.bench import bench
from faults.catalogue import KINDS

pytestmark = [
    # Relays and killed processes leave sockets to the garbage collector, whose moment is nobody's.
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    # Measuring sets trace functions in threads and forks, which these break off in the middle.
    pytest.mark.no_cover,
]


@pytest.fixture(scope="module")
def stand(tmp_path_factory):
    with bench(tmp_path_factory.mktemp("bench")) as made:
        yield made


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_nothing_is_lost_or_doubled_or_wrong(stand, kind):
    tally = kind.measure(stand, kind.quick)
    if tally.skipped:
        pytest.skip(tally.skipped)
    assert tally.injections > 0
    assert tally.findings == []
    assert tally.clean
