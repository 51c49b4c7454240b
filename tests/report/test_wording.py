"""Numbers as words, by hand."""

from __future__ import annotations

import pytest

from hybrid_pipeline.report import wording
from hybrid_pipeline.report.wording import MINUS, NONE
from hybrid_pipeline.stats.results import Interval

BOUNDS = Interval(estimate=0.0213, low=-0.0004, high=0.0384)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (wording.percent(0.4456), "44.6 %"),
        (wording.points(0.0213), "+2.1"),
        (wording.points(-0.0213), f"{MINUS}2.1"),
        (wording.points(-0.0004), "0.0"),
        (wording.signed_percent(0.25), "+25 %"),
        (wording.interval_text(BOUNDS), "[0.0, +3.8]"),
        (wording.interval_text(BOUNDS, signed=False, digits=2), f"[{MINUS}0.04, 3.84]"),
        (wording.interval_text(None), ""),
        (wording.difference_text(BOUNDS), "+2.1 [0.0, +3.8]"),
        (wording.smallest_difference(0.123), "12.3"),
        (wording.smallest_difference(1.236), ">100"),
        (wording.smallest_difference(None), NONE),
        (wording.ratio(1.5), "\N{MULTIPLICATION SIGN}1.50"),
        (wording.p_value(0.0004), "<.001"),
        (wording.p_value(0.044), ".044"),
        (wording.count(213_480), "213 k"),
        (wording.count(82_000_000), "82 M"),
        (wording.count(999_900), "1 M"),
        (wording.count(12), "12"),
        (wording.minutes(0.1749), "0.17"),
        (wording.minutes(163.4), "163"),
        (wording.threshold(0.01), "1 point"),
        (wording.threshold(0.005), "0.5 points"),
        (wording.plural(1, "seed"), "1 seed"),
        (wording.plural(1536, "example"), "1,536 examples"),
    ],
)
def test_numbers_by_hand(text: str, expected: str) -> None:
    assert text == expected


@pytest.mark.parametrize(
    "write",
    [wording.percent, wording.points, wording.signed_percent, wording.bare, wording.ratio,
     wording.p_value, wording.count, wording.minutes, wording.difference_text],
)  # fmt: skip
def test_what_does_not_exist_is_a_dash(write: object) -> None:
    assert callable(write)
    assert write(None) == NONE


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("arm_3_n2n", "3 + N2N adapter"),
        ("subset_CT", "ViT + CLIP + TRM"),
        ("control_one_path", "one path instead of four"),
        ("my_own_arm", "my own arm"),
    ],
)
def test_arm_labels(name: str, label: str) -> None:
    assert wording.arm_label(name) == label


def test_notes_of_the_analysis_become_readable() -> None:
    text = "the chain has a hole at arm_4_trm; -4.7 % [-9.9, +0.7] in 5-6 epochs, beta2-like"
    assert wording.readable(text) == (
        f"the chain has a hole at 4 + TRM; {MINUS}4.7 % [{MINUS}9.9, +0.7] in 5-6 epochs, "
        "beta2-like"
    )


def test_only_the_arms_that_a_sentence_names_are_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    label = wording.arm_label
    monkeypatch.setattr(wording, "arm_label", lambda name: asked.append(name) or label(name))
    assert wording.readable("arm_4_trm beside arm_4_trmx") == "4 + TRM beside arm_4_trmx"
    assert wording.readable("no arm here") == "no arm here"
    assert wording.readable("not judged: subset_CT still learning") == (
        "not judged: ViT + CLIP + TRM still learning"
    )
    assert asked == ["arm_4_trm", "subset_CT"]
