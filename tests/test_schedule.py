"""The one schedule, by hand and against what each of its users wants of it."""

import math

import pytest

from hybrid_pipeline.schedule import scheduled_rate


@pytest.mark.parametrize(
    ("step", "fall", "floor", "expected"),
    [
        (0, "cosine", 0.0, 0.5),  # half of the warm-up of two updates
        (1, "cosine", 0.0, 2 / 2),
        (2, "cosine", 0.0, 1.0),  # the fall begins at the peak
        (6, "cosine", 0.0, 0.5),  # half-way from 2 to 10
        (4, "cosine", 0.0, 0.5 * (1 + math.cos(math.pi / 4))),
        (6, "cosine", 0.2, 0.2 + 0.8 * 0.5),
        (4, "linear", 0.0, 0.75),
        (9, "constant", 0.0, 1.0),
        (10, "cosine", 0.1, 0.1),
        (99, "linear", 0.1, 0.1),  # never below its floor
    ],
)
def test_rates_by_hand(step, fall, floor, expected):
    rate = scheduled_rate(3.0, step, 10, warmup=2, floor=floor, fall=fall)
    assert rate == pytest.approx(3.0 * expected)


def test_without_warm_up_it_starts_at_the_peak():
    assert scheduled_rate(0.1, 0, 5, warmup=0) == 0.1


def test_a_warm_up_as_long_as_the_run_never_falls():
    assert [scheduled_rate(1.0, i, 4, warmup=4) for i in range(4)] == [0.25, 0.5, 0.75, 1.0]
