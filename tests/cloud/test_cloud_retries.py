"""How often is tried, and after what wait, by waits that are only noted down."""

from __future__ import annotations

import pytest

from nxtrack.cloud.retries import HARMLESS, MAX_BACKOFF, NEVER, TRANSFER, UNDONE, Patience
from nxtrack.errors import AnswerLost, CloudError, NotReached, RateLimited, Rejected, UploadExpired


class Trying:
    """Fails with these errors, in turn, and then gives 5."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.tries = 0
        self.waits = []
        self.limited = []

    def __call__(self):
        self.tries += 1
        if self.errors:
            raise self.errors.pop(0)
        return 5

    def patience(self, **options):
        return Patience(sleep=self.waits.append, limited=self.limited.append, **options)


@pytest.mark.parametrize(
    ("error", "after", "tries"),
    [
        (AnswerLost("a."), HARMLESS, 4),
        (AnswerLost("a."), UNDONE, 1),
        (NotReached("a."), UNDONE, 3),
        (RateLimited("a."), UNDONE, 4),
        (UploadExpired("a.", status=403), TRANSFER, 4),
        (UploadExpired("a.", status=403), HARMLESS, 1),
        (Rejected("a.", status=400), TRANSFER, 1),
    ],
)
def test_how_often_is_tried(error, after, tries):
    trying = Trying(*[error] * 9)
    with pytest.raises(type(error)):
        trying.patience(backoff=2.0).repeat(trying, after)
    assert (trying.tries, len(trying.waits)) == (tries, tries - 1)
    assert all(0 <= wait <= 2 * 2**number for number, wait in enumerate(trying.waits))


def test_a_success_ends_it():
    trying = Trying(AnswerLost("a."), NotReached("a."))
    assert trying.patience().repeat(trying, HARMLESS) == 5
    assert trying.tries == 3


def test_never():
    trying = Trying(NotReached("a."))
    with pytest.raises(NotReached):
        NEVER.repeat(trying, TRANSFER)
    assert trying.tries == 1


def test_the_platform_says_how_long_to_wait():
    trying = Trying(RateLimited("a.", retry_after=MAX_BACKOFF), RateLimited("a.", retry_after=MAX_BACKOFF + 1))
    with pytest.raises(RateLimited):
        trying.patience().repeat(trying, UNDONE)
    assert trying.tries == 2
    assert trying.waits == trying.limited == [MAX_BACKOFF]


def test_who_wants_to_wait_no_more():
    trying = Trying(NotReached("a."))
    with pytest.raises(NotReached):
        Patience(sleep=lambda _: True).repeat(trying, UNDONE)
    assert trying.tries == 1


def test_progress_begins_the_count_anew():
    """Ten breaks, each a byte farther: then three that get no farther are enough."""
    far = iter([*range(1, 11), *[10] * 99])
    trying = Trying(*[AnswerLost("a.")] * 99)
    with pytest.raises(AnswerLost):
        trying.patience(backoff=1.0).repeat(trying, TRANSFER, reached=lambda: next(far))
    assert trying.tries == 10 + 3
    assert max(trying.waits[:10]) <= 1


def test_other_errors_go_through():
    trying = Trying(CloudError("a."))
    with pytest.raises(CloudError):
        trying.patience().repeat(trying, TRANSFER)
    assert trying.tries == 1
