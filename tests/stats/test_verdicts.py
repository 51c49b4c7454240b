import pytest

from hybrid_pipeline.stats.results import Interval
from hybrid_pipeline.stats.verdicts import Evidence, beats_control, decide, points


def interval(low, high):
    return Interval(estimate=(low + high) / 2, low=low, high=high)


def evidence(low, high, *, p=0.01, tost=0.9, mde=0.1, seeds=20, inner=None):
    inner = inner or (low + (high - low) * 0.1, high - (high - low) * 0.1)
    return Evidence(interval(low, high), interval(*inner), p, tost, mde, seeds)


@pytest.mark.parametrize(
    ("given", "code", "words"),
    [
        (evidence(0.02, 0.05), "helps_by_delta", "helps by at least 1 point"),
        (evidence(0.001, 0.05), "helps", "helps"),
        (
            evidence(0.001, 0.009, inner=(0.002, 0.008)),
            "helps_below_delta",
            "helps, but by less than 1 point",
        ),
        (evidence(-0.05, -0.02), "hurts_by_delta", "hurts by at least 1 point"),
        (evidence(-0.05, -0.001), "hurts", "hurts"),
        (
            evidence(-0.009, -0.001, inner=(-0.008, -0.002)),
            "hurts_below_delta",
            "hurts, but by less than 1 point",
        ),
        (
            evidence(-0.004, 0.004, p=0.9, tost=0.01),
            "no_meaningful_effect",
            "no meaningful effect (within 1 point)",
        ),
        (
            evidence(-0.01, 0.012, p=0.5, tost=0.2, mde=0.009),
            "no_detectable_effect",
            "no detectable effect at this power",
        ),
        (
            evidence(-0.1, 0.12, p=0.5, mde=0.2, seeds=55),
            "underpowered",
            "underpowered: finds 20.0 points or more; 1 point would need about 55 seeds at this "
            "noise",
        ),
        (
            evidence(-0.1, 0.12, p=0.5, mde=0.05, seeds=None),
            "underpowered",
            "underpowered: finds 5 points or more; more seeds alone cannot find 1 point, "
            "more examples are needed",
        ),
        (
            evidence(-0.9, 0.9, p=0.5, mde=1.236, seeds=300),
            "underpowered",
            "underpowered: finds not even a difference of 100 points; 1 point would need about "
            "300 seeds at this noise",
        ),
        (
            Evidence(None, None, None, None, None, None, "2 complete seeds, 3 needed"),
            "not_evaluable",
            "not evaluable: 2 complete seeds, 3 needed",
        ),
    ],
)
def test_every_verdict(given, code, words):
    assert decide(given, delta=0.01, alpha=0.05) == (code, words)


def test_significance_comes_before_equivalence():
    both = evidence(0.001, 0.009, p=0.01, tost=0.001, inner=(0.002, 0.008))
    assert decide(both, delta=0.01, alpha=0.05)[0] == "helps_below_delta"


def test_alpha_of_a_look_is_used():
    look = evidence(0.001, 0.05, p=0.03)
    assert decide(look, delta=0.01, alpha=0.0158)[0] == "underpowered"


def test_controls():
    beaten = (True, "beats its control")
    open_ = (False, "does not beat its control")
    lost = (False, "loses to its control")
    assert beats_control(interval(0.01, 0.02), 0.04, 0.05) == beaten
    assert beats_control(interval(0.01, 0.02), 0.06, 0.05) == open_
    assert beats_control(interval(-0.02, -0.01), 0.04, 0.05) == lost
    assert beats_control(interval(-0.02, -0.01), 0.04, 0.0158) == open_
    assert beats_control(None, None, 0.05) == (None, "not evaluable")


def test_points():
    assert points(0.01) == "1 point"
    assert points(0.025) == "2.5 points"
    assert points(0.25) == "25.0 points"


def test_an_interval_cannot_be_upside_down():
    with pytest.raises(ValueError, match="upside down"):
        Interval(estimate=0, low=1, high=-1)
